"""The class map of a training picture: what each pixel shows besides white cells, as far as it is known.

A float32 image: the diameter of the red cell a pixel lies in, in pixels of the picture; or
`PLATELET`, `NOTHING_ELSE`; NaN where nobody said.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...datasets.pair import TrainingPair

NOTHING_ELSE, PLATELET = 0.0, -1.0
UNKNOWN = float("nan")


def draw_class_map(pair: TrainingPair, labels: np.ndarray) -> np.ndarray:
    """Draw the class map of a pair: red cells and platelets fill the ellipses of their boxes.

    Parameters
    ----------
    pair : TrainingPair
    labels : ndarray of int, shape (H, W)
        Its white cells, perhaps smoothed; they lie in front.

    Returns
    -------
    ndarray of float32, shape (H, W)
    """
    classes = np.full(labels.shape, NOTHING_ELSE if pair.all_boxed else UNKNOWN, np.float32)
    height, width = labels.shape
    for number, box in enumerate((*pair.red_cells, *pair.platelets)):
        r0, c0, r1, c1 = box
        cut = min(r0, c0) <= 1 or r1 >= height - 1 or c1 >= width - 1
        # Cut by the border, it is as wide as its longer side shows.
        across = float(max(box.shape) if cut else np.sqrt(box.area))
        value = across if number < len(pair.red_cells) else PLATELET
        middle = (round((c0 + c1 - 1) / 2), round((r0 + r1 - 1) / 2))
        axes = (max(1, (c1 - c0) // 2), max(1, (r1 - r0) // 2))
        cv2.ellipse(classes, middle, axes, 0, 0, 360, value, -1)
    classes[labels > 0] = NOTHING_ELSE
    return classes


def scale_class_map(classes: np.ndarray, factor: float) -> np.ndarray:
    """Return the class map of a picture that was scaled: its red cells are larger or smaller by that."""
    return np.where(classes > 0, classes * np.float32(factor), classes).astype(np.float32)
