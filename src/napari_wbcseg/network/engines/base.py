"""What every engine does, and the batch it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from ..architecture import UNetArchitecture


class Engine(Protocol):
    """Runs one model."""

    @property
    def name(self) -> str:
        """``onnxruntime``, ``openvino`` or ``keras``."""

    @property
    def device(self) -> str:
        """The device in use, and why."""

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Predict a batch.

        Parameters
        ----------
        batch : ndarray of float32, shape (N, H, W, C)
            H and W divisible by ``architecture.multiple``.

        Returns
        -------
        ndarray of float32, shape (N, H, W, K)
            The heads of the network joined in order. It may be called from several threads.
        """


def checked_batch(batch: np.ndarray, architecture: UNetArchitecture) -> np.ndarray:
    """Return a batch as float32, contiguous, or raise ValueError if a network does not take its shape."""
    batch = np.ascontiguousarray(batch, dtype=np.float32)
    multiple, channels = architecture.multiple, architecture.input_channels
    if (
        batch.ndim != 4
        or batch.shape[3] != channels
        or batch.shape[1] % multiple
        or batch.shape[2] % multiple
        or 0 in batch.shape[1:3]
    ):
        raise ValueError(
            f"The network takes (N, H, W, {channels}), H and W divisible by {multiple}, not {batch.shape}."
        )
    return batch
