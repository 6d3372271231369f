"""Windows of an image through the network, blended, and what the robust one says of each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

from ..box import Box
from ..network.engines import create_engine
from ..network.model_file import ModelFile
from ..network.robust import CANONICAL_DIAMETER
from ..progress import Progress
from ..settings import SegmentationSettings
from .standard_stain import StandardStain


@dataclass(frozen=True)
class WindowParameters:
    """How an image is laid out in windows.

    Attributes
    ----------
    largest : int
        Side of a window, pixels: at 640 the network's own tensors take some 300 MB.
    overlap : int
        Pixels that neighbours share at least: a canonical cell.
    step : int
        What sides are multiples of, pixels: few different sizes, so that many windows share a batch.
    """

    largest: int = 640
    overlap: int = 48
    step: int = 32


PARAMETERS = WindowParameters()


@dataclass(frozen=True)
class Maps:
    """Outputs of the robust network, at the scale it was given the image.

    Attributes
    ----------
    cell, centre : ndarray of float32, shape (h, w)
        Probabilities.
    offset : ndarray of float32, shape (h, w, 2)
        Rows and columns to the centre of the cell a pixel lies in, pixels.
    diameter : ndarray of float32, shape (h, w)
        Diameter of the white or red cell a pixel lies in, pixels.
    red_cell : ndarray of float32, shape (h, w)
        Probability; 0 everywhere where the model does not tell.
    """

    cell: np.ndarray
    centre: np.ndarray
    offset: np.ndarray
    diameter: np.ndarray
    red_cell: np.ndarray

    def placed(self, area: Box, shape: tuple[int, int]) -> Maps:
        """Return maps of a shape, 0 where the part of them that an area names is not."""
        return Maps(*(placed(part, area, shape) for part in vars(self).values()))

    def mix_in(self, other: Maps, area: Box, share: np.ndarray) -> None:
        """Change these maps, of which an area gets a share, (h, w), of others of that in each pixel."""
        for ours, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            part = ours[area.slices]
            part += (share if part.ndim == 2 else share[..., None]) * (theirs - part)


class Predictor:
    """A model, the engine that runs it, and whom to tell.

    Parameters
    ----------
    model : ModelFile
    settings : SegmentationSettings
    progress : Progress
    standard : StandardStain, optional
        What windows are brought to before the network sees them.

    Attributes
    ----------
    model : ModelFile
    canonical_diameter : float
        Diameter of a cell, in pixels, at which the network is at its best.
    multiple : int
        What the sides of a window are divisible by.
    """

    def __init__(
        self,
        model: ModelFile,
        settings: SegmentationSettings,
        progress: Progress,
        standard: StandardStain | None = None,
    ) -> None:
        architecture = model.architecture
        self.canonical_diameter = float(model.header.canonical_diameter or CANONICAL_DIAMETER)
        self.multiple = architecture.multiple
        self.settings = settings
        self._engine = create_engine(model, settings.engine, settings.device)
        self._heads = architecture.output_slices
        self._channels = architecture.output_channels
        self.progress = progress
        self.model = model
        self.standard = standard

    def in_stain(self, standard: StandardStain) -> Predictor:
        """Return one that sees everything in a standard stain."""
        return Predictor(self.model, self.settings, self.progress, standard)

    @cached_property
    def second(self) -> Predictor | None:
        """Of the network that looks again at what this one is unsure of; None where there is none."""
        second = self.model.second
        return None if second is None else Predictor(second, self.settings, self.progress)

    def predict(self, image: np.ndarray, windows: Sequence[Box], stage: str, *, flips: bool = False) -> Maps:
        """Predict windows of an image; pixels that no window sees are background.

        Parameters
        ----------
        image : ndarray of float32, shape (h, w, 3)
            What the network takes, at the scale wanted.
        windows : sequence of Box
        stage : str
        flips : bool
        """
        heads = self._heads
        predicted = self.blended(image, windows, stage, flips=flips)

        def head(name: str) -> np.ndarray:
            if name not in heads:  # a model of an earlier version
                return np.zeros(predicted.shape[1:], np.float32)
            return np.asarray(predicted[heads[name].start])

        return Maps(
            head("cell"),
            head("centre"),
            np.moveaxis(predicted[heads["offset"]] * (self.canonical_diameter / 2), 0, -1),
            self.canonical_diameter * np.exp2(head("size")),
            head("red_cell"),
        )

    def blended(
        self, image: np.ndarray, windows: Sequence[Box], stage: str, *, fill: float = 0.0, flips: bool = False
    ) -> np.ndarray:
        """Send windows through the network in batches and blend what comes back.

        Parameters
        ----------
        image : ndarray of float32, shape (H, W, C)
            What the network takes.
        windows : sequence of Box
            They may reach beyond the image at its end.
        stage : str
            What to tell the user.
        fill : float
            Value of the image beyond its border.
        flips : bool
            Average over the window, its left-right and its up-down mirror image.

        Returns
        -------
        ndarray of float32, shape (channels, H, W)
            0 where no window was.
        """
        total = np.zeros((self._channels, *image.shape[:2]), np.float32)
        weight = np.zeros(image.shape[:2], np.float32)
        done = 0
        self.progress(0, len(windows), stage)
        for batch in _batches(windows, self.settings.batch_size):
            seen = [_read(image, window, fill) for window in batch]
            if self.standard is not None:
                seen = [self.standard.brought(one) for one in seen]
            stack = np.stack(seen)
            predicted = self._engine.predict(stack)
            if flips:
                predicted = sum((self._mirrored(stack, axis) for axis in (2, 1)), predicted) / 3
            for window, values in zip(batch, predicted, strict=True):
                there = weight[window.slices]
                inside = tuple(slice(side) for side in there.shape)
                shares = _blend_weights(*window.shape)[inside]
                # Each channel on its own: over so short an axis as theirs NumPy takes longer.
                total[:, *window.slices] += shares * np.ascontiguousarray(values[inside].transpose(2, 0, 1))
                there += shares
            done += len(batch)
            self.progress(done, len(windows), stage)
        total /= np.where(weight > 0, weight, 1)
        return total

    def _mirrored(self, stack: np.ndarray, axis: int) -> np.ndarray:
        """Predict the mirror image of windows; offsets, along rows and columns, change their sign."""
        predicted = np.flip(self._engine.predict(np.ascontiguousarray(np.flip(stack, axis))), axis).copy()
        if "offset" in self._heads:
            predicted[..., self._heads["offset"].start + axis - 1] *= -1
        return predicted


def placed(part: np.ndarray, area: Box, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of a shape, 0 where the part of it that an area names is not."""
    whole = np.zeros((*shape, *part.shape[2:]), part.dtype)
    whole[area.slices] = part
    return whole


