"""A sample, and the picture it is made of: cut from a source, bent, pasted into, cropped."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from .affine import moving, rotation, shrunk, turned
from .class_map import NOTHING_ELSE, scale_class_map
from .sources import CutOut, Source

# Shares of the samples, and of the pasted cells.
_SQUEEZED = 0.12
_MIRRORED = 0.75
_STRETCHED = 0.2
_LEAST_PASTED = 20  # pixels
_LEAST_SEEN = 0.6  # of a cell that another covers


@dataclass(frozen=True)
class Sample:
    """A window with truth.

    Attributes
    ----------
    image : ndarray of float32, shape (S, S, 3)
        Transmittance.
    labels : ndarray of int32, shape (S, S)
        Instances, 1..n.
    doubtful : ndarray of bool, shape (S, S)
        Pixels whose truth is not known, to be left out of the loss.
    diameters, centres : dict
        For each label, the equivalent diameter and the centroid (row, col) of the
        whole cell, also where the window cuts it; no entry where they are unknown.
    classes : ndarray of float32, shape (S, S)
        The class map.
    """

    image: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    doubtful: np.ndarray
    diameters: dict[int, float]
    centres: dict[int, tuple[float, float]]


@dataclass
class Picture:
    """A sample in the making, with a margin around it.

    Attributes
    ----------
    image : ndarray of float32, shape (S, S, 3)
        Transmittance.
    labels : ndarray of int32, shape (S, S)
    classes : ndarray of float32, shape (S, S)
        The class map.
    cut : ndarray of bool, shape (S, S)
        Pixels of cells that the border of the source cuts.
    mirrored : bool
        Whether it goes on beyond that border as in a mirror.
    """

    image: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    cut: np.ndarray
    mirrored: bool = False

    @classmethod
    def plain(cls, image: np.ndarray) -> Picture:
        """Return a picture without anything on it."""
        shape = image.shape[:2]
        return cls(image, np.zeros(shape, np.int32), np.zeros(shape, np.float32), np.zeros(shape, bool))

    @classmethod
    def around(
        cls, source: Source, centre: np.ndarray, scale: float, side: int, rng: np.random.Generator
    ) -> Picture:
        """Cut a square around a point of a source, turned at random, slightly sheared, perhaps mirrored."""
        from skimage.measure import label

        turn = rotation(rng.uniform(0, 2 * np.pi))
        # Pixels that are not square: up to 16:9.
        squeezed = rng.uniform(-0.29, 0.29) if rng.random() < _SQUEEZED else 0.0
        stretch = np.exp(rng.normal(0, 0.05) + squeezed)
        shape = np.array([[stretch, rng.normal(0, 0.05)], [0.0, 1 / stretch]])
        if rng.random() < 0.5:
            shape = shape @ np.diag([-1.0, 1.0])
        matrix, (image, labels, classes) = shrunk(
            moving(scale * turn @ shape, centre[::-1], side / 2),
            scale,
            (source.image.astype(np.float32), cv2.INTER_AREA),
            (source.labels, cv2.INTER_NEAREST),
            (source.classes, cv2.INTER_NEAREST),
        )
        mirrored = rng.random() < _MIRRORED
        mode = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_CONSTANT
        # Where the field of view ends there is empty slide, as the method sees it too.
        fill = (0.0,) * 3 if rng.random() < 0.15 else (1.0,) * 3
        image = cv2.warpAffine(image, matrix, (side, side), borderMode=mode, borderValue=fill)
        marks, kinds = (
            cv2.warpAffine(part, matrix, (side, side), flags=cv2.INTER_NEAREST, borderMode=mode)
            for part in (labels.astype(np.float32), classes)
        )
        marks = marks.astype(np.int32)
        cut = ~np.isin(marks, [0, *source.centres])
        # Connected pieces have a number each, since mirroring repeats labels.
        pieces = label(marks, connectivity=1).astype(np.int32)
        return cls(image, pieces, scale_class_map(kinds, scale), cut, mirrored)

    def bend(self, diameter: float, rng: np.random.Generator) -> None:
        """Bend it smoothly, by up to about a tenth of a cell: no two cells have one shape."""
        side = self.labels.shape[0]
        knots = max(3, round(side / (0.6 * diameter)))
        shift = rng.normal(0, 0.04 * diameter, (2, knots, knots)).astype(np.float32)
        rows, cols = (
            along + cv2.resize(by, (side, side), interpolation=cv2.INTER_CUBIC)
            for along, by in zip(np.mgrid[:side, :side].astype(np.float32), shift, strict=True)
        )

        def moved(array: np.ndarray, flags: int = cv2.INTER_NEAREST) -> np.ndarray:
            return np.asarray(cv2.remap(array, cols, rows, flags, borderMode=cv2.BORDER_REPLICATE))

        self.image = moved(self.image, cv2.INTER_LINEAR)
        self.labels = moved(self.labels.astype(np.float32)).astype(np.int32)
        self.classes = moved(self.classes)
        self.cut = moved(self.cut.astype(np.uint8)) > 0

    def paste(self, cell: CutOut, scale: float, spot: np.ndarray, rng: np.random.Generator) -> None:
        """Paste a cell, turned at random and perhaps stretched, unless it would hide another."""
        side = self.labels.shape[0]
        linear = scale * turned(rng)
        if rng.random() < _STRETCHED:
            longer = np.exp(rng.uniform(0.05, 0.3))
            linear = linear @ np.diag([longer, 1 / longer])
        middle = np.array(ndimage.center_of_mass(cell.mask))
        matrix, (image, mask) = shrunk(
            moving(linear, middle[::-1], spot[::-1]),
            scale,
            (cell.image.astype(np.float32), cv2.INTER_AREA),
            (cell.mask, cv2.INTER_AREA),
        )
        alpha = cv2.warpAffine(mask, matrix, (side, side))
        patch = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        solid = alpha > 0.5
        if solid.sum() < _LEAST_PASTED:
            return
        for other in filter(None, np.unique(self.labels[solid])):
            whole = self.labels == other
            if (whole & ~solid).sum() < _LEAST_SEEN * whole.sum():
                return
        soft = cv2.GaussianBlur(alpha, (0, 0), 0.8)[..., None]
        self.image[:] = soft * patch + (1 - soft) * self.image
        self.labels[solid] = self.labels.max() + 1
        self.classes[solid] = NOTHING_ELSE

    def crop(self, margin: int) -> Sample:
        """Return the sample inside a margin of so many pixels."""
        from skimage.measure import regionprops

        side = self.labels.shape[0]
        partial = set(np.unique(self.labels[self.cut]).tolist())
        inner = np.s_[margin : side - margin, margin : side - margin]
        seen = set(np.unique(self.labels[inner]).tolist()) - partial
        whole = [
            cell
            for cell in regionprops(self.labels)
            if cell.label in seen and 0 not in cell.bbox[:2] and side not in cell.bbox[2:]
        ]
        diameters = {cell.label: float(cell.equivalent_diameter_area) for cell in whole}
        centres = {cell.label: (cell.centroid[0] - margin, cell.centroid[1] - margin) for cell in whole}
        # A cell that the source's border cuts, doubled by mirroring, is no cell at all.
        doubtful = self.cut & self.mirrored
        image, labels, classes, doubtful = (
            np.ascontiguousarray(part[inner]) for part in (self.image, self.labels, self.classes, doubtful)
        )
        return Sample(image, labels, classes, doubtful, diameters, centres)
