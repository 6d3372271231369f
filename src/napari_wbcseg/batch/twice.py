"""Pictures that lie in a folder in two formats, so that their cells count twice."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable
from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np

from ..results.records import Picture
from .file import BatchItem, Outputs

#: Correlation of the brightness of two thumbnails from which they show one picture. In five public sets other
#: pictures have up to 0.89 (round fields of one eyepiece), and those saved anew as JPEG 0.99.
_SAME = 0.95


def counted_twice(items: Iterable[BatchItem], run: Outputs) -> list[tuple[BatchItem, BatchItem]]:
    """Find images that are done whose names differ in the ending only, and that look alike in the report."""
    of_a_name = defaultdict[Path, list[BatchItem]](list)
    for item in items:
        of_a_name[item.path.with_suffix("")].append(item)
    pairs = [pair for group in of_a_name.values() for pair in combinations(group, 2)]
    return [(one, other) for one, other in pairs if _alike(run, one, other)]


def _alike(run: Outputs, *items: BatchItem) -> bool:
    one, other = (run.read(item.name) for item in items)
    if not (one and other and one.shape == other.shape and one.pictures and other.pictures):
        return False
    values = [_brightness(record.pictures[0]) for record in (one, other)]
    lengths = np.linalg.norm(values, axis=1)
    return bool(values[0] @ values[1] > _SAME * lengths.prod())


def _brightness(picture: Picture) -> np.ndarray:
    """Return the brightness of all pixels, of mean 0."""
    from PIL import Image

    grey = Image.open(BytesIO(base64.b64decode(picture.jpeg))).convert("L")
    values = np.asarray(grey, np.float32).ravel()
    return values - values.mean()
