"""What is in the folder that is the result of a large image; to know it costs no import of what reads one."""

from __future__ import annotations

from pathlib import Path

LABELS_FOLDER = "labels.zarr"
PROBABILITY_FOLDER = "probability.zarr"
#: What says of the folder, in JSON, what it is a result of.
PLAN_FILE = "plan.json"
#: What says of a finished one what was found.
RESULT_FILE = "result.json"


def is_large_result(folder: Path) -> bool:
    """Whether this is the folder of a large image's result, or of an interrupted run of one."""
    return (folder / PLAN_FILE).is_file() and (folder / LABELS_FOLDER).is_dir()
