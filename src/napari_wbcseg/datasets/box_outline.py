"""The outline of a cell of which only the box is known, by GrabCut."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..box import Box, label_boxes


@dataclass(frozen=True)
class BoxOutlineParameters:
    """How a box becomes an outline, and which outlines are good enough to learn from.

    Attributes
    ----------
    side : float
        Pixels of the longer side that GrabCut sees a cell with.
    most_enlarged : float
        How often as large as it is a small cell is made for that, at most.
    margin : float
        What it sees around the box, of its longer side.
    blur : float
        Of what it sees, pixels.
    certain, likely : float
        Of the way from the middle of the box to its sides: within which all is cell, or may be.
    beyond : float
        Pixels from the box, from where on nothing is cell.
    iterations : int
    opening : int
        Pixels across, by which thin parts are taken away.
    smoothing : float
        Of the outline, of the longer side of the box.
    edge : int
        Pixels from the border of the image, within which the border cuts a box.
    least_agreement : float
        IoU of the box of its outline and the box drawn by hand.
    least_solidity : float
        Area over that of the convex hull; ragged outlines have less.
    """

    side: float = 96.0
    most_enlarged: float = 4.0
    margin: float = 0.45
    blur: float = 0.7
    certain: float = 0.5
    likely: float = 0.95
    beyond: float = 2.0
    iterations: int = 6
    opening: int = 7
    smoothing: float = 0.02
    edge: int = 2
    least_agreement: float = 0.80
    least_solidity: float = 0.88


PARAMETERS = BoxOutlineParameters()


def outline_from_box(image: np.ndarray, box: Box) -> np.ndarray | None:
    """Outline the cell inside a box.

    GrabCut (Rother et al., ACM Trans. Graph. 23, 2004) separates the cell from what
    surrounds the box; the ellipse inscribed in the box is where it starts.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    box : Box

    Returns
    -------
    ndarray of bool, shape (H, W), or None
        The mask of the cell; none when the outline does not fill its box or is
        ragged, so that nothing can be learned from it.
    """
    from skimage.measure import label, regionprops

    whole = _whole_cell_box(box, *image.shape[:2])
    side = max(whole.shape)
    patch = whole.grown(round(PARAMETERS.margin * side), within=image.shape)
    scale = min(PARAMETERS.most_enlarged, PARAMETERS.side / side)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(image[patch.slices], None, fx=scale, fy=scale, interpolation=how)
    small = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), PARAMETERS.blur), cv2.COLOR_RGB2BGR)

    state = _first_guess(small.shape[:2], whole, patch, scale)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        # The rectangle is not looked at where a mask is given.
        cv2.grabCut(small, state, (0, 0, 0, 0), *models, PARAMETERS.iterations, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None
    found: np.ndarray = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (PARAMETERS.opening,) * 2)
    regions = regionprops(label(cv2.morphologyEx(found, cv2.MORPH_OPEN, kernel)))
    if not regions:
        return None
    largest = max(regions, key=lambda region: region.area)
    solid: np.ndarray = np.zeros(found.shape, np.float32)
    solid[largest.slice] = largest.image_filled
    solid = cv2.resize(solid, patch.shape[::-1], interpolation=cv2.INTER_LINEAR)
    solid = cv2.GaussianBlur(solid, (0, 0), PARAMETERS.smoothing * side + 0.5) > 0.5
    if largest.solidity < PARAMETERS.least_solidity or not solid.any():
        return None
    mask = np.zeros(image.shape[:2], bool)
    mask[patch.slices] = solid
    ((_, found_box),) = label_boxes(mask.view(np.uint8))
    return mask if found_box.iou(box) >= PARAMETERS.least_agreement else None


def _first_guess(shape: tuple[int, ...], cell: Box, patch: Box, scale: float) -> np.ndarray:
    """Return GrabCut's classes on a patch: surely cell in the middle of the box, surely none beyond it."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    down = np.abs(rows - ((cell.top + cell.bottom) / 2 - patch.top) * scale + 0.5)
    across = np.abs(cols - ((cell.left + cell.right) / 2 - patch.left) * scale + 0.5)
    radii = [max(side * scale / 2, 2.0) for side in cell.shape]
    distance = np.hypot(down / radii[0], across / radii[1])
    state = np.full(shape, cv2.GC_PR_BGD, np.uint8)
    state[distance <= PARAMETERS.likely] = cv2.GC_PR_FGD
    state[distance <= PARAMETERS.certain] = cv2.GC_FGD
    state[(down > radii[0] + PARAMETERS.beyond) | (across > radii[1] + PARAMETERS.beyond)] = cv2.GC_BGD
    return state


def _whole_cell_box(box: Box, height: int, width: int) -> Box:
    """Extend a box that the image border cuts beyond the border, to the square of its long side."""
    r0, c0, r1, c1 = box
    side = max(box.shape)
    if r0 <= PARAMETERS.edge:
        r0 = r1 - side
    elif r1 >= height - PARAMETERS.edge:
        r1 = r0 + side
    if c0 <= PARAMETERS.edge:
        c0 = c1 - side
    elif c1 >= width - PARAMETERS.edge:
        c1 = c0 + side
    return Box(r0, c0, r1, c1)
