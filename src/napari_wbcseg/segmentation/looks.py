"""The looks at an image: each for cells of one size, in tiles, as it is stained or in the standard stain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..box import Box
from ..network.model_file import ModelFile
from ..network.robust import CANONICAL_DIAMETER
from .standard_stain import PARAMETERS as STAIN
from .standard_stain import Colour, StandardStain
from .tiles import Tile, tile_grid


@dataclass(frozen=True)
class LookParameters:
    """What of an image the network need not be shown.

    Attributes
    ----------
    nucleus : tuple of float
        Of the density in green of a slide's white cells, or of standard ones where these are paler: from
        where on a place may be a nucleus, at least and at most. On the validation sets 457 of 458 cells
        reach 0.49 of that, 0.65 where red cells are dark, and one of marrow that is unsure 0.25.
    beyond_red : float
        On the way to it from the density of the red cells, between these two.
    """

    nucleus: tuple[float, float] = (0.45, 0.6)
    beyond_red: float = 0.2


PARAMETERS = LookParameters()


class Look(NamedTuple):
    """A look at all of an image.

    Attributes
    ----------
    diameter : float
        Of the cells that are looked for, image pixels.
    standard : StandardStain or None
        In which what is unsure is looked at again.
    all_in_standard : bool
        Whether the image is looked at in that alone.
    least_stain : float or None
        What the network takes in green of the palest place that it is shown; None where that is all.
    """

    diameter: float
    standard: StandardStain | None = None
    all_in_standard: bool = False
    least_stain: float | None = None


def looks_for(
    diameters: Sequence[float], standard: StandardStain | None, least_stain: float | None = None
) -> tuple[Look, ...]:
    """Return the looks for cells of some diameters, that of most first, and for pale ones in the standard."""
    looks = tuple(Look(diameter, standard, False, least_stain) for diameter in diameters)
    if standard is None or not standard.pale:
        return looks
    least_stain = None if least_stain is None else palest_nucleus(STAIN.white, STAIN.red)
    return (*looks, Look(diameters[0], standard, True, least_stain))


def palest_nucleus(white: Colour, red: Colour | None) -> float:
    """Return what the network takes in green of the palest place that may be a nucleus.

    Given the densities of the white and red cells of the slide.
    """
    nucleus = min(white[1], STAIN.white[1])
    beyond = 0.0 if red is None else red[1] + PARAMETERS.beyond_red * (nucleus - red[1])
    low, high = PARAMETERS.nucleus
    return 2 - 2 * math.exp(-min(max(beyond, low * nucleus), high * nucleus))


def tiles_of_looks(fields: Sequence[Box], looks: Sequence[Look], model: ModelFile) -> list[Tile]:
    """Return the tiles of the fields of an image, one look after the other."""
    return [tile for number, look in enumerate(looks) for tile in tiles_of_look(fields, look, model, number)]


def tiles_of_look(fields: Sequence[Box], look: Look, model: ModelFile, number: int) -> list[Tile]:
    """Return the tiles of one look, of that number, at the fields of an image."""
    canonical = model.header.canonical_diameter or CANONICAL_DIAMETER
    return [
        tile.shifted(field.top, field.left)
        for field in fields
        for tile in tile_grid(field.shape, look.diameter / canonical, look=number)
    ]
