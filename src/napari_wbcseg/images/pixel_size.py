"""The size of a pixel, and where TIFF files state it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from .lazy import SLIDE_SUFFIXES

#: Length units in centimetres.
CENTIMETRES = {"nm": 1e-7, "µm": 1e-4, "mm": 0.1, "cm": 1.0, "inch": 2.54}

#: What OME-Zarr calls units of length.
UNIT_NAMES = {"nm": "nanometer", "µm": "micrometer", "mm": "millimeter", "cm": "centimeter"}

_SYMBOLS = {
    "micron": "µm",
    "micrometer": "µm",
    "micrometre": "µm",
    "um": "µm",
    "μm": "µm",  # the Greek letter, not the sign
    "nanometer": "nm",
    "nanometre": "nm",
    "millimeter": "mm",
    "millimetre": "mm",
    "centimeter": "cm",
    "centimetre": "cm",
    "px": "pixel",
    "pixels": "pixel",
}


def unit_symbol(unit: str) -> str:
    """Return the symbol of a unit of length by whatever name: ``micron`` is ``µm``."""
    return _SYMBOLS.get(unit, unit)


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


def read_pixel_size(path: str | Path) -> PixelSize | None:
    """Return the pixel size that a TIFF or an OME-Zarr states; None where it states none in a real unit.

    Files of this package, OME-TIFF, ImageJ's and plain TIFF resolutions, Aperio's slides and
    OME-Zarr are understood. The dots per inch of photographs and prints are left alone: they say
    nothing of the slide.
    """
    path = Path(path)
    if path.is_dir():
        return _zarr_pixel_size(path)
    if path.suffix.lower() not in (".tif", ".tiff", *SLIDE_SUFFIXES):
        return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            described = (tiff.shaped_metadata or ({},))[0]
            if "PhysicalSizeX" in described:
                return PixelSize(
                    float(described["PhysicalSizeY"]),
                    float(described["PhysicalSizeX"]),
                    str(described.get("PhysicalSizeUnit", "µm")),
                )
            if tiff.ome_metadata:
                return _ome_pixel_size(tiff.ome_metadata)
            if tiff.is_svs and (aperio := re.search(r"\bMPP = ([\d.]+)", page.description)):
                return PixelSize(float(aperio[1]), float(aperio[1]))
            unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
            unit = unit_symbol(unit)
            across, down = (_rational(page.tags.get(tag)) for tag in ("XResolution", "YResolution"))
            if not across or not down:
                return None
            if unit in CENTIMETRES:
                return PixelSize(1 / down, 1 / across, unit)
            if getattr(page.tags.get("ResolutionUnit"), "value", None) == 3:  # per centimetre
                return PixelSize(1e4 / down, 1e4 / across, "µm")
    except (tifffile.TiffFileError, OSError, ValueError, KeyError, TypeError):
        return None  # a damaged file is reported by whoever reads its pixels
    return None


def _rational(tag: Any) -> float:
    if tag is None:
        return 0.0
    over, under = tag.value
    return over / under if under else 0.0


def _zarr_pixel_size(folder: Path) -> PixelSize | None:
    import zarr

    try:
        attributes: Any = dict(zarr.open_group(str(folder), mode="r").attrs)
        scales = attributes.get("ome", attributes)["multiscales"][0]
        first = scales["datasets"][0]["coordinateTransformations"]
        scale = next(one["scale"] for one in first if one["type"] == "scale")
        sizes = {
            axis["name"]: (float(step), unit_symbol(axis.get("unit", "")))
            for axis, step in zip(scales["axes"], scale, strict=True)
        }
        (row, unit), (column, other) = sizes["y"], sizes["x"]
    except Exception:  # a plain array, or of an older version; whoever reads it says what is wrong
        return None
    return PixelSize(row, column, unit) if unit == other and unit in CENTIMETRES else None


def _ome_pixel_size(xml: str) -> PixelSize | None:
    # The first image's; a full parser of XML would open external entities.
    found = {
        key: re.search(rf'<Pixels[^>]*\bPhysicalSize{key}="([^"]+)"', xml) for key in ("X", "Y", "XUnit")
    }
    across, down, unit = found["X"], found["Y"], found["XUnit"]
    if across is None or down is None:
        return None
    return PixelSize(float(down[1]), float(across[1]), unit[1] if unit else "µm")
