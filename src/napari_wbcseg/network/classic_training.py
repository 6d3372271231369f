"""The published way to train: grey tiles of 128 pixels, soft Dice loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from ..settings import Recipe as RecipeName
from ..settings import SegmentationSettings, TrainingSettings
from .architecture import CLASSIC, UNetArchitecture
from .backend import import_keras
from .dice import dice_coefficient, dice_loss

if TYPE_CHECKING:
    from ..data.pairs import TrainingPair

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
    from ..data.sigtuple import cut_tiles

    tiles = cut_tiles(pairs, TILE)
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


class ClassicRecipe:
    """The published recipe; see `Recipe`."""

    name: RecipeName = "classic"
    architecture: UNetArchitecture = CLASSIC
    canonical_diameter: float | None = None
    input = (
        "128x128 pixels, one channel: grey (0.299 R + 0.587 G + 0.114 B of 8 bits, "
        f"levels up to {_DARK_CUTOFF} set to 255) divided by 255"
    )

    def dataset(self, pairs: Sequence[TrainingPair], settings: TrainingSettings, training: bool) -> Any:
        """Return the batches: all tiles once an epoch, shuffled when training."""
        images, targets = classic_arrays(pairs)
        if training and settings.flips:
            images, targets = (
                np.concatenate([tiles, tiles[:, :, ::-1], tiles[:, ::-1]]) for tiles in (images, targets)
            )
        return _dataset(images, targets, settings.batch_size, settings.seed, shuffle=training)

    def loss(self, y_true: Any, y_pred: Any) -> Any:
        """Return the soft Dice loss over all pixels of the batch."""
        return dice_loss(y_true, y_pred)

    def metrics(self) -> list[Callable[[Any, Any], Any]]:
        """Return the soft Dice coefficient."""

        def dice(y_true: Any, y_pred: Any) -> Any:
            return dice_coefficient(y_true, y_pred)

        return [dice]


RECIPE = ClassicRecipe()


def _dataset(images: np.ndarray, targets: np.ndarray, batch_size: int, seed: int, shuffle: bool) -> Any:
    keras = import_keras()

    class Tiles(keras.utils.PyDataset):  # type: ignore[name-defined,misc]
        """Batches of tiles; the order follows from the seed and the epoch alone."""

        epoch = 0

        def __len__(self) -> int:
            return math.ceil(len(images) / batch_size)

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            if shuffle:
                order = np.random.default_rng((seed, self.epoch)).permutation(len(images))
            else:
                order = np.arange(len(images))
            chosen = order[index * batch_size : (index + 1) * batch_size]
            return images[chosen].astype(np.float32) / 255, targets[chosen].astype(np.float32) / 255

    return Tiles()
