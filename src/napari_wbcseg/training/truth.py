"""What the networks are taught: the truth of a sample of the robust recipe, and the losses of both."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..evaluation.metrics import SMOOTHING
from ..network.backend import import_keras
from ..network.robust import CANONICAL_DIAMETER
from .samples.class_map import PLATELET
from .samples.sample import Sample

_CENTRE_WIDTH = 0.10
# Channels of the truth behind those of the network: what counts where in the loss.
CELL_KNOWN, _SHAPE_KNOWN, _SIZE_KNOWN, _CLASS_KNOWN = range(7, 11)
TRUTH_CHANNELS = 11
# Platelets are a hundredth of the pixels; a size is read off many pixels, of red cells as of white ones.
_PLATELET_WEIGHT = 4.0
_RED_SIZE_WEIGHT = 0.5


def truth_of(sample: Sample) -> np.ndarray:
    """Turn a sample into what the network is to say of it.

    Returns
    -------
    ndarray of float32, shape (S, S, 11)
        Cell; centre, a Gaussian on each centroid a tenth of the diameter wide; offset to
        the centroid, rows and columns, in canonical radii; size, log2 of the diameter
        over the canonical one, of white and red cells; red cell, platelet; then how
        much each pixel counts for cell, shape, size, and classes.
        Shape is -1 where a cell has no known centre.
    """
    size = sample.labels.shape[0]
    truth = np.zeros((size, size, TRUTH_CHANNELS), np.float32)
    cells = sample.labels > 0
    truth[..., 0] = cells
    truth[..., CELL_KNOWN] = ~sample.doubtful
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    for index, (row, col) in sample.centres.items():
        diameter = sample.diameters[index]
        width = _CENTRE_WIDTH * diameter
        squared = (rows - row) ** 2 + (cols - col) ** 2
        truth[..., 1] = np.maximum(truth[..., 1], np.exp(-squared / (2 * width * width)))
        mask = sample.labels == index
        truth[mask, 2] = (row - rows[mask]) / (CANONICAL_DIAMETER / 2)
        truth[mask, 3] = (col - cols[mask]) / (CANONICAL_DIAMETER / 2)
        truth[mask, 4] = np.log2(diameter / CANONICAL_DIAMETER)
        truth[mask, _SHAPE_KNOWN] = 1.0
        truth[mask, _SIZE_KNOWN] = 1.0
    # Where a cell has no known centre, the centre channel must not be taught its absence.
    truth[..., _SHAPE_KNOWN] -= cells & (truth[..., _SHAPE_KNOWN] == 0)

    classes = sample.classes
    known = ~np.isnan(classes) & ~sample.doubtful
    red = known & (classes > 0) & ~cells
    truth[red, 4] = np.log2(classes[red] / CANONICAL_DIAMETER)
    truth[red, _SIZE_KNOWN] = _RED_SIZE_WEIGHT
    truth[..., 5] = red
    truth[..., 6] = known & (classes == PLATELET) & ~cells
    # A white cell is neither red cell nor platelet, also where nobody said what lies around it.
    truth[..., _CLASS_KNOWN] = known | (cells & ~sample.doubtful)
    return truth


def robust_loss(truth: Any, predicted: Any) -> Any:
    """Sum what the heads miss: Dice and cross-entropy of the cell, squared error of the centre, and more.

    Offset and size have their absolute error; red cells and platelets their cross-entropy.

    Parameters
    ----------
    truth : tensor, shape (N, H, W, 11)
        From `truth_of`.
    predicted : tensor, shape (N, H, W, 7)
    """
    ops = import_keras().ops
    truth = ops.cast(truth, "float32")
    predicted = ops.cast(predicted, "float32")

    def entropy(channel: int, weight: Any) -> Any:
        true, guess = truth[..., channel], ops.clip(predicted[..., channel], 1e-5, 1.0 - 1e-5)
        missed = -(true * ops.log(guess) + (1.0 - true) * ops.log(1.0 - guess))
        return ops.sum(weight * missed) / (ops.sum(weight) + 1.0)

    valid = truth[..., CELL_KNOWN]
    cell, guess = truth[..., 0], predicted[..., 0]
    overlap = ops.sum(valid * cell * guess, axis=(1, 2))
    total = ops.sum(valid * (cell + guess), axis=(1, 2))
    dice = 1.0 - ops.mean((2.0 * overlap + 50.0) / (total + 50.0))

    shaped = ops.maximum(truth[..., _SHAPE_KNOWN], 0.0)
    centred = valid * ops.cast(truth[..., _SHAPE_KNOWN] >= 0.0, "float32")
    weight = centred * (0.1 + cell + 2.0 * truth[..., 1])
    centre = ops.sum(weight * ops.square(truth[..., 1] - predicted[..., 1])) / (ops.sum(weight) + 1.0)
    off = shaped[..., None] * ops.abs(truth[..., 2:4] - predicted[..., 2:4])
    offset = ops.sum(off) / (ops.sum(shaped) + 1.0)
    sized = truth[..., _SIZE_KNOWN]
    size = ops.sum(sized * ops.abs(truth[..., 4] - predicted[..., 4])) / (ops.sum(sized) + 1.0)

    known = truth[..., _CLASS_KNOWN]
    platelet = entropy(6, known * (1.0 + (_PLATELET_WEIGHT - 1.0) * truth[..., 6]))
    classes = 0.5 * entropy(5, known) + platelet
    return dice + entropy(0, valid) + 4.0 * centre + 0.5 * offset + 0.4 * size + 0.4 * classes


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
