"""The result of segmenting one image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..settings import SegmentationSettings


@dataclass(frozen=True)
class Segmentation:
    """Cells found in one image, and everything needed to find them again.

    Attributes
    ----------
    labels : ndarray of int32, shape (H, W) or (N, H, W)
        Label image: 0 is background, cells are 1..count in reading order. In a
        stack the numbering starts again on each plane.
    cells : DataFrame
        One row a cell: ``label``, its centroid ``row`` and ``col``, ``area``,
        ``diameter`` (pixels), ``certainty`` in [0, 1], ``check``, ``border``
        and more; for a stack also ``plane``.
    probability : ndarray of float32, shape of ``labels``
        Probability that a pixel belongs to a white cell; 0 where nothing was proposed.
    proposals : ndarray of int64, shape (n, 4) or (n, 5)
        Regions looked at, ``row0, col0, row1, col1`` with exclusive ends; for a
        stack with the plane in front.
    settings : SegmentationSettings
        The settings used.
    model : str
        Name and hash of the model, ``name@hash``.
    cell_diameter : float or None
        Diameter in pixels that the image was analysed at, given or estimated;
        for a stack the median over its planes.
    notes : tuple of str
        What the user should know about this image, in sentences.
    """

    labels: np.ndarray
    cells: pd.DataFrame
    probability: np.ndarray
    proposals: np.ndarray
    settings: SegmentationSettings
    model: str
    cell_diameter: float | None = None
    notes: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of cells; over all planes for a stack."""
        return len(self.cells)

    @property
    def to_check(self) -> int:
        """Number of cells worth a second look."""
        return int(self.cells["check"].sum()) if len(self.cells) else 0

    @property
    def summary(self) -> str:
        """The count in words, such as ``23 white cells, 2 to check``."""
        return count_in_words(self.count, self.to_check)


def count_in_words(count: int, to_check: int, what: str = "white cell") -> str:
    """Return a count in words, such as ``23 white cells, 2 to check``."""
    words = f"{count} {what}" + ("" if count == 1 else "s")
    return f"{words}, {to_check} to check" if to_check else words
