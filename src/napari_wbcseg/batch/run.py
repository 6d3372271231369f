"""Segment many files: a bad one is reported and skipped, and the run can be repeated."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..errors import OutputError, WBCSegError
from ..files import relative_path, remove_leftovers, user_path, write_problem
from ..images.find import find_images, natural_key
from ..network.engines import create_engine
from ..network.model_file import ModelFile
from ..progress import Progress, silent
from ..results.differential import ResultClasses, pooled_results
from ..results.formats.registry import files_of, planes_there, write_anew
from ..results.formats.tables import failed_row, with_micrometres, write_cells, write_counts
from ..results.names import CELLS_FILE, COUNTS_FILE, RUN_FILE, as_text, image_names, is_output, no_text
from ..results.origins import ModelRecord
from ..results.records import InputRecord, ResultRecord, RunRecord
from ..segmentation.pipeline import model_and_settings
from ..settings import SegmentationSettings
from .earlier import earlier_items, with_others_done, with_own_names
from .folder import BatchItem, Outputs, Row, Run, alone_in, failure, items_of
from .notices import counted_twice, not_counted
from .process import refreshed, segment_here, with_pictures
from .report import REPORT_FILE, Gallery, add_to_gallery, write_report

if TYPE_CHECKING:
    from distributed import Client

#: Seconds that a half-written file lies still before it is removed: a person may be saving beside the run.
_UNTOUCHED = 60.0
_TAUGHT_ANEW = (
    "was replaced or taught anew while the run was at work, so not all classes are told by one classifier: "
    "give the same command again, which does what is outdated."
)


@dataclass(frozen=True)
class BatchResult:
    """What a run came to.

    Attributes
    ----------
    rows : list of dict
        The rows of ``counts.csv``.
    kept : int
        Images that an earlier run had done.
    outdated : int
        Images that an earlier run did with other settings, model, classifier or version, done again.
    notices : tuple of str
        See `napari_wbcseg.batch.notices`, and `Differential.unusual`.
    """

    rows: list[Row]
    kept: int = 0
    outdated: int = 0
    notices: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Number of inputs without a result."""
        return sum(row["status"] != "ok" for row in self.rows)


def collect(paths: Iterable[str | Path], *, recursive: bool = False) -> list[BatchItem]:
    """List the images that files, folders and patterns stand for.

    A folder without images or a pattern without a match becomes an item with a problem.
    Pictures that an earlier run wrote are left out.

    Parameters
    ----------
    paths : iterable of str or Path
    recursive : bool
        Look into the folders of a folder too.
    """
    found: dict[str, Path] = {}
    images: list[Path] = []
    problems: list[BatchItem] = []
    written: list[str] = []

    def unusable(path: str | Path, problem: str) -> None:
        problems.append(BatchItem(Path(as_text(path)), as_text(path), problem=problem))

    def unreadable(error: OSError) -> None:
        unusable(error.filename, f"{as_text(error.filename)} cannot be looked into: {error.strerror}.")

    for given in dict.fromkeys(map(str, paths)):
        try:
            every, itself = find_images(given, recursive, unreadable), user_path(given)
            # A zarr that was named has its image in it.
            inputs = [one for one in every if not is_output(one) or (one == itself and one.is_dir())]
            if not inputs:
                written.append(given)
            for path in inputs:
                found.setdefault(os.path.realpath(path), path)
        except WBCSegError as error:
            unusable(given, str(error))
        except (OSError, RuntimeError, ValueError) as error:  # a link to itself, a null character
            reason = getattr(error, "strerror", None) or error
            unusable(given, f"{as_text(given)} cannot be looked into: {reason}.")
    for given in written:
        if not (found and user_path(given).is_file()):  # a shell lists files for a pattern
            what = "holds only what an earlier run wrote"
            unusable(given, f"{as_text(given)} {what}: give the images, or --settings with its {RUN_FILE}.")
    for path in sorted(found.values(), key=natural_key):
        if problem := no_text(path):
            unusable(path, problem)
        else:
            images.append(path)
    shown = image_names(images)
    return [*(BatchItem(path, shown[path]) for path in images), *problems]


