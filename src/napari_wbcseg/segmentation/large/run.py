"""`segment_large`: one image of any size, its results on disk, resumable tile by tile."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from ...box import Box
from ...classification.classify import class_list, classifier_of
from ...errors import BusyError, ImageError, OutputError, SettingsError
from ...files import locked, relative_path, user_path, write_atomically
from ...images.pixel_source import PixelSource
from ...images.prepare import held
from ...images.read import LargeImage, open_large
from ...images.samples import image_digest
from ...network.device import available_cpus
from ...network.model_file import ModelFile
from ...progress import Progress, silent
from ...settings import SegmentationSettings
from ...version import __version__
from ..detections import TileCells, draw
from ..finish import finish
from ..global_estimates import GlobalEstimates, estimate
from ..pipeline import DEFAULT_MODEL, about, as_array, model_and_settings
from ..result import ABOUT_IN_WORDS, Placement, Segmentation
from ..tile_work import Each, TileWork, WindowTiles, by_window, find_all, here
from ..tiles import Tile
from .files import TABLES, TableFormat, TileFiles, check_table, table_file, write_table
from .folder import LABELS_FOLDER, PLAN_FILE, PROBABILITY_FOLDER, RESULT_FILE
from .pyramid import Pyramid
from .result import LargeResult, is_edited, is_of_another

if TYPE_CHECKING:
    from distributed import Client


# Made first and removed last, so that a folder is known for one of ours whenever a run is killed.
_STATE_FOLDER = "unfinished"
_FORMAT = 6
#: Tiles that are done at once here, each in some 150 MB. An image in memory has few: they would gain nothing
#: for that memory, which a process keeps.
MOST_THREADS = 4


class _Plan(BaseModel, frozen=True, extra="forbid"):
    """What a run is, so that only its own continuation takes up its tiles."""

    format: int
    version: str
    image: str = ""
    relative: str = ""  # the same from the folder, which may be moved along with it
    digest: str
    shape: tuple[int, int]
    model: str
    classifier: str = ""
    settings: SegmentationSettings
    estimates: GlobalEstimates

    @property
    def run(self) -> str:
        """By which its tiles are known, wherever the image lies."""
        text = self.model_dump_json(exclude={"image", "relative"})
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def write(self, folder: Path) -> None:
        """Write it into the folder of the result."""
        write_atomically(folder / PLAN_FILE, self.model_dump_json(indent=2).encode(), OutputError)


@dataclass(frozen=True)
class TileDone:
    """A tile that was just finished.

    Attributes
    ----------
    area : Box
        Its core, pixels of the image.
    done, total : int
        Tiles finished, and tiles in all.
    cells : int
        Found so far, white cells or not.
    """

    area: Box
    done: int
    total: int
    cells: int


class LargeRun:
    """The segmentation of one image into a folder, tile by tile.

    Making one takes the samples of the image, or takes up an interrupted run; `tiles` does the
    work, and `finish` gives the result.

    Parameters
    ----------
    image, out, model, settings, client
        As `segment_large` takes them.
    preview : bool
        Draw the cells of each tile when it is done; without, all are drawn by `finish`.
    progress : Progress

    Attributes
    ----------
    source : PixelSource
        The image.
    labels : Pyramid
        What was found so far.
    """

    def __init__(
        self,
        image: Any,
        out: str | Path,
        model: str | Path | ModelFile = DEFAULT_MODEL,
        settings: SegmentationSettings | None = None,
        *,
        client: Client | None = None,
        preview: bool = False,
        progress: Progress = silent,
    ) -> None:
        import dask

        self.out, self.progress = user_path(out).absolute(), progress
        self.model, self.settings = model_and_settings(model, settings)
        self._classifier = classifier_of(self.settings)
        self._client, self._preview = client, preview
        with dask.config.set(scheduler="threads"):  # a lazy image is read here, also where there is a cluster
            opened = _opened(image)
            self.source, plan, known = self._begin(opened)
        self._image = opened
        self.labels, probability = (
            Pyramid.open(self.out / name) for name in (LABELS_FOLDER, PROBABILITY_FOLDER)
        )
        for pyramid in (self.labels, probability) if opened.name else ():
            pyramid.tell_pixel_size(opened.pixel_size)
        self._finished = (self.out / RESULT_FILE).exists()
        if self._finished:
            shutil.rmtree(self.out / _STATE_FOLDER, ignore_errors=True)
        self._kept = TileFiles(self.out / _STATE_FOLDER, plan.run)
        self._work = TileWork(
            self.source,
            plan.estimates,
            self.model,
            self.settings,
            self._classifier,
            self._kept,
            self.labels,
            probability,
        )
        self._known = dict(enumerate(known))

    @property
    def _method(self) -> dict[str, Any]:
        """What the cells are found and told by."""
        classifier = self._classifier.id if self._classifier else ""
        return {"model": self.model.id, "classifier": classifier, "settings": self.settings}

    def _begin(self, opened: LargeImage) -> tuple[PixelSource, _Plan, list[TileCells]]:
        """Take up the run before, or start afresh; return also what was found in the tiles on the way."""
        if (before := self._taken_up(opened)) is not None:
            return *before, []
        self._require_own(opened)
        # Workers read what they need: what is in memory would be sent to each.
        source = PixelSource(opened.full if self._client else held(opened.full))
        estimates, known = estimate(source, self.model, self.settings, self.progress)
        plan = _Plan(
            format=_FORMAT,
            version=__version__,
            **self._place_of(opened),
            digest=image_digest(source),
            shape=source.shape,
            **self._method,
            estimates=estimates,
        )
        state = self.out / _STATE_FOLDER
        state.mkdir(parents=True, exist_ok=True)
        # The result first: without its plan, it would be taken for a damaged one.
        earlier = [self.out / name for name in (RESULT_FILE, PLAN_FILE, *TABLES)]
        for one in (*earlier, *state.iterdir()):
            one.unlink(missing_ok=True)
        Pyramid.create(self.out / LABELS_FOLDER, plan.shape, np.int32, opened.pixel_size)
        Pyramid.create(self.out / PROBABILITY_FOLDER, plan.shape, np.float32, opened.pixel_size)
        plan.write(self.out)  # last: the folder is laid out
        return source, plan, known

    def _place_of(self, opened: LargeImage) -> dict[str, Any]:
        """Return where the plan says that the image lies; nothing of one that is in no file."""
        if not opened.name:
            return {}
        file = Path(opened.name).resolve()
        return {"image": str(file), "relative": relative_path(file, self.out.resolve())}

    def _taken_up(self, opened: LargeImage) -> tuple[PixelSource, _Plan] | None:
        """Return the image and the plan of the run before, if it did the same to the same image."""
        if (old := self._plan_before()) is None:
            return None
        whole = all((self.out / name).exists() for name in (LABELS_FOLDER, PROBABILITY_FOLDER))
        now = {"format": _FORMAT, "version": __version__, **self._method}
        if not whole or old != old.model_copy(update=now):
            return None  # which is known without the image
        source = PixelSource(opened.full, old.estimates.value_range)
        if image_digest(source) != old.digest:
            return None
        plan = old.model_copy(update=self._place_of(opened))
        if plan != old:  # it was moved
            plan.write(self.out)
        return source, plan

    def _plan_before(self) -> _Plan | None:
        """Return the plan that lies in the folder; None where there is none, or another version wrote it."""
        with suppress(OSError, ValueError, SettingsError):
            return _Plan.model_validate_json((self.out / PLAN_FILE).read_bytes())
        return None

    def _require_own(self, opened: LargeImage) -> None:
        """Refuse a folder of other files, of another file's cells, or of those that a person corrected."""
        ours = (self.out / PLAN_FILE).exists() or (self.out / _STATE_FOLDER).exists()
        if self.out.exists() and not ours and any(self.out.glob("[!.]*")):
            raise ImageError(
                f"The folder {self.out} holds other files; name a folder that is new or empty for the result."
            )
        if is_edited(self.out):
            raise OutputError(
                f"{self.out} holds the cells of another image, model, setting or version, which a person "
                "corrected: name another folder, or remove this one."
            )
        old = self._plan_before() if (self.out / RESULT_FILE).exists() else None
        before, now = old.image if old else "", self._place_of(opened).get("image", "")
        # One that was moved is the same.
        if before and now and before != now and is_of_another(self.out, opened.full):
            raise OutputError(
                f"{self.out} holds the cells of {before}: name another folder, or remove this one."
            )

    def _executor(self) -> AbstractContextManager[Each]:
        """Return what does the parts of the work: this process, or the workers of the cluster."""
        if self._client is None:
            return nullcontext(here(self._work, min(available_cpus(), MOST_THREADS)))
        from .cluster import on_workers  # needs an extra

        return on_workers(self._client, self._work, self.out)

    def tiles(self, toward: Callable[[], tuple[float, float] | None] = lambda: None) -> Iterator[TileDone]:
        """Do the tiles that are not done yet.

        Parameters
        ----------
        toward : callable
            Asked before each tile; the unfinished tile nearest to the pixel (row, column) that it
            returns comes next, or the next in reading order for None.

        Yields
        ------
        TileDone
        """
        if self._finished:
            return
        grid = self._work.tiles
        kept = {n: len(one) for n in range(len(grid)) if (one := self._kept.get(n)) is not None}
        left = [number for number in range(len(grid)) if number not in kept]
        windows = by_window(grid, left, self._known)
        done, found = len(kept), sum(kept.values())

        def in_turn() -> Iterator[WindowTiles]:
            while windows:
                nearest = _nearest([grid[tiles[0][0]] for tiles in windows], toward())
                yield windows.pop(nearest)

        with self._executor() as each:
            for number, count in find_all(self._work, each, in_turn(), len(left), self.progress):
                if count and self._preview:
                    # These numbers are for the eye, until all cells are known and `finish` numbers them.
                    cells = self._kept[number]
                    boxes = cells.rows["box"]
                    area = Box.around(boxes.tolist())
                    numbers = np.arange(found + 1, found + 1 + count)
                    self.labels.draw(area, draw(boxes, cells.masks, numbers, area))
                done, found = done + 1, found + count
                yield TileDone(grid[number].core, done, len(grid), found)

    def finish(self, table: TableFormat = "csv") -> Segmentation:
        """Give the cells their numbers in reading order, write the table, and return the result.

        Parameters
        ----------
        table : {"csv", "parquet"}
            Format of the table of cells.
        """
        file = self.out / f"cells.{table}"
        if not self._finished:
            self._number(file)
        found = LargeResult.open(self.out)  # of an earlier run perhaps, and corrected since
        if not found.in_table:
            found.write_table()
        if (before := table_file(self.out)) != file:
            write_table(file, found.cells)
            before.unlink()
        record = json.loads((self.out / RESULT_FILE).read_text(encoding="utf-8"))
        return Segmentation(
            labels=self.labels.arrays[0],
            probability=self._work.probability.arrays[0],
            proposals=np.array(record["proposals"], np.int64).reshape(-1, 4),
            place=Placement.of_pixels(2, self._image.pixel_size),
            image_path=Path(self._image.name) if self._image.name else None,
            **{name: getattr(found, name) for name in ("cells", "settings", "classes", *ABOUT_IN_WORDS)},
        )

    def _number(self, file: Path) -> None:
        """Join and number the cells of all tiles, and write their table, to this file, and their record."""
        with self._executor() as each:
            cells, proposals = finish(self._work, each, self.progress)
        write_table(file, cells)
        record = {
            "count": len(cells),
            "model": self.model.id,
            "classifier": self._method["classifier"],
            **about([self._work.estimates], self._image.notes),
            "classes": class_list(self._classifier).to_list(),
            "proposals": proposals.tolist(),
            "stamps": self.labels.stamps({}),
        }
        write_atomically(self.out / RESULT_FILE, json.dumps(record).encode(), OutputError)
        shutil.rmtree(self.out / _STATE_FOLDER, ignore_errors=True)
        self._finished = True


