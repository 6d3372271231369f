"""`segment_large`: one image of any size, in blocks, resumable, in bounded memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ...errors import ImageError, OutputError, SettingsError
from ...files import write_atomically
from ...images.pixel_size import read_pixel_size
from ...progress import Progress, silent
from ...settings import SegmentationSettings
from ...version import __version__
from ..result import Segmentation
from .assembly import Cells, assemble
from .block import BlockCells, find_in_clusters
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
from .global_estimates import Survey
from .lattice import ActivityMap, Rectangle
from .pyramid import Pyramid

if TYPE_CHECKING:
    from ...network.model_file import ModelFile
    from .finders import Finder

_STATE_FOLDER = "unfinished"
_FORMAT = 2
#: Side of a block, pixels.
BLOCK_SIZE = 2048


class _Plan(BaseModel):
    """What a run is, so that only its own continuation takes up its blocks."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format: int
    version: str
    image: str = ""
    digest: str
    shape: tuple[int, int]
    block_size: int
    model: str
    settings: SegmentationSettings
    survey: Survey


@dataclass(frozen=True)
class BlockDone:
    """A block that was just finished.

    Attributes
    ----------
    area : Rectangle
        Pixels of the image.
    done, total : int
        Blocks finished, and blocks in all.
    cells : int
        White cells found so far.
    """

    area: Rectangle
    done: int
    total: int
    cells: int


