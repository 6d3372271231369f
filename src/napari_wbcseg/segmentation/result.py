"""The result of segmenting one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..classification.classes import BUILT_IN_CLASSES, ClassList
from ..classification.differential import Differential, differential
from ..files import FileState
from ..images.pixel_size import CENTIMETRES, PixelSize, unit_symbol
from ..settings import SegmentationSettings


@dataclass(frozen=True)
class Placement:
    """Where the pixels of an array lie in the world, an entry an axis.

    Attributes
    ----------
    scale, translate : tuple of float
        Distance between pixels, and place of the first.
    units : tuple of str
        Symbols such as ``µm``; ``pixel`` where there is no unit of length.
    axis_labels : tuple of str
        Empty where the axes have no names.
    affine : tuple of tuple of float
        Matrix of n + 1 rows and columns that is applied after scale and translation, where the
        pixels are turned, sheared or stretched besides; empty where they are not.
    """

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]
    axis_labels: tuple[str, ...] = ()
    affine: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of_pixels(cls, ndim: int, pixel_size: PixelSize | None = None) -> Placement:
        """Return the placement of an image whose pixels have this size; planes are one apart."""
        scale, units = [1.0] * ndim, ["pixel"] * ndim
        if pixel_size is not None:
            scale[-2:] = [float(pixel_size.row), float(pixel_size.column)]
            units[-2:] = [unit_symbol(pixel_size.unit)] * 2
        return cls(tuple(scale), (0.0,) * ndim, tuple(units))

    @property
    def sides(self) -> tuple[float, float] | None:
        """Height and width of a pixel, as units come; None where it is no rectangle."""
        row, column = self.scale[-2:]
        if self.affine:
            steps = (np.array(self.affine)[:-1, :-1] * self.scale)[:, -2:]
            row, column = np.linalg.norm(steps, axis=0).tolist()
            if not row * column > 0 or abs(steps[:, 0] @ steps[:, 1]) > 1e-6 * row * column:
                return None
        return abs(row), abs(column)

    @property
    def pixel_size(self) -> PixelSize | None:
        """Size of a pixel, or None where nothing says it, or it is no rectangle."""
        sides, unit = self.sides, self.units[-1]
        if sides is None or self.units[-2] != unit or (unit not in CENTIMETRES and sides == (1, 1)):
            return None
        return PixelSize(*sides, unit)


#: What is known of a result under one name wherever it is kept: in memory, in files, with a layer.
ABOUT = "cell_diameter", "class_diameter", "field_share", "backgrounds", "notes", "edited"
#: And where model and classifier are words, which those of `save` tell more of.
ABOUT_IN_WORDS = "model", "classifier", *ABOUT


@dataclass(frozen=True, eq=False)  # arrays have no one answer to ==
class Segmentation:
    """Cells found in one image, where they lie, and everything needed to find them again.

    Attributes
    ----------
    labels : ndarray of int, shape (H, W) or (N, H, W)
        Label image: 0 is background, and a label is one cell, also over the planes of a stack.
        Those that `segment` found are 1..count in reading order, plane by plane.
        Others put in their place, ``replace(result, labels=...)``, are counted when they are saved, or by
        `napari_wbcseg.results.save.with_current_cells`.
    cells : DataFrame
        One row a cell: ``label``, its centroid ``row`` and ``col``, ``area``,
        ``diameter`` (pixels), ``certainty`` in [0, 1], 1 by the classic recipe, NaN of a cell that no
        model saw, ``check``, ``border`` and more; for a stack also ``plane``. Its ``class`` says whether it
        is a white cell; it is one where nobody said a class. Where you name it yourself, set ``class_by``
        to ``person``, and no model or run changes that.
    probability : ndarray of float32, shape of ``labels``, or None
        Probability that a pixel belongs to a white cell; 0 where nothing was proposed.
        None, as ``proposals``, in a result that was saved or drawn by hand.
    proposals : ndarray of int64, shape (n, 4) or (n, 5), or None
        Regions looked at, ``row0, col0, row1, col1`` with exclusive ends; for a
        stack with the plane in front.
    settings : SegmentationSettings or None
        The settings used; None where the labels were drawn by hand.
    model : str
        Name and hash of the model, ``name@hash``; empty where there was none.
    classifier : str
        The same of what told the classes of the cells that no person named.
    cell_diameter : float or None
        Diameter in pixels that the image was analysed at, given or estimated;
        for a stack the median over its planes.
    class_diameter : float, tuple of float, or None
        The same of a typical white cell, by the red cells where they are measured: classes are told at it.
        For a stack that of each plane.
    field_share : float or None
        Share of the image that shows the slide, and not a surround; None where nobody looked.
    backgrounds : tuple of tuple of float
        Colour of the empty slide, RGB, 0 to 255, a plane each: the light that stain is measured in. None,
        or lacking at the end, for planes that nobody looked at.
    notes : tuple of str
        What the user should know about this image, in sentences.
    place : Placement or None
        Scale, units and translation; None where each pixel is a pixel.
    corner : tuple of int
        Row and column of its first pixel in the image, where it is of a part of that.
    name : str
        Of the image.
    image_path : Path or None
        Where it was read from.
    image_state : FileState or None
        What that file was like then; another may have taken its place since. None where that is not known.
    model_source : str
        The name or path that the model was asked for by; empty for its name.
    edited : bool
        Whether labels or classes differ from what the model found, or a person decided on them.
    classes : ClassList
        What the classes of the cells are.
    """

    labels: np.ndarray
    cells: pd.DataFrame
    probability: Any = None
    proposals: Any = None
    settings: SegmentationSettings | None = None
    model: str = ""
    classifier: str = ""
    cell_diameter: float | None = None
    class_diameter: float | tuple[float, ...] | None = None
    field_share: float | None = None
    backgrounds: tuple[tuple[float, float, float] | None, ...] = ()
    notes: tuple[str, ...] = ()
    place: Placement | None = None
    corner: tuple[int, int] = (0, 0)
    name: str = ""
    image_path: Path | None = None
    image_state: FileState | None = None
    model_source: str = ""
    edited: bool = False
    classes: ClassList = BUILT_IN_CLASSES

    def __repr__(self) -> str:
        return f"<Segmentation: {self.summary}; labels of shape {self.labels.shape}>"  # not pages of arrays

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled or copied: with its pixels, where their folder goes with them."""
        pixels = {name: getattr(self, name) for name in ("labels", "probability")}
        passing = {name: np.asarray(array) for name, array in pixels.items() if passing_folder(array)}
        return {**vars(self), **passing}

    @property
    def placement(self) -> Placement:
        """Where the pixels lie; each is a pixel where nothing else is known."""
        return self.place or Placement.of_pixels(self.labels.ndim)

    @property
    def stacked(self) -> bool:
        """Whether it is of a stack of planes."""
        return self.labels.ndim == 3

    @property
    def count(self) -> int:
        """Number of cells, also of those that are no white cells; over all planes for a stack."""
        return len(self.cells)

    @property
    def differential(self) -> Differential:
        """The cells by class; its ``table()`` has a row a class."""
        return differential(self.cells, self.classes)

    @property
    def erythroblasts(self) -> int:
        """Number of erythroblasts."""
        return self.differential.erythroblasts

    @property
    def white_cells(self) -> int:
        """Number of white cells."""
        return self.differential.white_cells

    @property
    def marked(self) -> frozenset[int]:
        """Labels of the cells worth a second look."""
        return marked_in(self.cells)

    @property
    def to_check(self) -> int:
        """Number of cells worth a second look."""
        return len(self.marked)

    @property
    def summary(self) -> str:
        """The count in words; see `summary_of`."""
        return summary_of(self.cells, self.classes)


