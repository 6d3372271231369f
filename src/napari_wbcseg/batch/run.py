"""Segment many files: a bad one is reported and skipped, and the run can be repeated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..classification.classes import ClassList, class_of
from ..classification.differential import Differential, pooled
from ..errors import ImageError, OutputError, SettingsError, WBCSegError
from ..files import locked, read_text, remove_leftovers
from ..progress import Progress, silent
from ..results.formats.tables import count_row, write_cells, write_counts
from ..results.names import (
    CELLS_FILE,
    COUNTS_FILE,
    OVERLAY_SUFFIX,
    RUN_FILE,
    image_names,
    is_output,
    other_names,
    output_names,
)
from ..results.records import RUN_FORMAT, InputRecord, RunRecord, relative_path
from ..results.result_record import ResultRecord
from ..results.save import files_of
from ..segmentation.large.files import PLAN_FILE
from .file import BatchItem, Outcome, Outputs, cells_of, done_before, failure, pictures_in, row_of
from .report import REPORT_FILE, write_report
from .workers import segment_here

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from ..network.model_file import ModelFile
    from ..settings import SegmentationSettings

LOCK_FILE = ".wbcseg.lock"
#: Of earlier versions of this package, which wrote down there what is done.
_JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class BatchResult:
    """What a run came to.

    Attributes
    ----------
    rows : list of dict
        The rows of ``counts.csv``.
    files : list of Path
        Every file of the results, those of the run last.
    kept : int
        Images that an earlier run had done.
    outdated : int
        Images that an earlier run did with other settings or another model, done again.
    """

    rows: list[dict[str, Any]]
    files: list[Path]
    kept: int = 0
    outdated: int = 0

    @property
    def failed(self) -> int:
        """Number of inputs without a result."""
        return sum(row["status"] != "ok" for row in self.rows)


def collect(paths: Iterable[str | Path], *, recursive: bool = False) -> list[BatchItem]:
    """List the images that files, folders and patterns stand for, with their names.

    A folder without images or a pattern without a match becomes an item with a problem.
    In folders and patterns, pictures that an earlier run wrote are left out.

    Parameters
    ----------
    paths : iterable of str or Path
    recursive : bool
        Look into the folders of a folder too.
    """
    from ..images.find import leads_nowhere, natural_key

    found: dict[Path, Path] = {}
    problems: list[BatchItem] = []

    def unreadable(error: OSError) -> None:
        where = _text(error.filename)
        problems.append(_unusable(where, f"{where} cannot be looked into: {error.strerror}."))

    for given in dict.fromkeys(str(path) for path in paths):
        try:
            for path in _search(given, recursive, unreadable):
                if path == Path(given).expanduser() or not is_output(path):
                    found.setdefault(_real(path), path)
        except WBCSegError as error:
            problems.append(_unusable(given, str(error)))
        except OSError as error:
            unreadable(error)
        except (RuntimeError, ValueError) as error:  # a link to itself, a null character
            problems.append(_unusable(given, f"{_text(given)} cannot be looked for: {error}."))
    for real, path in list(found.items()):
        if leads_nowhere(path):
            problems.append(_unusable(path, f"{_text(path)} is a link to itself or to what is not there."))
            del found[real]
    for path in [path for path in found if _text(path) != str(path)]:
        problems.append(_unusable(path, f"The name of {_text(path)} is no text (UTF-8): rename it."))
        del found[path]
    images = sorted(found.values(), key=natural_key)
    names, shown = output_names(images), image_names(images)
    return [*(BatchItem(path, shown[path], names[path]) for path in images), *problems]


def _search(given: str, recursive: bool, unreadable: Callable[[OSError], None]) -> Iterator[Path]:
    """Yield the images that one argument stands for; folders in a folder that cannot be read are told of."""
    from ..images.find import find_images
    from ..images.zarr_files import is_zarr

    folder = Path(given).expanduser()
    if not (recursive and folder.is_dir()) or is_zarr(folder):
        yield from find_images(given, large=True)
        return
    nothing = True
    for here, inner, _ in os.walk(folder, onerror=unreadable):
        inner[:] = sorted(name for name in inner if not is_zarr(Path(here, name)))
        with suppress(ImageError):  # none in this one
            yield from find_images(here, large=True)
            nothing = False
    if nothing:
        raise ImageError(f"The folder {given} and those in it hold no image.")


def _real(path: Path) -> Path:
    """Return a path without links; `Path.resolve` raises where one leads to itself."""
    return Path(os.path.realpath(path))


def _text(path: str | Path) -> str:
    """Return a path as it can be written down: what is no UTF-8 in it is a question mark."""
    return os.fsencode(path).decode("utf-8", "replace")


def _unusable(path: str | Path, problem: str) -> BatchItem:
    return BatchItem(Path(_text(path)), _text(path), "", problem=problem)


def items_of(record: RunRecord, folder: Path) -> list[BatchItem]:
    """Return the inputs of a recorded run, to be segmented again.

    Parameters
    ----------
    record : RunRecord
    folder : Path
        Where the record lies; inputs that moved along with it are found.
    """
    items = []
    for entry in record.inputs:
        path = Path(entry.path)
        if not path.exists() and entry.relative and (folder / entry.relative).exists():
            path = folder / entry.relative
        items.append(BatchItem(path, entry.image, entry.name, entry.sha256))
    return items


def item_of(record: ResultRecord, folder: Path) -> BatchItem:
    """Return the image of a recorded result, to be segmented again.

    Parameters
    ----------
    record : ResultRecord
    folder : Path
        Where the record lies; an image that moved along with it is found.
    """
    path = record.image.file(folder)
    if path is None:
        where = record.image.path or "it came from no file"
        return BatchItem(
            Path(record.image.name),
            record.image.name,
            "",
            problem=f"The image of the recorded result is not there ({where}); name the image.",
        )
    return BatchItem(path, record.image.name, output_names([path])[path], record.image.sha256)


def segment_files(
    items: Sequence[BatchItem],
    out: str | Path,
    model: ModelFile,
    settings: SegmentationSettings,
    *,
    source: str | None = None,
    mask: bool = False,
    overlay: bool = True,
    formats: Sequence[str] = (),
    again: bool = False,
    client: Client | None = None,
    progress: Progress = silent,
    image_progress: Progress = silent,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
    unexpected: Callable[[Exception], None] = lambda error: None,
) -> BatchResult:
    """Segment files and write the results, see `napari_wbcseg.results`.

    Images that an earlier run with the same settings and model did, and that have not
    changed since, are not done again. The record of the run is written before the first
    image and again at the end, and the tables and the report also when the run is stopped.

    Parameters
    ----------
    items : sequence of BatchItem
        From `collect` or `items_of`.
    out : str or Path
        Folder for the results; it is made.
    model : ModelFile
    settings : SegmentationSettings
    source : str, optional
        Name or path that the model was asked for by.
    mask, overlay : bool
        Write these files too.
    formats : sequence of str
        More of `napari_wbcseg.results.save.FORMATS` to write.
    again : bool
        Do all images, whatever an earlier run did.
    client : distributed.Client, optional
        Do the work on this cluster, whose workers see the same folders under the same
        names; by default here.
    progress : Progress
        Called between images.
    image_progress : Progress
        Called within an image, where the work is done here.
    report : callable
        Called with the row of each image as soon as it is known, those of earlier runs first.
    unexpected : callable
        Called with an error that no user could have caused, before it is reported like others.

    Raises
    ------
    OutputError
        If the results cannot be written: nothing further is tried then.
    ModelError
        If the model runs on no device.
    ClusterError
        If the cluster cannot do the work.
    """
    folder = Path(out).expanduser().resolve()
    outputs = Outputs(folder, mask, overlay, tuple(formats))
    record = RunRecord.start(
        settings,
        model,
        source=source,
        device=_device(model, settings, client),
        mask=mask,
        overlay=overlay,
        formats=outputs.formats,
        finished=False,
    )
    outputs = replace(outputs, model_source=record.model.source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}.") from None
    busy = OutputError(f"Another run is writing into {folder}: wait for its end, or give another folder.")
    with locked(folder / LOCK_FILE, busy):
        earlier = _earlier(folder)
        items = _with_own_names(items, earlier, model, settings, outputs, again=again)
        new = len(items)
        items = _with_others_done(items, earlier, model, settings, outputs)
        rows: dict[int, dict[str, Any]] = {}

        def done(index: int, outcome: Outcome) -> None:
            if outcome.error is not None:
                unexpected(outcome.error)
            rows[index] = outcome.row
            report(outcome.row)

        def take_up(first: int = 0) -> int:
            """Report what is done already, and return how many are outdated."""
            outdated = 0
            for index, item in enumerate(items[first:], first):
                if index in rows:
                    continue
                known, old = done_before(item, model, settings, outputs)
                outdated += old
                if known is not None:
                    with suppress(WBCSegError):  # damaged, and so done again
                        done(index, Outcome(row_of(item, known, outputs)))
            return outdated

        def starting(index: int) -> None:
            progress(len(rows), len(items), items[index].image)

        # Before hours of work are done, show that their results can be kept.
        record = record.model_copy(update={"inputs": [_input(item, folder) for item in items]})
        record.write(folder / RUN_FILE)
        remove_leftovers(folder)
        (folder / _JOURNAL).unlink(missing_ok=True)
        if again:
            _forget_large(outputs, items[:new])
        finished = False
        try:
            outdated = take_up(new if again else 0)
            kept = len(rows)
            todo = [(index, item) for index, item in enumerate(items) if index not in rows]
            if client is None:
                segment_here(
                    todo, model, settings, outputs, done=done, starting=starting, progress=image_progress
                )
            else:
                from .cluster import segment_on_cluster

                segment_on_cluster(todo, model, settings, outputs, client, done=done, starting=starting)
            progress(len(items), len(items), "")
            finished = True
        finally:
            remove_leftovers(folder)  # of workers that died
            if not finished:
                take_up()  # what was written meanwhile
            record = record.model_copy(update={"finished": finished})
            files = _write_run(record, items, rows, outputs)
    return BatchResult([rows[index] for index in sorted(rows)], files, kept=kept, outdated=outdated)


def _write_run(
    record: RunRecord, items: Sequence[BatchItem], rows: dict[int, dict[str, Any]], outputs: Outputs
) -> list[Path]:
    """Write tables, record and report of a run, from the files of its results as they are now."""
    folder = outputs.folder
    files, tables, inputs, lists = [], [], [], []
    for index, item in enumerate(items):
        entry = _input(item, folder)
        if rows.get(index, {}).get("status") == "ok":
            try:
                result = ResultRecord.read(outputs.record_file(item.name))
                cells = cells_of(item, result, outputs)
                rows[index] = count_row(item.image, result, cells)
                tables.append((item.image, cells))
                lists.append(result.class_list)
                files += outputs.files(item.name, result)
                entry = entry.model_copy(update={"sha256": result.image.sha256})
            except WBCSegError as error:  # removed or damaged meanwhile
                rows[index] = failure(item, error).row
        if (row := rows.get(index)) is not None:
            known = {"status": row["status"], "count": row.get("count"), "error": row.get("error", "")}
            entry = entry.model_copy(update=known)
        inputs.append(entry)
    record = record.model_copy(update={"inputs": inputs})

    def entries() -> Iterator[dict[str, Any]]:
        """Yield what the report shows of each image; the pictures of one are in memory at a time."""
        for index in sorted(rows):
            item, row = items[index], rows[index]
            shown: dict[str, list[tuple[str, str]]] = {"pictures": [], "gallery": []}
            if row["status"] == "ok":
                with suppress(WBCSegError):
                    shown = pictures_in(item, outputs)
            overlay = folder / f"{item.name}{OVERLAY_SUFFIX}"
            yield {"row": row, **shown, "overlay": overlay.name if overlay in drawn else ""}

    drawn = set(files)
    return [
        *files,
        write_counts(folder / COUNTS_FILE, [rows[index] for index in sorted(rows)]),
        write_cells(folder / CELLS_FILE, tables),
        record.write(folder / RUN_FILE),
        write_report(folder / REPORT_FILE, record, entries(), _differential(tables, lists)),
    ]


def _differential(
    tables: Sequence[tuple[str, pd.DataFrame]], lists: Sequence[ClassList]
) -> Differential | None:
    """Return the differential over all images; None where no cell has a class."""
    if not any(class_of(cells).ne("").any() for _, cells in tables):
        return None
    return pooled([cells for _, cells in tables], lists)


# Whose a folder of results is -------------------------------------------------------------------------


def _earlier(folder: Path) -> list[BatchItem]:
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


def _with_own_names(
    items: Sequence[BatchItem],
    earlier: Sequence[BatchItem],
    model: ModelFile,
    settings: SegmentationSettings,
    outputs: Outputs,
    *,
    again: bool,
) -> list[BatchItem]:
    """Give each input a name whose files are its own or no one's; that which it had before, if any."""

    def may_write(item: BatchItem, name: str, *, own: bool) -> bool:
        if not outputs.record_file(name).exists():
            files = [*files_of(outputs.folder / name, outputs.wanted()), outputs.large_folder(name)]
            return own or not any(path.exists() for path in files)
        try:
            record = ResultRecord.read(outputs.record_file(name))
        except SettingsError:
            return own
        if record.settings is None:
            return False  # drawn by hand
        if record.edited and not again and done_before(replace(item, name=name), model, settings, outputs)[1]:
            return False  # corrected by hand, and not to be found again with these settings
        path = record.image.file(outputs.folder)
        same = path is not None and _real(path) == _real(item.path)
        return own or same or record.image.is_of(item.path)

    had = {_real(item.path): item.name for item in earlier if not item.problem}
    taken = {name.casefold() for name in had.values()}
    named = []
    for item in items:
        if item.problem:
            named.append(item)
            continue
        own = had.get(_real(item.path))
        if own is None or not may_write(item, own, own=True):
            own = next(
                name
                for name in other_names(item.path, item.name)
                if name.casefold() not in taken and may_write(item, name, own=False)
            )
        taken.add(own.casefold())
        named.append(replace(item, name=own))
    return named


