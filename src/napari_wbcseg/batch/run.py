"""Segment many files: a bad one is reported and skipped, and the run can be repeated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ImageError
from ..progress import Progress, silent
from ..results.formats.tables import write_cells, write_counts
from ..results.models import recorded_model
from ..results.names import (
    CELLS_FILE,
    COUNTS_FILE,
    OVERLAY_SUFFIX,
    RUN_FILE,
    image_names,
    is_output,
    output_names,
)
from ..results.records import InputRecord, RunRecord
from ..results.result_record import ResultRecord
from ..results.save import FORMATS
from ..segmentation.large.files import PLAN_FILE
from .file import BatchItem, Outcome, Outputs
from .journal import Journal, fingerprint
from .overlapped import segment_overlapped
from .report import REPORT_FILE, ReportEntry, write_report

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from ..network.model_file import ModelFile
    from ..settings import SegmentationSettings


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

    Returns
    -------
    list of BatchItem
    """
    from ..images.read import find_images, natural_key

    found: dict[Path, Path] = {}
    problems: list[BatchItem] = []
    for given in dict.fromkeys(str(path) for path in paths):
        try:
            for path in find_images(given, recursive=recursive, large=True):
                if path == Path(given).expanduser() or not is_output(path):
                    found.setdefault(path.resolve(), path)
        except ImageError as error:
            problems.append(BatchItem(Path(given), given, "", problem=str(error)))
    images = sorted(found.values(), key=natural_key)
    names, shown = output_names(images), image_names(images)
    return [*(BatchItem(path, shown[path], names[path]) for path in images), *problems]


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
    path = record.image_file(folder)
    if path is None:
        where = record.image.path or "it came from no file"
        return BatchItem(
            Path(record.image.name),
            record.image.name,
            "",
            problem=f"The image of the recorded result is not there ({where}); name the image.",
        )
    return BatchItem(path, record.image.name, output_names([path])[path], record.image.sha256)