def find_peaks(image: np.ndarray, apart: int, least: float) -> np.ndarray:
    """Find the pixels that are as high as all others around, the higher first.

    They are those of `skimage.feature.peak_local_max`, in a quarter of its time.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W)
    apart : int
        Pixels along rows and columns within which none is higher, and nearer than which two are not both.
    least : float
        What a peak is higher than.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Rows and columns.
    """
    from scipy.spatial import cKDTree

    highest = cv2.dilate(image, np.ones((2 * apart + 1,) * 2, np.uint8))
    peaks = np.argwhere((image == highest) & (image > least))
    peaks = peaks[np.argsort(-image[tuple(peaks.T)], kind="stable")]
    keep = np.ones(len(peaks), bool)
    if len(peaks) > 1:  # neighbours that are equally high
        for one, two in sorted(cKDTree(peaks).query_pairs(apart - 1, p=np.inf)):
            keep[two] &= not keep[one]
    return peaks[keep]


# Where the windows lie -----------------------------------------------------------------------------


def centred_window(row: float, col: float, shape: tuple[int, int], size: int) -> Box:
    """Return the square window centred on a point and shifted inside the image.

    An image smaller than the window gets one window that starts at its corner and
    reaches beyond it.

    Examples
    --------
    >>> centred_window(5, 100, (200, 200), 128)
    Box(top=0, left=36, bottom=128, right=164)
    """
    top = int(np.clip(round(row) - size // 2, 0, max(shape[0] - size, 0)))
    left = int(np.clip(round(col) - size // 2, 0, max(shape[1] - size, 0)))
    return Box(top, left, top + size, left + size)


def box_windows(
    box: tuple[int, int, int, int], shape: tuple[int, int], multiple: int, largest: int = PARAMETERS.largest
) -> list[Box]:
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
    return [Box(row, col, row + height, col + width) for row in rows for col in cols]


def _along(start: int, stop: int, length: int, multiple: int, largest: int) -> tuple[list[int], int]:
    step, overlap = max(multiple, PARAMETERS.step), PARAMETERS.overlap
    count = max(1, -(-(stop - start - overlap) // (largest - overlap)))
    # No larger than so many need be: what overlaps is computed twice.
    size = -(-(stop - start + (count - 1) * overlap) // (count * step)) * step
    if size >= length:
        return [0], size
    if stop - start <= size:
        middle = (start + stop) // 2
        return [int(np.clip(middle - size // 2, 0, length - size))], size
    count = -(-(stop - start - overlap) // (size - overlap))  # which overlap evenly
    starts = (start + round(i * (stop - start - size) / (count - 1)) for i in range(count))
    return [min(first, length - size) for first in starts], size


# Through the network and back ----------------------------------------------------------------------


def _read(image: np.ndarray, window: Box, fill: float) -> np.ndarray:
    """Return a window of an image, filled where it reaches beyond."""
    part = image[window.slices]
    if part.shape[:2] == window.shape:
        return part
    below, right = np.subtract(window.shape, part.shape[:2])
    return np.pad(part, ((0, below), (0, right), (0, 0)), constant_values=fill)


@lru_cache(maxsize=16)
def _blend_weights(height: int, width: int) -> np.ndarray:
    """Return how much each pixel of a window counts where windows overlap, in (0, 1].

    A pyramid: a pixel in the middle has seen most of its surroundings.
    """
    rows = np.minimum(np.arange(height) + 1, np.arange(height, 0, -1)) / ((height + 1) / 2)
    cols = np.minimum(np.arange(width) + 1, np.arange(width, 0, -1)) / ((width + 1) / 2)
    return np.maximum(np.minimum.outer(rows, cols), 0.01).astype(np.float32)


def _batches(windows: Sequence[Box], batch_size: int) -> Iterator[list[Box]]:
    """Group windows of one shape; as many pixels a batch as ``batch_size`` windows of 128 x 128.

    Each batch holds 1, 2, 4, ... windows: a new number of them costs an engine as much as a new shape.
    """
    shapes: dict[tuple[int, int], list[Box]] = {}
    for window in windows:
        shapes.setdefault(window.shape, []).append(window)
    for (height, width), members in shapes.items():
        most = max(1, batch_size * 128 * 128 // (height * width))
        while members:
            count = 1 << (min(most, len(members)).bit_length() - 1)
            yield members[:count]
            members = members[count:]
