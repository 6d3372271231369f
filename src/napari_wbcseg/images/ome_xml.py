"""What OME-XML, the description in an OME-TIFF, states of its images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple


class Stated(NamedTuple):
    """What a file states, as it states it: numbers, and the unit of each."""

    row: Any
    column: Any
    row_unit: str = "µm"
    column_unit: str = "µm"


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
