"""Every setting of segmentation and training, defined once.

The Python functions take these objects, the widgets and the command-line options
are built from their fields, and they are stored with every result.
"""

from __future__ import annotations

import json
import reprlib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .errors import SettingsError, in_sentence
from .files import read_text

Recipe = Literal["robust", "classic"]
EngineName = Literal["auto", "onnxruntime", "openvino"]
DeviceName = Literal["auto", "cpu"]
Precision = Literal["auto", "float32", "mixed"]


def setting(
    default: Any,
    description: str,
    *,
    recipe: Recipe | None = None,
    unit: str = "",
    none: str = "automatic",
    **limits: Any,
) -> Any:
    """Return a field of a settings class, with what forms and help tell of it.

    Parameters
    ----------
    default : object
    description : str
    recipe : str, optional
        The only one that reads the field.
    unit : str
        Of a number.
    none : str
        What a field that may be None calls that value in forms and in help.
    **limits
        Of `pydantic.Field`: ``ge``, ``gt``, ``le``, ``lt``, ``min_length``.
    """
    shown: Any = {"recipe": recipe, "unit": unit, "none": none}
    return Field(default=default, description=description, json_schema_extra=shown, **limits)


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
    recipe, unit, none
        See `setting`.
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
    recipe: Recipe | None
    unit: str
    none: str

    @property
    def title(self) -> str:
        """The name as a label: ``cell_diameter`` is ``Cell diameter``."""
        return self.name.replace("_", " ").capitalize()

    @property
    def annotation(self) -> Any:
        """The type of a value, as forms and options are made from it."""
        return Literal[self.choices] if self.choices else self.kind


def settings_of(cls: type[BaseModel]) -> dict[str, Setting]:
    """Read the fields of a settings class, by name.

    Examples
    --------
    >>> settings_of(SegmentationSettings)["cell_diameter"].title
    'Cell diameter'
    """
    found = {}
    for name, schema in cls.model_json_schema()["properties"].items():
        # Of a field that may be None, what it is else.
        value = next(one for one in schema.get("anyOf", [schema]) if one["type"] != "null")
        found[name] = Setting(
            name=name,
            description=schema["description"],
            kind=_KINDS[value["type"]],
            choices=tuple(value.get("enum", ())),
            default=schema["default"],
            optional="anyOf" in schema,
            low=value.get("minimum", value.get("exclusiveMinimum")),
            high=value.get("maximum", value.get("exclusiveMaximum")),
            above="exclusiveMinimum" in value,
            below="exclusiveMaximum" in value,
            **{key: schema[key] for key in ("recipe", "unit", "none")},
        )
    return found


_KINDS = {"boolean": bool, "integer": int, "number": float, "string": str}