class LargeRun:
    """The segmentation of one large image, block by block.

    Making one takes the samples of the image, or takes up an interrupted run; `blocks` does the
    work, and `finish` gives the result.

    Parameters
    ----------
    image, out, model, settings, block_size
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
        model: str | Path | ModelFile,
        settings: SegmentationSettings | None = None,
        *,
        block_size: int = BLOCK_SIZE,
        progress: Progress = silent,
    ) -> None:
        from ..method import model_and_settings
        from .finders import create_finder
        from .global_estimates import image_digest, survey_image
        from .source import PixelSource

        if block_size < 1:
            raise SettingsError(f"block_size={block_size} cannot be used: give a number of pixels.")
        self.out = Path(out)
        self.model, self.settings = model_and_settings(model, settings)
        self.progress = progress
        array, file = _array_and_file(image)
        old = self._old_plan()
        self.source = PixelSource(array, old.survey.value_range if old is not None else None)
        digest = image_digest(self.source)
        same = old is not None and (
            old.version == __version__
            and old.digest == digest
            and old.block_size == block_size
            and old.model == self.model.id
            and old.settings == self.settings
        )
        if old is not None and same:
            self._plan = old
        else:
            self.source = PixelSource(array)
            survey = survey_image(self.source, self.model, self.settings, progress)
            self._plan = _Plan(
                format=_FORMAT,
                version=__version__,
                image=file,
                digest=digest,
                shape=self.source.shape,
                block_size=block_size,
                model=self.model.id,
                settings=self.settings,
                survey=survey,
            )
            self._start_afresh()
        self.survey = self._plan.survey
        self.labels = Pyramid.open(self.out / LABELS_FOLDER)
        self.probability = Pyramid.open(self.out / PROBABILITY_FOLDER)
        self._finished = (self.out / RESULT_FILE).exists()
        self._finder: Finder | None = None
        self._map: ActivityMap | None = None
        if self.settings.recipe == "classic" or self.survey.cell_diameter is not None:
            self._finder = create_finder(self.source, self.survey, self.model, self.settings)
            self._map = ActivityMap(self.source.shape, self._finder.unit, self._finder.look)
        self._areas = _blocks(self.source.shape, block_size)
        self._cells = 0

    # Where things are --------------------------------------------------------------------------------

    def _block_file(self, area: Rectangle) -> Path:
        size = self._plan.block_size
        return self.out / _STATE_FOLDER / f"block-{area.top // size:05d}-{area.left // size:05d}.npz"

    def _old_plan(self) -> _Plan | None:
        file = self.out / PLAN_FILE
        try:
            plan = _Plan.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ValidationError, SettingsError):
            return None  # written by another version, or no plan at all: it is begun afresh
        whole = plan.format == _FORMAT and all(
            (self.out / name).exists() for name in (LABELS_FOLDER, PROBABILITY_FOLDER)
        )
        return plan if whole else None

    def _start_afresh(self) -> None:
        if self.out.exists() and not (self.out / PLAN_FILE).exists() and any(self.out.iterdir()):
            raise ImageError(
                f"The folder {self.out} holds other files; name a folder that is new or empty for the result."
            )
        (self.out / PLAN_FILE).unlink(missing_ok=True)
        (self.out / RESULT_FILE).unlink(missing_ok=True)
        shutil.rmtree(self.out / _STATE_FOLDER, ignore_errors=True)
        for table in self.out.glob("cells.*"):
            table.unlink()
        self.out.mkdir(parents=True, exist_ok=True)
        shape = self._plan.shape
        size = read_pixel_size(self._plan.image) if self._plan.image else None
        Pyramid.create(self.out / LABELS_FOLDER, shape, np.int32, labels=True, pixel_size=size)
        Pyramid.create(self.out / PROBABILITY_FOLDER, shape, np.float32, labels=False, pixel_size=size)
        text = self._plan.model_dump_json(indent=2)
        write_atomically(self.out / PLAN_FILE, text.encode(), OutputError)

    # The work ----------------------------------------------------------------------------------------

    def blocks(self, toward: Callable[[], tuple[float, float] | None] = lambda: None) -> Iterator[BlockDone]:
        """Do the blocks that are not done yet.

        Parameters
        ----------
        toward : callable
            Asked before each block; the unfinished block nearest to the pixel (row, column) that it
            returns comes next, or the next in reading order for None.

        Yields
        ------
        BlockDone
            After its cells were written to `labels`.
        """
        if self._finished or self._map is None:
            return
        left = []
        for area in self._areas:
            cells = BlockCells.load(self._block_file(area))
            if cells is None:
                left.append(area)
            else:
                self._cells += len(cells)
        total = len(self._areas)
        while left:
            area = _nearest(left, toward())
            self.progress(total - len(left), total, "Segmenting")
            cells = self._do(area, total - len(left))
            left.remove(area)
            self._cells += len(cells)
            yield BlockDone(area, total - len(left), total, self._cells)

    def _do(self, area: Rectangle, number: int) -> BlockCells:
        assert self._map is not None
        assert self._finder is not None

        def alive(done: int, total: int, stage: str) -> None:
            self.progress(number, len(self._areas), "Segmenting")

        for _ in self._map.ensure(self._map.around(area)):
            alive(0, 0, "")
        clusters = self._map.clusters(area)
        cells, patches = find_in_clusters(
            clusters, self.source, self._finder, self.survey, self.settings.check_below, alive
        )
        # The file comes last: a block that has one is done, and one that was interrupted is redone.
        self.probability.raise_to([(p.top, p.left) for p in patches], [p.values for p in patches])
        # These numbers are for the eye, until all cells are known and `finish` numbers them.
        self.labels.paint(cells.boxes, cells.masks, range(self._cells + 1, self._cells + 1 + len(cells)))
        cells.save(self._block_file(area))
        return cells

    def finish(self, table: TableFormat = "csv") -> Segmentation:
        """Give the cells their numbers in reading order, write the table, and return the result.

        Parameters
        ----------
        table : {"csv", "parquet"}
            Format of the table of cells.
        """
        file = self.out / f"cells.{table}"
        if not self._finished:
            self.progress(0, 0, "Numbering the cells")
            cells = self._assembled()
            write_table(cells.table, file)
            record = {
                "count": len(cells.table),
                "model": self.model.id,
                "cell_diameter": self.survey.cell_diameter,
                "notes": self.notes,
                "proposals": cells.proposals.tolist(),
            }
            write_atomically(self.out / RESULT_FILE, json.dumps(record).encode(), OutputError)
            shutil.rmtree(self.out / _STATE_FOLDER, ignore_errors=True)
            self._finished = True
            found, proposals = cells.table, cells.proposals
        else:
            other = next(path for path in sorted(self.out.glob("cells.*")))
            found = read_table(file if file.exists() else other)
            if not file.exists():
                write_table(found, file)
            record = json.loads((self.out / RESULT_FILE).read_text(encoding="utf-8"))
            proposals = np.array(record["proposals"], np.int64).reshape(-1, 4)
        return Segmentation(
            labels=self.labels.arrays[0],
            cells=found,
            probability=self.probability.arrays[0],
            proposals=proposals,
            settings=self.settings,
            model=self.model.id,
            cell_diameter=self.survey.cell_diameter,
            notes=self.notes,
            extra={"folder": self.out},
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know, in sentences."""
        return self.survey.notes

    def _assembled(self) -> Cells:
        from ..filters import too_small

        parts = [BlockCells.load(self._block_file(area)) for area in self._areas] if self._map else []
        blocks = [part for part in parts if part is not None]
        if len(blocks) < len(parts):
            raise OutputError(f"The results in {self.out} were changed while they were made; start it again.")

        def small(areas: np.ndarray, cut: np.ndarray, certainty: np.ndarray) -> np.ndarray:
            if self.settings.recipe == "classic":  # which has a least area of its own
                return np.zeros(len(areas), bool)
            return too_small(areas, cut, certainty, self.survey.red_diameter)

        cells = assemble(blocks, small)
        before = np.concatenate([np.zeros((0, 4), np.int64), *(block.boxes for block in blocks)])
        numbers = range(1, len(cells.masks) + 1)
        self.labels.paint(cells.boxes, cells.masks, numbers, instead_of=before)
        return cells


