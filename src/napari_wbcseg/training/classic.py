"""The published way to train: grey tiles of 128 pixels, soft Dice loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from ..network.architecture import CLASSIC, UNetArchitecture
from ..progress import Progress, silent
from ..settings import Recipe as RecipeName
from ..settings import SegmentationSettings, TrainingSettings
from .batches import Batch, Batches
from .dice import dice_coefficient, dice_loss
from .helpers import Helpers
from .preview import PreviewTiles

if TYPE_CHECKING:
    from ..datasets.pairs import TrainingPair

TILE = 128
#: Weights of red, green and blue in grey (ITU-R BT.601, the ones of OpenCV and Pillow).
GREY_WEIGHTS = (0.299, 0.587, 0.114)
_DARK_CUTOFF: int = SegmentationSettings.model_fields["dark_cutoff"].default


def classic_grey(image: np.ndarray, dark_cutoff: int = _DARK_CUTOFF) -> np.ndarray:
    """Return the grey image that the published network is given, before the division by 255.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    dark_cutoff : int
        Grey levels up to this one, the dark edge of the field, become white (255).

    Returns
    -------
    ndarray of uint8, shape (H, W)
    """
    grey = np.rint(image.astype(np.float32) @ np.array(GREY_WEIGHTS, np.float32)).astype(np.uint8)
    grey[grey <= dark_cutoff] = 255
    return grey


def classic_target(pair: TrainingPair) -> np.ndarray:
    """Return the truth the network is compared with, 0 to 255.

    The published training used the mask as stored, soft JPEG edges included; so does this,
    unless the labels were changed since.
    """
    cells = pair.labels > 0
    mask = pair.mask
    if mask is not None and np.array_equal(mask > 127, cells):
        return mask
    return np.where(cells, 255, 0).astype(np.uint8)


def classic_arrays(pairs: Sequence[TrainingPair]) -> tuple[np.ndarray, np.ndarray]:
    """Cut pairs into the tiles that the published network is trained on.

    Parameters
    ----------
    pairs : sequence of TrainingPair

    Returns
    -------
    images, targets : ndarray of uint8, shape (N, 128, 128, 1)
        Grey images and masks, 0 to 255. What is smaller than a tile is padded at its
        right and lower side with white background.

    Raises
    ------
    TrainingError
        If no tile is left.
    """
    tiles = _tiles(pairs)
    if not tiles:
        raise TrainingError(
            f"No tile of {TILE}x{TILE} pixels in the {len(pairs)} training images holds a cell: "
            "check that the labels are those of the images."
        )
    images = np.full((len(tiles), TILE, TILE, 1), 255, np.uint8)
    targets = np.zeros_like(images)
    for i, tile in enumerate(tiles):
        height, width = tile.labels.shape
        images[i, :height, :width, 0] = classic_grey(tile.image)
        targets[i, :height, :width, 0] = classic_target(tile)
    return images, targets


def _tiles(pairs: Sequence[TrainingPair]) -> list[TrainingPair]:
    from ..datasets.sigtuple import cut_tiles

    return cut_tiles(pairs, TILE)


class ClassicRecipe:
    """The published recipe; see `Recipe`."""

    name: RecipeName = "classic"
    architecture: UNetArchitecture = CLASSIC
    canonical_diameter: float | None = None
    input = (
        "128x128 pixels, one channel: grey (0.299 R + 0.587 G + 0.114 B of 8 bits, "
        f"levels up to {_DARK_CUTOFF} set to 255) divided by 255"
    )

    def left_out(self, pair: TrainingPair) -> str:
        """Return why a pair is of no use: no tile of it holds a cell."""
        return "" if _tiles([pair]) else "no cell is outlined in it"

    def tiles(self, pairs: Sequence[TrainingPair], settings: TrainingSettings) -> int:
        """Return the number of tiles, mirrored copies included."""
        return len(_tiles(pairs)) * (3 if settings.flips else 1)

    def batches(
        self,
        pairs: Sequence[TrainingPair],
        settings: TrainingSettings,
        training: bool,
        progress: Progress = silent,
        helpers: Helpers | None = None,
    ) -> Batches:
        """Return the batches: all tiles once an epoch, shuffled when training."""
        images, targets = classic_arrays(pairs)
        if training and settings.flips:
            images, targets = (
                np.concatenate([tiles, tiles[:, :, ::-1], tiles[:, ::-1]]) for tiles in (images, targets)
            )
        return TileBatches(images, targets, settings.batch_size, settings.seed if training else None)

    def preview(self, pairs: Sequence[TrainingPair], count: int) -> PreviewTiles:
        """Return the first tiles with the most of a cell in them."""
        tiles = sorted(_tiles(pairs), key=lambda tile: -int((tile.labels > 0).sum()))[:count]
        images, targets = classic_arrays(tiles)
        colour = np.full((len(tiles), TILE, TILE, 3), 255, np.uint8)
        for i, tile in enumerate(tiles):
            height, width = tile.labels.shape
            colour[i, :height, :width] = tile.image
        return PreviewTiles(
            colour,
            targets[..., 0] > 127,
            images.astype(np.float32) / 255,
            tuple(tile.name for tile in tiles),
        )

    def loss(self, y_true: Any, y_pred: Any) -> Any:
        """Return the soft Dice loss over all pixels of the batch."""
        return dice_loss(y_true, y_pred)

    def metrics(self) -> list[Callable[[Any, Any], Any]]:
        """Return the soft Dice coefficient."""

        def dice(y_true: Any, y_pred: Any) -> Any:
            return dice_coefficient(y_true, y_pred)

        return [dice]


RECIPE = ClassicRecipe()


class TileBatches:
    """Batches of tiles; the order follows from the seed and the epoch alone.

    Parameters
    ----------
    images, targets : ndarray of uint8, shape (N, H, W, 1)
    batch_size : int
    seed : int or None
        None keeps the order.
    """

    heavy = False

    def __init__(self, images: np.ndarray, targets: np.ndarray, batch_size: int, seed: int | None) -> None:
        self.images, self.targets = images, targets
        self.batch_size = batch_size
        self.seed = seed

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
