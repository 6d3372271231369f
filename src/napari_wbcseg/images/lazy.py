"""Images too large for memory: opened lazily, with their pyramid where they have one.

Tiled TIFF (also BigTIFF, OME-TIFF and the whole-slide formats that are TIFF inside), plain zarr
arrays and OME-Zarr (0.4 and 0.5) all become arrays of rows and columns, whose pixels are read when
a part of them is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError

if TYPE_CHECKING:
    import tifffile

#: Files of more pixels than this get a folder for their results, and are read in parts.
LARGE_PIXELS = 12_000_000
#: What else names a tiled TIFF, beside .tif and .tiff.
SLIDE_SUFFIXES = (".svs", ".ndpi", ".scn", ".bif", ".btf")
_TIFF_SUFFIXES = (".tif", ".tiff", *SLIDE_SUFFIXES)
_ORDINARY = (0, 1)  # of TIFF's orientation tag: as stored


@dataclass(frozen=True, eq=False)
class LargeImage:
    """An image on disk, of which only parts are read.

    Attributes
    ----------
    levels : tuple of arrays, each (H, W) or (H, W, 3)
        Full resolution first; each holds the whole image. Slicing one reads its pixels.
    name : str
        What messages call it.
    """

    levels: tuple[Any, ...]
    name: str

    @property
    def full(self) -> Any:
        """The image in full resolution."""
        return self.levels[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.full.shape[0]), int(self.full.shape[1])


def is_large(array: Any) -> bool:
    """Say whether an array is one image whose result is better kept on disk while it grows."""
    shape = tuple(int(side) for side in getattr(array, "shape", ()))
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        return False
    return shape[0] * shape[1] > LARGE_PIXELS


def is_zarr(path: str | Path) -> bool:
    """Say whether a folder is a zarr array or group."""
    path = Path(path)
    return path.is_dir() and any((path / name).exists() for name in (".zarray", ".zgroup", "zarr.json"))


def is_large_file(path: str | Path) -> bool:
    """Say whether a file is one that `open_large` opens and that is better not read as a whole.

    Only the head of the file is read. A broken file is none: whoever reads it says what is wrong.
    """
    path = Path(path)
    if is_zarr(path):
        return True
    if path.suffix.lower() not in _TIFF_SUFFIXES:
        return False
    if path.suffix.lower() in SLIDE_SUFFIXES:
        return True
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            sizes = dict(zip(series.axes, series.shape, strict=True))
            others = series.size // max(sizes.get("Y", 1) * sizes.get("X", 1), 1)
            return others in (1, 3, 4) and sizes.get("Y", 0) * sizes.get("X", 0) > LARGE_PIXELS
    except (tifffile.TiffFileError, OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def open_large(path: str | Path) -> LargeImage:
    """Open an image without reading its pixels.

    Parameters
    ----------
    path : str or Path
        A TIFF file, a zarr array or an OME-Zarr group.

    Returns
    -------
    LargeImage

    Raises
    ------
    ImageError
        If there is no such file, it is not an image of rows and columns in grey or RGB, or it
        needs a decoder that is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"There is no file {path}; check the name.")
    try:
        if path.is_dir():
            levels = _open_zarr(path)
        elif path.suffix.lower() in _TIFF_SUFFIXES:
            levels = _open_tiff(path)
        else:
            raise ImageError(f"{path} cannot be read in parts; save it as a tiled TIFF or OME-Zarr.")
    except ImageError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # readers raise nearly any type on broken files
        raise ImageError(f"{path} cannot be opened: {str(error).strip() or type(error).__name__}.") from error
    return LargeImage(tuple(levels), str(path))


# zarr ----------------------------------------------------------------------------------------------


def _open_zarr(path: Path) -> list[Any]:
    import zarr

    if not is_zarr(path):
        raise ImageError(f"{path} is a folder, but no zarr array or OME-Zarr image.")
    node = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Array):
        return [_rows_and_columns(node, None, path)]
    attributes: Any = dict(node.attrs)
    attributes = attributes.get("ome", attributes)
    if "multiscales" not in attributes:
        if "0" in node and isinstance(node["0"], zarr.Group):  # a file of several images
            return _open_zarr(path / "0")
        raise ImageError(f"{path} is a zarr group without an OME-Zarr image; name the array inside it.")
    scales = attributes["multiscales"][0]
    axes = "".join(str(axis["name"] if isinstance(axis, dict) else axis)[0] for axis in scales["axes"])
    return [_rows_and_columns(node[level["path"]], axes, path) for level in scales["datasets"]]


