"""`segment_large`: one image of any size, its results on disk, resumable tile by tile."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ...box import Box
from ...classification.classify import class_list
from ...errors import ImageError, OutputError, SettingsError
from ...files import write_atomically
from ...images.read import read_pixel_size
from ...progress import Progress, silent
from ...settings import SegmentationSettings
from ...version import __version__
from ..detections import TileCells, patch_of
from ..method import DEFAULT_MODEL, model_and_settings
from ..result import Segmentation
from ..tile_work import TileWork, find_in_tile, finish
from ..tiles import Tile
from .files import (
    LABELS_FOLDER,
    PLAN_FILE,
    PROBABILITY_FOLDER,
    RESULT_FILE,
    TableFormat,
    check_table,
    read_table,
    write_table,
)
from .global_estimates import GlobalEstimates, estimate, image_digest
from .pyramid import Pyramid
from .source import PixelSource

if TYPE_CHECKING:
    from ...network.model_file import ModelFile

# Made first and removed last, so that a folder is known for one of ours whenever a run is killed.
_STATE_FOLDER = "unfinished"
_FORMAT = 3
# Steps of the probability that is stored: it packs well.
_STEPS = np.float32(255)


class _Plan(BaseModel):
    """What a run is, so that only its own continuation takes up its tiles."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format: int
    version: str
    image: str = ""
    digest: str
    shape: tuple[int, int]
    model: str
    settings: SegmentationSettings
    estimates: GlobalEstimates


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
        White cells found so far.
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
    image, out, model, settings
        As `segment_large` takes them.
    progress : Progress

    Attributes
    ----------
    source : PixelSource
        The image.
    labels, probability : Pyramid
        What was found so far.
    """

    def __init__(
        self,
        image: Any,
        out: str | Path,
        model: str | Path | ModelFile = DEFAULT_MODEL,
        settings: SegmentationSettings | None = None,
        *,
        progress: Progress = silent,
    ) -> None:
        self.out, self.progress = Path(out), progress
        self.model, self.settings = model_and_settings(model, settings)
        array, file = _array_and_file(image)
        old = self._old_plan()
        self.source = PixelSource(array, None if old is None else old.estimates.value_range)
        plan = None if old is None else self._same(old)
        known: list[TileCells] = []
        if plan is None:
            self.source = PixelSource(array)
            plan, known = self._start_afresh(file)
        self.labels = Pyramid.open(self.out / LABELS_FOLDER)
        self.probability = Pyramid.open(self.out / PROBABILITY_FOLDER)
        self._finished = (self.out / RESULT_FILE).exists()
        if self._finished:
            shutil.rmtree(self.out / _STATE_FOLDER, ignore_errors=True)
        self._work = TileWork(self.source, plan.estimates, self.model, self.settings)
        self._tiles = self._work.tiles
        self._known = dict(zip(self._tiles, known, strict=False))
        self._cells = 0

    def _old_plan(self) -> _Plan | None:
        try:
            plan = _Plan.model_validate(json.loads((self.out / PLAN_FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, ValidationError, SettingsError, RecursionError):
            return None  # none, or written by another version: it is begun afresh
        whole = all((self.out / name).exists() for name in (LABELS_FOLDER, PROBABILITY_FOLDER))
        return plan if whole and plan.format == _FORMAT else None

    def _same(self, old: _Plan) -> _Plan | None:
        """Return the plan of the run before, if it is that of this one."""
        same = {"version": __version__, "model": self.model.id, "settings": self.settings}
        same["digest"] = image_digest(self.source)
        return old if old == old.model_copy(update=same) else None

    def _start_afresh(self, file: str) -> tuple[_Plan, list[TileCells]]:
        """Estimate what the tiles share, and lay out the folder; the plan is written last.

        Returns the plan, and what was found in the tiles on the way.
        """
        state, size = self.out / _STATE_FOLDER, read_pixel_size(file) if file else None
        ours = (self.out / PLAN_FILE).exists() or state.exists()
        if self.out.exists() and not ours and any(self.out.iterdir()):
            raise ImageError(
                f"The folder {self.out} holds other files; name a folder that is new or empty for the result."
            )
        estimates, known = estimate(self.source, self.model, self.settings, self.progress)
        plan = _Plan(
            format=_FORMAT,
            version=__version__,
            image=file,
            digest=image_digest(self.source),
            shape=self.source.shape,
            model=self.model.id,
            settings=self.settings,
            estimates=estimates,
        )
        state.mkdir(parents=True, exist_ok=True)
        for old in (
            self.out / PLAN_FILE,
            self.out / RESULT_FILE,
            *self.out.glob("cells.*"),
            *state.iterdir(),
        ):
            old.unlink(missing_ok=True)
        Pyramid.create(self.out / LABELS_FOLDER, plan.shape, np.int32, labels=True, pixel_size=size)
        Pyramid.create(self.out / PROBABILITY_FOLDER, plan.shape, np.float32, labels=False, pixel_size=size)
        write_atomically(self.out / PLAN_FILE, plan.model_dump_json(indent=2).encode(), OutputError)
        return plan, known or []

    def _tile_file(self, tile: Tile) -> Path:
        return self.out / _STATE_FOLDER / f"tile-{tile.size}-{tile.row:05d}-{tile.col:05d}.npz"

    def _load(self, number: int) -> TileCells:
        cells = TileCells.load(self._tile_file(self._tiles[number]))
        if cells is None:
            raise OutputError(f"The results in {self.out} were changed while they were made; start it again.")
        return cells

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
            After its cells were written to `labels`.
        """
        left = []
        for tile in self._tiles if not self._finished else []:
            cells = TileCells.load(self._tile_file(tile))
            self._cells += len(cells or ())
            left += [tile] if cells is None else []
        total = len(self._tiles)
        while left:
            tile = _nearest(left, toward())
            self.progress(total - len(left), total, "Segmenting")
            known = self._known.pop(tile, None)
            cells = find_in_tile(self._work, tile, self._alive(total - len(left)), known)
            # The file comes last: a tile that has one is done, and one that was interrupted is redone.
            if cells.probability is not None:
                self.probability.raise_to(tile.window, np.rint(cells.probability * _STEPS) / _STEPS)
            if len(cells):
                # These numbers are for the eye, until all cells are known and `finish` numbers them.
                numbers = np.arange(self._cells + 1, self._cells + 1 + len(cells))
                self.labels.draw(*patch_of(cells.boxes, cells.masks, numbers))
            cells.save(self._tile_file(tile))
            left.remove(tile)
            self._cells += len(cells)
            yield TileDone(tile.core, total - len(left), total, self._cells)

    def _alive(self, number: int) -> Progress:
        return lambda done, total, stage: self.progress(number, len(self._tiles), "Segmenting")

    def finish(self, table: TableFormat = "csv") -> Segmentation:
        """Give the cells their numbers in reading order, write the table, and return the result.

        Parameters
        ----------
        table : {"csv", "parquet"}
            Format of the table of cells.
        """
        file, estimates = self.out / f"cells.{table}", self._work.estimates
        if not self._finished:
            self._clear()
            cells, proposals = finish(self._work, self._load, self.labels, self.progress)
            write_table(cells, file)
            record = {
                "count": len(cells),
                "model": self.model.id,
                "cell_diameter": estimates.cell_diameter,
                "notes": estimates.notes,
                "proposals": proposals.tolist(),
            }
            write_atomically(self.out / RESULT_FILE, json.dumps(record).encode(), OutputError)
            shutil.rmtree(self.out / _STATE_FOLDER, ignore_errors=True)
            self._finished = True
        else:
            cells = read_table(file if file.exists() else next(iter(sorted(self.out.glob("cells.*")))))
            if not file.exists():
                write_table(cells, file)
            record = json.loads((self.out / RESULT_FILE).read_text(encoding="utf-8"))
            proposals = np.array(record["proposals"], np.int64).reshape(-1, 4)
        return Segmentation(
            labels=self.labels.arrays[0],
            cells=cells,
            probability=self.probability.arrays[0],
            proposals=proposals,
            settings=self.settings,
            model=self.model.id,
            cell_diameter=estimates.cell_diameter,
            notes=estimates.notes,
            extra={"folder": self.out},
            classes=class_list(self._work.classifier),
        )

    def _clear(self) -> None:
        """Take away the cells that were drawn tile by tile."""
        for number in range(len(self._tiles)):
            cells = self._load(number)
            if len(cells):
                area, patch = patch_of(cells.boxes, cells.masks, np.zeros(len(cells), int))
                self.labels.replace(area, patch)


