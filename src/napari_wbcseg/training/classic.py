"""The published way to train: grey tiles of 128 pixels, soft Dice loss."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from ..datasets.pair import Pairs, TrainingPair
from ..datasets.sigtuple import TILE, cut_tiles
from ..network.architecture import CLASSIC, UNetArchitecture
from ..network.classic import INPUT, classic_arrays
from ..progress import Progress, silent
from ..settings import TrainingSettings
from .batches import Batch, Batches
from .preview import Preview
from .truth import dice_coefficient, dice_loss


class ClassicRecipe:
    """The published recipe; see `plan.RECIPES`."""

    architecture: UNetArchitecture = CLASSIC
    canonical_diameter: float | None = None
    input = INPUT

    def left_out(self, pair: TrainingPair) -> str:
        """Return why a pair is of no use: no tile of it holds a cell."""
        return "" if cut_tiles([pair]) else "no cell is outlined in it"

    def tiles(self, pairs: Pairs, settings: TrainingSettings) -> int:
        """Return the number of tiles, mirrored copies included."""
        return len(cut_tiles(pairs)) * (3 if settings.flips else 1)

    def batches(
        self, pairs: Pairs, settings: TrainingSettings, training: bool, progress: Progress = silent
    ) -> Batches:
        """Return the batches: all tiles once an epoch, shuffled when training."""
        images, targets = classic_arrays(pairs)
        if training and settings.flips:
            images, targets = (
                np.concatenate([tiles, tiles[:, :, ::-1], tiles[:, ::-1]]) for tiles in (images, targets)
            )
        size = settings.batch_size
        draw = partial(draw_tiles, images, targets, size, settings.seed if training else None)
        return Batches(draw, math.ceil(len(images) / size), heavy=False)

    def preview(self, pairs: Pairs, count: int) -> Preview:
        """Return the first tiles with the most of a cell in them."""
        tiles = sorted(cut_tiles(pairs), key=lambda tile: -int((tile.labels > 0).sum()))[:count]
        images, targets = classic_arrays(tiles)
        colour = np.full((len(tiles), TILE, TILE, 3), 255, np.uint8)
        for i, tile in enumerate(tiles):
            height, width = tile.labels.shape
            colour[i, :height, :width] = tile.image
        names = tuple(tile.name for tile in tiles)
        return Preview(colour, targets[..., 0] > 127, images.astype(np.float32) / 255, names)

    loss = staticmethod(dice_loss)

    def dice(self, y_true: Any, y_pred: Any) -> Any:
        """Return the soft Dice coefficient over all pixels of the batch."""
        return dice_coefficient(y_true, y_pred)


def draw_tiles(
    images: np.ndarray, targets: np.ndarray, batch_size: int, seed: int | None, epoch: int, index: int
) -> Batch:
    """Return a batch of tiles, 0 to 1; the order follows from the seed and the epoch alone.

    Parameters
    ----------
    images, targets : ndarray of uint8, shape (N, H, W, 1)
    batch_size : int
        The last batch may be shorter.
    seed : int or None
        None keeps the order.
    epoch, index : int
    """
    order = np.arange(len(images))
    if seed is not None:
        order = np.random.default_rng((seed, epoch)).permutation(len(images))
    chosen = order[index * batch_size : (index + 1) * batch_size]
    return images[chosen].astype(np.float32) / 255, targets[chosen].astype(np.float32) / 255
