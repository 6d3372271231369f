"""The prediction on a few validation tiles, so that one sees a network learn."""

from __future__ import annotations

import base64
import time
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network.backend import import_keras

#: Share of the training time that previews may cost.
SHARE = 0.01
#: Seconds between two of them at least, for whoever shows them has work with them too.
LEAST = 2.0
_GAP = 4  # white pixels between two tiles


@dataclass
class Preview:
    """Tiles to watch a network on, at least one: predicted now and then, for at most `SHARE` of the time.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, S, S, 3)
        As the user knows them.
    truth : ndarray of bool, shape (N, S, S)
        Where cells are.
    inputs : ndarray of float32, shape (N, S, S, C)
        As the network sees them.
    names : tuple of str
        The images they are from.
    """

    images: np.ndarray
    truth: np.ndarray
    inputs: np.ndarray
    names: tuple[str, ...]
    _next: float = 0.0

    def scene(self) -> dict[str, Any]:
        """Return the event that brings the tiles, side by side."""
        return {
            "event": "preview_tiles",
            "image": encode_array(side_by_side(self.images, 255)),
            "truth": encode_array(side_by_side(self.truth.astype(np.uint8), 0)),
            "names": list(self.names),
        }

    @property
    def due(self) -> bool:
        """Whether another prediction would keep within the share of time."""
        return time.monotonic() >= self._next

    def predict(self, model: Any, epoch: int) -> dict[str, Any]:
        """Return the event with the prediction of the network as it is, 0 to 255.

        Parameters
        ----------
        model : keras.Model
            Its first output channel is the probability of a cell.
        epoch : int
            The epoch under way, from 1.
        """
        start = time.monotonic()
        predicted = import_keras().ops.convert_to_numpy(model(self.inputs, training=False))
        probability = np.asarray(predicted[..., 0], np.float32)
        pixels = np.rint(np.clip(np.nan_to_num(probability), 0, 1) * 255).astype(np.uint8)
        event = {"event": "preview", "epoch": epoch, "probability": encode_array(side_by_side(pixels, 0))}
        now = time.monotonic()
        self._next = now + max((now - start) / SHARE, LEAST)
        return event


def side_by_side(tiles: np.ndarray, ground: int) -> np.ndarray:
    """Lay tiles in a row, a few pixels apart.

    Parameters
    ----------
    tiles : ndarray, shape (N, H, W[, C])
    ground : int
        What is between them.

    Examples
    --------
    >>> side_by_side(np.ones((2, 1, 1), np.uint8), 0).tolist()
    [[1, 0, 0, 0, 0, 1]]
    """
    gap = [(0, 0), (0, 0), (0, _GAP), *[(0, 0)] * (tiles.ndim - 3)]
    return np.concatenate(list(np.pad(tiles, gap, constant_values=ground)), axis=1)[:, :-_GAP]


def encode_array(array: np.ndarray) -> dict[str, Any]:
    """Return an array of uint8 as JSON takes it."""
    packed = zlib.compress(np.ascontiguousarray(array, np.uint8).tobytes(), 1)
    return {"shape": list(array.shape), "data": base64.b64encode(packed).decode("ascii")}


def decode_array(coded: dict[str, Any]) -> np.ndarray:
    """Return the array that `encode_array` was given.

    Examples
    --------
    >>> decode_array(encode_array(np.array([[1, 2]]))).tolist()
    [[1, 2]]
    """
    content = zlib.decompress(base64.b64decode(coded["data"]))
    return np.frombuffer(content, np.uint8).reshape(coded["shape"])
