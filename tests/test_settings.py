"""What cannot be used is said in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from napari_wbcseg import SegmentationSettings, TrainingSettings
from napari_wbcseg.errors import SettingsError
from napari_wbcseg.settings import settings_of


@pytest.mark.parametrize("fine_tuning", [False, True])
def test_there_are_no_defaults_of_a_recipe_that_is_none(fine_tuning: bool) -> None:
    recipe: Any = "quick"
    with pytest.raises(SettingsError, match="recipe='quick': input should be 'robust' or 'classic'"):
        TrainingSettings.for_recipe(recipe, fine_tuning=fine_tuning)


def test_the_engine_that_ended_napari_is_no_choice_and_records_that_name_it_open() -> None:
    assert "keras" not in settings_of(SegmentationSettings)["engine"].choices
    assert SegmentationSettings(engine="keras") == SegmentationSettings()
