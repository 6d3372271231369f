"""Segment many files: a bad one is reported and skipped, and the run can be repeated."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, ImageError, ModelError, WBCSegError
from ..progress import Progress, silent
from .output import (
    CELLS_FILE,
    COUNTS_FILE,
    LABELS_SUFFIX,
    MASK_SUFFIX,
    OVERLAY_SUFFIX,
    RUN_FILE,
    InputRecord,
    OutputError,
    RunRecord,
    count_row,
    failed_row,
    file_sha256,
    image_names,
    is_output,
    output_names,
    read_pixel_size,
    write_cells,
    write_counts,
    write_labels,
    write_mask,
    write_overlay,
)

if TYPE_CHECKING:
    import pandas as pd

    from ..network.model_file import ModelFile
    from ..settings import SegmentationSettings


@dataclass(frozen=True)
class BatchItem:
    """One file to segment.

    Attributes
    ----------
    path : Path
    image : str
        How the tables call it.
    name : str
        What its output files begin with.
    sha256 : str or None
        What its content must hash to, when a run is repeated.
    problem : str
        Why it cannot even be tried; empty when it can.
    """

    path: Path
    image: str
    name: str
    sha256: str | None = None
    problem: str = ""


@dataclass(frozen=True)
class BatchResult:
    """What a run came to.

    Attributes
    ----------
    rows : list of dict
        The rows of ``counts.csv``.
    files : list of Path
        Every file written, those of the run last.
    """

    rows: list[dict[str, Any]]
    files: list[Path]

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
    from ..data.images import find_images, natural_key

    found: dict[Path, Path] = {}
    problems: list[BatchItem] = []
    for given in dict.fromkeys(str(path) for path in paths):
        try:
            for path in find_images(given, recursive=recursive):
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


def model_of(record: RunRecord) -> ModelFile:
    """Load the very model of a recorded run.

    Raises
    ------
    ModelError
        If no model with the recorded hash is there any more.
    """
    from ..network.models import list_models, load_model

    try:
        model = load_model(record.model.source)
        if model.hash == record.model.hash:
            return model
        found = f"{record.model.source} is now {model.hash}"
    except ModelError as error:
        found = str(error)
    for info in list_models():
        if info.model is not None and info.model.hash == record.model.hash:
            return info.model
    raise ModelError(
        f"The run cannot be repeated: its model {record.model.name}@{record.model.hash} is not here "
        f"({found}). "
        "Put the model's file back, or segment anew without --repeat."
    )


def segment_files(
    items: Sequence[BatchItem],
    out: str | Path,
    model: ModelFile,
    settings: SegmentationSettings,
    *,
    source: str | None = None,
    mask: bool = False,
    overlay: bool = True,
    progress: Progress = silent,
    image_progress: Progress = silent,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
    unexpected: Callable[[Exception], None] = lambda error: None,
) -> BatchResult:
    """Segment files and write the results, see `napari_wbcseg.segmentation.output`.

    The record of the run is written before the first image and again at the end, and the
    tables also when the run is stopped.

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
    progress : Progress
        Called between images.
    image_progress : Progress
        Called within an image.
    report : callable
        Called with the row of each image as soon as it is known.
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
    """
    from ..network.engine import create_engine

    out = Path(out)
    inputs = [_input(item, out) for item in items]
    record = RunRecord.start(
        settings,
        model,
        source=source,
        device=create_engine(model, settings.engine).device,
        mask=mask,
        overlay=overlay,
        inputs=inputs,
        finished=False,
    )
    # Before hours of work are done, show that their results can be kept.
    run_file = record.write(out / RUN_FILE)
    rows: list[dict[str, Any]] = []
    tables: list[tuple[str, pd.DataFrame]] = []
    files: list[Path] = []
    finished = False
    try:
        for done, item in enumerate(items):
            progress(done, len(items), item.image)
            start = time.perf_counter()
            try:
                row, table, written = _segment_file(
                    item, out, model, settings, mask, overlay, image_progress, start
                )
                tables.append((item.image, table))
                files += written
            except (OutputError, Cancelled):
                raise
            except WBCSegError as error:
                row = failed_row(item.image, _sentence(item, error), time.perf_counter() - start)
            except Exception as error:
                unexpected(error)
                reason = (str(error).strip().splitlines() or ["no reason given"])[0]
                message = f"{item.image} failed with an unexpected {type(error).__name__}: {reason}"
                row = failed_row(item.image, message, time.perf_counter() - start)
            rows.append(row)
            inputs[done] = inputs[done].model_copy(
                update={"status": row["status"], "count": row.get("count"), "error": row.get("error", "")}
            )
            if row["status"] == "ok":
                inputs[done] = inputs[done].model_copy(update={"sha256": row.pop("sha256")})
            report(row)
        progress(len(items), len(items), "")
        finished = True
    finally:
        record = record.model_copy(update={"inputs": inputs, "finished": finished})
        files += [
            write_counts(out / COUNTS_FILE, rows),
            write_cells(out / CELLS_FILE, tables),
            record.write(run_file),
        ]
    return BatchResult(rows, files)


def _segment_file(
    item: BatchItem,
    out: Path,
    model: ModelFile,
    settings: SegmentationSettings,
    mask: bool,
    overlay: bool,
    progress: Progress,
    start: float,
) -> tuple[dict[str, Any], pd.DataFrame, list[Path]]:
    from ..data.images import read_image
    from .pipeline import segment

    if item.problem:
        raise ImageError(item.problem)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_image(item.path)
    notes = [
        str(w.message) for w in caught if type(w.message).__module__.startswith(__package__.split(".")[0])
    ]
    sha256 = file_sha256(item.path)
    if item.sha256 is not None and item.sha256 != sha256:
        raise ImageError(
            f"{item.path} is not the file that the recorded run read (its SHA-256 differs); "
            "put the old file back, or segment anew without --repeat."
        )
    result = segment(image, model, settings, progress)
    base = out / item.name
    files = [write_labels(f"{base}{LABELS_SUFFIX}", result.labels, read_pixel_size(item.path))]
    flat = result.labels.ndim == 2
    if mask and flat:
        files.append(write_mask(f"{base}{MASK_SUFFIX}", result.labels))
    if overlay and flat:
        files.append(write_overlay(f"{base}{OVERLAY_SUFFIX}", image, result.labels, result.cells))
    if not flat and (mask or overlay):
        notes.append("A stack has no overlay or mask picture.")
    row = count_row(item.image, result, time.perf_counter() - start, notes)
    return {**row, "sha256": sha256}, result.cells, files


def _input(item: BatchItem, out: Path) -> InputRecord:
    path = item.path.resolve()
    try:
        relative = Path(os.path.relpath(path, out.resolve())).as_posix()
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


def _sentence(item: BatchItem, error: WBCSegError) -> str:
    """Return the error with the name of its file, which arrays do not know."""
    text = str(error)
    return text if item.problem or item.path.name in text else f"{item.path}: {text}"
