"""Every setting of segmentation and training, defined once.

The Python functions take these objects, the widgets and the command-line options
are built from their fields, and they are stored with every result.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .errors import SettingsError
from .files import read_text

Recipe = Literal["robust", "classic"]
EngineName = Literal["auto", "onnxruntime", "openvino", "keras"]
DeviceName = Literal["auto", "cpu"]
Precision = Literal["auto", "float32", "mixed"]


@dataclass(frozen=True)
class Shown:
    """What forms and help tell of a field besides its description.

    Attributes
    ----------
    recipe : str or None
        The only one that reads the field.
    unit : str
        Of a number.
    none : str
        What a field that may be None calls that value in a form.
    """

    recipe: Recipe | None = None
    unit: str = ""
    none: str = "automatic"


@dataclass(frozen=True)
class Setting:
    """One field of a settings class, as forms and command-line options are made from it.

    Attributes
    ----------
    name, description : str
    kind : type
        ``bool``, ``int``, ``float`` or ``str``.
    choices : tuple of str
        The values there are; empty where any will do.
    default : object
    optional : bool
        Whether it may be None.
    low, high : float or None
        Limits of a number.
    above, below : bool
        Whether the limits themselves are out.
    shown : Shown
    """

    name: str
    description: str
    kind: type
    choices: tuple[str, ...]
    default: Any
    optional: bool
    low: float | None
    high: float | None
    above: bool
    below: bool
    shown: Shown

    @property
    def title(self) -> str:
        """The name as a label: ``cell_diameter`` is ``Cell diameter``."""
        return self.name.replace("_", " ").capitalize()


def settings_of(cls: type[BaseModel]) -> dict[str, Setting]:
    """Read the fields of a settings class, by name.

    Examples
    --------
    >>> settings_of(SegmentationSettings)["cell_diameter"].title
    'Cell diameter'
    """
    found = {}
    for name, field in cls.model_fields.items():
        kind: Any = field.annotation
        optional = get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)
        if optional:
            (kind,) = (each for each in get_args(kind) if each is not NoneType)
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        limits = {
            limit: value
            for one in field.metadata
            for limit in ("ge", "gt", "le", "lt")
            if (value := getattr(one, limit, None)) is not None
        }
        found[name] = Setting(
            name,
            field.description or "",
            str if choices else kind,
            choices,
            field.default,
            optional,
            limits.get("ge", limits.get("gt")),
            limits.get("le", limits.get("lt")),
            "gt" in limits,
            "lt" in limits,
            next((one for one in field.metadata if isinstance(one, Shown)), Shown()),
        )
    return found


class Settings(BaseModel):
    """Frozen, validated and JSON-serialisable."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_sentence(type(self).__name__, error)) from None

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed."""
        return type(self)(**{**self.model_dump(), **changes})

    def to_json(self) -> str:
        """Return the settings as indented JSON."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str | Path) -> Self:
        """Read settings from JSON text, or from a file when given a path.

        Raises
        ------
        SettingsError
            If the text is not JSON, or a value is unknown or out of range.
        """
        import json

        where = f"{text}: " if isinstance(text, Path) else ""
        try:
            values = json.loads(read_text(text) if isinstance(text, Path) else text)
        except (ValueError, RecursionError) as error:  # also of numbers of thousands of digits
            raise SettingsError(f"{where}The settings are not valid JSON: {error}.") from None
        if not isinstance(values, dict):
            raise SettingsError(f"{where}The settings must be a JSON object of names and values.")
        try:
            return cls(**values)
        except SettingsError as error:
            raise SettingsError(f"{where}{error}") from None


