"""What the robust network says of each pixel of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..network.engines.base import Engine
from ..network.model_file import ModelFile
from ..progress import Progress
from ..settings import SegmentationSettings
from .windows import Window, predict_windows, spans

# Largest side of a window: at 640 the network's own tensors take some 300 MB.
_LARGEST = 640
_OVERLAP = 48


@dataclass(frozen=True)
class Maps:
    """Outputs of the network, at the scale it was given the image.

    Attributes
    ----------
    cell, centre : ndarray of float32, shape (h, w)
        Probabilities.
    offset : ndarray of float32, shape (h, w, 2)
        Rows and columns to the centre of the cell a pixel lies in, pixels.
    diameter : ndarray of float32, shape (h, w)
        Diameter of the white or red cell a pixel lies in, pixels.
    red_cell, platelet : ndarray of float32, shape (h, w)
        Probabilities; 0 everywhere where the model does not tell.
    """

    cell: np.ndarray
    centre: np.ndarray
    offset: np.ndarray
    diameter: np.ndarray
    red_cell: np.ndarray
    platelet: np.ndarray


@dataclass(frozen=True)
class Predictor:
    """A model, how it is run, and whom to tell."""

    model: ModelFile
    engine: Engine
    settings: SegmentationSettings
    progress: Progress

    @property
    def canonical_diameter(self) -> float:
        """Diameter of a cell, in pixels, at which the network is at its best."""
        return float(self.model.header.canonical_diameter or 48.0)

    def predict(
        self, image: np.ndarray, windows: Sequence[Window], stage: str, *, flips: bool = False
    ) -> Maps:
        """Predict windows of an image; pixels that no window sees are background.

        Parameters
        ----------
        image : ndarray of float32, shape (h, w, 3)
            What the network takes, at the scale wanted.
        windows : sequence of Window
        stage : str
        flips : bool
        """
        architecture = self.model.architecture
        offsets = architecture.output_slice("offset")
        predicted, _ = predict_windows(
            image,
            windows,
            self.engine,
            architecture.output_channels,
            batch_size=self.settings.batch_size,
            fill=0.0,
            flips=flips,
            offset_channels=offsets,
            progress=self.progress,
            stage=stage,
        )
        radius = self.canonical_diameter / 2
        names = {output.name for output in architecture.outputs}

        def head(name: str) -> np.ndarray:
            if name not in names:
                # A model of an earlier version.
                return np.zeros(predicted.shape[:2], np.float32)
            return np.asarray(predicted[..., architecture.output_slice(name).start])

        return Maps(
            head("cell"),
            head("centre"),
            predicted[..., offsets] * radius,
            self.canonical_diameter * np.exp2(head("size")),
            head("red_cell"),
            head("platelet"),
        )


def covering_windows(shape: tuple[int, int], multiple: int, largest: int = _LARGEST) -> list[Window]:
    """Return windows that cover a whole image."""
    return box_windows((0, 0, *shape), shape, multiple, largest)


def box_windows(
    box: tuple[int, int, int, int], shape: tuple[int, int], multiple: int, largest: int = _LARGEST
) -> list[Window]:
    """Return windows that cover a box of an image, within the image where that is possible.

    Parameters
    ----------
    box : tuple of int
        ``row0, col0, row1, col1``, ends exclusive.
    shape : tuple of int
        Of the image.
    multiple : int
        What the sides of a window must be divisible by.
    largest : int
        Largest side of a window; larger boxes get several that overlap.
    """
    rows, height = _along(box[0], box[2], shape[0], multiple, largest)
    cols, width = _along(box[1], box[3], shape[1], multiple, largest)
    return [Window(row, col, height, width) for row in rows for col in cols]


def _along(start: int, stop: int, length: int, multiple: int, largest: int) -> tuple[list[int], int]:
    # Few different sizes, so that many windows share a batch.
    step = max(multiple, 32)
    count = max(1, -(-(stop - start - _OVERLAP) // (largest - _OVERLAP)))
    # No larger than so many need be: what overlaps is computed twice.
    size = -(-(stop - start + (count - 1) * _OVERLAP) // (count * step)) * step
    if size >= length:
        return [0], size
    if stop - start <= size:
        middle = (start + stop) // 2
        return [int(np.clip(middle - size // 2, 0, length - size))], size
    return [min(s, length - size) for s in spans(start, stop, size, _OVERLAP)], size