def segment_files(
    items: Sequence[BatchItem],
    out: str | Path,
    model: ModelFile,
    settings: SegmentationSettings,
    *,
    source: str | None = None,
    formats: Sequence[str] = ("overlay",),
    again: bool = False,
    client: Client | None = None,
    progress: Progress = silent,
    image_progress: Progress = silent,
    report: Callable[[BatchItem, Row], None] = lambda item, row: None,
) -> BatchResult:
    """Segment files and write the results, see `napari_wbcseg.results`.

    Images that an earlier run with the same settings, model, classifier and version did, and that have
    not changed since, are not done again. The record of the run is written before the first
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
    formats : sequence of str
        Which of `napari_wbcseg.results.formats.registry.FORMATS` to write besides the labels and the record.
    again : bool
        Do all images, whatever an earlier run did; what a person corrected stays beside the new results.
    client : distributed.Client, optional
        Do the work on this cluster, whose workers see the same folders under the same
        names; by default here.
    progress : Progress
        Called between images.
    image_progress : Progress
        Called within an image, where that is done here or in tiles.
    report : callable
        Called with each image, by the name of its files, and its row as soon as that is known, those of
        earlier runs first.

    Raises
    ------
    OutputError
        If the results cannot be written: nothing further is tried then.
    ModelError
        If the model runs on no device, or the classifier cannot be used.
    SettingsError
        If the settings ask for another recipe than that of the model.
    ClusterError
        If the cluster cannot do the work.
    """
    folder = user_path(out).resolve()
    model, settings = model_and_settings(model, settings)
    wanted = tuple(formats)
    if client is None:
        device, segment = create_engine(model, settings.engine, settings.device).device, segment_here
    else:
        from .cluster import describe, segment_on_cluster  # needs an extra

        device, segment = describe(client), partial(segment_on_cluster, client=client)
    record = RunRecord.start(settings, model, source, device=device, finished=False, formats=wanted)
    source = record.model.source
    run = Run(
        folder, wanted, source, model=model, settings=settings, classifier=record.classifier, again=again
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(write_problem(folder, error)) from None
    with alone_in(folder):
        earlier = earlier_items(folder)
        given = with_own_names(dict.fromkeys(items), earlier, run)
        items = with_others_done(given, earlier, run)
        # Before hours of work are done, show that their results can be kept.
        _with_inputs(record, items, {}, {}, folder).write(folder / RUN_FILE)
        remove_leftovers(folder, _UNTOUCHED)
        rows, finished = dict[BatchItem, Row](), False

        def take(item: BatchItem, row: Row) -> None:
            rows[item] = row
            report(item, row)

        def take_up(items: Iterable[BatchItem], known: Callable[[BatchItem], ResultRecord | None]) -> None:
            for item in items:
                if item not in rows and (done := known(item)) is not None:
                    with suppress(Exception):  # damaged, and so done again, or told of then
                        now, cells = refreshed(item, done, run)
                        take(item, now.row(item.image, cells))

        try:
            take_up(items[len(given) :] if again else items, run.done_before)
            kept = len(rows)
            todo = [item for item in items if item not in rows]
            outdated = sum(run.outdates(run.read(item.name)) for item in todo if not item.problem)
            if client is not None:
                todo.sort(key=lambda item: not item.large)  # in the order in which they are done there
            total, left = len(items), dict.fromkeys(todo)
            with closing(segment(todo, run, image_progress)) as work:
                while left:
                    progress(len(rows), total, next(iter(left)).image)
                    item, row = next(work)
                    del left[item]
                    take(item, row)
            progress(total, total, "")
            finished = True
        finally:
            remove_leftovers(folder, _UNTOUCHED)  # of workers that died
            if not finished:
                take_up(items, run.segmented)  # what was written meanwhile, or lacks but a format
            record = record.model_copy(update={"finished": finished})
            seen = _write_run(run, record, items, rows)
    told = [rows[item] for item in items if item in rows]
    return BatchResult(told, kept, outdated, (*seen, *not_counted(run)))


def renew_tables(folder: str | Path, classifier: ModelRecord | None = None) -> None:
    """Write tables, record and report of a run again, from the files of its results as they are now.

    Parameters
    ----------
    folder : str or Path
        Of a run's results; where no run wrote any, nothing is done.
    classifier : ModelRecord, optional
        What told the classes of all of them since.

    Raises
    ------
    BusyError
        If a run is at work in the folder; it writes them at its end.
    OutputError
        If they cannot be written.
    SettingsError
        If the record of the run is damaged.
    """
    folder = user_path(folder).resolve()
    if not (folder / RUN_FILE).is_file():
        return
    with alone_in(folder):
        record = RunRecord.read(folder / RUN_FILE)
        if classifier is not None:
            settings = record.settings.replace(classes=classifier.source)
            record = record.model_copy(update={"settings": settings, "classifier": classifier})
        outputs = Outputs.of(record, folder)
        items, rows = items_of(record, folder), dict[BatchItem, Row]()
        for item, given in zip(items, record.inputs, strict=True):
            if outputs.record_file(item.name).is_file() and record.counts(given, folder):
                rows[item] = {"status": "ok"}
            elif given.status == "failed":
                rows[item] = failed_row(item.image, given.error)
        _write_run(outputs, record, items, rows)


def _with_inputs(
    record: RunRecord,
    items: Sequence[BatchItem],
    rows: Mapping[BatchItem, Row],
    hashes: Mapping[BatchItem, str | None],
    folder: Path,
) -> RunRecord:
    """Return the record of a run, to lie in a folder, with what became of each input so far."""
    inputs = []
    for item in items:
        row, path = rows.get(item, {"status": "pending"}), os.path.abspath(item.path)
        known: dict[str, Any] = {name: row[name] for name in ("status", "count", "error") if name in row}
        known |= {"relative": relative_path(path, folder), "sha256": hashes.get(item, item.sha256)}
        inputs.append(InputRecord(path=path, image=item.image, name=item.name, **known))
    return record.model_copy(update={"inputs": inputs})


def _write_run(
    outputs: Outputs, record: RunRecord, items: Sequence[BatchItem], rows: dict[BatchItem, Row]
) -> tuple[str, ...]:
    """Write tables, record and report of a run, from the files of its results as they are now.

    Returns
    -------
    tuple of str
        Which images seem to be there twice, as their rows say too; which classes are unusual; whether what
        told them became another meanwhile.
    """
    folder, tables, told, gallery = outputs.folder, [], list[ResultClasses](), Gallery()
    hashes, read = dict[BatchItem, str | None](), dict[Path, int]()
    told_by = [record.classifier]
    for item in items:
        if rows.get(item, {}).get("status") != "ok":
            continue
        try:
            file = outputs.record_file(item.name)
            result, cells = refreshed(item, ResultRecord.read(file), outputs)
        except OutputError:
            raise
        except Exception as error:  # removed or damaged meanwhile
            rows[item] = failure(item, error)
            continue
        rows[item], hashes[item] = result.row(item.image, cells), result.image.sha256
        if result.image.name != item.image and "csv" in outputs.beside(item.name, result):
            result = _renamed(item, result, cells, outputs)
        tables.append((item.image, with_micrometres(cells, result.placement.pixel_size)))
        told.append(ResultClasses(cells, result.class_list, result.in_doubt))
        told_by += [] if result.corrected else [result.classifier]  # those may be taught beside a run
        with suppress(WBCSegError):
            result = with_pictures(item, result, outputs, write=True)
            if not result.in_doubt:
                add_to_gallery(gallery, item.image, result.gallery)
        read[file] = _last_change(file)
    twice = counted_twice(hashes, outputs)
    for said, group in twice.items():
        for item in group:
            rows[item]["notes"] = f"{rows[item]['notes']} {said}".strip()
    known = {item: rows[item] for item in items if item in rows}
    record = _with_inputs(record, items, known, hashes, folder)
    write_counts(folder / COUNTS_FILE, known.values())
    write_cells(folder / CELLS_FILE, tables)
    record.write(folder / RUN_FILE)
    found = pooled_results(told)
    write_report(folder / REPORT_FILE, record, _entries(outputs, known), found, gallery)
    if any(_last_change(file) != then for file, then in read.items()):
        return _write_run(outputs, record, items, rows)  # who saved meanwhile found the folder busy
    several = len({one.hash for one in told_by if one is not None}) > 1
    changed = f"{record.settings.classes} {_TAUGHT_ANEW}" if several else ""
    return tuple(filter(None, (*twice, found.unusual, changed)))


def _renamed(item: BatchItem, result: ResultRecord, cells: pd.DataFrame, outputs: Outputs) -> ResultRecord:
    """Call an image by its folder, as another one of its name came along from elsewhere."""
    named = replace(result.segmentation(None, cells, outputs.folder), name=item.image)
    write_anew("csv", outputs.folder / item.name, named, None, silent)
    image = result.image.model_copy(update={"name": item.image})
    result = result.model_copy(update={"image": image})
    result.write(outputs.record_file(item.name))
    return result


def _last_change(file: Path) -> int:
    """Return when a file was written, in nanoseconds; 0 where it is gone."""
    with suppress(OSError):
        return file.stat().st_mtime_ns
    return 0


def _entries(outputs: Outputs, rows: Mapping[BatchItem, Row]) -> Iterator[dict[str, object]]:
    """Yield what the report shows of each image; the pictures of one are in memory at a time."""
    for item, row in rows.items():
        entry: dict[str, object] = {"row": row, "pictures": [], "overlay": ""}
        if row["status"] == "ok" and (result := outputs.read(item.name)) is not None:
            base = outputs.folder / item.name
            drawn = [*files_of(base, "overlay"), *planes_there(base, "overlay")]
            overlay = next((file.name for file in drawn if file.exists()), "")
            entry |= {"pictures": result.pictures, "overlay": overlay}
        yield entry
