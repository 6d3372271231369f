"""What was found in one block, and its file, by which an interrupted run goes on."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import OutputError
from ...files import write_atomically
from ..measure import COLUMNS, FLAG_COLUMNS, WHOLE_COLUMNS, absorbed, measure_cells

if TYPE_CHECKING:
    import pandas as pd

    from ...progress import Progress
    from ..found import Found
    from .finders import Finder
    from .global_estimates import Survey
    from .lattice import Cluster, Rectangle
    from .source import PixelSource


@dataclass(frozen=True)
class Patch:
    """A part of the probability map, in 255 steps so that it packs well: its corner and float32 values."""

    top: int
    left: int
    values: np.ndarray


@dataclass(frozen=True)
class BlockCells:
    """The cells whose cluster belongs to a block.

    Attributes
    ----------
    table : DataFrame
        A row a cell, columns as `measure_cells` gives them, places in the whole image;
        ``label`` counts from 1.
    boxes : ndarray of int64, shape (n, 4)
        ``row0, col0, row1, col1`` of each cell in the image, ends exclusive.
    masks : list of ndarray of bool
        Its pixels within its box.
    proposals : ndarray of int64, shape (m, 4)
        Regions looked at.
    """

    table: pd.DataFrame
    boxes: np.ndarray
    masks: list[np.ndarray]
    proposals: np.ndarray

    def __len__(self) -> int:
        return len(self.masks)

    def save(self, path: Path) -> None:
        """Write a file that appears whole or not at all."""
        content = io.BytesIO()
        arrays: dict[str, Any] = {f"table_{name}": self.table[name].to_numpy() for name in COLUMNS}
        bits = [np.packbits(mask) for mask in self.masks]
        np.savez_compressed(
            content,
            boxes=self.boxes,
            proposals=self.proposals,
            bits=np.concatenate(bits) if bits else np.zeros(0, np.uint8),
            **arrays,
        )
        write_atomically(path, content.getvalue(), OutputError)

    @classmethod
    def load(cls, path: Path) -> BlockCells | None:
        """Read the file; None where it is missing or damaged, so that the block is done again."""
        import pandas as pd

        try:
            with np.load(path, allow_pickle=False) as file:
                boxes, bits = file["boxes"], file["bits"]
                table = pd.DataFrame({name: file[f"table_{name}"] for name in COLUMNS})
                proposals = file["proposals"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        masks, start = [], 0
        for top, left, bottom, right in boxes:
            size = int((bottom - top) * (right - left))
            stop = start + -(-size // 8)
            masks.append(
                np.unpackbits(bits[start:stop], count=size).astype(bool).reshape(bottom - top, right - left)
            )
            start = stop
        return cls(table, boxes, masks, proposals)


def empty_table() -> pd.DataFrame:
    """Return a table of no cell."""
    import pandas as pd

    kinds = {
        name: np.int64 if name in WHOLE_COLUMNS else bool if name in FLAG_COLUMNS else np.float64
        for name in COLUMNS
    }
    return pd.DataFrame({name: np.zeros(0, kind) for name, kind in kinds.items()})


def find_in_clusters(
    clusters: list[Cluster],
    source: PixelSource,
    finder: Finder,
    survey: Survey,
    check_below: float,
    progress: Progress,
) -> tuple[BlockCells, list[Patch]]:
    """Find and measure the cells of some clusters.

    Parameters
    ----------
    clusters : list of Cluster
    source : PixelSource
    finder : Finder
    survey : Survey
    check_below : float
        Cells less certain than this are marked.
    progress : Progress
        Called often, to be cancelled by.

    Returns
    -------
    BlockCells
    list of Patch
        The probability around them.
    """
    import pandas as pd

    tables, boxes, masks, patches = [], [], [], []
    proposals = [np.zeros((0, 4), np.int64)]
    for cluster in clusters:
        crop = cluster.crop
        pixels = source.read(crop.top, crop.left, crop.bottom, crop.right)
        found = finder.find(pixels, progress)
        table, own_boxes, own_masks = _own_cells(cluster, found, pixels, source.shape, survey, check_below)
        if len(table):
            tables.append(table)
        boxes += own_boxes
        masks += own_masks
        corner = np.array([crop.top, crop.left] * 2)
        proposals.append(found.proposals.reshape(-1, 4) + corner)
        if found.probability.any():
            values = np.rint(found.probability * 255) / np.float32(255)
            patches.append(Patch(crop.top, crop.left, values))
    table = pd.concat(tables, ignore_index=True) if tables else empty_table()
    table["label"] = np.arange(1, len(table) + 1)
    cells = BlockCells(table, np.array(boxes, np.int64).reshape(-1, 4), masks, np.concatenate(proposals))
    return cells, patches


def _own_cells(
    cluster: Cluster,
    found: Found,
    pixels: np.ndarray,
    image_shape: tuple[int, int],
    survey: Survey,
    check_below: float,
) -> tuple[pd.DataFrame, list[tuple[int, int, int, int]], list[np.ndarray]]:
    """Measure the cells found around a cluster, and keep those that are its own and whole."""
    from scipy import ndimage

    if not found.labels.any():
        return empty_table(), [], []
    crop = cluster.crop
    density = absorbed(pixels, np.asarray(survey.background, np.float32))
    table = measure_cells(found.labels, pixels, found.certainty, check_below, density)
    table["row"] += crop.top
    table["col"] += crop.left
    slices = ndimage.find_objects(found.labels)
    keep, boxes, masks, border = [], [], [], []
    for position, (label, row, col) in enumerate(
        zip(table["label"], table["row"], table["col"], strict=True)
    ):
        rows, cols = slices[label - 1]
        box = (rows.start + crop.top, cols.start + crop.left, rows.stop + crop.top, cols.stop + crop.left)
        cut = _touches(box, crop)
        at_border = _touches(box, _whole(image_shape))
        # What the crop cuts, the cluster that it belongs to has whole.
        if not cluster.owns(row, col) or (cut and not at_border):
            continue
        keep.append(position)
        boxes.append(box)
        masks.append(found.labels[rows, cols] == label)
        border.append(at_border)
    table = table.iloc[keep].reset_index(drop=True)
    table["border"] = np.array(border, bool)
    return table, boxes, masks


def _touches(box: tuple[int, int, int, int], frame: Rectangle) -> bool:
    return box[0] <= frame.top or box[1] <= frame.left or box[2] >= frame.bottom or box[3] >= frame.right


def _whole(shape: tuple[int, int]) -> Rectangle:
    from .lattice import Rectangle

    return Rectangle(0, 0, *shape)