def passing_folder(array: Any) -> Any:
    """Return the temporary folder of an array, which lasts as long as that; None of any other array."""
    return getattr(getattr(array, "store", None), "temporary", None)  # see `FolderStore`


def summary_of(cells: pd.DataFrame, classes: ClassList = BUILT_IN_CLASSES) -> str:
    """Return the counts of a table in words: ``212 white cells, and 3 erythroblasts per 100, 2 to check``.

    Parameters
    ----------
    cells : DataFrame
    classes : ClassList
        Which of them are white cells.
    """
    words = differential(cells, classes).summary
    to_check = int(cells["check"].eq(True).sum()) if "check" in cells else 0
    return f"{words}, {to_check} to check" if to_check else words


def marked_in(cells: pd.DataFrame) -> frozenset[int]:
    """Return the labels of the cells to check."""
    if "check" not in cells:
        return frozenset()
    return frozenset(map(int, cells.loc[cells["check"].eq(True), "label"]))


def with_unique_labels(labels: np.ndarray, cells: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Give a label that is in several planes of a stack a number of its own in all but the first.

    Parameters
    ----------
    labels : ndarray of int, shape (N, H, W) or (H, W)
    cells : DataFrame
        With a row for each ``label`` of each ``plane``.
    """
    if labels.ndim == 2 or not (again := cells["label"].duplicated().to_numpy()).any():
        return labels, cells
    own = cells["label"].to_numpy(np.int64).copy()
    old, planes = own.copy(), cells["plane"].to_numpy(np.int64)
    own[again] = int(labels.max()) + np.arange(1, again.sum() + 1)
    numbered = labels.astype(np.int32 if own.max() < 2**31 else np.int64)
    for plane in np.unique(planes[again]):
        here = planes == plane
        values, place = np.unique(labels[plane], return_inverse=True)
        new = values.astype(np.int64)
        new[np.searchsorted(values, old[here])] = own[here]
        numbered[plane] = new[place.reshape(labels[plane].shape)]
    return numbered, cells.assign(label=own)
