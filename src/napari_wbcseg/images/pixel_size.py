"""The size of a pixel: what files state of it, as micrometres that can be true."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from .ome_xml import Stated, ome_images
from .opened import open_pixels
from .slides import SlideImage
from .tiff import TiffImage
from .zarr_files import ZarrImage

#: Length units in centimetres.
CENTIMETRES = {
    **{"pm": 1e-10, "Å": 1e-8, "nm": 1e-7, "µm": 1e-4, "mm": 0.1, "cm": 1.0, "dm": 10.0, "m": 100.0},
    "inch": 2.54,
}

#: What OME-Zarr calls units of length.
UNIT_NAMES = {"nm": "nanometer", "µm": "micrometer", "mm": "millimeter", "cm": "centimeter"}

_PREFIXES = {"pico": "pm", "nano": "nm", "micro": "µm", "milli": "mm", "centi": "cm", "deci": "dm", "": "m"}
_SYMBOLS = {
    **{f"{prefix}met{end}": symbol for prefix, symbol in _PREFIXES.items() for end in ("er", "re")},
    **dict.fromkeys(("micron", "um", "μm", "mum", "\\u00b5m", "\\u03bcm", "Âµm"), "µm"),
    **dict.fromkeys(("angstrom", "ångström", "ångstrom", "Å", "a"), "Å"),
    **dict.fromkeys(("in", "inches", '"'), "inch"),
    "px": "pixel",
}

# A cell of 12 µm is one pixel at the upper end, and light resolves nothing at the lower. The 72 to
# 2400 dots per inch of screens, prints and scanners are 350 to 10.6 µm.
_PLAUSIBLE = (0.005, 10.0)
_MOST_OBLONG = 4.0  # ratio of the sides of a pixel; cameras have 1, line scanners up to 2


def unit_symbol(unit: str) -> str:
    """Return the symbol of a unit of length by whatever name: ``micron`` is ``µm``.

    Examples
    --------
    >>> unit_symbol("microns"), unit_symbol("mm")
    ('µm', 'mm')
    """
    unit = unit.strip()
    if unit in CENTIMETRES:
        return unit
    name = unit.lower()
    return _SYMBOLS.get(name, _SYMBOLS.get(name.removesuffix("s"), name if name in CENTIMETRES else unit))


class PixelSize(NamedTuple):
    """Size of one pixel, along the rows and along the columns of the image.

    Attributes
    ----------
    row, column : float
        Distance from one pixel to the next, down and to the right.
    unit : str
        Its unit, such as ``µm``.
    """

    row: float
    column: float
    unit: str = "µm"


def in_micrometres(stated: Stated | None) -> tuple[PixelSize | None, tuple[str, ...]]:
    """Turn what a file states into micrometres that can be true, or none and a note.

    Parameters
    ----------
    stated : Stated or None
        Numbers may be text, with a comma too.

    Returns
    -------
    size : PixelSize or None
        Positive, finite, of a microscope, in µm.
    notes : tuple of str
        Why there is none, where the file states one.
    """
    if stated is None:
        return None, ()
    sizes = []
    for value, unit in ((stated.row, stated.row_unit), (stated.column, stated.column_unit)):
        symbol = unit_symbol(str(unit))
        if symbol not in CENTIMETRES:
            return None, ()  # pixels, or a frame of reference: nothing is stated
        try:
            # To six digits: the way over centimetres leaves a trace in the last ones.
            number = float(str(value).strip().replace(",", "."))
            sizes.append(float(f"{number * (CENTIMETRES[symbol] / CENTIMETRES['µm']):.9g}"))
        except ValueError:
            sizes.append(math.nan)
    row, column = sizes
    low, high = _PLAUSIBLE
    if low <= row <= high and low <= column <= high and max(sizes) <= _MOST_OBLONG * min(sizes):
        return PixelSize(row, column), ()
    return None, (
        f"The file states pixels of {stated.column} {stated.column_unit} × {stated.row} {stated.row_unit}, "
        "which those of a microscope are not: sizes are in pixels.",
    )


def read_pixel_size(path: str | Path) -> PixelSize | None:
    """Return the pixel size that a TIFF, a slide or an OME-Zarr states, in µm; None where it states none.

    Files of this package, OME-TIFF, ImageJ's and plain TIFF resolutions, the slides of scanners and
    OME-Zarr are understood. Sizes that no microscope has, such as the dots per inch of prints, are
    left alone. It never fails: whoever reads the pixels says what is wrong with a file.
    """
    return pixel_size_and_notes(path)[0]


def pixel_size_and_notes(path: str | Path) -> tuple[PixelSize | None, tuple[str, ...]]:
    """Return the same, and why there is none where the file states one."""
    path = Path(path)
    try:
        image = open_pixels(path, str(path))
        if image is None:
            return None, ()
        try:
            return size_in(image)
        finally:
            image.close()
    except Exception:  # of nearly any type; whoever reads the pixels says what is wrong
        return None, ()


def size_in(image: ZarrImage | SlideImage | TiffImage) -> tuple[PixelSize | None, tuple[str, ...]]:
    """Return the pixel size of an image, and why there is none where its file states one."""
    try:
        if isinstance(image, SlideImage):
            return in_micrometres(image.stated)
        if isinstance(image, ZarrImage):
            return in_micrometres(_stated_by_zarr(image.multiscales) if image.multiscales else None)
        return in_micrometres(_stated_by_tiff(image.file, image.first, image.series))
    except Exception:  # broken tags, of any kind: the pixels may be sound
        return None, ()


def _stated_by_tiff(file: Any, page: Any, series: int) -> Stated | None:
    """Return what a TIFF states of one of its images, given by a page and a number."""
    described: dict[str, Any] = (file.shaped_metadata or ({},))[0]
    if "PhysicalSizeX" in described:
        unit = str(described.get("PhysicalSizeUnit", "µm"))
        return Stated(described.get("PhysicalSizeY"), described["PhysicalSizeX"], unit, unit)
    if file.ome_metadata:
        images = list(ome_images(file.ome_metadata))
        return images[min(series, len(images) - 1)].stated if images else None
    if file.is_svs:
        for field in page.description.split("|"):
            key, _, value = field.partition("=")
            if key.strip() == "MPP":
                return Stated(value, value)
    resolutions = [_rational(page.tags.get(tag)) for tag in ("YResolution", "XResolution")]
    if not all(resolutions):
        return None
    down, across = (1 / value for value in resolutions)
    unit = str((file.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    if unit_symbol(unit) in CENTIMETRES:
        return Stated(down, across, unit, unit)
    if getattr(page.tags.get("ResolutionUnit"), "value", None) == 3:  # dots per inch are of a print
        return Stated(down, across, "cm", "cm")
    return None


def _rational(tag: Any) -> float:
    over, under = (0, 0) if tag is None else tag.value
    return over / under if under else 0.0


def _stated_by_zarr(multiscales: dict[str, Any]) -> Stated | None:
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
    sizes = {
        axis["name"]: (math.prod(float(scale[i]) for scale in scales), str(axis.get("unit", "")))
        for i, axis in enumerate(axes)
    }
    (row, row_unit), (column, column_unit) = sizes["y"], sizes["x"]
    return Stated(row, column, row_unit, column_unit)
