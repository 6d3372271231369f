"""A synthetic blood smear with exact truth: the embedded picture of demo, documentation and tests.

The slide is painted as amounts of dye, and photographed as a microscope camera would:
light absorbed after Beer and Lambert, uneven, defocused, noisy and compressed. Stain,
magnification, density and seed are parameters; the same parameters give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, pi
from typing import Any

import cv2
import numpy as np

from ..box import Box
from ..errors import SettingsError
from .camera import Aperture, draw_aperture, photograph
from .parameters import SmearParameters
from .placement import place_red_cells, place_white_cells
from .stains import DYES, Stain, random_stain
from .surroundings import clearance_of, paint_debris, paint_platelets, paint_red_cells
from .white_cells import KINDS, WhiteCell, paint_white_cell


@dataclass(frozen=True)
class SyntheticSmear:
    """A drawn field of a blood smear, and what is in it.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    labels : ndarray of int32, shape (H, W)
        Whole white cells, 1..count in reading order (of their first pixel), each in
        one piece; 0 elsewhere. What the field's dark edge hides is not labelled.
    nuclei : ndarray of int32, shape (H, W)
        Pixels of the nuclei, carrying their cell's label. A cell cut by the border
        may show none.
    cell_diameter : float
        Diameter of a typical white cell, in pixels.
    kinds : tuple of str
        Kind of each white cell; ``kinds[i]`` belongs to label ``i + 1``.
    seed : int
        Seed it was drawn with.
    stain : Stain
        Stain it was drawn in.
    red_cells, platelets : ndarray of float, shape (n, 3)
        Row, column and radius of each, also where white cells hide it.
    """

    image: np.ndarray
    labels: np.ndarray
    nuclei: np.ndarray
    cell_diameter: float
    kinds: tuple[str, ...]
    seed: int
    stain: Stain
    red_cells: np.ndarray
    platelets: np.ndarray

    @property
    def count(self) -> int:
        """Number of white cells."""
        return len(self.kinds)


def synthetic_smear(shape: tuple[int, int] = (768, 1024), **parameters: Any) -> SyntheticSmear:
    """Draw a field of a stained blood smear with exact truth.

    Parameters
    ----------
    shape : tuple of 2 int
        Rows and columns.
    **parameters
        The fields of `napari_wbcseg.synthetic.parameters.SmearParameters`, among them
        ``cell_diameter``, ``white_cells``, ``touching``, ``stain`` and ``seed``.

    Returns
    -------
    SyntheticSmear
        The picture and its truth.

    Raises
    ------
    SettingsError
        If a parameter is out of range or ``white_cells`` do not fit into the image.

    Examples
    --------
    >>> smear = synthetic_smear((200, 300), seed=1)
    >>> smear.image.shape, int(smear.labels.max()) == smear.count
    ((200, 300, 3), True)
    """
    return _draw(SmearParameters(shape=shape, **parameters), all_must_fit=True)


def random_smear(
    rng: np.random.Generator | int,
    shape: tuple[int, int] = (256, 256),
    *,
    cell_diameter_range: tuple[float, float] = (20.0, 160.0),
) -> SyntheticSmear:
    """Draw a field with every parameter at random over a wide range, to train robust networks on.

    Domain randomisation after Tobin et al. (2017): far wider than any laboratory, so
    that real smears lie inside.

    Parameters
    ----------
    rng : numpy.random.Generator or int
        Source of every choice, or a seed.
    shape : tuple of 2 int
        Rows and columns.
    cell_diameter_range : tuple of 2 float
        Smallest and largest diameter of a white cell in pixels; drawn evenly on a
        logarithmic scale. Equal ends fix it.

    Returns
    -------
    SyntheticSmear
        The picture and its truth; it may hold no white cell.

    Raises
    ------
    SettingsError
        If the shape or the diameter cannot be used.
    """
    rng = np.random.default_rng(rng)
    rows, cols = SmearParameters(shape=shape).shape
    diameter = float(np.exp(rng.uniform(*np.log(cell_diameter_range))))
    shares = rng.dirichlet(np.full(len(KINDS), 0.6)) + 0.03
    areas = rows * cols / (pi / 4 * diameter**2)
    crowd = rng.choice([0.0, 0.05, 0.15, 0.35], p=[0.05, 0.35, 0.40, 0.20]) * rng.uniform(0.6, 1.4)
    number = int(rng.poisson(crowd * areas)) if crowd else 0
    if crowd and number == 0 and rng.random() < 0.8:
        number = 1
    drawn = SmearParameters(
        shape=(rows, cols),
        cell_diameter=diameter,
        white_cells=number,
        kinds=dict(zip(KINDS, shares, strict=True)),
        touching=float(rng.choice([0.0, rng.uniform(0, 1)], p=[0.3, 0.7])),
        density=float(rng.choice([rng.uniform(0, 0.15), rng.uniform(0.15, 0.85)], p=[0.15, 0.85])),
        pallor=float(rng.uniform(0, 1)),
        odd_shapes=float(rng.beta(0.7, 2)),
        crenated=float(rng.uniform(0.2, 1)) if rng.random() < 0.2 else 0.0,
        granular=float(rng.uniform(0.1, 0.6)) if rng.random() < 0.25 else 0.0,
        platelets=float(min(rng.gamma(1.0, 1.5), 10)),
        debris=float(min(rng.gamma(0.7, 2.0), 10)),
        stain=random_stain(rng),
        dark_edge=float(rng.uniform(0.01, 0.3)) if rng.random() < 0.15 else 0.0,
        uneven_light=float(rng.uniform(0, 1.2)),
        blur=float(np.clip(rng.lognormal(np.log(0.8), 0.5), 0.2, 2.6)),
        sharpening=float(rng.choice([0.0, rng.uniform(0, 1.6)])),
        aberration=float(rng.uniform(0, 1.5)),
        noise=float(np.clip(rng.gamma(1.5, 1.8), 0, 10)),
        jpeg_quality=int(rng.integers(35, 99)) if rng.random() < 0.75 else None,
        seed=int(rng.integers(2**31)),
    )
    return _draw(drawn, all_must_fit=False)


def _draw(field: SmearParameters, *, all_must_fit: bool) -> SyntheticSmear:
    """Place, paint and photograph everything in a field."""
    # One stream for each part, so that changing one leaves the others as they are.
    white_rng, red_rng, small_rng, light_rng, camera_rng = (
        np.random.default_rng([field.seed, part]) for part in range(5)
    )
    shape, diameter = field.shape, field.cell_diameter
    aperture = draw_aperture(light_rng, shape, field.dark_edge)
    wanted = field.white_cells
    if wanted is None:
        areas = shape[0] * shape[1] / (pi / 4 * diameter**2)
        wanted = int(white_rng.poisson(0.05 * areas * (1 - field.dark_edge)))
    cells = place_white_cells(white_rng, field, wanted, aperture)
    if all_must_fit and field.white_cells is not None and len(cells) < wanted:
        raise SettingsError(
            f"Only {len(cells)} of {wanted} white cells with a diameter of {diameter:g} pixels fit into an "
            f"image of {shape[0]} × {shape[1]} pixels: ask for fewer or smaller cells, or a larger image."
        )
    labels, nuclei, paintings, cover = _paint_white_cells(cells, shape, aperture)
    clearance = clearance_of(labels)

    dyes = np.zeros((DYES, *shape), np.float32)
    discs = np.array([(cell.row, cell.col, cell.radius) for cell in cells]).reshape(-1, 3)
    radius = 0.5 * diameter * red_rng.uniform(0.50, 0.62)
    reds = place_red_cells(red_rng, shape, radius, field.density, discs)
    paint_red_cells(red_rng, dyes, reds, clearance, field)
    number = int(small_rng.poisson(0.05 * field.platelets * shape[0] * shape[1] / diameter**2))
    platelets = paint_platelets(small_rng, dyes, diameter, number, clearance)
    paint_debris(small_rng, dyes, diameter, field.debris, clearance)
    dyes *= 1 - 0.8 * cover  # a white cell hides most of what lies over or under it
    for patch, paint in paintings:
        dyes[:, *patch.slices] += paint

    image = photograph(camera_rng, dyes, field, aperture)
    labels, nuclei, order = _reading_order(labels, nuclei)
    kinds = tuple(cells[i].kind for i in order)
    return SyntheticSmear(
        image, labels, nuclei, diameter, kinds, field.seed, field.seen_stain, reds, platelets
    )


# White cells side by side: which pixel is whose, and the numbering of the truth ----------------------


def _paint_white_cells(
    cells: Sequence[WhiteCell], shape: tuple[int, int], aperture: Aperture | None
) -> tuple[np.ndarray, np.ndarray, list[tuple[Box, np.ndarray]], np.ndarray]:
    """Paint each white cell on its patch.

    Returns
    -------
    labels, nuclei : ndarray of int32, shape (H, W)
        Place in ``cells`` plus one.
    paintings : list of (patch, dyes)
        What to add to the dye planes, and where.
    cover : ndarray of float32, shape (H, W)
        Share of each pixel that white cells cover.
    """
    labels, nuclei = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    cover = np.zeros(shape, np.float32)
    seen = None if aperture is None else aperture.depth(shape) > 0
    centres = np.array([(c.row, c.col, c.reach) for c in cells]).reshape(-1, 3)
    paintings: list[tuple[Box, np.ndarray]] = []
    for number, cell in enumerate(cells):
        patch = Box.square(cell.row, cell.col, ceil(cell.reach) + 2).within(shape)
        own = cell.depth(patch)
        depth = own
        apart = np.hypot(centres[:, 0] - cell.row, centres[:, 1] - cell.col)
        for other in np.flatnonzero(apart < centres[:, 2] + cell.reach).tolist():
            if other != number:  # the wall between two cells lies where both are as deep
                depth = np.minimum(depth, (own - cells[other].depth(patch)) / 2)
        mask = depth > 0
        if seen is not None:
            mask &= seen[patch.slices]
        mask = _largest_piece(mask)
        # A piece cut off by the border or a neighbour is neither truth nor painted.
        kept = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        if seen is not None:
            kept |= ~seen[patch.slices] & (depth > -1)
        paint, share, nucleus = paint_white_cell(cell, patch, depth)
        paintings.append((patch, paint * kept))
        cover[patch.slices] = np.minimum(cover[patch.slices] + share * kept, 1)
        labels[patch.slices][mask] = number + 1
        nuclei[patch.slices][mask & nucleus] = number + 1
    return labels, nuclei, paintings, cover


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count <= 2:
        return mask
    return pieces == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def _reading_order(labels: np.ndarray, nuclei: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Give labels 1..n by their first pixel; also return the former place of each."""
    found, first = np.unique(labels, return_index=True)
    order = [int(v) - 1 for _, v in sorted(zip(first, found, strict=True)) if v]
    table = np.zeros(int(labels.max()) + 1, np.int32)
    table[[i + 1 for i in order]] = np.arange(1, len(order) + 1)
    return table[labels], table[nuclei], order
