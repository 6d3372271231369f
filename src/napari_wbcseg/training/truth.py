"""What the networks are taught: the truth of a sample of the robust recipe, and the losses of both."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..evaluation.metrics import SMOOTHING
from ..network.backend import import_keras
from ..network.robust import CANONICAL_DIAMETER
from .samples import class_map
from .samples.compose import Sample

_CENTRE_WIDTH = 0.10  # of a cell's diameter
# Channels of the network, see `ROBUST`, and behind them those of the truth: what counts where in the loss.
_CELL, _CENTRE, _DOWN, _RIGHT, _SIZE, _RED_CELL, _PLATELET = range(7)
CELL_KNOWN, _SHAPE_KNOWN, _SIZE_KNOWN, _CLASS_KNOWN = range(7, 11)
TRUTH_CHANNELS = 11
# Platelets are a hundredth of the pixels; a size is read off many pixels, of red cells as of white ones.
_PLATELET_WEIGHT = 4.0
_RED_SIZE_WEIGHT = 0.5
# What the parts of the loss weigh beside Dice and cross-entropy of the cell.
_CENTRE_LOSS, _OFFSET_LOSS, _SIZE_LOSS, _CLASS_LOSS = 4.0, 0.5, 0.4, 0.4
_CELL_SMOOTHING = 50.0  # pixels added above and below in the Dice of a tile, which may hold no cell


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
    truth[..., _CELL] = cells
    truth[..., CELL_KNOWN] = ~sample.doubtful
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    for index, (row, col) in sample.centres.items():
        diameter = sample.diameters[index]
        width = _CENTRE_WIDTH * diameter
        squared = (rows - row) ** 2 + (cols - col) ** 2
        truth[..., _CENTRE] = np.maximum(truth[..., _CENTRE], np.exp(-squared / (2 * width * width)))
        mask = sample.labels == index
        truth[mask, _DOWN] = (row - rows[mask]) / (CANONICAL_DIAMETER / 2)
        truth[mask, _RIGHT] = (col - cols[mask]) / (CANONICAL_DIAMETER / 2)
        truth[mask, _SIZE] = np.log2(diameter / CANONICAL_DIAMETER)
        truth[mask, _SHAPE_KNOWN] = 1.0
        truth[mask, _SIZE_KNOWN] = 1.0
    # Where a cell has no known centre, the centre channel must not be taught its absence.
    truth[..., _SHAPE_KNOWN] -= cells & (truth[..., _SHAPE_KNOWN] == 0)

    classes = sample.classes
    known = ~np.isnan(classes) & ~sample.doubtful
    red = known & (classes > 0) & ~cells
    truth[red, _SIZE] = np.log2(classes[red] / CANONICAL_DIAMETER)
    truth[red, _SIZE_KNOWN] = _RED_SIZE_WEIGHT
    truth[..., _RED_CELL] = red
    truth[..., _PLATELET] = known & (classes == class_map.PLATELET) & ~cells
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

    def mean(weight: Any, missed: Any) -> Any:
        return ops.sum(weight * missed) / (ops.sum(weight) + 1.0)

    def entropy(channel: int, weight: Any) -> Any:
        true, guess = truth[..., channel], ops.clip(predicted[..., channel], 1e-5, 1.0 - 1e-5)
        return mean(weight, -(true * ops.log(guess) + (1.0 - true) * ops.log(1.0 - guess)))

    valid = truth[..., CELL_KNOWN]
    cell, guess = truth[..., _CELL], predicted[..., _CELL]
    overlap = ops.sum(valid * cell * guess, axis=(1, 2))
    total = ops.sum(valid * (cell + guess), axis=(1, 2))
    dice = 1.0 - ops.mean((2.0 * overlap + _CELL_SMOOTHING) / (total + _CELL_SMOOTHING))

    shaped = ops.maximum(truth[..., _SHAPE_KNOWN], 0.0)
    centred = valid * ops.cast(truth[..., _SHAPE_KNOWN] >= 0.0, "float32")
    around = centred * (0.1 + cell + 2.0 * truth[..., _CENTRE])
    centre = mean(around, ops.square(truth[..., _CENTRE] - predicted[..., _CENTRE]))
    off = shaped[..., None] * ops.abs(truth[..., _DOWN:_SIZE] - predicted[..., _DOWN:_SIZE])
    offset = ops.sum(off) / (ops.sum(shaped) + 1.0)
    size = mean(truth[..., _SIZE_KNOWN], ops.abs(truth[..., _SIZE] - predicted[..., _SIZE]))

    known = truth[..., _CLASS_KNOWN]
    platelet = entropy(_PLATELET, known * (1.0 + (_PLATELET_WEIGHT - 1.0) * truth[..., _PLATELET]))
    classes = 0.5 * entropy(_RED_CELL, known) + platelet
    loss = dice + entropy(_CELL, valid) + _CENTRE_LOSS * centre + _OFFSET_LOSS * offset
    return loss + _SIZE_LOSS * size + _CLASS_LOSS * classes


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
