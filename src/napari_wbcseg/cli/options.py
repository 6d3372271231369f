"""Options that several commands have; those of a settings class are made from its fields."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from ..errors import SettingsError
from ..settings import SegmentationSettings, Setting, Settings

if TYPE_CHECKING:
    from ..network.model_file import ModelFile
    from ..results.records import ResultRecord, RunRecord

Kind = TypeVar("Kind", bound=Settings)


def option_of(setting: Setting, defaults: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the option of a setting, with its type, limits and help.

    Parameters
    ----------
    setting : Setting
    defaults : mapping of str to mapping
        Defaults that differ from the fields' own, by the words that say when they hold: none for always.
    """
    name = setting.name
    kind: Any = Literal[setting.choices] if setting.choices else setting.kind
    others = {when: values[name] for when, values in defaults.items() if name in values}
    usual = others.pop("", setting.default)
    shown = _shown(usual)
    for when, value in others.items():
        if value != usual:
            shown += f"; {when}: {_shown(value)}"
    recipe = f"{setting.recipe.capitalize()}: " if setting.recipe else ""
    limited = kind in (int, float)  # limits that are exclusive are left to the settings themselves
    info = typer.Option(
        help=f"{recipe}{setting.description} (default: {shown})",
        show_default=False,
        rich_help_panel="Settings",
        min=setting.low if limited and not setting.above else None,
        max=setting.high if limited and not setting.below else None,
    )
    return Annotated[kind | None, info]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def csv_file(path: Path | None) -> Path | None:
    """Return the file of a table; one of another ending may be a picture that was named by mistake."""
    if path is not None and path.suffix.lower() != ".csv":
        raise typer.BadParameter(f"{path}: the name of a table must end in .csv.")
    return path


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


MasksOption = Annotated[
    Literal["auto", "foreground", "numbers"],  # `napari_wbcseg.datasets.masks.MaskReading`
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
) -> tuple[ModelFile, SegmentationSettings, str, ResultRecord | RunRecord | None]:
    """Return the model, the settings for it, what the model was asked for by, and the record in the file."""
    from ..network.library import load_model
    from ..results.load import settings_again, settings_in

    settings, record = settings_in(file) if file is not None else (SegmentationSettings(), None)
    if record is not None and "classes" not in changes:
        settings = settings_again(record)
    settings = changed(settings, changes)
    if name is None and record is not None and record.model is not None and "recipe" not in changes:
        return record.model.load(), settings, record.model.source, record
    if name is None:
        name = "classic" if settings.recipe == "classic" else "wbc"
    model = load_model(name)
    if file is None and "recipe" not in changes:  # then the model decides
        settings = settings.replace(recipe=model.header.recipe)
    return model, settings, name, record


def changed(settings: Kind, changes: dict[str, Any]) -> Kind:
    """Return settings with the options given; a value out of range is an error of usage."""
    if not changes:
        return settings
    try:
        return settings.replace(**changes)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None
