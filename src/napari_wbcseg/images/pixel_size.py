"""The size of a pixel: what files state of it, as micrometres that can be true."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

#: Length units in centimetres.
CENTIMETRES = {
    **{"pm": 1e-10, "Å": 1e-8, "nm": 1e-7, "µm": 1e-4, "mm": 0.1, "cm": 1.0, "dm": 10.0, "m": 100.0},
    "inch": 2.54,
}

#: What OME-Zarr calls units of length.
UNIT_NAMES = {
    **{"pm": "picometer", "Å": "angstrom", "nm": "nanometer", "µm": "micrometer", "mm": "millimeter"},
    **{"cm": "centimeter", "dm": "decimeter", "m": "meter", "inch": "inch"},
}

_SYMBOLS = {
    **{spelt: unit for unit, name in UNIT_NAMES.items() for spelt in (name, name.replace("meter", "metre"))},
    # Also escaped, and as it is read where its two bytes are taken for two letters.
    **dict.fromkeys(("um", "µm", "μm", "micron", "mum", "\\u00b5m", "\\u03bcm", "âµm"), "µm"),
    **dict.fromkeys(("a", "å", "ångström", "ångstrom"), "Å"),
    **dict.fromkeys(("in", "inches", '"'), "inch"),
    "px": "pixel",
}


@dataclass(frozen=True)
class PixelSizeParameters:
    """Which pixel sizes a microscope can have.

    Attributes
    ----------
    least, most : float
        Micrometres. A cell of 12 µm is one pixel at the upper end, and light resolves nothing at the lower.
        The 72 to 2400 dots per inch of screens, prints and scanners are 350 to 10.6 µm.
    most_oblong : float
        Ratio of the sides; cameras have 1, line scanners up to 2.
    """

    least: float = 0.005
    most: float = 10.0
    most_oblong: float = 4.0


PARAMETERS = PixelSizeParameters()


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

    @property
    def micrometres(self) -> tuple[float, float] | None:
        """Its height and width, µm; None where the unit is none of length."""
        if self.unit not in CENTIMETRES:
            return None
        unit = CENTIMETRES[self.unit] / CENTIMETRES["µm"]
        return self.row * unit, self.column * unit

    @property
    def tiff_resolution(self) -> dict[str, Any]:
        """The options of `tifffile.imwrite` that keep it."""
        centimetres = CENTIMETRES.get(self.unit)
        down, across = (1 / (side * (centimetres or 1)) for side in (self.row, self.column))
        return {"resolution": (across, down), "resolutionunit": "CENTIMETER" if centimetres else "NONE"}


class Stated(NamedTuple):
    """What a file states, as it states it: numbers, and the unit of each."""

    row: Any
    column: Any
    row_unit: str = "µm"
    column_unit: str = "µm"


#: Stands for what several images of a file state where they state different sizes.
SEVERAL = Stated("several", "several")


def of_all(stated: Iterable[Stated | None]) -> Stated | None:
    """Return what several images of a file, which become planes of one stack, state of their pixels."""
    every = list(stated)
    known = {size: one for one in every if (size := in_micrometres(one)[0]) is not None}
    return SEVERAL if len(known) > 1 else next(iter(known.values()), every[0])


def of_dots(down: float, across: float) -> Stated | None:
    """Return what dots per inch state; None of those of a print or a screen, no word on the slide."""
    stated = Stated(1 / down, 1 / across, "inch", "inch") if down > 0 and across > 0 else None
    return None if in_micrometres(stated)[0] is None else stated


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
    if stated is SEVERAL:
        return None, ("The images in the file have pixels of different sizes: sizes are in pixels.",)
    sizes = []
    for value, unit in ((stated.row, stated.row_unit), (stated.column, stated.column_unit)):
        symbol = unit_symbol(str(unit))
        if symbol not in CENTIMETRES:
            return None, ()  # pixels, or a frame of reference: nothing is stated
        try:
            # To nine digits: the way over centimetres leaves a trace in the last ones.
            number = float(str(value).strip().replace(",", "."))
            sizes.append(float(f"{number * (CENTIMETRES[symbol] / CENTIMETRES['µm']):.9g}"))
        except ValueError:
            sizes.append(math.nan)
    possible = all(PARAMETERS.least <= size <= PARAMETERS.most for size in sizes)
    if possible and max(sizes) <= PARAMETERS.most_oblong * min(sizes):
        return PixelSize(sizes[0], sizes[1]), ()
    return None, (
        f"The file states pixels of {stated.column} {stated.column_unit} × {stated.row} {stated.row_unit}, "
        "which those of a microscope are not: sizes are in pixels.",
    )