def model_of(record: RunRecord) -> ModelFile:
    """Load the very model of a recorded run.

    Raises
    ------
    ModelError
        If no model with the recorded hash is there any more.
    """
    return recorded_model(record.model)


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

    Returns
    -------
    BatchResult

    Raises
    ------
    OutputError
        If the results cannot be written: nothing further is tried then.
    ModelError
        If the model runs on no device.
    ClusterError
        If the cluster cannot do the work.
    """
    outputs = Outputs(Path(out).expanduser().resolve(), mask, overlay, tuple(formats))
    run = _Run(items, outputs, report, unexpected)
    key = fingerprint(settings, model)
    record = RunRecord.start(
        settings,
        model,
        source=source,
        device=_device(model, settings, client),
        mask=mask,
        overlay=overlay,
        formats=outputs.formats,
        inputs=run.inputs(),
        finished=False,
    )
    outputs = run.outputs = replace(outputs, model_source=record.model.source)
    # Before hours of work are done, show that their results can be kept.
    run_file = record.write(outputs.folder / RUN_FILE)
    run.journal = Journal(outputs.folder, key, again=again)
    remove_leftovers(outputs.folder, items)
    if again:
        _forget_large(outputs, items)
    finished = False
    try:
        for index, outcome in run.journal.done(items, outputs).items():
            run.keep(index, outcome)
        todo = [(index, item) for index, item in enumerate(items) if index not in run.rows]

        def starting(index: int) -> None:
            progress(len(run.rows), len(items), items[index].image)

        if client is None:
            segment_overlapped(
                todo, model, settings, outputs, done=run.done, starting=starting, progress=image_progress
            )
        else:
            from .distributed import segment_distributed

            segment_distributed(todo, model, settings, outputs, client, done=run.done, starting=starting)
        progress(len(items), len(items), "")
        finished = True
    finally:
        record = record.model_copy(update={"inputs": run.inputs(), "finished": finished})
        if client is not None:
            remove_leftovers(outputs.folder, items)  # of workers that died
        files = [*run.written(), *run.write_tables(), record.write(run_file)]
        files.append(write_report(outputs.folder / REPORT_FILE, record, run.report_entries()))
        run.journal.close()
    rows = [run.rows[index] for index in sorted(run.rows)]
    return BatchResult(rows, files, kept=len(run.kept), outdated=run.journal.outdated)


class _Run:
    """What is known so far of each file of a run, by its position."""

    def __init__(
        self,
        items: Sequence[BatchItem],
        outputs: Outputs,
        report: Callable[[dict[str, Any]], None],
        unexpected: Callable[[Exception], None],
    ) -> None:
        self.items = items
        self.outputs = outputs
        self.journal: Journal
        self.rows: dict[int, dict[str, Any]] = {}
        self.kept: set[int] = set()
        self._tables: dict[int, pd.DataFrame] = {}
        self._sha256: dict[int, str | None] = {}
        self._flat: dict[int, bool] = {}
        self._large: set[int] = set()
        self._report = report
        self._unexpected = unexpected

    def done(self, index: int, outcome: Outcome) -> None:
        if index in self.rows:
            return  # a cluster may do a file twice when a worker dies; it counts once
        if outcome.error is not None:
            self._unexpected(outcome.error)
        self.journal.add(self.items[index], outcome)
        self._take(index, outcome)

    def keep(self, index: int, outcome: Outcome) -> None:
        self.kept.add(index)
        self._take(index, outcome)

    def _take(self, index: int, outcome: Outcome) -> None:
        self.rows[index] = outcome.row
        self._sha256[index] = outcome.sha256
        self._flat[index] = outcome.flat
        if outcome.large:
            self._large.add(index)
        if outcome.cells is not None:
            self._tables[index] = outcome.cells
        self._report(outcome.row)

    def inputs(self) -> list[InputRecord]:
        """Return the record of each input, for ``run.json``."""
        records = []
        for index, item in enumerate(self.items):
            entry = _input(item, self.outputs.folder)
            row = self.rows.get(index)
            if row is not None:
                known = {"status": row["status"], "count": row.get("count"), "error": row.get("error", "")}
                if self._sha256[index] is not None:
                    known["sha256"] = self._sha256[index]
                entry = entry.model_copy(update=known)
            records.append(entry)
        return records

    def written(self) -> list[Path]:
        """Return the files of the images."""
        return [
            path
            for index in sorted(self._tables)
            for path in self.outputs.files(
                self.items[index].name, flat=self._flat[index], large=index in self._large
            )
        ]

    def write_tables(self) -> list[Path]:
        folder = self.outputs.folder
        tables = [(self.items[index].image, self._tables[index]) for index in sorted(self._tables)]
        rows = [self.rows[index] for index in sorted(self.rows)]
        return [write_counts(folder / COUNTS_FILE, rows), write_cells(folder / CELLS_FILE, tables)]

    def report_entries(self) -> Iterator[ReportEntry]:
        """Yield what the report shows of each image, its pictures read back from the journal."""
        for index in sorted(self.rows):
            item = self.items[index]
            outcome = self.journal.outcome(item)
            overlay = self.outputs.folder / f"{item.name}{OVERLAY_SUFFIX}"
            drawn = self.outputs.overlay and self._flat[index] and index not in self._large
            link = overlay.name if drawn else ""
            yield ReportEntry(self.rows[index], outcome.pictures if outcome is not None else (), link)


def remove_leftovers(folder: Path, items: Sequence[BatchItem]) -> None:
    """Remove half-written files of these images, which a process that was killed left behind."""
    begins = {f".{item.name}{format.suffix}." for item in items for format in FORMATS.values()}
    for path in folder.glob(".*.part"):
        # What is behind the name's end is the random part of a temporary name.
        if f"{path.name.rsplit('.', 2)[0]}." not in begins:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _forget_large(outputs: Outputs, items: Sequence[BatchItem]) -> None:
    """Remove what was found in large images, which would be taken up otherwise."""
    for item in items:
        folder = outputs.large_folder(item.name)
        if (folder / PLAN_FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)


def _device(model: ModelFile, settings: SegmentationSettings, client: Client | None) -> str:
    if client is not None:
        from .distributed import describe

        return describe(client)
    from ..network.engines.create import create_engine

    return create_engine(model, settings.engine, settings.device).device


def _input(item: BatchItem, out: Path) -> InputRecord:
    path = item.path.resolve()
    try:
        relative = Path(os.path.relpath(path, out)).as_posix()
    except ValueError:  # on another drive of Windows
        relative = ""
    return InputRecord(
        path=str(path),
        relative=relative,
        image=item.image,
        name=item.name,
        sha256=item.sha256,
        status="pending",
    )
