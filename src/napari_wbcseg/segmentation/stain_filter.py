"""Where a nucleus can be, by the stain alone: a look that costs a thousandth of the network's.

White cells have a nucleus, and nothing else in a smear absorbs as much light over as large a spot.
Where the stain of the red cells is known, what is not darker than they are needs no network.
"""

from __future__ import annotations

import numpy as np

from .red_cells import RedCells, density_of

# More than in the denser part of a red cell, in some colour; found cells need more (plausible.py).
_DARKER = 1.1
_SPOT = 11
_LEAST_PIXELS = 16


def dark_spots(image: np.ndarray, red: RedCells) -> np.ndarray:
    """Find spots that absorb more light than red cells do: nuclei, and some platelets and debris.

    Parameters
    ----------
    image : ndarray of float32, shape (h, w, 3)
        What the network takes, scaled so that a white cell is 30 pixels across.
    red : RedCells

    Returns
    -------
    ndarray of bool, shape (h, w)
        Middles of squares of 11 pixels of which 16 or more pixels are dark: a spot of an
        eighth of a cell across counts, a speck does not.
    """
    import cv2

    density = density_of(np.asarray(red.stain))
    # Compared as stain, not as density, since that spares a logarithm a pixel.
    limit = (2.0 * (1.0 - np.exp(-(_DARKER * density + 0.01)))).astype(np.float32)
    darker = [image[..., channel] > limit[channel] for channel in range(3)]
    dark = np.asarray(darker[0] | darker[1] | darker[2], np.uint8)
    count = cv2.boxFilter(dark, cv2.CV_16U, (_SPOT, _SPOT), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return count >= _LEAST_PIXELS
