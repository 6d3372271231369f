"""What the first bytes of an image file say, without reading its pixels."""

from __future__ import annotations

from math import prod
from pathlib import Path

from .opened import open_pixels
from .read import open_with_pillow


def image_pixels(path: str | Path) -> int | None:
    """Return how many pixels an image file holds, over all planes of a stack.

    Parameters
    ----------
    path : str or Path
        A file that `read_image` may or may not be able to read.

    Returns
    -------
    int or None
        None where the header cannot be understood.
    """
    path = Path(path)
    try:
        image = open_pixels(path, str(path))
        if image is not None:
            image.close()
            return prod(image.levels[0].shape[:3])
        with open_with_pillow(path) as opened:
            return opened.width * opened.height
    except Exception:  # whoever reads the pixels says what is wrong with the file
        return None
