"""The model of a segmentation and the settings that fit it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError, SettingsError
from ..settings import SegmentationSettings

if TYPE_CHECKING:
    from ..network.model_file import ModelFile

DEFAULT_MODEL = "wbc"

#: Channels that the network of each recipe takes, and those of its outputs that are read.
_READS: dict[str, tuple[int, dict[str, int]]] = {
    "classic": (1, {"cell": 1}),
    "robust": (3, {"cell": 1, "centre": 1, "offset": 2, "size": 1}),
}


def model_and_settings(
    model: str | Path | ModelFile, settings: SegmentationSettings | None
) -> tuple[ModelFile, SegmentationSettings]:
    """Load a model, and return it with the settings, which must be of its recipe.

    The file of a classifier is named by its whole path in them, so that it is found from any folder.

    Raises
    ------
    ModelError
        If the model does not exist, its file is broken, or it is no network of its recipe.
    SettingsError
        If the settings are of another recipe.
    """
    from ..network.classifier import BUILT_IN
    from ..network.library import load_model

    if model == DEFAULT_MODEL and settings is not None and settings.recipe == "classic":
        model = "classic"
    file = load_model(model)
    _check_heads(file)
    if settings is None:
        settings = SegmentationSettings(recipe=file.header.recipe)
    elif settings.recipe != file.header.recipe:
        raise SettingsError(
            f"The model {file.name} was trained for the recipe {file.header.recipe}, and the settings ask "
            f"for {settings.recipe}: choose a model of that recipe, or set recipe to {file.header.recipe}."
        )
    if settings.classes not in (None, BUILT_IN):
        settings = settings.replace(classes=str(Path(settings.classes).expanduser().resolve()))
    return file, settings


def _check_heads(model: ModelFile) -> None:
    """Refuse a model that says less than its recipe reads, or is asked in other colours."""
    channels, heads = _READS[model.header.recipe]
    has = {output.name: output.channels for output in model.architecture.outputs}
    if model.architecture.input_channels != channels or any(has.get(name) != n for name, n in heads.items()):
        raise ModelError(
            f"The model {model.name} is no network of the recipe {model.header.recipe}, which takes "
            f"{channels} channels and gives {', '.join(heads)}: train it again, or choose another model."
        )
