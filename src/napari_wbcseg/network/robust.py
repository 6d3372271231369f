"""The network of the robust recipe: what it takes, and what it puts out.

Beside the probability of a pixel to lie in a white cell it tells where the centre of
that cell is (so that touching cells can be told apart by their centres) and how
large the cell is (so that the scale of an unknown image can be found); that it lies in a
red cell, and how large that is, or in a platelet.
"""

from __future__ import annotations

import numpy as np

from .architecture import Output, UNetArchitecture

#: Diameter, in pixels, at which the network is at its best.
CANONICAL_DIAMETER = 48.0

ROBUST = UNetArchitecture(
    input_channels=3,
    widths=(16, 32, 64, 96, 128),
    batch_norm=True,
    dropout=0.1,
    outputs=(
        Output("cell", 1, "sigmoid"),
        Output("centre", 1, "sigmoid"),
        Output("offset", 2, "linear"),
        Output("size", 1, "linear"),
        Output("red_cell", 1, "sigmoid"),
        Output("platelet", 1, "sigmoid"),
    ),
)


def network_input(transmittance: np.ndarray) -> np.ndarray:
    """Scale transmittance to what the network takes: 0 on the empty slide, about 2 in dark stain.

    Parameters
    ----------
    transmittance : ndarray of float32, shape (..., 3)

    Returns
    -------
    ndarray of float32, shape of the input

    Examples
    --------
    >>> network_input(np.array([1.0, 0.5])).tolist()
    [0.0, 1.0]
    """
    taken = transmittance * np.float32(-2.0)
    taken += 2.0
    return taken
