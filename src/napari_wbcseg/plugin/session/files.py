"""What a session keeps on disk: the result files of a run, and which pictures it is of."""

from __future__ import annotations

import json
import os
import shutil
from base64 import b64decode
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari.utils.history import get_open_history, update_open_history

from ...batch.folder import BatchItem, Outputs, items_of
from ...batch.process import in_tiles, make_room, with_pictures, write_result
from ...batch.report import small_picture
from ...batch.run import BatchResult, collect, renew_tables, segment_files
from ...errors import BusyError, ImageError, OutputError, SettingsError, WBCSegError
from ...files import read_text, relative_path, user_path, write_atomically, written_whole
from ...images.read import open_large, read_file, read_image
from ...network.library import load_model
from ...progress import Progress
from ...results.formats.registry import FORMATS
from ...results.formats.tables import failed_row
from ...results.load import record_now
from ...results.names import RUN_FILE, output_names
from ...results.origins import FileRecord, ImageRecord
from ...results.records import ResultRecord, RunRecord
from ...results.save import alone_with
from ...segmentation.large.folder import PLAN_FILE, is_large_result
from ...segmentation.large.result import LargeResult, is_edited
from ...segmentation.measure import known_rows
from ...segmentation.result import ABOUT_IN_WORDS, Placement, passing_folder
from ...settings import SegmentationSettings
from ..controls.basic_widgets import there
from ..shared.file_layers import image_layer, large_image_layer, large_result_layers, read_result_layers
from ..shared.metadata import LayerDataTuple
from ..shared.saving import LayerSnapshot, save_snapshot
from ..shared.unsaved import said_of

SESSION_FILE = ".wbcseg-session.json"
#: Folder of the results inside that of the pictures, unless another is named.
RESULTS = "counted"


