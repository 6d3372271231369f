"""The command line itself: what every command shares, and the options that several have."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from typer.core import TyperGroup

from ..errors import Cancelled, SettingsError, WBCSegError
from ..files import system_problem, user_path
from ..settings import SegmentationSettings, Setting, Settings, settings_of
from ..version import __version__
from .console import complain, interrupts_heard, notes_of_images, on_signals

if TYPE_CHECKING:
    from ..network.model_file import ModelFile
    from ..results.records import ResultRecord, RunRecord

FAILED, STOPPED = 1, 130

Kind = TypeVar("Kind", bound=Settings)


class _Group(TyperGroup):
    """Commands that end in one red sentence, and no traceback, where a user can mend it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an empty argument: a path of no letters would be the present folder."""
        for one in args:
            if not one or (one.startswith("--") and one.endswith("=")):
                ctx.fail(f"{one}'' is empty: is a variable of the shell not set?")
        with _in_sentences(ctx):  # --help and --version are printed here
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        with _in_sentences(ctx):
            try:
                with on_signals(_stop, "SIGTERM", "SIGHUP"), interrupts_heard(), notes_of_images():
                    return super().invoke(ctx)
            except (KeyboardInterrupt, Cancelled):
                complain("Stopped.")
                raise typer.Exit(STOPPED) from None


@contextmanager
def _in_sentences(context: Any) -> Iterator[None]:
    """End in a sentence where a user can mend what is wrong."""
    try:
        yield
    except (WBCSegError, OSError) as error:
        # Of a closed pipe the shell itself takes care.
        if context.obj == _DEBUG or isinstance(error, BrokenPipeError):
            raise
        complain(_in_a_sentence(error))
        raise typer.Exit(FAILED) from None


def _in_a_sentence(error: WBCSegError | OSError) -> str:
    if isinstance(error, WBCSegError):
        return str(error)
    if not error.filename:
        return f"Something was not written ({error.strerror}), what is printed perhaps: --debug shows where."
    return system_problem(error)


def _stop(number: int, frame: Any) -> None:
    """Take the end of a session, a terminal or a job for Ctrl-C: what is done is kept."""
    raise KeyboardInterrupt


_DEBUG = "debug"

app = typer.Typer(
    name="wbcseg",
    cls=_Group,
    help="Find, outline and count white blood cells in stained blood smears.",
    no_args_is_help=True,
    add_completion=False,
    # Rich panels cut long option names short on a terminal of 80 columns.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line."""
    # Names of files and the sign µ must not fail on a terminal of few characters.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="wbcseg")


def add_command(
    parent: typer.Typer,
    function: Callable[..., Any],
    name: str | None = None,
    settings: type[Settings] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Register a command.

    Parameters
    ----------
    parent : typer.Typer
    function : callable
        With settings its first parameter is called ``changes``: the settings that the user gave, and only
        those, as a dictionary.
    name : str, optional
        By default that of the function.
    settings : type of Settings, optional
        Gives the command an option for each of its fields.
    defaults : mapping of str to mapping, optional
        See `option_of`.
    """
    own = inspect.signature(function, eval_str=True).parameters
    fields = {} if settings is None else settings_of(settings)
    options = {field: option_of(setting, defaults or {}) for field, setting in fields.items()}

    def command(debug: bool, **values: Any) -> Any:
        given = {option: values.pop(option) for option in options}
        if settings is not None:
            values["changes"] = {option: value for option, value in given.items() if value is not None}
        paths = {name: user_path(value) for name, value in values.items() if isinstance(value, Path)}
        return function(**values | paths)

    parameters = [
        *(one.replace(kind=one.KEYWORD_ONLY) for one in own.values() if one.name != "changes"),
        *(
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for option, kind in {**options, "debug": _DebugOption}.items()
        ),
    ]
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    parent.command(name)(command)


def _show_where(context: typer.Context, wanted: bool) -> None:
    if wanted:
        context.find_root().obj = _DEBUG
        logging.getLogger("napari_wbcseg").setLevel(logging.DEBUG)
        logging.basicConfig(format="%(message)s")


_DebugOption = Annotated[
    bool, typer.Option("--debug", callback=_show_where, help="Show where an error arose.")
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wbcseg {__version__}")
        raise typer.Exit


@app.callback()
def _wbcseg(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    pass


def option_of(setting: Setting, defaults: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the option of a setting, with its type, limits and help.

    Parameters
    ----------
    setting : Setting
    defaults : mapping of str to mapping
        Defaults that differ from the fields' own, by the words that say when they hold: none for always.
    """
    name = setting.name
    kind = setting.annotation
    others = {when: values[name] for when, values in defaults.items() if name in values}
    usual = others.pop("", setting.default)
    shown = _shown(usual, setting)
    for when, value in others.items():
        if value != usual:
            shown += f"; {when}: {_shown(value, setting)}"
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


def _shown(value: Any, setting: Setting) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return setting.none
    return f"{value:g}" if isinstance(value, float) else str(value)


def csv_file(path: Path | None) -> Path | None:
    """Return the file of a table; one of another ending may be a picture that was named by mistake."""
    if path is not None and path.suffix.lower() != ".csv":
        raise typer.BadParameter(f"{path}: the name of a table must end in .csv.")
    return path


# Parameters that several commands have.
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
        help="Settings to start from: a settings file, a NAME-result.json or the run.json of a run.",
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