def _rows_and_columns(array: Any, axes: str | None, path: Path) -> Any:
    """Bring a lazy array to (H, W) or (H, W, 3), lazily."""
    import dask.array as da

    lazy = da.from_array(array, chunks=array.chunks, name=False)
    if axes is None:
        axes = {2: "yx", 3: "cyx" if array.shape[0] in (3, 4) and array.shape[2] > 4 else "yxc"}.get(
            array.ndim, ""
        )
    axes = axes.lower().replace("s", "c")
    if not {"y", "x"} <= set(axes) or len(axes) != lazy.ndim:
        raise ImageError(f"{path} has the shape {array.shape}; give one image, grey or RGB.")
    keep = [axis for axis, size in zip(axes, lazy.shape, strict=True) if axis in "yx" or size > 1]
    if any(axis not in "yxc" for axis in keep):
        raise ImageError(f"{path} is a stack of shape {array.shape}; save its images one by one.")
    lazy = lazy[tuple(slice(None) if axis in keep else 0 for axis in axes)]
    wanted = [axis for axis in "yxc" if axis in keep]
    lazy = lazy.transpose([keep.index(axis) for axis in wanted])
    if lazy.ndim == 3:
        if lazy.shape[2] == 4:
            lazy = lazy[..., :3]
        elif lazy.shape[2] != 3:
            raise ImageError(f"{path} has {lazy.shape[2]} channels; save it as grey or as RGB.")
    return lazy


# TIFF ----------------------------------------------------------------------------------------------


def _open_tiff(path: Path) -> list[Any]:
    import tifffile

    tiff = tifffile.TiffFile(path)  # kept open by the arrays that read from it
    if not tiff.series or tiff.series[0].size == 0:
        raise ImageError(f"{path} has no pixels; save the image again.")
    series = tiff.series[0]
    page = series.keyframe
    _check_page(page, path)
    levels = [
        _rows_and_columns(_tiff_array(path, series, number), level.axes, path)
        for number, level in enumerate(series.levels)
    ]
    _check_decoder(levels[-1], page, path)
    return levels


def _tiff_array(path: Path, series: tifffile.TiffPageSeries, number: int) -> Any:
    import zarr

    level = series.levels[number]
    page = level.keyframe
    if not page.is_tiled and page.is_memmappable and level.dataoffset is not None:
        return _Mapped(np.memmap(path, level.dtype, "r", level.dataoffset, tuple(level.shape)))
    return zarr.open(series.aszarr(level=number), mode="r")


class _Mapped:
    """A memory-mapped array that tells its chunks, as those of zarr do."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.chunks = tuple(min(side, 1024) for side in array.shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.asarray(self.array[key])


def _check_page(page: tifffile.TiffPage, path: Path) -> None:
    """Refuse what would have to be turned or recoloured as a whole."""
    import tifffile

    good = (
        tifffile.PHOTOMETRIC.MINISBLACK,
        tifffile.PHOTOMETRIC.RGB,
        tifffile.PHOTOMETRIC.YCBCR,
    )
    orientation = page.tags.get(274)
    if page.photometric not in good or (orientation and int(orientation.value) not in _ORDINARY):
        raise ImageError(
            f"{path} is too large to be read as a whole, and its colours or its orientation are stored in "
            "a way that cannot be read in parts; save it as plain RGB, tiled."
        )
    if not page.is_tiled and not page.is_memmappable and len(page.dataoffsets) < 2:
        raise ImageError(f"{path} is compressed in one piece, so it cannot be read in parts; save it tiled.")


def _check_decoder(level: Any, page: tifffile.TiffPage, path: Path) -> None:
    """Read one corner, so that a missing decoder shows before hours of work."""
    try:
        np.asarray(level[:1, :1])
    except Exception as error:
        if "imagecodecs" not in str(error) and not isinstance(error, ImportError):
            raise
        raise ImageError(
            f"{path} is compressed as {getattr(page.compression, 'name', page.compression)}; to read it, "
            'install the decoders: pip install "napari-wbcseg[slides]".'
        ) from None
