"""The network of the robust recipe: what it puts out, what it is taught, how it is scored.

Beside the probability of a pixel to lie in a white cell it tells where the centre of
that cell is (so that touching cells can be told apart by their centres) and how
large the cell is (so that the scale of an unknown image can be found).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .architecture import Output, UNetArchitecture

if TYPE_CHECKING:
    from ..training.samples.compose import Sample

#: Diameter, in pixels, at which the network is at its best.
CANONICAL_DIAMETER = 48.0

ROBUST = UNetArchitecture(
    input_channels=3,
    widths=(16, 32, 64, 96, 128),
    batch_norm=True,
    dropout=0.1,
    outputs=(
        Output("cell", 1, "sigmoid"),
        Output("centre", 1, "sigmoid"),
        Output("offset", 2, "linear"),
        Output("size", 1, "linear"),
    ),
)

#: Channels of the truth: those of the network, then what counts where in the loss.
TRUTH_CHANNELS = 7
_CENTRE_WIDTH = 0.10


def network_input(transmittance: np.ndarray) -> np.ndarray:
    """Scale transmittance to what the network takes: 0 on the empty slide, about 2 in dark stain.

    Parameters
    ----------
    transmittance : ndarray of float32, shape (..., 3)

    Returns
    -------
    ndarray of float32, shape of the input
    """
    return (1.0 - transmittance) * np.float32(2.0)


def truth_of(sample: Sample) -> np.ndarray:
    """Turn a sample into what the network is to say of it.

    Returns
    -------
    ndarray of float32, shape (S, S, 7)
        Cell; centre, a Gaussian on each centroid a tenth of the diameter wide; offset to
        the centroid, rows and columns, in canonical radii; size, log2 of the diameter
        over the canonical one; then the weights of the cell and of the shape channels.
    """
    size = sample.labels.shape[0]
    truth = np.zeros((size, size, TRUTH_CHANNELS), np.float32)
    truth[..., 0] = sample.labels > 0
    truth[..., 5] = ~sample.doubtful
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
        truth[mask, 6] = 1.0
    # Where a cell has no known centre, the centre channel must not be taught its absence.
    unknown = (truth[..., 0] > 0) & (truth[..., 6] == 0)
    truth[..., 6] -= unknown
    return truth


def robust_loss(truth: Any, predicted: Any) -> Any:
    """Dice and cross-entropy of the cell, squared error of the centre, absolute error of offset and size.

    Parameters
    ----------
    truth : tensor, shape (N, H, W, 7)
        From `truth_of`.
    predicted : tensor, shape (N, H, W, 5)
    """
    from .backend import import_keras

    ops = import_keras().ops
    truth = ops.cast(truth, "float32")
    predicted = ops.cast(predicted, "float32")
    valid = truth[..., 5]
    cell, guess = truth[..., 0], ops.clip(predicted[..., 0], 1e-5, 1.0 - 1e-5)
    overlap = ops.sum(valid * cell * guess, axis=(1, 2))
    total = ops.sum(valid * (cell + guess), axis=(1, 2))
    dice = 1.0 - ops.mean((2.0 * overlap + 50.0) / (total + 50.0))
    entropy = -(cell * ops.log(guess) + (1.0 - cell) * ops.log(1.0 - guess))
    entropy = ops.sum(valid * entropy) / (ops.sum(valid) + 1.0)

    shaped = ops.maximum(truth[..., 6], 0.0)
    centred = valid * ops.cast(truth[..., 6] >= 0.0, "float32")
    weight = centred * (0.1 + cell + 2.0 * truth[..., 1])
    centre = ops.sum(weight * ops.square(truth[..., 1] - predicted[..., 1])) / (ops.sum(weight) + 1.0)
    shaped_sum = ops.sum(shaped) + 1.0
    offset = ops.sum(shaped[..., None] * ops.abs(truth[..., 2:4] - predicted[..., 2:4])) / shaped_sum
    size = ops.sum(shaped * ops.abs(truth[..., 4] - predicted[..., 4])) / shaped_sum
    return dice + entropy + 4.0 * centre + 0.5 * offset + 0.4 * size
