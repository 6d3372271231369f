"""Whether training images can be trusted: the same picture on both sides of a split.

A model that is scored on what it was trained on looks better than it is. Copies are
found though they were saved anew as JPEG, mirrored, turned by a quarter or brightened.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..datasets.pair import Pairs, TrainingPair
from ..errors import TrainingError
from ..words import listed


@dataclass(frozen=True)
class DuplicateParameters:
    """When two pictures are the same.

    Attributes
    ----------
    side : int
        Pixels of the thumbnails that pictures are compared by.
    same : float
        Correlation from which they are the same.
    proportions : float
        Natural logarithm that the proportions of their sides may differ by.
    """

    side: int = 48
    same: float = 0.97
    proportions: float = 0.05


PARAMETERS = DuplicateParameters()


def find_duplicates(training: Pairs, validation: Pairs) -> list[tuple[TrainingPair, TrainingPair]]:
    """Find pictures that are on both sides.

    Every picture is compared with the eight mirrored and turned versions of every other, by
    the correlation of thumbnails.

    Returns
    -------
    list of tuple of TrainingPair
        One of each side, in the order of the validation pictures.
    """
    if not training or not validation:
        return []
    thumbnails = np.stack([_thumbnail(pair.image).ravel() for pair in training])
    found = []
    for pair in validation:
        agreement = (thumbnails @ _versions(pair.image)).max(axis=1)
        alike = [training[int(index)] for index in np.flatnonzero(agreement > PARAMETERS.same)]
        found += [(other, pair) for other in alike if _same_shape(pair.image, other.image)]
    return found


def refuse_duplicates(training: Pairs, validation: Pairs) -> None:
    """Refuse to train where a picture is both trained and validated on.

    Raises
    ------
    TrainingError
        Naming the pictures.
    """
    found = find_duplicates(training, validation)
    if not found:
        return
    shown = listed([f"{one.name} and {other.name}" for one, other in found], between="; ")
    raise TrainingError(
        f"The same picture is in the training and in the validation images, so that the scores would be "
        f"too good: {shown}. Remove one of each, or put both into one group."
    )


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """Return a small RGB picture of mean 0 and length 1, which is blind to brightness and contrast."""
    size = (PARAMETERS.side, PARAMETERS.side)
    small = cv2.resize(np.asarray(image, np.float32), size, interpolation=cv2.INTER_AREA)
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return small / length if length > 1e-3 * small.size else np.zeros_like(small)


def _versions(image: np.ndarray) -> np.ndarray:
    """Return the thumbnail of an image turned and mirrored in all eight ways, (values, 8)."""
    small = _thumbnail(image)
    turned = [np.rot90(small, quarter) for quarter in range(4)]
    return np.stack([version.ravel() for one in turned for version in (one, one[:, ::-1])], axis=1)


def _same_shape(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the sides are in one proportion, either way round."""
    ratios = [max(image.shape[:2]) / min(image.shape[:2]) for image in (one, other)]
    return bool(abs(np.log(ratios[0] / ratios[1])) < PARAMETERS.proportions)
