"""Zarr arrays and OME-Zarr images on disk: what may be opened, and which of them is the image.

Metadata are looked at before zarr sees them. Only arrays of numbers, in codecs that are known to
do no more than unpack them, are opened; some that numcodecs offers run code from the file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import ImageError
from ..files import user_path
from .limits import check_folder_expansion, check_memory
from .opened import Candidate, OpenedImage, chunk_of, colour_order, left_out, main_images
from .pixel_size import Stated, of_all

#: What a codec may be called, after ``numcodecs.`` where that is in front.
CODECS = frozenset(
    {
        *("bytes", "transpose", "crc32c", "sharding_indexed", "blosc", "gzip", "zstd", "zlib", "lz4", "lzma"),
        *("bz2", "shuffle", "bitround", "delta", "fixedscaleoffset", "quantize", "packbits", "astype"),
        *("adler32", "crc32", "fletcher32", "jenkins_lookup3", "zfpy", "pcodec"),
    }
)
_KEPT_IN = (".zarray", ".zgroup", "zarr.json", ".zmetadata")
_MOST_METADATA = 64 * 2**20  # bytes; those of our own results with 100,000 cells take 20 million
_MOST_NODES = 10_000
_MOST_SMALL_CHUNKS, _SMALL_CHUNK = 100_000, 1024  # a chunk is a file, or a search for one


def is_zarr(path: str | Path) -> bool:
    """Say whether a folder is a zarr array or group."""
    path = user_path(path)
    return path.is_dir() and any(os.path.exists(path / name) for name in (".zarray", ".zgroup", "zarr.json"))


def open_zarr(path: str | Path, mode: Literal["r", "r+"] = "r") -> Any:
    """Open a zarr array or group, with all that is in it known to be harmless.

    Raises
    ------
    ImageError
        If it is no zarr, or holds objects or an unknown codec.
    """
    import zarr

    from .zarr_store import FolderStore

    path = user_path(path)
    if not is_zarr(path):
        raise ImageError(f"{path} is a folder, but no zarr array or OME-Zarr image.")
    for count, (file, metadata) in enumerate(_metadata(path)):
        if count > _MOST_NODES:
            raise ImageError(f"{path} holds more than {_MOST_NODES:,} arrays; name the image inside it.")
        _check(metadata, file)
    store = FolderStore(path, read_only=mode == "r")
    return zarr.open(store, mode=mode, use_consolidated=False)


def _metadata(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Yield all metadata in a hierarchy; the chunks of an array are not looked through."""
    array = (folder / ".zarray").exists()
    for name in _KEPT_IN:
        file = folder / name
        if not file.is_file():
            continue
        if file.stat().st_size > _MOST_METADATA:
            raise ImageError(f"{file} is too large to be the metadata of a zarr.")
        try:
            found = json.loads(file.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ImageError(f"{file} is no metadata of a zarr ({str(error)[:80]}).") from None
        if not isinstance(found, dict):
            raise ImageError(f"{file} is no metadata of a zarr.")
        array = array or found.get("node_type") == "array"
        yield file, found
    if not array:
        with os.scandir(folder) as entries:
            inside = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        for name in inside:
            if is_zarr(folder / name):
                yield from _metadata(folder / name)


def _check(metadata: Any, file: Path) -> None:
    """Refuse what is not on the list, wherever in the metadata of an array it stands."""
    for part in _parts(metadata):
        for codec in _codecs(part):
            name = codec.get("id", codec.get("name")) if isinstance(codec, dict) else codec
            if codec is not None and str(name).removeprefix("numcodecs.") not in CODECS:
                raise ImageError(
                    f"{file} asks for the codec {name!r}, which is not among those that are safe to run "
                    "on a file from elsewhere; save the image again with a common compression."
                )
        if part.get("storage_transformers"):
            raise ImageError(f"{file} asks for a storage transformer; save the image again as a plain zarr.")
        for key in ("dtype", "data_type", "encode_dtype", "decode_dtype", "astype"):
            if key in part and not _is_number(part[key]):
                raise ImageError(f"{file} has values of type {str(part[key])[:40]!r}; an image has numbers.")


def _codecs(part: dict[str, Any]) -> Iterator[Any]:
    """Yield what the chunks of an array are to be decoded with; None where nothing is given."""
    for key in ("compressor", "filters", "codecs", "index_codecs"):
        given = part.get(key)
        yield from given if isinstance(given, list) else [given]


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every dictionary in metadata, apart from what users may attach."""
    if isinstance(value, dict):
        yield value
        for key, inside in value.items():
            if key != "attributes" and not key.endswith(".zattrs"):
                yield from _parts(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _parts(inside)


def _is_number(name: Any) -> bool:
    try:
        return isinstance(name, str) and np.dtype(name).kind in "biufc"
    except (TypeError, ValueError):
        return False


def open_zarr_image(path: Path) -> OpenedImage:
    """Open the image in a zarr folder without reading its pixels.

    Raises
    ------
    ImageError
        If there is none in grey or RGB, or it declares more than its files can hold.
    """
    import dask.array as da
    import zarr

    node = open_zarr(path)
    if isinstance(node, zarr.Array):
        return OpenedImage((_planes(node, None, path),), _incomplete([node], path))
    images = list(_multiscales(node))
    if not images:
        raise ImageError(f"{path} is a zarr group without an OME-Zarr image; name the array inside it.")
    pictures = [one for one in images if "image-label" not in _ome(one[0])]
    images = pictures or images
    chosen, notes = main_images([_candidate(group, scales) for group, scales in images])
    alike = [images[i] for i in chosen]
    channels, axes = _channels(alike[0][0]), _axes(alike[0][1])
    fields = [
        [_in_order(_planes(group[one["path"]], axes, path), _channels(group)) for one in scales["datasets"]]
        for group, scales in alike
    ]
    levels = [same[0] if len(same) == 1 else da.concatenate(same) for same in zip(*fields, strict=False)]
    full = [group[scales["datasets"][0]["path"]] for group, scales in alike]
    return OpenedImage(
        tuple(levels),
        (*notes, *left_out(channels), *_incomplete(full, path)),
        fields=len(alike),
        depths=dict(zip(axes, full[0].shape, strict=True)).get("z", 1),
        labels=not pictures,
        read_stated=lambda: of_all(_stated_pixel_size(scales) for _, scales in alike),
    )


def _incomplete(arrays: Sequence[Any], path: Path) -> tuple[str, ...]:
    """Return a note on parts that have no file: zarr reads them as empty, also where a copy was cut short."""
    wanted = missing = 0
    for array in arrays:
        sides = zip(array.shape, array.shards or array.chunks, strict=True)
        parts, folders = math.prod(-(-side // step) for side, step in sides), os.walk(path / array.path)
        there = sum(name[0] != "." and name != "zarr.json" for _, _, names in folders for name in names)
        wanted, missing = wanted + parts, missing + max(0, parts - there)
    if not missing:
        return ()
    return (
        f"{missing} of the {wanted} parts of {path} have no file and were read as empty: complete the copy, "
        "unless the image is empty there.",
    )


def _stated_pixel_size(multiscales: dict[str, Any]) -> Stated | None:
    """Return what the metadata of an OME-Zarr image state of its full resolution."""
    axes = multiscales["axes"]
    scales = [
        step["scale"]
        for where in (multiscales["datasets"][0], multiscales)
        for step in where.get("coordinateTransformations", ())
        if step["type"] == "scale"
    ]
    if not scales:
        return None
    at = [[axis["name"] for axis in axes].index(name) for name in "yx"]
    row, column = (math.prod(float(scale[i]) for scale in scales) for i in at)
    return Stated(row, column, *(str(axes[i].get("unit", "")) for i in at))


def _in_order(planes: Any, channels: list[tuple[str, str]]) -> Any:
    """Take channels that are called red, green and blue, or shown so, in that order."""
    order = colour_order(channels, planes.shape[-1])
    return planes[..., order] if order else planes


def _channels(group: Any) -> list[tuple[str, str]]:
    """Return name and colour of each channel; see `colour_order`."""
    channels = [dict(one) for one in (_ome(group).get("omero") or {}).get("channels") or []]
    return [(str(one.get("label", "")), str(one.get("color", ""))) for one in channels]


def _ome(group: Any) -> dict[str, Any]:
    """Return the metadata of OME-Zarr, which lie in a part of their own from 0.5 on."""
    attributes: Any = dict(group.attrs)
    return attributes.get("ome", attributes)


def _axes(scales: dict[str, Any]) -> str:
    names = (axis["name"] if isinstance(axis, dict) else axis for axis in scales["axes"])
    return "".join(str(name)[0] for name in names).lower()


def _multiscales(group: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the images of a group, or of the groups in it, with their metadata."""
    import zarr

    if "multiscales" in (attributes := _ome(group)):
        yield from ((group, scales) for scales in attributes["multiscales"])
        return
    for name in sorted(group.group_keys(), key=lambda name: (len(name), name)):
        inside = group[name]
        if name != "OME" and isinstance(inside, zarr.Group):
            yield from _multiscales(inside)


def _candidate(group: Any, scales: dict[str, Any]) -> Candidate:
    array = group[scales["datasets"][0]["path"]]
    axes = _axes(scales)
    sizes = dict(zip(axes, array.shape, strict=True))
    form = (tuple(array.shape), axes, str(array.dtype), len(scales["datasets"]))
    return Candidate(sizes["y"], sizes["x"], form, str(scales.get("name") or group.basename))


def _planes(array: Any, axes: str | None, path: Path) -> Any:
    """Bring a zarr array to planes (N, H, W, C), lazily."""
    import dask.array as da

    shape = tuple(array.shape)
    if axes is None:
        colours_first = len(shape) == 3 and shape[0] in (3, 4) and shape[2] > 4
        axes = {2: "yx", 3: "cyx" if colours_first else "yxc", 4: "zyxc"}.get(len(shape), "")
    axes = axes.replace("s", "c")
    if not {"y", "x"} <= set(axes) or len(set(axes)) != len(shape) or 0 in shape:
        raise ImageError(f"{path} has the shape {shape}; give one image, grey or RGB.")
    weigh(array, path)
    # Chunks of whole chunks, of which a slide does not have too many.
    stored = zip(axes, shape, array.chunks, strict=True)
    chunks = tuple(chunk_of(side, step) if axis in "yx" else step for axis, side, step in stored)
    lazy = da.from_array(array, chunks=chunks, name=False)
    # The depths of one time follow each other, however they are stored.
    leading = sorted((axis for axis in axes if axis not in "yxc"), key=lambda axis: axis == "z")
    lazy = lazy.transpose([axes.index(axis) for axis in (*leading, *"yxc") if axis in axes])
    if "c" not in axes:
        lazy = lazy[..., None]
    return lazy.reshape(-1, *lazy.shape[-3:])


def weigh(array: Any, path: Path) -> None:
    """Check that a zarr array can hold in its files what it declares.

    Raises
    ------
    ImageError
        If it cannot, or is cut into too many or too large chunks.
    """
    item = array.dtype.itemsize
    declared, chunk = math.prod(array.shape) * item, math.prod(array.chunks) * item
    check_folder_expansion(declared, path)
    check_memory(chunk, str(path))
    count = math.prod(-(-side // step) for side, step in zip(array.shape, array.chunks, strict=True))
    if count > _MOST_SMALL_CHUNKS and chunk < _SMALL_CHUNK:
        raise ImageError(f"{path} is cut into {count:,} chunks of {chunk} bytes; save it in larger ones.")
