"""Slides brought to the stain that the network knows best, by the cells that it was sure of.

What a person does before a smear in odd colours: the cells that are plain tell what nuclei look like
there, and then the others are seen too. The two stains of the slide, that of its nuclei and that of its red
cells, are brought to standard ones in optical density, where stains add; such normalisation is usual in
histology (Macenko et al., ISBI 2009), where what the stains are is found without cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import BaseModel

from ..box import Box
from ..classification.crops import optical_density
from .detections import Stain, darker_half

#: Optical densities of red, green and blue.
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class StandardStainParameters:
    """What is standard, which slides are pale, and what is stained like a cell of the slide.

    Densities are optical, natural logarithms, of red, green and blue; of the darker half of a cell.

    Attributes
    ----------
    white, red : tuple of float
        Of white and red cells: the medians of 39 training fields of TXL-PBC and of 85 training tiles of
        SigTuple, and of both laboratories the mean.
    pale : float
        Density in green of a slide's white cells over that of standard ones below which the slide is looked
        at again. In others that finds nothing new but false cells (`benchmarks/accuracy.py`).
    swapped : float
        Density in blue of a slide's white cells over that in red, from which on these two colours are taken
        to be swapped: at most 0.6 in `hard` and in pictures of four other sets, 1.3 in one of Chula's and 1.6
        in 299 of Zheng's; and where they are, 1.9 or more in all but one of 149 of `hard` and three of these.
    sure : float
        Certainty of the cells that show how the white cells of a slide are stained.
    contrast : float
        Distance between the densities of white and red cells below which nothing tells them apart.
    green : float
        Density in green of white cells over that of red ones below which they are none, but platelets:
        in leukaemia it is at least 0.95, whatever the light.
    as_dark : float
        Density over that of these cells, from which on something may be one: on validation sets smudge
        cells, burst nuclei, lie at 0.4 to 0.6, cells at 0.7 and more.
    same_hue : float
        Cosine between the densities: cells lie at 0.99, what is something else at 0.93.
    smooth : float
        Standard deviation of the Gaussian that the density of single pixels is smoothed with, cell diameters.
    plain_share, plain_radius : float
        Share of a cell's pixels that are stained so, and radius in cell diameters of the largest disc of
        them, from which on it is plainly one, however unsure the network (`benchmarks/bad_pictures.py`).
    """

    white: Colour = (0.91, 1.60, 0.37)
    red: Colour = (0.32, 0.42, 0.27)
    pale: float = 0.75
    swapped: float = 1.8
    sure: float = 0.8
    contrast: float = 0.05
    green: float = 0.8
    as_dark: float = 0.65
    same_hue: float = 0.98
    smooth: float = 0.05
    plain_share: float = 0.5
    plain_radius: float = 0.2


PARAMETERS = StandardStainParameters()
SWAPPED = (
    "Its nuclei are rather red than violet, as where red and blue are swapped, which OpenCV does in reading "
    "a file: swap them and count again, since the classes of cells go by colour."
)


class StandardStain(BaseModel, frozen=True, extra="forbid"):
    """How a slide is brought to the standard stain.

    Attributes
    ----------
    white : tuple of float
        Density of its white cells.
    mixing : three tuples of float
        Densities of the standard from those of the slide: a matrix.
    """

    white: Colour
    mixing: tuple[Colour, Colour, Colour]

    @classmethod
    def of(cls, rows: np.ndarray, red_cell: Stain | None) -> StandardStain | None:
        """Tell it from the cells that were found.

        Parameters
        ----------
        rows : ndarray, shape (n,)
            A row a cell: the ``stain`` of its darker half, and its ``certainty``.
        red_cell : tuple of float or None
            The same of the red cells, where they are known.

        Returns
        -------
        StandardStain or None
            None where no cell is sure, or white cells and red ones look alike.
        """
        white = white_density(rows, red_cell)
        if white is None:
            return None
        own, wanted = [white], [PARAMETERS.white]
        if red_cell is not None:
            own, wanted = [*own, density_of(np.array(red_cell))], [*wanted, PARAMETERS.red]
            if np.linalg.norm(own[0] - own[1]) < PARAMETERS.contrast:
                return None
        slide, standard = np.array(own).T, np.array(wanted).T
        known = np.linalg.pinv(slide)
        # What is no mixture of the two stains stays as it is.
        mixing = standard @ known + np.eye(3) - slide @ known
        return cls.model_validate({"white": white.tolist(), "mixing": mixing.tolist()})

    @property
    def pale(self) -> bool:
        """Whether the slide is: then it is all looked at again."""
        return self.white[1] < PARAMETERS.pale * PARAMETERS.white[1]

    @property
    def swapped(self) -> bool:
        """Whether red and blue seem to be: nuclei are violet in the stains of blood, not red."""
        red, _, blue = self.white
        return blue > PARAMETERS.swapped * max(red, 0.0)

    def brought(self, image: np.ndarray) -> np.ndarray:
        """Return an image, (H, W, 3), float32, as the network takes it, in the standard stain."""
        density = cv2.transform(density_of(image), np.array(self.mixing, np.float32))
        return np.asarray(2 - 2 * np.exp(-np.maximum(density, -0.1)), np.float32)

    def is_white_cell(
        self, image: np.ndarray, diameter: float, box: Box, mask: np.ndarray, certainty: float
    ) -> bool:
        """Say whether a detection is stained like the white cells of the slide.

        By its darker half; one that is not sure must be so pixel by pixel besides.

        Parameters
        ----------
        image : ndarray of float32, shape (H, W, 3)
            As the network takes it, not brought to the standard.
        diameter : float
            Of a cell, pixels.
        box : Box
            Of the detection.
        mask : ndarray of bool
            Its pixels within that.
        certainty : float
        """
        white = np.array(self.white, np.float32)
        darker = density_of(darker_half(image[box.slices][mask]))
        if not like_white_cells(darker, white):
            return False
        if certainty >= PARAMETERS.sure:
            return True
        plain = plainly_like_white_cells(image, diameter, box, white) & mask
        plain = np.pad(plain, 1)
        widest = cv2.distanceTransform(plain.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5).max()
        enough = plain.sum() >= PARAMETERS.plain_share * mask.sum()
        return bool(enough and widest >= PARAMETERS.plain_radius * diameter)


def white_density(rows: np.ndarray, red_cell: Stain | None) -> np.ndarray | None:
    """Return the density of the white cells of a slide, (3,), by those that are sure; None without any.

    See `StandardStain.of` for the parameters.
    """
    sure = rows["stain"][rows["certainty"] >= PARAMETERS.sure]
    if not len(sure):
        return None
    white = density_of(np.median(sure, axis=0))
    paler = red_cell is not None and white[1] < PARAMETERS.green * density_of(np.array(red_cell))[1]
    return None if paler else white


def like_white_cells(density: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Say of densities, (..., 3), which are about as dark as that of white cells, (3,), and of their hue."""
    along = _along(density, white)
    dark = along >= PARAMETERS.as_dark * np.linalg.norm(white)
    # The length of each, a colour at a time: over so short an axis NumPy takes ten times as long.
    length = np.sqrt(density[..., 0] ** 2 + density[..., 1] ** 2 + density[..., 2] ** 2)
    return np.asarray(dark & (along >= PARAMETERS.same_hue * length))