def segment_large(
    image: Any,
    out: str | Path,
    model: str | Path | ModelFile = DEFAULT_MODEL,
    settings: SegmentationSettings | None = None,
    progress: Progress = silent,
    *,
    table: TableFormat = "csv",
    client: Client | None = None,
    on_tile: Callable[[TileDone], None] | None = None,
    toward: Callable[[], tuple[float, float] | None] = lambda: None,
) -> Segmentation:
    """Segment one image of any size with its results on disk, so that memory does not grow with it.

    The cells are those that `segment` finds. A run that was interrupted, even killed, goes on where
    it stopped when it is called again with the same image, model and settings.

    Parameters
    ----------
    image : str, Path, LargeImage or array, shape (H, W) or (H, W, 3)
        File that `napari_wbcseg.images.read.open_large` opens; or NumPy, dask or zarr.
    out : str or Path
        Folder for the result, new, empty, or of an earlier run: ``labels.zarr`` and
        ``probability.zarr`` (OME-Zarr pyramids), ``cells.csv`` or ``cells.parquet``, and the
        files by which it is resumed. What another model, other settings or another version found there
        is replaced.
    model : str, Path or ModelFile
    settings : SegmentationSettings, optional
    progress : Progress
        Called often; raise `Cancelled` in it to stop. What is done stays done.
    table : {"csv", "parquet"}
        Format of the table of cells; parquet needs the extra ``slides``.
    client : distributed.Client, optional
        Spread the tiles over the workers of this cluster, which see the folder, and the file of the image,
        under the same names; by default the work is done here. The result is the same to the bit.
    on_tile : callable, optional
        Called with a `TileDone` after each tile, when its cells can be read from the label image.
    toward : callable
        Asked before each tile where in the image (row, column) results are wanted first.

    Returns
    -------
    Segmentation
        ``labels`` and ``probability`` are zarr arrays on disk.

    Raises
    ------
    ImageError
        If the image cannot be used, or the folder holds other files.
    ModelError, SettingsError
        As `segment`, and where the table cannot be written in that format.
    OutputError
        If the result cannot be written, or another one is there that a person corrected, or that is of
        another file.
    BusyError
        If another run is at work in the folder.
    ClusterError
        If the cluster cannot do the work. What is done stays done.
    """
    check_table(table)
    folder, preview = user_path(out).absolute(), on_tile is not None
    busy = BusyError(f"Another run is writing into {folder}: wait for its end, or name another folder.")
    try:
        with locked(folder.parent / f".{folder.name}.lock", busy):
            run = LargeRun(image, folder, model, settings, client=client, preview=preview, progress=progress)
            for done in run.tiles(toward):
                if on_tile is not None:
                    on_tile(done)
            return run.finish(table)
    except OSError as error:
        raise OutputError(
            f"The result in {out} could not be written, or the image not be read: {error}. "
            "What is done is kept; start it again when that is mended."
        ) from error


def _opened(image: Any) -> LargeImage:
    """Return what `segment_large` takes as an opened image; one that is in no file has no name."""
    if isinstance(image, str | Path):
        return open_large(image)
    if isinstance(image, LargeImage):
        return image
    array = as_array(image)
    return LargeImage((image if hasattr(image, "dtype") else array,), "")  # zarr as it is


def _nearest(tiles: list[Tile], point: tuple[float, float] | None) -> int:
    """Return the index of the tile nearest to a pixel, or of the first."""
    if point is None:
        return 0
    corners = np.array([tile.core for tile in tiles]).reshape(-1, 2, 2)
    return int(np.linalg.norm(corners.mean(axis=1) - point, axis=1).argmin())
