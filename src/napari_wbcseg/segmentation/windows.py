"""Windows of an image through the network, and their predictions blended together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..network.engines.base import Engine
    from ..progress import Progress


@dataclass(frozen=True)
class Window:
    """A rectangle that goes through the network at once; it may reach beyond the image."""

    row: int
    col: int
    height: int
    width: int


def centred_window(row: float, col: float, shape: tuple[int, int], size: int) -> Window:
    """Return the square window centred on a point and shifted inside the image.

    An image smaller than the window gets one window that starts at its corner and
    reaches beyond it.

    Examples
    --------
    >>> centred_window(5, 100, (200, 200), 128)
    Window(row=0, col=36, height=128, width=128)
    """
    top = int(np.clip(round(row) - size // 2, 0, max(shape[0] - size, 0)))
    left = int(np.clip(round(col) - size // 2, 0, max(shape[1] - size, 0)))
    return Window(top, left, size, size)


def spans(start: int, stop: int, size: int, overlap: int) -> list[int]:
    """Return the starts of windows of one size that cover [start, stop) and overlap evenly.

    Parameters
    ----------
    start, stop : int
        The interval to cover; windows may reach beyond its end when it is shorter than ``size``.
    size : int
    overlap : int
        Least overlap of neighbours, less than ``size``.

    Examples
    --------
    >>> spans(0, 300, 128, 16)
    [0, 86, 172]
    """
    length = stop - start
    if length <= size:
        return [start]
    count = -(-(length - overlap) // (size - overlap))
    return [start + round(i * (length - size) / (count - 1)) for i in range(count)]


@lru_cache(maxsize=16)
def blend_weights(height: int, width: int) -> np.ndarray:
    """Return how much each pixel of a window counts where windows overlap.

    A pyramid: a pixel in the middle has seen most of its surroundings.

    Returns
    -------
    ndarray of float32, shape (height, width)
        In (0, 1].
    """
    rows = np.minimum(np.arange(height) + 1, np.arange(height, 0, -1)) / ((height + 1) / 2)
    cols = np.minimum(np.arange(width) + 1, np.arange(width, 0, -1)) / ((width + 1) / 2)
    return np.maximum(np.minimum.outer(rows, cols), 0.01).astype(np.float32)


def read_window(image: np.ndarray, window: Window, fill: float) -> np.ndarray:
    """Return a window of an image, filled where it reaches beyond."""
    height, width = image.shape[:2]
    rows = slice(max(window.row, 0), min(window.row + window.height, height))
    cols = slice(max(window.col, 0), min(window.col + window.width, width))
    part = image[rows, cols]
    if part.shape[:2] == (window.height, window.width):
        return part
    out = np.full((window.height, window.width, *image.shape[2:]), fill, image.dtype)
    out[
        rows.start - window.row : rows.stop - window.row,
        cols.start - window.col : cols.stop - window.col,
    ] = part
    return out


def predict_windows(
    image: np.ndarray,
    windows: Sequence[Window],
    engine: Engine,
    channels: int,
    *,
    batch_size: int,
    fill: float,
    flips: bool = False,
    offset_channels: slice | None = None,
    progress: Progress,
    stage: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Send windows through the network in batches and blend what comes back.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, C)
        What the network takes.
    windows : sequence of Window
    engine : Engine
    channels : int
        Channels of the network's output.
    batch_size : int
    fill : float
        Value of the image beyond its border.
    flips : bool
        Average over the window, its left-right and its up-down mirror image.
    offset_channels : slice, optional
        Two channels (rows, columns) that change sign with the mirroring.
    progress : Progress
    stage : str
        What to tell the user.

    Returns
    -------
    prediction : ndarray of float32, shape (H, W, channels)
        0 where no window was.
    seen : ndarray of bool, shape (H, W)
    """
    height, width = image.shape[:2]
    total = np.zeros((height, width, channels), np.float32)
    weight = np.zeros((height, width), np.float32)
    done = 0
    progress(0, len(windows), stage)
    for batch in _batches(windows, batch_size):
        stack = np.stack([read_window(image, window, fill) for window in batch])
        predicted = engine.predict(stack)
        if flips:
            predicted = (
                predicted
                + _mirrored(engine, stack, 2, offset_channels)
                + _mirrored(engine, stack, 1, offset_channels)
            ) / 3
        for window, values in zip(batch, predicted, strict=True):
            rows = slice(window.row, min(window.row + window.height, height))
            cols = slice(window.col, min(window.col + window.width, width))
            shares = blend_weights(window.height, window.width)[
                : rows.stop - rows.start, : cols.stop - cols.start
            ]
            total[rows, cols] += shares[..., None] * values[: shares.shape[0], : shares.shape[1]]
            weight[rows, cols] += shares
        done += len(batch)
        progress(done, len(windows), stage)
    seen = weight > 0
    total /= np.where(seen, weight, 1)[..., None]
    return total, seen


def _mirrored(engine: Engine, stack: np.ndarray, axis: int, offset_channels: slice | None) -> np.ndarray:
    predicted = np.flip(engine.predict(np.flip(stack, axis)), axis).copy()
    if offset_channels is not None:
        predicted[..., offset_channels.start + axis - 1] *= -1
    return predicted


def _batches(windows: Sequence[Window], batch_size: int) -> Iterator[list[Window]]:
    """Group windows of one shape; as many pixels a batch as ``batch_size`` windows of 128 x 128."""
    shapes: dict[tuple[int, int], list[Window]] = {}
    for window in windows:
        shapes.setdefault((window.height, window.width), []).append(window)
    for (height, width), members in shapes.items():
        step = max(1, batch_size * 128 * 128 // (height * width))
        for start in range(0, len(members), step):
            yield members[start : start + step]
