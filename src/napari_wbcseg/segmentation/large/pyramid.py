"""Label images and maps on disk, with their pyramid: OME-Zarr that grows while it is read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ImageError
from ...images.pixel_size import UNIT_NAMES, PixelSize
from ...images.zarr_files import open_zarr
from ..tile_work import Canvas

_CHUNK = 1024
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
        try:
            group = open_zarr(path, mode="r+")
            attributes: Any = dict(group.attrs)
            levels = attributes["multiscales"][0]["datasets"]
            return cls(path, [group[level["path"]] for level in levels])
        except Exception as error:  # zarr's own errors have no common base
            raise ImageError(f"{path} is damaged ({error}); remove it and segment the image again.") from None
