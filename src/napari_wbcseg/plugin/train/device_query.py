"""Ask which device training would use, in a process of its own.

Keras' backend must not be imported into napari's process; the answer is kept for the session.
"""

from __future__ import annotations

import json

from ...errors import TrainingError
from ...network.device import DeviceReport
from ...progress import Progress
from ..shared.elsewhere import run_python

_QUESTION = """
import dataclasses, json
from napari_wbcseg.network.device import describe_device
print("DEVICE" + json.dumps(dataclasses.asdict(describe_device())))
"""
_PATIENCE = 120  # seconds; a first import from a slow disk can take most of a minute


_answer: DeviceReport | None = None


def query_device(progress: Progress) -> DeviceReport:
    """Return the device that training uses. For a worker thread: takes seconds the first time.

    Raises
    ------
    TrainingError
        If the training framework cannot be imported.
    Cancelled
        If ``progress`` raised it.
    """
    global _answer
    if _answer is not None:
        return _answer
    try:
        _, said, complaints = run_python(
            ["-c", _QUESTION], progress, "Looking for the training device", _PATIENCE
        )
    except TimeoutError:
        raise TrainingError("The training framework does not answer; training may still work.") from None
    for line in said.splitlines():
        if line.startswith("DEVICE"):
            _answer = DeviceReport(**json.loads(line.removeprefix("DEVICE")))
            return _answer
    last = complaints.strip().splitlines()[-1:] or ["it said nothing"]
    raise TrainingError(f"The training framework cannot be loaded ({last[0]}): install napari-wbcseg again.")
