"""Pictures that were put on paper or into a window: figures with captions, panels, screenshots.

The colour around them would pass for the empty slide, and their edges for stained things.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..box import Box


@dataclass(frozen=True)
class PaperParameters:
    """What paper, and a picture on it, are known by. No source: of slides none is so plain and so straight.

    Attributes
    ----------
    plain_levels, plain : float
        Share of one side of the whole that lies within so many levels of 255 of one colour where that is
        paper. An empty slide has noise.
    levels : float
        That paper differs from its colour: JPEG blurs it, and it is averaged with what lies beside. Where an
        empty slide is as near to that colour, nothing depends on which of the two it is.
    rectangle : float
        Share of the rectangle around it that a picture fills. A disc fills 0.79.
    least_side : float
        Least side of a picture, of the longer side of the whole: a line of text is narrower.
    least_area : float
        Share of the whole that the pictures cover.
    beside : float
        What else lies on the paper, such as letters, at most, over the pictures.
    drawn : float
        Levels from which on something is drawn on the paper, and no trace of JPEG.
    thick, one_colour : float
        Width, of the longer side of the whole, that no stroke of a letter has, and the share of one colour
        that a symbol has. What is thick and of more colours lies on a slide as plain as the paper.
    """

    plain_levels: float = 1.0
    plain: float = 0.95
    levels: float = 5.0
    rectangle: float = 0.95
    least_side: float = 0.12
    least_area: float = 0.15
    beside: float = 0.3
    drawn: float = 40.0
    thick: float = 0.024
    one_colour: float = 0.5


PARAMETERS = PaperParameters()


def paper_colours(sides: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Return the colours of those sides of an image, each (n, 3), that are of one: pixels, no averages.

    Examples
    --------
    >>> paper_colours([np.full((9, 3), 255.0), np.arange(27.0).reshape(9, 3) * 9])
    [array([255., 255., 255.])]
    """
    colours = []
    for side in sides:
        colour = np.median(side, axis=0)
        if _near(side, colour, PARAMETERS.plain_levels).mean() >= PARAMETERS.plain:
            colours.append(colour)
    return colours


def pictures_on_paper(image: np.ndarray, colours: Sequence[np.ndarray]) -> np.ndarray | None:
    """Find the pictures on the paper of an image.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 3)
        RGB, 0 to 255.
    colours : sequence of ndarray, each of shape (3,)
        Of the paper, as `paper_colours` gives them.

    Returns
    -------
    ndarray of bool, shape (H, W), or None
        True in the pictures, which may be tilted; None where there is no paper, or a slide that cannot be
        told from it.
    """
    import cv2
    from scipy import ndimage

    if not colours:
        return None
    plain = np.any([_near(image, colour, PARAMETERS.levels) for colour in colours], axis=0)
    drawn = ~np.any([_near(image, colour, PARAMETERS.drawn) for colour in colours], axis=0)
    # With a frame around, all that reaches the border is the first region.
    around = ndimage.label(np.pad(plain, 1, constant_values=True))[0][1:-1, 1:-1] == 1
    parts, _ = ndimage.label(~around)
    pictures, covered = np.zeros(plain.shape, np.uint8), 0
    for number, place in enumerate(ndimage.find_objects(parts), 1):
        part = parts[place] == number
        corners = _corners(part)
        if corners is not None and _is_large(part, plain.shape):
            top, left = Box.of(place)[:2]
            cv2.fillPoly(pictures, [corners + np.array((left, top))], 1)
            covered += int(part.sum())
        elif _is_slide(part & drawn[place], image[place], max(plain.shape)):
            return None
    if covered < PARAMETERS.least_area * plain.size or pictures.all():
        return None
    letters = (~around & (pictures == 0)).sum()
    return None if letters > PARAMETERS.beside * covered else pictures > 0


def is_picture(part: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Say whether a part of a mask of a shape, (h, w), is large and a rectangle that is not tilted.

    Examples
    --------
    >>> is_picture(np.ones((9, 5), bool), (20, 30)), is_picture(np.tri(9, 9) > 0, (20, 30))
    (True, False)
    """
    return _is_large(part, shape) and bool(part.mean() >= PARAMETERS.rectangle)


def _is_large(part: np.ndarray, shape: tuple[int, ...]) -> bool:
    return min(part.shape) >= PARAMETERS.least_side * max(shape)


def _is_slide(drawn: np.ndarray, pixels: np.ndarray, longer: int) -> bool:
    """Say whether what is drawn on the paper, a mask (h, w), is thick and of several colours."""
    import cv2

    depth = cv2.distanceTransform(np.pad(drawn, 1).astype(np.uint8), cv2.DIST_L2, 3)
    if 2 * depth.max() < PARAMETERS.thick * longer:
        return False
    inner = pixels[depth[1:-1, 1:-1] > 1]
    if not len(inner):  # thinner than the least stroke, in so small a picture
        return False
    return bool(_near(inner, np.median(inner, axis=0), PARAMETERS.levels).mean() < PARAMETERS.one_colour)


def _near(pixels: np.ndarray, colour: np.ndarray, levels: float) -> np.ndarray:
    return np.asarray((np.abs(pixels - colour) <= levels).all(axis=-1))


def _corners(part: np.ndarray) -> np.ndarray | None:
    """Return the corners of a mask, (4, 2), columns first, if it is a rectangle, tilted or not."""
    import cv2

    height, width = part.shape
    if part.mean() >= PARAMETERS.rectangle:
        return np.array([(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)])
    outline, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    rectangle = cv2.minAreaRect(np.concatenate(outline))
    sides = np.add(rectangle[1], 1)  # from the middle of a pixel to that of another
    filled = part.sum() / sides.prod() >= PARAMETERS.rectangle
    return np.rint(cv2.boxPoints(rectangle)).astype(int) if filled else None
