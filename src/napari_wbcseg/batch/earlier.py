"""What earlier runs and a person left in a folder: taken up or let alone, never written over."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import R_OK, access
from os.path import exists, realpath  # `Path.resolve` raises where a link leads to itself
from pathlib import Path

from ..errors import OutputError, SettingsError
from ..files import read_text
from ..results.differential import not_in_tables
from ..results.formats.registry import files_of, formats_there
from ..results.names import (
    CELLS_FILE,
    COUNTS_FILE,
    RESULT_SUFFIX,
    RUN_FILE,
    image_names,
    output_names,
    same_name,
    stem_of,
)
from ..results.records import RUN_FORMAT, ResultRecord, RunRecord
from .folder import BatchItem, Outputs, Run, items_of
from .report import REPORT_FILE


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
    good = {item.path: item for item in items if not item.problem}
    places = defaultdict[str, list[Path]](list)
    for path in good:
        places[path.name].append(path)
    for item in earlier:
        if item.name and not exists(item.path):
            new = [path for path in places[item.path.name] if realpath(path) not in had]
            if new and (moved := _moved(run.read(item.name), new, run.folder)) is not None:
                had[realpath(moved)] = item.name
    # The name of an image that is gone is that of the one with its content: its folder was renamed, perhaps.
    there = {*map(realpath, good), *filter(exists, had)}
    taken = {same_name(name) for path, name in had.items() if path in there}
    # Pictures of the first plane of a stack s are called as those of an image s-plane-0.
    taken |= {_stack(name) for name in taken}
    stems = {same_name(stem_of(path)) for path in good}

    def free(path: Path, name: str) -> bool:
        own, stack = had.get(realpath(path)) == name, _stack(name)
        of_plane = stack != name and any(f"__{same_name(stack)}".endswith(f"__{stem}") for stem in stems)
        if not own and (of_plane or same_name(name) in taken):
            return False
        return _may_take(replace(good[path], name=name), run, own=own)

    names = output_names(good, _wanted_names(good, had, places, run), free)
    return [item if item.problem else replace(item, name=names[item.path]) for item in items]


def _stack(name: str) -> str:
    """Return the name of the stack of which pictures of this name may show a plane."""
    return re.sub(r"-plane-\d+$", "", name)


def _moved(record: ResultRecord | None, places: Iterable[Path], folder: Path) -> Path | None:
    """Return which of some files of its name is the image of a result in a folder; its own was renamed."""
    return next((path for path in places if record is not None and record.is_of(path, folder)), None)


def _may_take(item: BatchItem, run: Run, *, own: bool) -> bool:
    """Say whether an image may write files of its name, which it had before if that is its own."""
    if not run.record_file(item.name).exists():
        base = run.folder / item.name
        there = [*files_of(base, ("tiff", *run.formats)), run.large_folder(item.name)]
        return own or not (formats_there(base) or any(file.exists() for file in there))
    record = run.read(item.name)
    if record is None:  # damaged; one that may not be read may hold corrections
        return own and access(run.record_file(item.name), R_OK)
    if run.is_corrected(record) and (run.again or not run.segmented(item)):
        return False  # it would be lost, as would what was drawn by hand
    image = record.image.file(run.folder)
    same = image is not None and realpath(image) == realpath(item.path)
    return own or same or record.is_of(item.path, run.folder)


def _wanted_names(
    good: Mapping[Path, BatchItem], had: Mapping[str, str], places: Mapping[str, Sequence[Path]], run: Run
) -> dict[Path, str]:
    """Return the name that each image had before, or that of the result which a person corrected."""
    wanted = {path: had.get(realpath(path)) or item.name for path, item in good.items()}
    of_image = {realpath(path): item for path, item in good.items()}
    for name, record in () if run.again else set_aside(run).items():
        file = record.image.file(run.folder) or _moved(
            record, places.get(Path(record.image.path).name, ()), run.folder
        )
        item = of_image.get(realpath(file or run.folder))
        if item is None or run.corrected(replace(item, name=wanted[item.path])):
            continue
        if run.corrected(replace(item, name=name)):
            wanted[item.path] = name
    return wanted


def with_others_done(items: list[BatchItem], earlier: Sequence[BatchItem], run: Run) -> list[BatchItem]:
    """Add what an earlier run did into the same folder with the same model and settings, for the tables."""
    given = {realpath(item.path) for item in items if not item.problem}
    others = [item for item in earlier if realpath(item.path) not in given and run.done_before(item)]
    if not others:
        return items
    items = [*items, *others]
    shown = image_names([item.path for item in items if not item.problem])
    return [item if item.problem else replace(item, image=shown[item.path]) for item in items]