def _sentence(name: str, error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        field = ".".join(str(p) for p in item["loc"]) or "settings"
        if item["type"] == "extra_forbidden":
            parts.append(f"there is no setting named {field!r}")
        else:
            parts.append(f"{field}={reprlib.repr(item.get('input'))}: {item['msg'].lower()}")
    return f"{name} cannot be used: " + "; ".join(parts) + "."


class SegmentationSettings(Settings):
    """What `segment` does with an image.

    Lengths are in image pixels. A field with a recipe is read by that recipe only.
    """

    recipe: Annotated[Recipe, Field(description="Method: robust for any smear, classic as published.")] = (
        "robust"
    )
    cell_diameter: Annotated[
        float | None,
        Field(
            ge=6,
            le=2000,
            description="Diameter of a white cell in image pixels; none estimates it from the image.",
        ),
        Shown(recipe="robust", unit="px"),
    ] = None
    probability_threshold: Annotated[
        float, Field(gt=0, lt=1, description="A pixel belongs to a cell above this probability.")
    ] = 0.5
    split_touching: Annotated[
        bool, Field(description="Tell touching cells apart."), Shown(recipe="robust")
    ] = True
    flips: Annotated[
        bool,
        Field(description="Average the prediction over mirrored copies: steadier, three times the work."),
    ] = False
    check_below: Annotated[
        float,
        Field(ge=0, le=1, description="Cells with a certainty below this are marked to check."),
        Shown(recipe="robust"),
    ] = 0.75
    grey_threshold: Annotated[
        int,
        Field(ge=1, le=254, description="Pixels darker than this grey level are proposed."),
        Shown(recipe="classic"),
    ] = 100
    dark_cutoff: Annotated[
        int,
        Field(ge=0, le=254, description="Pixels at or below this grey level count as background."),
        Shown(recipe="classic"),
    ] = 20
    min_area: Annotated[
        int, Field(ge=1, description="Smallest region and smallest cell, in pixels."), Shown(recipe="classic")
    ] = 500
    classes: Annotated[
        str | None,
        Field(
            min_length=1,
            description="What tells the classes of the cells: built-in, the file of a classifier, or none.",
        ),
        Shown(none="none"),
    ] = "built-in"
    batch_size: Annotated[int, Field(ge=1, le=512, description="Windows predicted at once.")] = 16
    engine: Annotated[
        EngineName, Field(description="What runs the network: auto takes the fastest here.")
    ] = "auto"
    device: Annotated[
        DeviceName,
        Field(description="Where ONNX Runtime computes: auto takes a GPU that works, else the processor."),
    ] = "auto"

    @field_validator("classes", mode="before")
    @classmethod
    def _none_in_words(cls, value: Any) -> Any:
        return None if value == "none" else str(value) if isinstance(value, Path) else value


class TrainingSettings(Settings):
    """How a network is trained.

    The defaults are the published ones (``classic``); `TrainingSettings.for_recipe`
    gives those of either recipe.
    """

    recipe: Annotated[
        Recipe, Field(description="Network and data preparation: classic as published, or robust.")
    ] = "classic"
    epochs: Annotated[int, Field(ge=1, le=10_000, description="Passes over the training data.")] = 50
    batch_size: Annotated[int, Field(ge=1, le=1024, description="Tiles per step.")] = 3
    learning_rate: Annotated[float, Field(gt=0, le=1, description="Step size of the Adam optimiser.")] = 1e-4
    dropout: Annotated[float, Field(ge=0, lt=1, description="Fraction of features dropped.")] = 0.25
    plateau_patience: Annotated[
        int, Field(ge=1, description="Epochs without progress before the learning rate is cut.")
    ] = 10
    plateau_factor: Annotated[
        float, Field(gt=0, lt=1, description="What the rate is multiplied by then.")
    ] = 0.1
    schedule: Annotated[
        Literal["plateau", "cosine"],
        Field(description="Learning rate: cut on a plateau, or lowered along a cosine to the last epoch."),
    ] = "plateau"
    early_stop_patience: Annotated[
        int, Field(ge=1, description="Epochs without progress before training ends.")
    ] = 20
    validation_fraction: Annotated[
        float, Field(ge=0, lt=1, description="Share of the images kept aside to validate on.")
    ] = 0.0
    steps_per_epoch: Annotated[
        int | None,
        Field(ge=1, description="Steps an epoch; none for one pass over the images."),
        Shown(recipe="robust", none="all images"),
    ] = None
    flips: Annotated[
        bool, Field(description="Add mirrored copies of each tile, three for one."), Shown(recipe="classic")
    ] = False
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="Seed of every random choice.")] = 0
    precision: Annotated[
        Precision, Field(description="Arithmetic: auto takes mixed precision where the device gains by it.")
    ] = "auto"

    @classmethod
    def for_recipe(cls, recipe: Recipe, **changes: Any) -> TrainingSettings:
        """Return the defaults of a recipe, with some fields changed."""
        base: dict[str, Any] = {"recipe": recipe}
        if recipe == "robust":
            base.update(
                epochs=60,
                batch_size=16,
                learning_rate=1e-3,
                schedule="cosine",
                dropout=0.1,
                steps_per_epoch=100,
                validation_fraction=0.15,
            )
        return cls(**{**base, **changes})
