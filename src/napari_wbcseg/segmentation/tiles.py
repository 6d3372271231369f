"""The fixed grid of tiles that every image is segmented in, anchored at its corner.

A tile is the unit of work, of resuming and of distribution. It is looked at with a margin around its
core, and a cell belongs to the tile whose core holds its centroid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product

from ..box import Box


@dataclass(frozen=True)
class TileParameters:
    """How an image is laid out in tiles. Lengths are canonical pixels, of which a cell is 48 across.

    Attributes
    ----------
    core : float
        Side of a core. At 1024 a microscope's field is one tile, and the margins of a slide's tiles
        add a quarter to what is predicted; at 192 they would more than double it.
    margin : float
        Around a core: half of a cell of one and a half times the usual size, the 16 pixels that its
        outline is predicted with, and some more.
    largest : int
        Largest side of a core but the last, image pixels, so that a tile takes at most about half a gigabyte.
    least : float
        Least side of the last core of a row or column over that of the others: what is narrower belongs to
        the tile before it, for the margin of a tile of its own would be most of what is looked at.
    tolerance : float
        A tile claims cells so far outside its core too: two tiles see a cell on their border a
        little differently, and none may be lost between them. What both claim is kept once.
    """

    core: float = 1024.0
    margin: float = 64.0
    largest: int = 3072
    least: float = 0.25
    tolerance: float = 6.0


PARAMETERS = TileParameters()


@dataclass(frozen=True)
class Tile:
    """A tile of an image.

    Attributes
    ----------
    core : Box
        Its part of the image; the cores of all tiles are the image.
    window : Box
        What is looked at: the core and its margin, inside the image.
    tolerance : float
        Pixels outside the core in which it claims cells too.
    look : int
        Which of the looks at the image it is part of; 0 is that for most cells.
    """

    core: Box
    window: Box
    tolerance: float
    look: int = 0

    def shifted(self, down: int, right: int) -> Tile:
        """Return it in an image that has so many rows and columns more before it."""
        core, window = (box.shifted(down, right) for box in (self.core, self.window))
        return replace(self, core=core, window=window)

    def claims(self, row: float, col: float) -> bool:
        """Say whether a cell with its centroid at a pixel of the image is one of this tile's."""
        core, by = self.core, self.tolerance
        return core.top - by <= row < core.bottom + by and core.left - by <= col < core.right + by


def tile_grid(
    shape: tuple[int, int], canonical_pixel: float, parameters: TileParameters | None = None, look: int = 0
) -> list[Tile]:
    """Return the tiles of an image in reading order.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the image.
    canonical_pixel : float
        Side of a canonical pixel, image pixels.
    parameters : TileParameters, optional
    look : int
        What each tile says of itself.

    Examples
    --------
    >>> [tuple(tile.core) for tile in tile_grid((1500, 1000), 1.0)]
    [(0, 0, 1024, 1000), (1024, 0, 1500, 1000)]
    """
    parameters = parameters or PARAMETERS
    side = max(1, min(round(parameters.core * canonical_pixel), parameters.largest))
    margin = round(parameters.margin * canonical_pixel)
    tolerance, least = parameters.tolerance * canonical_pixel, round(parameters.least * side)

    def spans(length: int) -> Iterator[tuple[int, int]]:
        count = max(1, -(-(length - least) // side))
        return pairwise([*range(0, count * side, side), length])

    return [
        Tile(core, core.grown(margin, shape), tolerance, look)
        for (top, bottom), (left, right) in product(*map(spans, shape))
        for core in [Box(top, left, bottom, right)]
    ]
