"""The light that passes the empty slide, estimated, doubted and divided out."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from .field_of_view import field_of_view
from .pixels import brightness, median, percentiles


@dataclass(frozen=True)
class IlluminationParameters:
    """Which pixels the colour of the empty slide is taken from, and what is no bright slide.

    Attributes
    ----------
    side : int
        Pixels of the longer side that are looked at.
    dark : float
        Brightness (0 to 255) of the field's edge and of padding, which do not take part.
    low, high : float
        Percentiles of brightness of the others; what lies above is glare.
    dark_side : int
        Pixels of the longer side that are looked at for a dark background.
    dark_background, low_background : float
        Median brightness of a field over its 99th percentile, and where it lies between the 1st and that: at
        least 0.49 and 0.30 in 384 fields of seven public sets, marrow and phone pictures among them. Four in
        five of the same fields inverted lie below one of these.
    black, least_black, between, whitest : float
        Where cells were cut out and laid on black: brightness (0 to 255) of that; its share of the picture at
        least, that of what is brighter but darker than `dark` at most, and the percentile of the cells'
        colours that stands for the empty slide; see benchmarks/models.md, *Cells cut out*.
    grey, contrast : float
        Levels, 0 to 255, that the colours of a pixel differ by at most in a grey picture, as a JPEG may leave
        them, and that such a picture spans at least, or it shows nothing. In 298 pictures of seven sets the
        colours of some pixel are 50 apart or more, and 20 where they are faded to 0.4.
    """

    side: int = 512
    dark: float = 30.0
    low: float = 80.0
    high: float = 98.0
    dark_side: int = 256
    dark_background: float = 0.45
    low_background: float = 0.28
    black: float = 12.0
    least_black: float = 0.25
    between: float = 0.03
    whitest: float = 99.5
    grey: float = 4.0
    contrast: float = 20.0


PARAMETERS = IlluminationParameters()
#: Transmittance that brighter pixels are clipped to: what outshines the empty slide is glare or noise.
BRIGHTEST = 1.25
#: Transmittance below which a camera tells nothing.
DARKEST = 0.02

#: What is asked about a picture that `has_dark_background`.
DARK_BACKGROUND = (
    "The background is darker than the cells, as in an inverted or a fluorescence picture: is it "
    "one? The models know stained cells on a bright slide, so do not trust this count; invert the "
    "picture and count again."
)
#: What is noted of one that shows cut-outs.
CUT_OUT = "Its cells were cut out and laid on black, which was taken for empty slide."


def background_colour(pixels: np.ndarray) -> np.ndarray:
    """Estimate the colour of the empty slide.

    The slide between the cells is the brightest large part of a bright-field image,
    however crowded: the colour is the median of the pixels between the 80th and the
    98th percentile of brightness. Pixels of the dark field edge or of padding do not
    take part, nor does the brightest 2 %, which is glare.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3)
        RGB, 0 to 255.

    Returns
    -------
    ndarray of float32, shape (3,)
        At least 1 in each channel.
    """
    step = max(1, round(max(pixels.shape[:2]) / PARAMETERS.side))
    sample = np.asarray(pixels[::step, ::step], np.float32).reshape(-1, 3)
    light = brightness(sample)
    lit = light > min(PARAMETERS.dark, 0.5 * float(light.max(initial=0.0)))
    if lit.sum() < 16:
        return np.full(3, 255.0, np.float32)
    low, high = percentiles(light[lit], PARAMETERS.low, PARAMETERS.high)
    empty = np.compress((light >= low) & (light <= high), sample, axis=0)
    return np.maximum([median(colour) for colour in empty.T], 1.0).astype(np.float32)


def background_of(pixels: np.ndarray) -> np.ndarray:
    """Estimate the same of pixels, (n, 3), that are no rectangle, such as those of a round field."""
    side = max(1, isqrt(len(pixels)))
    # `background_colour` samples rows and columns alike: of one long column it would see 512 pixels.
    return background_colour(pixels[: side * side].reshape(-1, side, 3))


def has_dark_background(pixels: np.ndarray) -> bool:
    """Say whether most of a field, (H, W, 3) in 0..255, is far darker than its brightest parts."""
    step = max(1, -(-max(pixels.shape[:2]) // PARAMETERS.dark_side))
    sample = pixels[::step, ::step]

    def dark(light: np.ndarray) -> bool:
        least, middle, most = percentiles(light, 1, 50, 99)
        low = middle - least < PARAMETERS.low_background * (most - least)
        return low or middle < PARAMETERS.dark_background * most

    light = brightness(sample)
    if not dark(light):
        return False
    field = field_of_view(sample)  # the surround of an eyepiece's field is dark in any picture
    return field is None or dark(light[field])


def is_grey(pixels: np.ndarray) -> bool:
    """Say whether a picture, (H, W, 3) in 0..255, has no colours, though there is something to see in it."""
    step = max(1, -(-max(pixels.shape[:2]) // PARAMETERS.side))
    red, green, blue = np.moveaxis(pixels[::step, ::step], -1, 0)
    apart = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return bool(apart.max() <= PARAMETERS.grey and np.ptp(green) >= PARAMETERS.contrast)


def slide_of_cut_outs(pixels: np.ndarray) -> np.ndarray | None:
    """Return the colour of the empty slide where stained cells were cut out and laid on black; else None.

    What is dark in an inverted or a fluorescence picture has an edge that is less dark, and only what was
    stained with eosin and azure loses more green than red and blue.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3)
        RGB, 0 to 255; a picture that `has_dark_background`.

    Returns
    -------
    ndarray of float32, shape (3,), or None
    """
    light = brightness(pixels)
    lit, black = light >= PARAMETERS.dark, light < PARAMETERS.black
    cut_out = black.mean() >= PARAMETERS.least_black and (~(lit | black)).mean() <= PARAMETERS.between
    if not (cut_out and lit.any()):
        return None
    red, green, blue = np.median(pixels[lit], axis=0)
    if green >= min(red, blue):
        return None
    return np.percentile(pixels[lit], PARAMETERS.whitest, axis=0).astype(np.float32)


def without_black(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the transmittance of cut-outs, changed in place: empty slide where their pixels are black."""
    image[brightness(pixels) < PARAMETERS.black] = 1.0
    return image


