"""Whose a folder of results is: what another wrote is kept, and one run writes at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from os.path import realpath  # `Path.resolve` raises where a link leads to itself
from pathlib import Path

from ..errors import BusyError, OutputError, SettingsError
from ..files import locked, read_text
from ..results.load import not_in_tables
from ..results.names import (
    CELLS_FILE,
    COUNTS_FILE,
    RESULT_SUFFIX,
    RUN_FILE,
    image_names,
    output_names,
)
from ..results.records import RUN_FORMAT, ResultRecord, RunRecord
from ..results.save import files_of
from ..segmentation.large.files import PLAN_FILE
from .file import BatchItem, Outputs, Run
from .report import REPORT_FILE


def alone_in(folder: Path) -> AbstractContextManager[None]:
    """Keep other runs out of a folder while the context lasts.

    Raises
    ------
    BusyError
        If one is at work there.
    """
    busy = BusyError(f"Another run is writing into {folder}: wait for its end, or give another folder.")
    return locked(folder / ".wbcseg.lock", busy)


def items_of(record: RunRecord | ResultRecord, folder: Path) -> list[BatchItem]:
    """Return the inputs of a recorded run, or the image of a recorded result, to be segmented again.

    Parameters
    ----------
    record : RunRecord or ResultRecord
    folder : Path
        Where the record lies; inputs that moved along with it are found.
    """
    if isinstance(record, RunRecord):
        return [
            BatchItem(one.file(folder) or Path(one.path), one.image, one.name, one.sha256)
            for one in record.inputs
        ]
    image = record.image
    if (path := image.file(folder)) is not None:
        return [BatchItem(path, image.name, sha256=image.sha256)]
    where = image.path or "it came from no file"
    problem = f"The image of the recorded result is not there ({where}); name the image."
    return [BatchItem(Path(image.name), image.name, problem=problem)]


def earlier_items(folder: Path) -> list[BatchItem]:
    """Return the inputs of the run that wrote into a folder before.

    Raises
    ------
    OutputError
        If what the run would write is there and no run wrote it.
    """
    file = folder / RUN_FILE
    try:
        return items_of(RunRecord.read(file), folder)
    except SettingsError:
        if file.exists() and RUN_FORMAT in read_text(file)[:200]:
            return []  # of another version of this package, or damaged
    for name in (COUNTS_FILE, CELLS_FILE, RUN_FILE, REPORT_FILE):
        if (folder / name).exists():
            raise OutputError(
                f"{folder} holds a {name} that no run of this program wrote, and it would be overwritten. "
                "Give another folder, or move that file away."
            )
    return []


def set_aside(outputs: Outputs) -> dict[str, ResultRecord]:
    """Return the results by name that a person corrected and the tables do not tell of; the latest first."""
    files = sorted(not_in_tables(outputs.folder), key=lambda file: -file.stat().st_mtime_ns)
    known = {name: outputs.read(name) for name in (file.name.removesuffix(RESULT_SUFFIX) for file in files)}
    return {name: one for name, one in known.items() if one and outputs.is_corrected(one)}


def with_own_names(items: Iterable[BatchItem], earlier: Sequence[BatchItem], run: Run) -> list[BatchItem]:
    """Give each input a name whose files are its own or no one's; that which it had before, if any.

    One of which a person corrected a result of these settings, before a run with others set that aside,
    has the name of that again.
    """
    had = {realpath(item.path): item.name for item in earlier if item.name}
    taken = {name.casefold() for name in had.values()}
    good = {item.path: item for item in items if not item.problem}

    def free(path: Path, name: str) -> bool:
        own = had.get(realpath(path)) == name
        if not own and name.casefold() in taken:
            return False
        if not run.record_file(name).exists():
            there = [*files_of(run.folder / name, run.wanted()), run.large_folder(name)]
            return own or not any(file.exists() for file in there)
        record = run.read(name)
        if record is None:
            return own
        if record.settings is None:
            return False  # drawn by hand
        corrected = not run.again and run.is_corrected(record)
        if corrected and not run.segmented(replace(good[path], name=name)):
            return False  # it would be lost
        image = record.image.file(run.folder)
        same = image is not None and realpath(image) == realpath(path)
        return own or same or record.image.is_of(path)

    wanted = {path: had.get(realpath(path)) or item.name for path, item in good.items()}
    of_image = {realpath(path): item for path, item in good.items()}
    for name, record in () if run.again else set_aside(run).items():
        item = of_image.get(realpath(record.image.file(run.folder) or run.folder))
        if item is None or run.corrected(replace(item, name=wanted[item.path])):
            continue
        if run.corrected(replace(item, name=name)):
            wanted[item.path] = name
    names = output_names(good, wanted, free)
    return [item if item.problem else replace(item, name=names[item.path]) for item in items]


def with_others_done(items: list[BatchItem], earlier: Sequence[BatchItem], run: Run) -> list[BatchItem]:
    """Add what an earlier run did into the same folder with the same model and settings, for the tables."""
    given = {realpath(item.path) for item in items}
    others = [item for item in earlier if realpath(item.path) not in given and run.done_before(item)]
    if not others:
        return items
    items = [*items, *others]
    good = [item for item in items if not item.problem]
    if len({item.image for item in good}) < len(good):
        shown = image_names([item.path for item in good])
        items = [item if item.problem else replace(item, image=shown[item.path]) for item in items]
    return items


def forget_large(run: Run, items: Sequence[BatchItem]) -> None:
    """Remove what was found in large images, which would be taken up otherwise."""
    for item in items:
        folder = run.large_folder(item.name)
        if (folder / PLAN_FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
