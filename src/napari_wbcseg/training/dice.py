"""The soft Dice coefficient and its loss, as published: over all pixels of a batch, smoothing 1."""

from __future__ import annotations

from typing import Any

from ..evaluation.metrics import SMOOTHING
from ..network.backend import import_keras


def dice_coefficient(y_true: Any, y_pred: Any) -> Any:
    """Return the soft Dice coefficient of a batch, with `keras.ops`.

    ``(2 sum(t p) + 1) / (sum(t) + sum(p) + 1)``, the sums over all pixels of the batch
    (Milletari, Navab, Ahmadi: V-Net, 3DV 2016, there with squares).

    Parameters
    ----------
    y_true, y_pred : tensors of one shape
        Truth in {0, 1} and probability in [0, 1].

    Returns
    -------
    scalar tensor of float32, in (0, 1]
    """
    ops = import_keras().ops
    # Sums over a batch overflow float16 and lose digits in bfloat16.
    truth = ops.cast(y_true, "float32")
    probability = ops.cast(y_pred, "float32")
    overlap = ops.sum(truth * probability)
    return (2.0 * overlap + SMOOTHING) / (ops.sum(truth) + ops.sum(probability) + SMOOTHING)


def dice_loss(y_true: Any, y_pred: Any) -> Any:
    """Return 1 - `dice_coefficient`, the published training loss."""
    return 1.0 - dice_coefficient(y_true, y_pred)
