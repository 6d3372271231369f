"""What the classic network is given, and the truth it is compared with: grey tiles of 128 pixels."""

from __future__ import annotations

import numpy as np

from ..datasets.pair import Pairs, TrainingPair
from ..datasets.sigtuple import TILE, cut_tiles
from ..settings import SegmentationSettings

#: Weights of red, green and blue in grey (ITU-R BT.601, the ones of OpenCV and Pillow).
GREY_WEIGHTS = (0.299, 0.587, 0.114)
_DARK_CUTOFF: int = SegmentationSettings.model_fields["dark_cutoff"].default

#: What the input of the network is, in words, for model files.
INPUT = (
    "128x128 pixels, one channel: grey (0.299 R + 0.587 G + 0.114 B of 8 bits, "
    f"levels up to {_DARK_CUTOFF} set to 255) divided by 255"
)


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

    Examples
    --------
    >>> classic_grey(np.array([[[200, 100, 50], [10, 10, 10]]], np.uint8), 20).tolist()
    [[124, 255]]
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


def classic_arrays(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Cut pairs into the tiles that the published network is trained on.

    Returns
    -------
    images, targets : ndarray of uint8, shape (N, 128, 128, 1)
        Grey images and masks, 0 to 255. What is smaller than a tile is padded at its
        right and lower side with white background.
    """
    tiles = cut_tiles(pairs)
    images = np.full((len(tiles), TILE, TILE, 1), 255, np.uint8)
    targets = np.zeros_like(images)
    for i, tile in enumerate(tiles):
        height, width = tile.labels.shape
        images[i, :height, :width, 0] = classic_grey(tile.image)
        targets[i, :height, :width, 0] = classic_target(tile)
    return images, targets
