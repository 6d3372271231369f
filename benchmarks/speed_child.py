"""A measurement in a process of its own, so that its time from a cold start and its memory are its own.

    python benchmarks/speed_child.py MODULE FUNCTION JSON

calls ``MODULE.FUNCTION(**JSON)`` and prints what it returns, with the peak of the process's memory.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_MARK = "result of the measurement: "


class MeasurementError(RuntimeError):
    """A measurement that could not be taken."""


def measure(
    module: str, function: str, *, python: str = sys.executable, prefix: tuple[str, ...] = (), **options: Any
) -> dict[str, Any]:
    """Call a function in a new process and return what it returns, with ``peak_mb``.

    Parameters
    ----------
    module, function : str
        The function, which returns a dict.
    python : str
        Of which environment.
    prefix : tuple of str
        What to put before the command, such as ``xvfb-run -a``.
    """
    command = [*prefix, python, str(HERE / "speed_child.py"), module, function, json.dumps(options)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, cwd=HERE)
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            result: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            return result
    last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
    raise MeasurementError(f"{module}.{function}: {last}")


def peak_mb() -> float:
    """Return the most memory this process has held at once, in MB."""
    import resource

    status = Path("/proc/self/status")
    if status.is_file():
        # What getrusage says of a child includes what its parent held when it was started.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


if __name__ == "__main__":
    found = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(**json.loads(sys.argv[3]))
    print(_MARK + json.dumps({**found, "peak_mb": round(peak_mb())}), flush=True)
