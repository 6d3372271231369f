"""The command line itself: what every command shares, whatever it does."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..errors import Cancelled, WBCSegError
from ..version import __version__
from .console import complain
from .options import disguise

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


def add_command(parent: typer.Typer, function: Callable[..., Any], name: str | None = None) -> None:
    """Register a command that ends in one red sentence, and no traceback, where a user can mend it."""
    debug_option = Annotated[bool, typer.Option("--debug", help="Show where an error arose.")]
    debug_parameter = inspect.Parameter(
        "debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=debug_option
    )

    takes_debug = "debug" in inspect.signature(function).parameters

    def command(debug: bool = False, **values: Any) -> Any:
        if takes_debug:
            values["debug"] = debug
        try:
            return function(**values)
        except (KeyboardInterrupt, Cancelled):
            complain("Stopped.")
            raise typer.Exit(STOPPED) from None
        except WBCSegError as error:
            if debug:
                raise
            complain(str(error))
            raise typer.Exit(FAILED) from None

    parent.command(name)(disguise(command, function, [debug_parameter], hidden="debug"))


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
