"""What the metadata of a TIFF state of its images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .pixel_size import CENTIMETRES, Stated, unit_symbol

if TYPE_CHECKING:
    import tifffile


def stated_pixel_size(file: tifffile.TiffFile, page: tifffile.TiffPage, series: int) -> Stated | None:
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


class OmeImage(NamedTuple):
    """An image as OME-XML describes it.

    Attributes
    ----------
    planes : int
        Of all depths, channels and times.
    stated : Stated or None
        Its pixel size.
    """

    planes: int
    stated: Stated | None


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
        stated = None
        if "PhysicalSizeX" in known and "PhysicalSizeY" in known:
            units = (known.get(f"PhysicalSize{axis}Unit", "µm") for axis in "YX")
            stated = Stated(known["PhysicalSizeY"], known["PhysicalSizeX"], *units)
        yield OmeImage(planes, stated)
