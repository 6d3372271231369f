"""Options that several commands have; those of a settings class are made from its fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from pydantic import BaseModel

from ..errors import SettingsError
from ..settings import SegmentationSettings, Setting, settings_of

if TYPE_CHECKING:
    from ..datasets.masks import MaskReading
    from ..network.model_file import ModelFile

Function = TypeVar("Function", bound=Callable[..., Any])


def with_settings(
    kind: type[BaseModel], into: str = "changes", defaults: Mapping[str, Mapping[str, Any]] | None = None
) -> Callable[[Function], Function]:
    """Give a command an option for each field of a settings class.

    The option takes its name, type, limits and help from the field. The command gets the
    values that the user gave, and only those, as one dictionary.

    Parameters
    ----------
    kind : type of BaseModel
        Such as `SegmentationSettings`.
    into : str
        The command's parameter for the dictionary of field names and values.
    defaults : mapping of str to mapping, optional
        Defaults that differ from the fields' own, by a word that says when they hold.
    """

    def decorate(function: Function) -> Function:
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=_option(setting, defaults or {}),
            )
            for name, setting in settings_of(kind).items()
        ]

        def command(**values: Any) -> Any:
            given = {name: values.pop(name) for name in kind.model_fields}
            changes = {
                name: value.value if isinstance(value, Enum) else value
                for name, value in given.items()
                if value is not None
            }
            return function(**values, **{into: changes})

        return disguise(command, function, added, hidden=into)

    return decorate


def disguise(
    command: Callable[..., Any], as_function: Function, added: list[inspect.Parameter], *, hidden: str
) -> Function:
    """Make a function look to Typer like another one, with more parameters and without a hidden one."""
    hints = get_type_hints(as_function, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(as_function).parameters.values()
        if parameter.name != hidden
    ]
    parameters = [*own, *added]
    command.__name__ = as_function.__name__
    command.__doc__ = as_function.__doc__
    command.__module__ = as_function.__module__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command  # type: ignore[return-value]


def option_name(field: str) -> str:
    """Return the option of a field: ``cell_diameter`` is ``--cell-diameter``."""
    return "--" + field.replace("_", "-")


def _option(setting: Setting, defaults: Mapping[str, Mapping[str, Any]]) -> Any:
    name, kind, option = setting.name, setting.kind, option_name(setting.name)
    declarations = [f"{option}/--no-{option[2:]}"] if kind is bool else [option]
    extra: dict[str, Any] = {}
    if kind in (int, float):
        # Limits that are exclusive are left to the settings themselves.
        extra = {
            "min": None if setting.above else setting.low,
            "max": None if setting.below else setting.high,
        }
    shown = _shown(setting.default, kind)
    for when, values in defaults.items():
        if name in values and values[name] != setting.default:
            shown += f"; {when}: {_shown(values[name], kind)}"
    recipe = setting.recipe
    info = typer.Option(
        *declarations,
        help=f"{recipe.capitalize() + ': ' if recipe else ''}{setting.description} (default: {shown})",
        show_default=False,
        rich_help_panel="Settings",
        **extra,
    )
    return Annotated[_type_of(setting) | None, info]


def _type_of(setting: Setting) -> Any:
    """Return an Enum where there are choices, which every version of Typer takes for them."""
    name: Any = setting.name
    return (
        Enum(name, [(value, value) for value in setting.choices], type=str)
        if setting.choices
        else setting.kind
    )


def _shown(value: Any, kind: Any) -> str:
    if value is None:
        return "none"
    if kind is bool:
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


# Parameters that several commands have.
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Name of a model (see `wbcseg models`) or its file.",
        show_default="wbc; classic with --recipe classic",
    ),
]


class MaskChoice(StrEnum):
    """How masks of several values are read; see `napari_wbcseg.datasets.read.read_pairs`."""

    auto = "auto"
    foreground = "foreground"
    numbers = "numbers"

    @property
    def reading(self) -> MaskReading:
        """The choice as `read_pairs` takes it."""
        return self.value  # type: ignore[return-value]


MasksOption = Annotated[
    MaskChoice,
    typer.Option(
        "--masks",
        help="Masks of several values: auto tells cell numbers by itself, foreground takes all but 0 as "
        "cell, numbers takes each value as one cell.",
    ),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help="Settings to start from: a settings file, a NAME-result.json or the run.json of a run; "
        "the last two bring their model along.",
    ),
]


def model_and_settings(
    name: str | None, file: Path | None, changes: dict[str, Any]
) -> tuple[ModelFile, SegmentationSettings, str]:
    """Return the model, the settings for it, and what the model was asked for by."""
    from ..network.library import load_model
    from ..results.load import settings_in
    from ..results.models import recorded_model

    settings, record = settings_in(file) if file is not None else (SegmentationSettings(), None)
    settings = changed(settings, changes)
    says_recipe = file is not None or "recipe" in changes
    if name is None and record is not None and record.model is not None and "recipe" not in changes:
        return recorded_model(record.model), settings, record.model.source
    if name is None:
        name = "classic" if settings.recipe == "classic" else "wbc"
    model = load_model(name)
    if not says_recipe:  # then the model decides
        settings = settings.replace(recipe=model.header.recipe)
    return model, settings, name


def changed(settings: Any, changes: dict[str, Any]) -> Any:
    """Return settings with the options given; a value out of range is an error of usage."""
    if not changes:
        return settings
    try:
        return settings.replace(**changes)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None
