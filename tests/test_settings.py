"""What cannot be used is said in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from napari_wbcseg import TrainingSettings
from napari_wbcseg.errors import SettingsError


@pytest.mark.parametrize("fine_tuning", [False, True])
def test_there_are_no_defaults_of_a_recipe_that_is_none(fine_tuning: bool) -> None:
    recipe: Any = "quick"
    with pytest.raises(SettingsError, match="recipe='quick': input should be 'robust' or 'classic'"):
        TrainingSettings.for_recipe(recipe, fine_tuning=fine_tuning)
