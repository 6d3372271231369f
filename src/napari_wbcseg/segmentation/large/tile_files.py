"""The cells of tiles on disk, a file a tile: a run is taken up by them, and workers share them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import OutputError
from ...files import write_atomically
from ..detections import TileCells

# Steps of the probability that is stored: it packs well.
_STEPS = np.float32(255)
_ARRAYS = ("boxes", "certainty", "classes", "proposals")


@dataclass(frozen=True)
class TileFiles:
    """Files that appear whole or not at all.

    Attributes
    ----------
    folder : Path
    run : str
        What the tiles are of: those of another run, whose workers may not know of its end, are left alone.
    """

    folder: Path
    run: str

    def __setitem__(self, tile: int, cells: TileCells) -> None:
        content = io.BytesIO()
        seen = np.zeros((0, 0)) if cells.probability is None else np.rint(cells.probability * _STEPS)
        np.savez_compressed(
            content,
            **{name: getattr(cells, name) for name in _ARRAYS},
            size=cells.size,
            bits=np.concatenate([np.zeros(0, np.uint8), *(np.packbits(mask) for mask in cells.masks)]),
            probability=seen.astype(np.uint8),
        )
        write_atomically(self._file(tile), content.getvalue(), OutputError)

    def __getitem__(self, tile: int) -> TileCells:
        cells = self.get(tile)
        if cells is None:
            raise OutputError(
                f"The results in {self.folder.parent} were changed while they were made; start it again."
            )
        return cells

    def get(self, tile: int) -> TileCells | None:
        """Return the cells of a tile; None where the file is missing or damaged, so that it is done again."""
        try:
            with np.load(self._file(tile), allow_pickle=False) as file:
                boxes, certainty, classes, proposals = (file[name] for name in _ARRAYS)
                bits, size, steps = file["bits"], int(file["size"]), file["probability"]
            shapes = boxes[:, 2:] - boxes[:, :2]
            counts = shapes.prod(axis=1)
            parts = np.split(bits, np.cumsum(-(-counts // 8)))
            masks = [
                np.unpackbits(part, count=count).astype(bool).reshape(shape)
                for part, count, shape in zip(parts, counts.tolist(), shapes.tolist(), strict=False)
            ]
        except Exception:  # NumPy, zipfile and zlib raise nearly any type on damaged files
            return None
        probability = steps / _STEPS if steps.size else None
        return TileCells(boxes, masks, certainty, classes, proposals, size, probability)

    def _file(self, tile: int) -> Path:
        return self.folder / f"tile-{tile:06d}-{self.run}.npz"