def segment_large(
    image: Any,
    out: str | Path,
    model: str | Path | ModelFile = DEFAULT_MODEL,
    settings: SegmentationSettings | None = None,
    progress: Progress = silent,
    *,
    table: TableFormat = "csv",
    on_tile: Callable[[TileDone], None] = lambda done: None,
    toward: Callable[[], tuple[float, float] | None] = lambda: None,
) -> Segmentation:
    """Segment one image of any size with its results on disk, so that memory does not grow with it.

    The cells are those that `segment` finds. A run that was interrupted, even killed, goes on where
    it stopped when it is called again with the same image, model and settings.

    Parameters
    ----------
    image : str, Path, LargeImage or array, shape (H, W) or (H, W, 3)
        File that `napari_wbcseg.images.lazy.open_large` opens; or NumPy, dask or zarr.
    out : str or Path
        Folder for the result, new, empty, or of an interrupted run: ``labels.zarr`` and
        ``probability.zarr`` (OME-Zarr pyramids), ``cells.csv`` or ``cells.parquet``, and the
        files by which it is resumed.
    model : str, Path or ModelFile
    settings : SegmentationSettings, optional
    progress : Progress
        Called often; raise `Cancelled` in it to stop. What is done stays done.
    table : {"csv", "parquet"}
        Format of the table of cells; parquet needs the extra ``slides``.
    on_tile : callable
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
        As `segment`.
    OutputError
        If the result cannot be written.
    """
    check_table(table)
    try:
        run = LargeRun(image, out, model, settings, progress=progress)
        for done in run.tiles(toward):
            on_tile(done)
        return run.finish(table)
    except OSError as error:
        raise OutputError(
            f"The result in {out} could not be written, or the image not be read: {error}. "
            "What is done is kept; start it again when that is mended."
        ) from error


def _array_and_file(image: Any) -> tuple[Any, str]:
    """Return the pixels, and the file that they are in; nothing where they are in none."""
    from ...images.lazy import LargeImage, open_large

    if isinstance(image, str | Path):
        image = open_large(image)
    return (image.full, str(Path(image.name).resolve())) if isinstance(image, LargeImage) else (image, "")


def _nearest(tiles: list[Tile], point: tuple[float, float] | None) -> Tile:
    if point is None:
        return tiles[0]

    def distance(tile: Tile) -> float:
        row, col = (tile.core.top + tile.core.bottom) / 2, (tile.core.left + tile.core.right) / 2
        return (row - point[0]) ** 2 + (col - point[1]) ** 2

    return min(tiles, key=distance)