def transmittance(pixels: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Divide the light out.

    Parameters
    ----------
    pixels : ndarray, shape (..., 3)
        RGB, 0 to 255.
    background : ndarray, shape (3,)
        Colour of the empty slide, from `background_colour`.

    Returns
    -------
    ndarray of float32, shape of ``pixels``
        1 on the empty slide, towards 0 where stain absorbs; clipped to [0, 1.25].

    Examples
    --------
    >>> transmittance(np.array([255, 102, 0]), np.array([255, 204, 204])).tolist()
    [1.0, 0.5, 0.0]
    """
    pixels = np.asarray(pixels, np.float32)
    # A row at a time: over so short an axis as that of the colours NumPy takes three times as long.
    rows = pixels.reshape(*pixels.shape[:-2], -1)
    passed = rows / np.tile(np.asarray(background, np.float32), rows.shape[-1] // 3)
    return np.clip(passed, 0.0, BRIGHTEST, out=passed).reshape(pixels.shape)


def normalised(pixels: np.ndarray) -> np.ndarray:
    """Return the transmittance of a picture; outside the field of view, or of cut-outs, is empty slide.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3)
        RGB, 0 to 255.

    Returns
    -------
    ndarray of float32, shape (H, W, 3)
    """
    field = field_of_view(pixels)
    if field is None:
        slide = slide_of_cut_outs(pixels) if has_dark_background(pixels) else None
        if slide is not None:
            return without_black(transmittance(pixels, slide), pixels)
        return transmittance(pixels, background_colour(pixels))
    image = transmittance(pixels, background_of(pixels[field]))
    image[~field] = 1.0
    return image


def absorbed(colours: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return the optical density of colours, averaged over the channels.

    Parameters
    ----------
    colours : ndarray, shape (..., 3)
        RGB, 0 to 255.
    background : ndarray, shape (3,)
        Colour of the empty slide.

    Returns
    -------
    ndarray of float32, shape (...)
        Base 10; 0 on the empty slide, 2 at most (Ruifrok & Johnston, 2001).
    """
    passed = np.maximum(transmittance(colours, background), 0.01)
    return np.maximum(brightness(-np.log10(passed)), 0).astype(np.float32)
