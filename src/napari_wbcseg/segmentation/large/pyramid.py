"""Label images and maps on disk, with their pyramid: OME-Zarr that grows while it is read."""

from __future__ import annotations

import hashlib
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ...box import Box
from ...errors import ImageError, reading
from ...images.pixel_size import UNIT_NAMES, PixelSize
from ...images.read import read_pixel_size
from ...images.zarr_files import open_zarr
from ..tile_work import Canvas

#: Of each file of an array, by its name there: its bytes, its last change in ns, and a hash of its content.
Stamps = dict[str, tuple[int, int, str]]

_CHUNK = 1024
_LAYOUT = ".zarray"
_SMALLEST_LEVEL = 1024


class Pyramid(Canvas):
    """An image on disk in several resolutions; a level holds every second pixel of that before.

    Parameters
    ----------
    path : Path
        Folder of an OME-Zarr group (version 0.4).
    arrays : list of zarr.Array
        The levels, full resolution first.
    """

    def __init__(self, path: Path, arrays: list[Any]) -> None:
        super().__init__(arrays)
        self.path = path

    @classmethod
    def create(
        cls, path: Path, shape: tuple[int, int], dtype: Any, pixel_size: PixelSize | None = None
    ) -> Pyramid:
        """Make an empty one, of labels where these are whole numbers, in place of any that is there."""
        import zarr

        shutil.rmtree(path, ignore_errors=True)
        group = zarr.open_group(str(path), mode="w", zarr_format=2)
        arrays: list[Any] = []
        sizes = [tuple(shape)]
        while max(sizes[-1]) > _SMALLEST_LEVEL:
            sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
        for level, size in enumerate(sizes):
            chunks, keys = tuple(min(_CHUNK, side) for side in size), {"name": "v2", "separator": "/"}
            options = {"dtype": dtype, "fill_value": 0, "chunk_key_encoding": keys}
            arrays.append(group.create_array(str(level), shape=size, chunks=chunks, **options))
        group.attrs["multiscales"] = _multiscales(path.stem, arrays, pixel_size)
        if np.issubdtype(dtype, np.integer):
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
        with reading(path, ImageError, "remove it and segment the image again"):
            group = open_zarr(path, mode="r+")
            attributes: Any = dict(group.attrs)
            levels = attributes["multiscales"][0]["datasets"]
            return cls(path, [group[level["path"]] for level in levels])

    def tell_pixel_size(self, pixel_size: PixelSize | None) -> None:
        """Say how large a pixel is, where the file of the image states another size by now."""
        if read_pixel_size(self.path) != pixel_size:
            group = open_zarr(self.path, mode="r+")
            group.attrs["multiscales"] = _multiscales(self.path.stem, self.arrays, pixel_size)

    def stamps(self, known: Stamps) -> Stamps:
        """Return what the full resolution is known again by.

        Parameters
        ----------
        known : dict
            What it was known by before: files that were not touched since are not read.
        """
        folder, found = self.path / self.arrays[0].basename, Stamps()
        for file in (*folder.glob(_LAYOUT), *folder.glob("[0-9]*/[0-9]*")):
            name, status = file.relative_to(folder).as_posix(), file.stat()
            size, modified, digest = known.get(name, (0, 0, ""))
            if (size, modified) != (status.st_size, status.st_mtime_ns):
                digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
            found[name] = status.st_size, status.st_mtime_ns, digest
        return found

    def changed(self, before: Stamps, now: Stamps) -> list[Box]:
        """Return the parts of the full resolution whose files have another content, or all in other files."""
        contents = [{(name, digest) for name, (*_, digest) in stamps.items()} for stamps in (before, now)]
        names = {name for name, _ in contents[0] ^ contents[1]}
        (height, width), shape = self.arrays[0].chunks, self.arrays[0].shape
        rows, columns = range(-(-shape[0] // height)), range(-(-shape[1] // width))
        return [
            Box(row * height, column * width, (row + 1) * height, (column + 1) * width).within(shape)
            for row, column in product(rows, columns)
            if _LAYOUT in names or f"{row}/{column}" in names
        ]


def _multiscales(name: str, levels: list[Any], pixel_size: PixelSize | None) -> Any:
    """Return what OME-Zarr says of the levels of an image, each half as large as that before."""
    pixel = (1.0, 1.0) if pixel_size is None else (pixel_size.row, pixel_size.column)
    unit = UNIT_NAMES.get(pixel_size.unit) if pixel_size is not None else None
    axes = [{"name": axis, "type": "space", **({"unit": unit} if unit else {})} for axis in "yx"]
    sets = []
    for level, array in enumerate(levels):
        scale = {"type": "scale", "scale": [2**level * side for side in pixel]}
        sets.append({"path": array.basename, "coordinateTransformations": [scale]})
    return [{"version": "0.4", "name": name, "axes": axes, "datasets": sets, "type": "nearest"}]
