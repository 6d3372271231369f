"""TIFF files, also those of whole slides: which of their images is the image, its pixels and their size.

Whatever reads a TIFF, whole or in parts, reads it here: each tile or strip is decoded by
tifffile, and its colours brought to grey or RGB, when pixels in it are asked for.
"""

from __future__ import annotations

import math
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import ImageError
from ..words import counted
from .colours import JPEG, Conversion, conversion
from .limits import check_expansion, check_memory
from .opened import CHUNK, Candidate, LazyPixels, OpenedImage, chunk_of, colour_order, left_out, main_images
from .pixel_size import CENTIMETRES, Stated, of_all, of_dots, unit_symbol

if TYPE_CHECKING:
    import tifffile

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF."""

#: Tag that notes how a camera was turned, of TIFF and EXIF.
ORIENTATION = 274

_ALPHA = (1, 2)  # extra samples that are transparency; 0 says nothing of what they are
_KEPT_SEGMENT = 2**22  # bytes; a strip or tile larger than this is kept for the next part of it
_MOST_PLANES = 65_536  # of an OME-TIFF; what declares more is damaged


class _Layout(NamedTuple):
    """How the pixels of a page are stored."""

    tall: int  # rows of a strip or tile
    wide: int
    samples: int  # of a pixel
    convert: Conversion

    @classmethod
    def of(cls, page: tifffile.TiffPage, name: str) -> _Layout:
        _, _, height, width, samples = page.shaped
        tall = page.tilelength if page.is_tiled else min(page.rowsperstrip, height)
        wide = page.tilewidth if page.is_tiled else width
        return cls(max(1, int(tall)), max(1, int(wide)), int(samples), conversion(page, name))


class _Plane(NamedTuple):
    """Where the pixels of one image plane lie."""

    page: Any  # TiffPage or TiffFrame
    sample: int  # where the samples of the page lie one behind the other
    offset: int | None  # of its first byte, where all its rows follow
    layout: _Layout


def open_tiff(path: Path) -> OpenedImage:
    """Open a TIFF without reading its pixels.

    Raises
    ------
    ImageError
        If it has no image in grey or RGB, or declares more than its bytes can hold.
    Exception
        Of nearly any type, where the file is damaged.
    """
    import tifffile

    with ExitStack() as files:

        def opened(is_ome: bool | None = None) -> tifffile.TiffFile:
            """Open it with tifffile; files that it names elsewhere are not opened."""
            return files.enter_context(tifffile.TiffFile(path, is_ome=is_ome, _multifile=False))

        file = opened()
        _check_chain(file)
        if file.ome_metadata and any(
            one.planes > max(_MOST_PLANES, len(file.pages)) for one in ome_images(file.ome_metadata)
        ):
            file = opened(is_ome=False)
        image = _image(file, str(path), path.stat().st_size)
        return replace(image, close=files.pop_all().close)


def _check_chain(file: tifffile.TiffFile) -> None:
    """Follow the pages of a TIFF; tifffile does so for ever when they go in a circle."""
    form, handle = file.tiff, file.filehandle
    if form.is_ndpi:
        return
    seen = set()
    handle.seek(8 if form.is_bigtiff else 4)
    while offset := int(struct.unpack(form.offsetformat, handle.read(form.offsetsize))[0]):
        if offset in seen:
            raise ValueError("its pages go in a circle")
        seen.add(offset)
        handle.seek(offset)
        data = handle.read(form.tagnosize)
        if len(data) < form.tagnosize:
            return  # behind the end of the file, where tifffile stops too
        handle.seek(offset + form.tagnosize + form.tagsize * struct.unpack(form.tagnoformat, data)[0])
        if handle.tell() + form.offsetsize > handle.size:
            return


def _image(file: tifffile.TiffFile, name: str, size: int) -> OpenedImage:
    every = [(number, one) for number, one in enumerate(file.series) if one.size and {*"YX"} <= {*one.axes}]
    if not every:
        raise ImageError(f"{name} has no pixels; save the image again.")
    chosen, notes = main_images([_candidate(series) for _, series in every])
    alike = [every[i] for i in chosen]
    number, first = alike[0]
    page = first.keyframe
    described = _described(file, number)
    channels = described.channels if described else []
    levels = [
        TiffPixels([*chain(*(_planes(one, channels, name, size) for one in level))], name, size)
        for level in zip(*(series.levels for _, series in alike), strict=False)
    ]
    return OpenedImage(
        tuple(levels),
        (*notes, *left_out(channels), *levels[0].incomplete),
        fields=len(alike),
        images=len(every),
        depths=dict(zip(first.axes, first.shape, strict=True)).get("Z", 1),
        alpha=any(int(sample) in _ALPHA for sample in page.extrasamples),
        read_numbers=levels[0].numbers,
        read_stated=lambda: of_all(
            stated_pixel_size(file, series.keyframe, _described(file, number)) for number, series in alike
        ),
        read_orientation=lambda: getattr(page.tags.get(ORIENTATION), "value", None),
    )


def _candidate(series: tifffile.TiffPageSeries) -> Candidate:
    page = series.keyframe
    sizes = dict(zip(series.axes, series.shape, strict=True))
    form = (series.shape, series.axes, str(series.dtype), int(page.photometric), page.samplesperpixel)
    aside = page.is_reduced or page.is_mask
    return Candidate(sizes["Y"], sizes["X"], form, str(series.name or ""), aside)


def _planes(
    series: tifffile.TiffPageSeries, channels: list[tuple[str, str]], name: str, size: int
) -> list[list[_Plane]]:
    """Return for each plane of a series where its colours lie: one place, or one for each, in their order."""
    page = series.keyframe
    samples, depth, height, width, _ = page.shaped
    axes, shape = series.axes, tuple(series.shape)
    before, _, rest = axes.partition("Y")
    if not rest.startswith("X") or len(rest) > 2 or depth != 1:
        raise ImageError(f"{name} is not a TIFF image of rows and columns (its axes are {axes}).")
    leading = shape[: len(before)]
    if shape[len(before) : len(before) + 2] != (height, width):
        raise ImageError(f"{name} describes {shape} pixels, but holds pages of {width} × {height}.")
    pages: list[Any] = list(series.pages)
    if any(one is None for one in pages):
        raise ImageError(f"{name} lacks some of the images that it describes; save it again.")
    count = math.prod(leading)
    plane_bytes = page.nbytes // samples
    start = (series.dataoffset if page.is_contiguous else None) or None  # at 0 the file begins, and no pixels
    if start is None and len(pages) * samples < count:
        raise ImageError(f"{name} holds fewer images than it describes; it seems truncated. Save it again.")
    check_expansion(count * plane_bytes, size, name)
    layout_of = cache(lambda page: _Layout.of(page, name))  # pages of several programs have each its own

    def plane(number: int) -> _Plane:
        one = pages[min(number // samples, len(pages) - 1)]
        offset = None if start is None else start + number * plane_bytes
        return _Plane(one, number % samples, offset, layout_of(one.keyframe))

    colours = [axis for axis in "SC" if axis in before and shape[before.index(axis)] > 1]
    if len(colours) + (len(rest) == 2 and shape[-1] > 1) > 1:
        raise ImageError(f"{name} has several colour channels ({axes}, {shape}); save it as plain RGB.")
    numbers = _in_order(np.arange(count).reshape(leading), before, colours)
    order = colour_order(channels, numbers.shape[-1])
    return [[plane(number) for number in row] for row in (numbers[:, order] if order else numbers).tolist()]


def _in_order(grid: np.ndarray, axes: str, colours: list[str]) -> np.ndarray:
    """Return what lies along these axes, one its colours perhaps, as planes and colours of each."""
    grid = np.moveaxis(grid, axes.index(colours[0]), -1) if colours else grid[..., None]
    planes = [axis for axis in axes if axis not in colours]
    if "Z" in planes:  # the depths of one time follow each other, however they are stored
        grid = np.moveaxis(grid, planes.index("Z"), -2)
    return grid.reshape(-1, grid.shape[-1])


def _is_empty(offset: int, size: int) -> bool:
    """Whether a tile or strip was left out by the program that wrote the file, or not written."""
    return not (offset and size)


def _incomplete(empty: int, parts: int, name: str) -> tuple[str, ...]:
    hold = "holds" if empty == 1 else "hold"
    return (
        f"{empty} of the {counted(parts, 'part')} of {name} {hold} nothing, so no cell is seen there: copy "
        "or save the image again, unless it is empty there.",
    )


class TiffPixels(LazyPixels):
    """The pixels of one resolution, decoded where they are asked for.

    Attributes
    ----------
    planes : list of list of _Plane
        For each image, where its pixels or those of each of its colours lie.
    incomplete : tuple of str
        A note on strips or tiles of which the file has nothing, as where it was not written to its end.

    Raises
    ------
    ImageError
        If the file, of so many bytes, cannot hold what it declares.
    """

    def __init__(self, planes: list[list[_Plane]], name: str, size: int) -> None:
        self.planes = planes
        page, first = planes[0][0].page.keyframe, planes[0][0].layout
        _, _, self._height, self._width, _ = page.shaped
        probe = first.convert(np.zeros((1, 1, len(planes[0]) * first.samples), page.dtype))
        self.dtype = probe.dtype
        self.shape = (len(planes), self._height, self._width, int(probe.shape[-1]))
        whole = planes[0][0].offset is not None
        segment = (min(self._height, CHUNK), self._width) if whole else (first.tall, first.wide)
        rows, columns = map(chunk_of, self.shape[1:3], segment)
        self.chunks = (1, rows, columns, self.shape[3])
        # What the file declares is weighed against its size; tiles are decoded whole, however little of them
        # lies in the image.
        decoded, largest, lacking = 0, 0, False
        parts = empty = 0
        for plane in chain(*planes):
            tall, wide = segment if plane.offset is not None else plane.layout[:2]
            count = -(-self._height // tall) * -(-self._width // wide)
            stored = tall * wide * plane.layout.samples * page.dtype.itemsize
            largest, decoded = max(largest, stored), decoded + count * stored
            if plane.offset is None:
                own = slice(count * plane.sample, count * (plane.sample + 1))
                offsets, sizes = plane.page.dataoffsets[own], plane.page.databytecounts[own]
                lacking |= min(len(offsets), len(sizes)) < count
                parts, empty = parts + count, empty + sum(map(_is_empty, offsets, sizes))
        check_expansion(max(self.nbytes, decoded), size, name)
        check_memory(largest, name)
        if lacking:
            raise ImageError(f"{name} lacks parts of its image, it seems truncated; copy or save it again.")
        self.incomplete = _incomplete(empty, parts, name) if empty else ()
        self._lock = threading.Lock()
        self._kept: tuple[Any, Any] = (None, None)

    def read(self, image: int, box: Box) -> NDArray[Any]:
        """Return the pixels (rows, columns, colours) of a part of one plane."""
        return self.planes[image][0].layout.convert(self._stored(image, box))

    def numbers(self) -> NDArray[Any] | None:
        """Return all pixels as stored, of a palette or where 0 is shown white; None of others.

        And of four planes, which tifffile writes as the colours of one and its transparency.
        """
        from tifffile import PHOTOMETRIC

        shown = self.planes[0][0].page.keyframe.photometric
        if len(self.planes[0]) != 4 and shown not in (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.PALETTE):
            return None
        whole = Box(0, 0, self._height, self._width)
        return np.stack([self._part(plane, whole) for plane in chain(*self.planes)])

    def _stored(self, image: int, box: Box) -> NDArray[Any]:
        parts = [self._part(plane, box) for plane in self.planes[image]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def _part(self, plane: _Plane, box: Box) -> NDArray[Any]:
        page, key = plane.page, plane.page.keyframe
        tall, wide, samples, _ = plane.layout
        if plane.offset is not None:
            stored = np.dtype(key.parent.byteorder + key.dtype.char)
            row_bytes = self._width * samples * stored.itemsize
            data = self._bytes(page, plane.offset + box.top * row_bytes, box.shape[0] * row_bytes)
            pixels = np.frombuffer(data, stored).reshape(box.shape[0], self._width, samples)
            return pixels[:, box.left : box.right].astype(stored.newbyteorder("="), copy=False)
        across = -(-self._width // wide)
        first = plane.sample * across * -(-self._height // tall)
        out = np.zeros((*box.shape, samples), key.dtype)
        down = range(box.top // tall, -(-box.bottom // tall))
        for i, j in product(down, range(box.left // wide, -(-box.right // wide))):
            segment = self._decoded(page, first + i * across + j)
            if segment is None:  # left out by the program that wrote it: empty
                continue
            rows, cols = segment.shape[:2]
            part = box.common((i * tall, j * wide, i * tall + rows, j * wide + cols))
            if part.area:
                inside = segment[part.shifted(-i * tall, -j * wide).slices]
                out[part.relative_to(box).slices] = inside
        return out

    def _decoded(self, page: Any, index: int) -> NDArray[Any] | None:
        """Return a tile or strip (rows, columns, samples); None for an empty one."""
        name = (id(page), index)
        kept, segment = self._kept
        if kept == name:
            return segment
        key = page.keyframe
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if _is_empty(offset, count):
            return None
        options = {}
        if int(key.compression) in JPEG:
            options = {"jpegtables": page.jpegtables, "jpegheader": key.jpegheader}
        decoded = key.decode(self._bytes(page, offset, count), index, **options)[0]
        if decoded is None:
            return None
        segment = decoded[0]
        if segment.nbytes > _KEPT_SEGMENT:
            self._kept = (name, segment)
        return segment

    def _bytes(self, page: Any, offset: int, count: int) -> bytes:
        with self._lock:
            handle = page.parent.filehandle
            handle.seek(offset)
            data = handle.read(count)
        if len(data) != count:
            raise ValueError("its last bytes are missing")
        return bytes(data)


# What the metadata state -------------------------------------------------------------------------------


def stated_pixel_size(
    file: tifffile.TiffFile, page: tifffile.TiffPage, described: OmeImage | None
) -> Stated | None:
    """Return what a TIFF states of one of its images, given by a page and what OME-XML says of it."""
    shaped: dict[str, Any] = (file.shaped_metadata or ({},))[0]
    if (physical := _physical_size(shaped, shaped.get("PhysicalSizeUnit", "µm"))) is not None:
        return physical
    if file.ome_metadata:
        return described.pixel_size if described else None
    if file.is_svs:
        for field in page.description.split("|"):
            key, _, value = field.partition("=")
            if key.strip() == "MPP":
                return Stated(value, value)
    resolutions = [_rational(page.tags.get(tag)) for tag in ("YResolution", "XResolution")]
    if not all(resolutions):
        return None
    down, across = (1 / value for value in resolutions)
    unit = unit_symbol(str((file.imagej_metadata or {}).get("unit", "")))
    if unit in CENTIMETRES:
        return Stated(down, across, unit, unit)
    of_resolution = getattr(page.tags.get("ResolutionUnit"), "value", 1)
    if of_resolution == 2:
        return of_dots(*resolutions)
    unit = "cm" if of_resolution == 3 else ""
    return Stated(down, across, unit, unit)


def _physical_size(known: Mapping[str, Any], unit: str = "µm") -> Stated | None:
    """Return the size of a pixel in the words of OME, which others use too; a unit where none is said."""
    if "PhysicalSizeX" not in known or "PhysicalSizeY" not in known:
        return None
    units = (known.get(f"PhysicalSize{axis}Unit", unit) for axis in "YX")
    return Stated(known["PhysicalSizeY"], known["PhysicalSizeX"], *units)


def _rational(tag: Any) -> float:
    over, under = (0, 0) if tag is None else tag.value
    return over / under if under else 0.0


class OmeImage(NamedTuple):
    """What OME-XML says of an image: its planes, of all depths, channels and times, and its channels."""

    planes: int
    pixel_size: Stated | None
    channels: list[tuple[str, str]]  # name and colour, see `colour_order`


def _described(file: tifffile.TiffFile, series: int) -> OmeImage | None:
    """Return what OME-XML says of one of the images of a TIFF, where there is such."""
    images = list(ome_images(file.ome_metadata or ""))
    return images[min(series, len(images) - 1)] if images else None


def ome_images(xml: str) -> Iterator[OmeImage]:
    """Yield the images that OME-XML describes; none where it is no XML."""
    # The parser of Python opens no external entities, and expat stops those that swell.
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):
        return
    for element in root.iter():
        if not isinstance(element.tag, str) or element.tag.rpartition("}")[2] != "Pixels":
            continue
        known = element.attrib
        planes = math.prod(int(known.get(f"Size{axis}", 1)) for axis in "ZCT")
        attributes = (one.attrib for one in element if str(one.tag).rpartition("}")[2] == "Channel")
        channels = [(one.get("Name", ""), _rrggbb(one.get("Color", ""))) for one in attributes]
        yield OmeImage(planes, _physical_size(known), channels)


def _rrggbb(colour: str) -> str:
    """Return a colour of OME-XML, a signed number of red, green, blue and alpha, in hexadecimals."""
    try:
        return f"{int(colour) >> 8 & 0xFFFFFF:06x}"
    except ValueError:
        return ""
