"""The published way to train: grey tiles of 128 pixels, soft Dice loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets.pair import Pairs, TrainingPair
from ..datasets.sigtuple import cut_tiles
from ..network.architecture import CLASSIC, UNetArchitecture
from ..network.classic import INPUT, TILE, classic_arrays
from ..progress import Progress, silent
from ..settings import TrainingSettings
from .batches import Batch, Batches
from .dice import dice_coefficient, dice_loss
from .preview import PreviewTiles


class ClassicRecipe:
    """The published recipe; see `Recipe`."""

    architecture: UNetArchitecture = CLASSIC
    canonical_diameter: float | None = None
    input = INPUT

    def left_out(self, pair: TrainingPair) -> str:
        """Return why a pair is of no use: no tile of it holds a cell."""
        return "" if cut_tiles([pair], TILE) else "no cell is outlined in it"

    def tiles(self, pairs: Pairs, settings: TrainingSettings) -> int:
        """Return the number of tiles, mirrored copies included."""
        return len(cut_tiles(pairs, TILE)) * (3 if settings.flips else 1)

    def batches(
        self, pairs: Pairs, settings: TrainingSettings, training: bool, progress: Progress = silent
    ) -> Batches:
        """Return the batches: all tiles once an epoch, shuffled when training."""
        images, targets = classic_arrays(pairs)
        if training and settings.flips:
            images, targets = (
                np.concatenate([tiles, tiles[:, :, ::-1], tiles[:, ::-1]]) for tiles in (images, targets)
            )
        return TileBatches(images, targets, settings.batch_size, settings.seed if training else None)

    def preview(self, pairs: Pairs, count: int) -> PreviewTiles:
        """Return the first tiles with the most of a cell in them."""
        tiles = sorted(cut_tiles(pairs, TILE), key=lambda tile: -int((tile.labels > 0).sum()))[:count]
        images, targets = classic_arrays(tiles)
        colour = np.full((len(tiles), TILE, TILE, 3), 255, np.uint8)
        for i, tile in enumerate(tiles):
            height, width = tile.labels.shape
            colour[i, :height, :width] = tile.image
        names = tuple(tile.name for tile in tiles)
        return PreviewTiles(colour, targets[..., 0] > 127, images.astype(np.float32) / 255, names)

    loss = staticmethod(dice_loss)

    def dice(self, y_true: Any, y_pred: Any) -> Any:
        """Return the soft Dice coefficient over all pixels of the batch."""
        return dice_coefficient(y_true, y_pred)


RECIPE = ClassicRecipe()


@dataclass(frozen=True)
class TileBatches:
    """Batches of tiles; the order follows from the seed and the epoch alone.

    Attributes
    ----------
    images, targets : ndarray of uint8, shape (N, H, W, 1)
    batch_size : int
    seed : int or None
        None keeps the order.
    """

    images: np.ndarray
    targets: np.ndarray
    batch_size: int
    seed: int | None
    heavy = False

    def __len__(self) -> int:
        """Return the number of batches; the last may be shorter."""
        return math.ceil(len(self.images) / self.batch_size)

    def draw(self, epoch: int, index: int) -> Batch:
        """Return a batch, 0 to 1."""
        order = np.arange(len(self.images))
        if self.seed is not None:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.images))
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.images[chosen].astype(np.float32) / 255, self.targets[chosen].astype(np.float32) / 255
