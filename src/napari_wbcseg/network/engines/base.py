"""What every engine does, and the batch it takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from ..model_file import ModelFile


class Engine(ABC):
    """Runs one model.

    Attributes
    ----------
    name : str
        ``onnxruntime``, ``openvino`` or ``keras``.
    device : str
        The device in use, and why.
    """

    name: ClassVar[str]
    device: str

    def __init__(self, model: ModelFile) -> None:
        self._architecture = model.architecture

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

        Raises
        ------
        ValueError
            If the network does not take the shape.
        """
        batch = np.ascontiguousarray(batch, dtype=np.float32)
        multiple, channels = self._architecture.multiple, self._architecture.input_channels
        sides = batch.shape[1:3]
        if (
            batch.ndim != 4
            or batch.shape[3] != channels
            or any(side % multiple or not side for side in sides)
        ):
            raise ValueError(
                f"The network takes (N, H, W, {channels}), H and W divisible by {multiple}, "
                f"not {batch.shape}."
            )
        if len(batch) == 0:
            return np.zeros((*batch.shape[:3], self._architecture.output_channels), np.float32)
        return self._run(batch)

    @abstractmethod
    def _run(self, batch: np.ndarray) -> np.ndarray:
        """Predict a batch that is checked and not empty."""
