"""The command line itself: what every command shares, whatever it does."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from ..errors import Cancelled, WBCSegError
from ..settings import settings_of
from ..version import __version__
from .console import complain
from .options import option_of

FAILED, STOPPED = 1, 130

app = typer.Typer(
    name="wbcseg",
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
    settings: type[BaseModel] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Register a command that ends in one red sentence, and no traceback, where a user can mend it.

    Parameters
    ----------
    parent : typer.Typer
    function : callable
        With settings its first parameter is called ``changes``: the settings that the user gave, and only
        those, as a dictionary.
    name : str, optional
        By default that of the function.
    settings : type of BaseModel, optional
        Gives the command an option for each of its fields.
    defaults : mapping of str to mapping, optional
        See `option_of`.
    """
    own = inspect.signature(function, eval_str=True).parameters
    fields = {} if settings is None else settings_of(settings)
    options = {field: option_of(setting, defaults or {}) for field, setting in fields.items()}
    options["debug"] = Annotated[bool, typer.Option("--debug", help="Show where an error arose.")]

    def command(**values: Any) -> Any:
        given = {option: values.pop(option) for option in options}
        if settings is not None:
            values["changes"] = {
                option: value for option, value in given.items() if option != "debug" and value is not None
            }
        with errors_in_sentences(given["debug"]):
            return function(**values)

    parameters = [
        *(one.replace(kind=one.KEYWORD_ONLY) for one in own.values() if one.name != "changes"),
        *(
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for option, kind in options.items()
        ),
    ]
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    parent.command(name)(command)


@contextmanager
def errors_in_sentences(debug: bool = False) -> Iterator[None]:
    """End the command with what a user can mend in a sentence; ``debug`` shows where it arose, too."""
    if debug:
        logging.getLogger("napari_wbcseg").setLevel(logging.DEBUG)
        logging.basicConfig(format="%(message)s")
    try:
        yield
    except (KeyboardInterrupt, Cancelled):
        complain("Stopped.")
        raise typer.Exit(STOPPED) from None
    except WBCSegError as error:
        if debug:
            raise
        complain(str(error))
        raise typer.Exit(FAILED) from None


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
