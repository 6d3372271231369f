"""Outlines that a model proposes for training pictures."""

from __future__ import annotations

import pytest

from napari_wbcseg import synthetic_smear
from napari_wbcseg.errors import ModelError
from napari_wbcseg.segmentation.outlining import outliner

from ..drawings import worst_dice


def test_a_model_outlines_cells_of_a_known_size() -> None:
    drawn = synthetic_smear((200, 260), white_cells=2, cell_diameter=48, seed=4)
    assert worst_dice(drawn.labels, outliner("wbc", flips=False)(drawn.image, 48.0)) > 0.8


def test_a_model_of_the_published_recipe_is_told_that_it_cannot() -> None:
    with pytest.raises(ModelError, match=r"classic cannot draw outlines .* such as wbc"):
        outliner("classic")
