"""What the first bytes of an image file say, without reading its pixels."""

from __future__ import annotations

from math import prod
from pathlib import Path

from .limits import check_is_file
from .read import image_head, open_with_pillow
from .tiff import MAGIC, open_tiff


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
        check_is_file(path)
        if image_head(path)[:4] in MAGIC:
            image = open_tiff(path, str(path))
            image.close()
            return prod(image.levels[0].shape[:3])
        with open_with_pillow(path) as opened:
            return opened.width * opened.height
    except Exception:  # whoever reads the pixels says what is wrong with the file
        return None