def _with_others_done(
    items: list[BatchItem],
    earlier: Sequence[BatchItem],
    model: ModelFile,
    settings: SegmentationSettings,
    outputs: Outputs,
) -> list[BatchItem]:
    """Add what an earlier run did into the same folder with the same model and settings, for the tables."""
    given = {_real(item.path) for item in items}
    others = [
        item
        for item in earlier
        if _real(item.path) not in given and done_before(item, model, settings, outputs)[0] is not None
    ]
    if not others:
        return items
    items = [*items, *others]
    good = [item for item in items if not item.problem]
    if len({item.image for item in good}) < len(good):
        shown = image_names([item.path for item in good])
        items = [item if item.problem else replace(item, image=shown[item.path]) for item in items]
    return items


def _forget_large(outputs: Outputs, items: Sequence[BatchItem]) -> None:
    """Remove what was found in large images, which would be taken up otherwise."""
    for item in items:
        folder = outputs.large_folder(item.name)
        if (folder / PLAN_FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)


def _device(model: ModelFile, settings: SegmentationSettings, client: Client | None) -> str:
    if client is not None:
        from .cluster import describe

        return describe(client)
    from ..network.engines.create import create_engine

    return create_engine(model, settings.engine, settings.device).device


def _input(item: BatchItem, out: Path) -> InputRecord:
    path = os.path.abspath(item.path)
    return InputRecord(
        path=path,
        relative=relative_path(path, out),
        image=item.image,
        name=item.name,
        sha256=item.sha256,
        status="pending",
    )
