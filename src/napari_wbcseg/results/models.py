"""The model that a record names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ModelError
from .records import ModelRecord

if TYPE_CHECKING:
    from ..network.model_file import ModelFile


def recorded_model(record: ModelRecord) -> ModelFile:
    """Load the very model of a recorded run.

    Raises
    ------
    ModelError
        If no model with the recorded hash is there any more.
    """
    from ..network.library import list_models, load_model

    try:
        model = load_model(record.source)
        if model.hash == record.hash:
            return model
        found = f"{record.source} is now {model.hash}"
    except ModelError as error:
        found = str(error)
    for info in list_models():
        if info.model is not None and info.model.hash == record.hash:
            return info.model
    raise ModelError(
        f"The run cannot be repeated: its model {record.name}@{record.hash} is not here ({found}). "
        "Put the model's file back, or segment anew with another."
    )