def plainly_like_white_cells(image: np.ndarray, diameter: float, box: Box, white: np.ndarray) -> np.ndarray:
    """Say which pixels of a box of an image, smoothed, are `like_white_cells`.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        As the network takes it.
    diameter : float
        Of a cell, pixels.
    box : Box
    white : ndarray, shape (3,)
        Density of white cells.

    Returns
    -------
    ndarray of bool, shape of ``box``
    """
    smooth = max(1.0, PARAMETERS.smooth * diameter)
    around = box.grown(round(4 * smooth) + 1, within=image.shape)  # OpenCV's Gaussian ends there
    density = cv2.GaussianBlur(density_of(image[around.slices]), (0, 0), smooth)
    return like_white_cells(density, white)[box.relative_to(around).slices]


def paler_than_white_cells(density: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Say which densities, (..., 3), are paler than that of white cells, (3,), may be: smudge cells are."""
    return np.asarray(_along(density, white) < PARAMETERS.as_dark * np.linalg.norm(white))


def _along(density: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Return how far densities, (..., 3), reach in the direction of that of white cells, (3,)."""
    return np.asarray(density @ white / np.linalg.norm(white))


def density_of(image: np.ndarray) -> np.ndarray:
    """Return the optical density of what the network takes, see `network_input`."""
    return optical_density(1 - image / 2)
