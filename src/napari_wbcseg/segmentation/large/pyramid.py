"""Label images and maps on disk, with their pyramid: OME-Zarr that grows while it is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import ImageError
from ...images.pixel_size import UNIT_NAMES, PixelSize
from ...images.zarr_files import open_zarr

_CHUNK = 1024
_SMALLEST_LEVEL = 1024


class Pyramid:
    """An image on disk in several resolutions; a level holds every second pixel of that before.

    Parameters
    ----------
    path : Path
        Folder of an OME-Zarr group (version 0.4).
    arrays : list of zarr.Array
        The levels, full resolution first.
    """

    def __init__(self, path: Path, arrays: list[Any]) -> None:
        self.path, self.arrays = path, arrays

    @classmethod
    def create(
        cls,
        path: Path,
        shape: tuple[int, int],
        dtype: Any,
        *,
        labels: bool,
        pixel_size: PixelSize | None = None,
    ) -> Pyramid:
        """Make an empty one, in place of any that is there."""
        import zarr

        shutil.rmtree(path, ignore_errors=True)
        group = zarr.open_group(str(path), mode="w", zarr_format=2)
        arrays: list[Any] = []
        sets: list[Any] = []
        size, step = shape, 1
        pixel = (1.0, 1.0) if pixel_size is None else (pixel_size.row, pixel_size.column)
        while True:
            array = group.create_array(
                str(len(arrays)),
                shape=size,
                chunks=(min(_CHUNK, size[0]), min(_CHUNK, size[1])),
                dtype=dtype,
                fill_value=0,
                chunk_key_encoding={"name": "v2", "separator": "/"},
            )
            arrays.append(array)
            scale = {"type": "scale", "scale": [step * pixel[0], step * pixel[1]]}
            sets.append({"path": str(len(arrays) - 1), "coordinateTransformations": [scale]})
            if max(size) <= _SMALLEST_LEVEL:
                break
            size, step = (-(-size[0] // 2), -(-size[1] // 2)), 2 * step
        unit = UNIT_NAMES.get(pixel_size.unit) if pixel_size is not None else None
        axes = [{"name": name, "type": "space", **({"unit": unit} if unit else {})} for name in "yx"]
        multiscales: Any = [
            {"version": "0.4", "name": path.stem, "axes": axes, "datasets": sets, "type": "nearest"}
        ]
        group.attrs["multiscales"] = multiscales
        if labels:
            group.attrs["image-label"] = {"version": "0.4"}
        return cls(path, arrays)

    @classmethod
    def open(cls, path: Path) -> Pyramid:
        """Open one that is there.

        Raises
        ------
        ImageError
            If there is none.
        """
        try:
            group = open_zarr(path, mode="r+")
            attributes: Any = dict(group.attrs)
            levels = attributes["multiscales"][0]["datasets"]
            return cls(path, [group[level["path"]] for level in levels])
        except Exception as error:  # zarr's own errors have no common base
            raise ImageError(f"{path} is damaged ({error}); remove it and segment the image again.") from None

    def paint(
        self,
        boxes: np.ndarray,
        masks: list[np.ndarray],
        numbers: Iterable[int],
        *,
        instead_of: np.ndarray | None = None,
    ) -> None:
        """Write cells over what is there.

        Parameters
        ----------
        boxes : ndarray of int64, shape (n, 4)
            ``row0, col0, row1, col1`` in the pixels of the full resolution.
        masks : list of ndarray of bool
        numbers : iterable of int
        instead_of : ndarray of int64, shape (m, 4), optional
            Boxes of everything painted before, which goes.
        """
        pieces = [
            _Piece(int(box[0]), int(box[1]), np.where(mask, number, 0).astype(np.int32))
            for box, mask, number in zip(boxes, masks, numbers, strict=True)
        ]
        for level, array in enumerate(self.arrays):
            fresh = [] if instead_of is None else _chunks(instead_of, array, 2**level)
            _merge(array, 2**level, pieces, _put, fresh)

    def raise_to(self, places: list[tuple[int, int]], values: list[np.ndarray]) -> None:
        """Put the greater of two values at each pixel of some rectangles.

        Parameters
        ----------
        places : list of tuple of int
            Row and column of the corner of each.
        values : list of ndarray
        """
        pieces = [_Piece(*place, part) for place, part in zip(places, values, strict=True)]
        for level, array in enumerate(self.arrays):
            _merge(array, 2**level, pieces, np.maximum, [])


class _Piece(NamedTuple):
    """Values at a place of a level."""

    row: int
    col: int
    values: np.ndarray


def _put(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    return np.where(new, new, old)


def _every(piece: _Piece, step: int) -> _Piece:
    """Return the pixels of a piece that a coarser level has."""
    row, col = -(-piece.row // step), -(-piece.col // step)
    return _Piece(row, col, piece.values[row * step - piece.row :: step, col * step - piece.col :: step])


def _area(key: tuple[int, int], array: Any) -> tuple[slice, slice]:
    rows, cols = (
        slice(k * chunk, min((k + 1) * chunk, side))
        for k, chunk, side in zip(key, array.chunks, array.shape, strict=True)
    )
    return rows, cols


def _chunks(boxes: np.ndarray, array: Any, step: int) -> list[tuple[int, int]]:
    """Return the chunks of a level that boxes, given in full resolution, touch."""
    found: set[tuple[int, int]] = set()
    chunks = [side * step for side in array.chunks]
    for r0, c0, r1, c1 in np.asarray(boxes).reshape(-1, 4).tolist():
        found.update(
            (i, j)
            for i in range(r0 // chunks[0], (r1 - 1) // chunks[0] + 1)
            for j in range(c0 // chunks[1], (c1 - 1) // chunks[1] + 1)
        )
    return sorted(found)


def _merge(
    array: Any,
    step: int,
    pieces: list[_Piece],
    join: Callable[[np.ndarray, np.ndarray], np.ndarray],
    fresh: list[tuple[int, int]],
) -> None:
    """Join pieces into a level chunk by chunk, each read and written once; fresh ones start empty."""
    by_chunk: dict[tuple[int, int], list[_Piece]] = {key: [] for key in fresh}
    height, width = array.chunks
    for whole in pieces:
        piece = _every(whole, step)
        if not piece.values.size:
            continue
        bottom, right = piece.row + piece.values.shape[0], piece.col + piece.values.shape[1]
        for i in range(piece.row // height, (bottom - 1) // height + 1):
            for j in range(piece.col // width, (right - 1) // width + 1):
                by_chunk.setdefault((i, j), []).append(piece)
    emptied = set(fresh)
    for key, members in sorted(by_chunk.items(), key=lambda item: item[0]):
        rows, cols = area = _area(key, array)
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        chunk = np.zeros(shape, array.dtype) if key in emptied else np.array(array[area])
        for row, col, values in members:
            r0, c0 = max(row, rows.start), max(col, cols.start)
            r1, c1 = min(row + values.shape[0], rows.stop), min(col + values.shape[1], cols.stop)
            target = (slice(r0 - rows.start, r1 - rows.start), slice(c0 - cols.start, c1 - cols.start))
            chunk[target] = join(chunk[target], values[r0 - row : r1 - row, c0 - col : c1 - col])
        array[area] = chunk
