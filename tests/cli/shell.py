"""How the tests call the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from typer.testing import CliRunner, Result

from napari_wbcseg.cli import app


def wbcseg(*arguments: object, status: int = 0) -> Result:
    """Run a command in this process and check its exit status."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, f"{result.output}\n{result.exception!r}"
    return result


def heed_signals() -> None:
    """Start as in a terminal (``preexec_fn``): background jobs are deaf to Ctrl-C, and nohup to its end."""
    for one in (signal.SIGINT, signal.SIGHUP):
        signal.signal(one, signal.SIG_DFL)


def started(*arguments: object, in_child: Callable[[], object] = heed_signals) -> subprocess.Popen[str]:
    """Start a command in a process of its own, in the present folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "napari_wbcseg", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=in_child,
    )


def environment(**values: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **values}
