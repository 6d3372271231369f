"""Work of another process, followed from a worker thread."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from ...progress import Progress


def run_python(
    arguments: Sequence[str], progress: Progress, stage: str, patience: float | None = None
) -> tuple[int, str, str]:
    """Run Python in a process of its own, for TensorFlow and napari's window do not share one.

    Parameters
    ----------
    arguments : sequence of str
        Of the interpreter.
    progress : Progress
        Told ``stage`` while it runs; what it raises ends the process.
    patience : float, optional
        Seconds after which the process is ended.

    Returns
    -------
    tuple of int, str and str
        Exit status, output and what was said on standard error.

    Raises
    ------
    TimeoutError
        If it does not end in time.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    end = time.monotonic() + (patience or float("inf"))
    try:
        while True:
            progress(0, 0, stage)
            try:
                said, complaints = process.communicate(timeout=0.1)
                return process.returncode, said, complaints
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    raise TimeoutError from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