@dataclass(frozen=True)
class Session:
    """Pictures, and the folder with their results.

    Attributes
    ----------
    out : Path
        The folder of the results, as ``wbcseg segment --out`` takes it.
    pictures : tuple of str
        The files and folders that it was given; a run alone writes down those that it has segmented.
    shown : str
        Path of the picture shown last.
    run : RunRecord or None
        What the last run into this folder wrote down, here or in a shell; None before the first.
    """

    out: Path
    pictures: tuple[str, ...] = ()
    shown: str = ""
    run: RunRecord | None = None

    @classmethod
    def open(cls, paths: Sequence[str | Path], out: str | Path | None = None) -> Session:
        """Open pictures, or the folder of results of an earlier session or run.

        Parameters
        ----------
        paths : sequence of path
            Files and folders of pictures; or a folder of results, which knows its pictures. None where
            ``out`` is such a folder.
        out : path, optional
            For the results; by default ``counted`` beside the pictures.
        """
        given = [user_path(path).resolve() for path in paths]
        if out is None and any((given[0] / name).is_file() for name in (RUN_FILE, SESSION_FILE)):
            out = given.pop(0)
        elif out is None:
            out = (given[0] if given[0].is_dir() else given[0].parent) / RESULTS
        folder = user_path(out).resolve()
        kept: dict[str, Any] = {}
        run = None
        with suppress(SettingsError, ValueError):  # none yet, or damaged
            kept = json.loads(read_text(folder / SESSION_FILE))
        with suppress(SettingsError):  # none yet, or of another version: as a run takes it
            run = RunRecord.read(folder / RUN_FILE)
        files = [*kept.get("pictures", ()), str(kept.get("shown", ""))]
        relative = kept.get("relative", ())
        if len(relative) == len(files):  # they may have moved along with the folder
            records = [FileRecord(path=one, relative=way) for one, way in zip(files, relative, strict=True)]
            files = [str(one.file(folder) or one.path) for one in records]
        return cls(folder, tuple(map(str, given or files[:-1])), files[-1], run)

    def remember(self, shown: Path) -> None:
        """Write down what no run does: which pictures these are, and which of them is shown.

        napari's list of what was opened leads back to it.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        file, files = self.out / SESSION_FILE, [*self.pictures, str(shown)]
        relative = [relative_path(one, self.out) for one in files]
        kept = {"pictures": self.pictures, "shown": files[-1], "relative": relative}
        write_atomically(file, json.dumps(kept, indent=2).encode())
        update_open_history(str(file))

    @property
    def outputs(self) -> Outputs:
        """Which files a result has."""
        return Outputs(self.out) if self.run is None else Outputs.of(self.run, self.out)

    def items(self) -> list[BatchItem]:
        """Return the pictures: those there are now, then others of the last run, with the names they had.

        Raises
        ------
        SettingsError
            If nothing tells which pictures they are.
        """
        earlier = [] if self.run is None else items_of(self.run, self.out)
        others = {os.path.realpath(item.path): replace(item, sha256=None) for item in earlier}
        now = [others.pop(os.path.realpath(item.path), item) for item in collect(self.pictures)]
        items = [*now, *others.values()]
        if not items:
            raise SettingsError(
                f"{self.out} does not tell which pictures it is of: open the folder with the pictures."
            )
        good, outputs = {item.path: item for item in items if not item.problem}, self.outputs

        def free(path: Path, name: str) -> bool:  # of what was corrected in another picture: as in a run
            record = replaced(replace(good[path], name=name), outputs)
            return record is None or not outputs.is_corrected(record)

        names = output_names(good, {path: item.name for path, item in good.items()}, free)
        return [item if item.problem else replace(item, name=names[item.path]) for item in items]

    def now(self) -> tuple[Session, list[BatchItem]]:
        """Return this session and its pictures as they are by now, after another run into it perhaps.

        Raises
        ------
        SettingsError
            If nothing tells which pictures they are.
        """
        session = Session.open(self.pictures, self.out)
        return session, session.items()

    def written(self, item: BatchItem) -> tuple[Path, int] | None:
        """Return the record of a picture, and when it was written; None where there is none."""
        file = self.outputs.record_file(item.name)
        return (file, file.stat().st_mtime_ns) if file.exists() else None

    def source_of(self, model: str) -> str:
        """Return by what the run asked for a model, ``name@hash``; empty of another one than its own."""
        of_run = self.run is not None and model.endswith(f"@{self.run.model.hash}")
        return self.outputs.model_source if of_run else ""

    def region_file(self, item: BatchItem, corner: tuple[int, int]) -> Path:
        """Return where the cells of a region of a slide are saved, by the row and column it begins at."""
        row, col = corner
        return self.outputs.folder / f"{item.name}-region-{row}-{col}.ome.zarr"

    def segment(
        self,
        items: Sequence[BatchItem],
        model: str,
        settings: SegmentationSettings,
        progress: Progress,
        report: Callable[[BatchItem, dict[str, Any]], None],
    ) -> BatchResult:
        """Segment what is not done yet, as ``wbcseg segment`` does.

        Parameters
        ----------
        items : sequence of BatchItem
        model, settings
            For the first run; later ones go on with those of the first.
        progress : Progress
        report : callable
            Called with each picture, under the name that its files have, and its row of ``counts.csv``.
        """
        if self.run is not None:
            file, settings, source = self.run.model.load(), self.run.settings, self.run.model.source
        else:
            file, source = load_model(model), model
        at = 0, len(items), ""

        def between(done: int, total: int, stage: str) -> None:
            nonlocal at
            at = done, total, stage
            progress(*at)

        return segment_files(
            items,
            self.out,
            file,
            settings,
            source=source,
            formats=self.outputs.formats,
            progress=between,
            image_progress=lambda *_: progress(*at),  # asks whether it was cancelled
            report=report,
        )


def last_session() -> Path | None:
    """Return the results folder of the session that was opened last; None where there was none."""
    return next((one for one in map(Path, get_open_history()) if (one / SESSION_FILE).is_file()), None)


def row_and_thumbnail(item: BatchItem, session: Session) -> tuple[dict[str, Any] | None, bytes]:
    """Return the row of a picture in ``counts.csv``, None where no run came to it, and a small JPEG."""
    row, jpeg, outputs = None, b"", session.outputs
    if item.problem:
        return failed_row(item.image, item.problem), jpeg
    record, inputs = outputs.read(item.name), () if session.run is None else session.run.inputs
    failed = [one.error for one in inputs if (one.name, one.status) == (item.name, "failed")]
    gone = not failed and not item.path.exists()  # its cells stand alone, and count
    if record is not None and (gone or record.is_of(item.path, outputs.folder)):
        with suppress(WBCSegError):
            now, cells = record_now(record, outputs.folder)
            row = now.row(item.image, cells)
            jpeg = b64decode(with_pictures(item, record, outputs).pictures[0].jpeg)
    elif failed:
        row = failed_row(item.image, failed[0])
    if not jpeg and not item.large:
        with suppress(WBCSegError):
            jpeg = b64decode(small_picture(read_file(item.path).pixels))
    return row, jpeg


def layers_of(item: BatchItem, outputs: Outputs) -> list[LayerDataTuple]:
    """Read a picture, and its cells where they are known, as layers; for a worker thread.

    Raises
    ------
    WBCSegError
        If the picture or its result cannot be read.
    """
    if item.problem:
        raise ImageError(item.problem)
    file = outputs.record_file(item.name)
    if file.is_file() and not replaced(item, outputs):
        record = ResultRecord.read(file)
        if record.large:
            return large_result_layers(outputs.folder / record.labels, item.path)
        return read_result_layers(file)
    return [large_image_layer(item.path) if item.large else image_layer(item.path, item.image)]


def replaced(item: BatchItem, outputs: Outputs) -> ResultRecord | None:
    """Return the record of another picture that has the name of this one, which lies in its place perhaps."""
    record = outputs.read(item.name)
    other = record is not None and item.path.exists() and not record.is_of(item.path, outputs.folder)
    return record if other else None


def save_cells(
    snapshot: LayerSnapshot, item: BatchItem, session: Session, region_file: Path | None, progress: Progress
) -> list[Path]:
    """Write cells into the result files of their picture, and return these; for a worker thread.

    Those of a region of a slide go with its pixels, which no other file has, into a file beside. They are
    no result of the slide, and do not count in the folder; of others its tables and report follow.

    Raises
    ------
    ImageError
        If a slide cannot be read, or is another one by now.
    OutputError
        If a file cannot be written, or a person corrected what is known of a slide.
    """
    if region_file is not None:
        return save_snapshot(snapshot, region_file, progress=progress)
    if snapshot.info.folder is None:
        return _save_in_place(snapshot, item, session, progress)
    return _save_slide(snapshot, item, session, progress)


def kept_in_place(snapshot: LayerSnapshot, item: BatchItem, session: Session) -> AbstractContextManager[None]:
    """Let what is corrected in a slide wait while its cells are copied, and be put where they are then."""
    folder = snapshot.info.folder
    own = folder in (None, str(session.outputs.large_folder(item.name)))
    return nullcontext() if own else alone_with(Path(there(folder)))


def _save_slide(snapshot: LayerSnapshot, item: BatchItem, session: Session, progress: Progress) -> list[Path]:
    """Record what was found in all of a slide, once it is where a run has it."""
    outputs, image = session.outputs, open_large(item.path)
    folder, record = outputs.large_folder(item.name), outputs.record_file(item.name)
    stamp = ImageRecord.of(item.path, item.image, outputs.folder, hashed=False)
    found, found_in = snapshot.found, Path(there(snapshot.info.folder))
    plan, _ = LargeResult.open(found_in).plan_of(image.full)
    if folder.exists() and not is_large_result(folder):
        raise OutputError(f"{folder} holds other files, and is needed for these cells: move it away.")
    if found_in != folder:
        with alone_with(folder), written_whole(folder) as copy:
            known = outputs.read(item.name)
            if is_edited(folder) if known is None else outputs.is_corrected(known):
                raise OutputError(
                    f"{outputs.folder} holds corrections of {item.image}, which are kept: to save these "
                    f"cells in their place, move {record.name} and the folder {folder.name} away."
                )
            shutil.copytree(found_in, copy)
            file = item.path.resolve()  # a layer in which cells are found is in none
            plan |= {"image": str(file), "relative": relative_path(file, folder)}
            write_atomically(copy / PLAN_FILE, json.dumps(plan, indent=2).encode())
            make_room(item, outputs, image)
    large, cells = LargeResult.open(folder), known_rows(found.cells)
    if passing_folder(found.labels) and said_of(cells) != said_of(large.cells):  # what was said last
        large.keep_said(cells, found.classes)
    size = found.placement.pixel_size
    large.labels.tell_pixel_size(size)
    result = replace(
        found,
        labels=large.labels.arrays[0],
        place=Placement.of_pixels(2, size),
        **{name: getattr(large, name) for name in ("cells", "settings", "classes", *ABOUT_IN_WORDS)},
    )
    outputs = replace(outputs, model_source=session.source_of(result.model))
    result = in_tiles(item, result, image, outputs)
    known = outputs.read(item.name)
    write_result(item, result, folder.name, image, stamp, outputs, progress, known=known)
    with suppress(BusyError):  # who is at work there writes the tables at the end
        renew_tables(outputs.folder)
    return [record, folder]


def _save_in_place(
    snapshot: LayerSnapshot, item: BatchItem, session: Session, progress: Progress
) -> list[Path]:
    outputs, image = session.outputs, snapshot.image
    base, found, known = outputs.folder / item.name, snapshot.found, outputs.read(item.name)
    if found.image_path is None:  # of a picture that moved
        found = replace(found, image_path=item.path, image_state=None if known is None else known.image.state)
    if image is None:  # its layer was taken away
        file = ImageRecord.of(found.image_path, item.image, outputs.folder, state=found.image_state)
        with suppress(WBCSegError):
            image = read_image(item.path) if file.is_of(item.path) else None
    formats = [
        name for name in ("tiff", *outputs.formats) if image is not None or not FORMATS[name].needs_image
    ]
    found = replace(found, name=item.image, model_source=session.source_of(found.model))
    return save_snapshot(replace(snapshot, found=found, image=image), base, formats, progress)