class Settings(BaseModel):
    """Frozen, validated and JSON-serialisable."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_sentence(type(self), error)) from None

    @classmethod
    def require(cls, given: object) -> None:
        """Raise `SettingsError` if these are other settings, or none."""
        if not isinstance(given, cls):
            one = cls.__name__
            raise SettingsError(
                f"The settings are a {type(given).__name__}: give {one}(), or {one}(**values)."
            )

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
        where = f"{text}: " if isinstance(text, Path) else ""
        content = read_text(text) if isinstance(text, Path) else text
        try:
            return cls(**json.loads(content))
        except (ValueError, RecursionError, TypeError) as error:  # also of numbers of thousands of digits
            if isinstance(text, str) and text.strip().lower().endswith(".json"):
                raise SettingsError(f"{text} is a file's name, not JSON: give Path({text!r}).") from None
            said = f": {error}" if isinstance(error, ValueError) else ""  # Python's own words on a list
            problem = f"not valid JSON of names and values{said}"
            raise SettingsError(f"{where}The settings are {problem}.") from None
        except SettingsError as error:
            raise SettingsError(f"{where}{error}") from None


def _sentence(cls: type[Settings], error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        field = ".".join(str(p) for p in item["loc"]) or "settings"
        if item["type"] == "extra_forbidden":
            meant = get_close_matches(field, cls.model_fields, 1)
            known = f"perhaps {meant[0]}" if meant else f"there are {', '.join(cls.model_fields)}"
            parts.append(f"there is no setting named {field!r} ({known})")
        else:
            parts.append(f"{field}={reprlib.repr(item.get('input'))}: {in_sentence(item['msg'])}")
    return f"{cls.__name__} cannot be used: " + "; ".join(parts) + "."


class SegmentationSettings(Settings):
    """What `segment` does with an image.

    Lengths are in image pixels. A field with a recipe is read by that recipe only.
    """

    recipe: Recipe = setting("robust", "Method: robust for any smear, classic as published.")
    cell_diameter: float | None = setting(
        None,
        "Diameter of a white cell in image pixels; without one it is estimated from the image.",
        recipe="robust",
        unit="px",
        ge=6,
        le=2000,
    )
    probability_threshold: float = setting(
        0.5,
        "Pixels above this probability are of cells; robust draws outlines a little further in.",
        gt=0,
        lt=1,
    )
    split_touching: bool = setting(True, "Tell touching cells apart.", recipe="robust")
    flips: bool = setting(
        False, "Average the prediction over mirrored copies: steadier, three times the work."
    )
    check_below: float = setting(
        0.75, "Cells with a certainty below this are marked to check.", recipe="robust", ge=0, le=1
    )
    grey_threshold: int = setting(
        100, "Pixels darker than this grey level are proposed.", recipe="classic", ge=1, le=254
    )
    dark_cutoff: int = setting(
        20, "Pixels at or below this grey level count as background.", recipe="classic", ge=0, le=254
    )
    min_area: int = setting(500, "Smallest region and smallest cell, in pixels.", recipe="classic", ge=1)
    classes: str | None = setting(
        "built-in",
        "What tells the classes of the cells: built-in, the file of a classifier, or none.",
        none="none",
        min_length=1,
    )
    batch_size: int = setting(
        16, "Windows of 128 pixels a side predicted at once; of larger ones as many pixels.", ge=1, le=512
    )
    engine: EngineName = setting("auto", "What runs the network: auto takes the fastest here.")
    device: DeviceName = setting(
        "auto", "Where ONNX Runtime computes: auto takes a GPU that works, else the processor."
    )

    @field_validator("engine", mode="before")
    @classmethod
    def _without_keras(cls, value: Any) -> Any:
        return "auto" if value == "keras" else value  # an engine of 0.1, which ended napari

    @field_validator("classes", mode="before")
    @classmethod
    def _none_in_words(cls, value: Any) -> Any:
        return None if value == "none" else str(value) if isinstance(value, Path) else value


class TrainingSettings(Settings):
    """How a network is trained.

    The defaults are the published ones (``classic``); `TrainingSettings.for_recipe`
    gives those of either recipe, from random weights and from a trained model.
    """

    recipe: Recipe = setting("classic", "Network and data preparation: classic as published, or robust.")
    epochs: int = setting(50, "Passes over the training data.", ge=1, le=10_000)
    batch_size: int = setting(3, "Tiles per step.", ge=1, le=1024)
    learning_rate: float = setting(1e-4, "Step size of the Adam optimiser.", gt=0, le=1)
    dropout: float = setting(0.25, "Fraction of features dropped.", ge=0, lt=1)
    plateau_patience: int = setting(10, "Epochs without progress before the learning rate is cut.", ge=1)
    plateau_factor: float = setting(0.1, "What the rate is multiplied by then.", gt=0, lt=1)
    schedule: Literal["plateau", "cosine"] = setting(
        "plateau", "Learning rate: cut on a plateau, or lowered along a cosine to the last epoch."
    )
    early_stop_patience: int = setting(
        20,
        "Epochs without progress before training ends; along a cosine only where images validate it.",
        ge=1,
    )
    validation_fraction: float = setting(0.0, "Share of the images kept aside to validate on.", ge=0, lt=1)
    steps_per_epoch: int | None = setting(
        None,
        "Steps an epoch; without a number one pass over the images.",
        recipe="robust",
        none="all images",
        ge=1,
    )
    flips: bool = setting(False, "Add mirrored copies of each tile, three for one.", recipe="classic")
    seed: int = setting(0, "Seed of every random choice.", ge=0, le=2**31 - 1)
    precision: Precision = setting(
        "auto", "Arithmetic: auto takes mixed precision where the device gains by it."
    )

    def keeps_the_last(self, validated: bool) -> bool:
        """Say whether a training goes to its end and keeps its last epoch: along a cosine, not validated."""
        return self.schedule == "cosine" and not validated

    @classmethod
    def for_recipe(cls, recipe: Recipe, *, fine_tuning: bool = False, **changes: Any) -> TrainingSettings:
        """Return the defaults of a recipe, with some fields changed.

        Parameters
        ----------
        recipe : {"robust", "classic"}
        fine_tuning : bool
            Whether a trained model is gone on from: then few steps at a low rate, which move it
            little, and some images kept aside whatever the recipe.
        **changes
            Fields that are to have another value.

        Raises
        ------
        SettingsError
            If there is no such recipe or field, or a value is out of range.
        """
        defaults = _FROM_SCRATCH.get(recipe, {}) | (_FINE_TUNING.get(recipe, {}) if fine_tuning else {})
        return cls(**{"recipe": recipe, **defaults, **changes})


# Where they differ from the published ones.
_FROM_SCRATCH: dict[Recipe, dict[str, Any]] = {
    "classic": {},
    "robust": {
        "epochs": 60,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "dropout": 0.1,
        "steps_per_epoch": 100,
        "validation_fraction": 0.15,
    },
}
# Where they differ from those (benchmarks/finetune.md).
_SMALL_STEPS = {"schedule": "cosine", "validation_fraction": 0.25}
_FINE_TUNING: dict[Recipe, dict[str, Any]] = {
    "classic": {"epochs": 6, "learning_rate": 5e-5, **_SMALL_STEPS},
    "robust": {"epochs": 10, "learning_rate": 3e-4, "steps_per_epoch": 30, **_SMALL_STEPS},
}
