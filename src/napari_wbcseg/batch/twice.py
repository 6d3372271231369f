"""Pictures that lie in a folder in two formats, so that their cells count twice."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np

from ..results.records import Picture
from .file import BatchItem

#: Correlation of the brightness of two thumbnails from which they show one picture. In five public sets other
#: pictures have up to 0.89 (round fields of one eyepiece), and those saved anew as JPEG 0.99.
_SAME = 0.95


def counted_twice(
    items: Iterable[BatchItem], pictures: Callable[[BatchItem], Sequence[Picture]]
) -> dict[str, tuple[BatchItem, BatchItem]]:
    """Find images that are done whose names differ in the ending only, and that look alike in the report.

    Parameters
    ----------
    items : iterable of BatchItem
    pictures : callable
        Returns what the report shows of one, itself first.

    Returns
    -------
    dict of str to tuple of BatchItem
        Two images, by the sentence that names them.
    """
    of_a_name = defaultdict[Path, list[BatchItem]](list)
    for item in items:
        of_a_name[item.path.with_suffix("")].append(item)
    pairs = [pair for group in of_a_name.values() for pair in combinations(group, 2)]
    said = "{0.image} and {1.image} seem to be one picture, whose cells count twice: leave one of them out."
    return {said.format(*pair): pair for pair in pairs if _alike(*map(pictures, pair))}


def _alike(one: Sequence[Picture], other: Sequence[Picture]) -> bool:
    values = [_brightness(shown[0]) for shown in (one, other) if shown]
    if len(values) < 2 or len(values[0]) != len(values[1]):
        return False
    lengths = np.linalg.norm(values, axis=1)
    return bool(values[0] @ values[1] > _SAME * lengths.prod())


def _brightness(picture: Picture) -> np.ndarray:
    """Return the brightness of all pixels, of mean 0."""
    from PIL import Image

    grey = Image.open(BytesIO(base64.b64decode(picture.jpeg))).convert("L")
    values = np.asarray(grey, np.float32).ravel()
    return values - values.mean()