def segment_large(
    image: Any,
    out: str | Path,
    model: str | Path | ModelFile = "wbc",
    settings: SegmentationSettings | None = None,
    progress: Progress = silent,
    *,
    block_size: int = BLOCK_SIZE,
    table: TableFormat = "csv",
    on_block: Callable[[BlockDone], None] = lambda done: None,
    toward: Callable[[], tuple[float, float] | None] = lambda: None,
) -> Segmentation:
    """Segment one image of any size in blocks, with memory that does not grow with it.

    Light, stain and cell size are estimated once, from fields spread over the image. Every part is
    then looked at by its stain, and the network sees only what can be a nucleus. The cells are the
    same whatever the size and the order of the blocks. A run that was interrupted, even killed,
    goes on where it stopped when it is called again with the same image, model and settings.

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
    block_size : int
        Side of a block, pixels. It sets how often results are written, not what they are.
    table : {"csv", "parquet"}
        Format of the table of cells; parquet needs the extra ``slides``.
    on_block : callable
        Called with a `BlockDone` after each block, when its cells can be read from the label image.
    toward : callable
        Asked before each block where in the image (row, column) results are wanted first.

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
        run = LargeRun(image, out, model, settings, block_size=block_size, progress=progress)
        for done in run.blocks(toward):
            on_block(done)
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


def _blocks(shape: tuple[int, int], size: int) -> list[Rectangle]:
    return [
        Rectangle(top, left, min(top + size, shape[0]), min(left + size, shape[1]))
        for top in range(0, shape[0], size)
        for left in range(0, shape[1], size)
    ]


def _nearest(areas: list[Rectangle], point: tuple[float, float] | None) -> Rectangle:
    if point is None:
        return areas[0]

    def distance(area: Rectangle) -> float:
        row, col = (area.top + area.bottom) / 2, (area.left + area.right) / 2
        return (row - point[0]) ** 2 + (col - point[1]) ** 2

    return min(areas, key=distance)
