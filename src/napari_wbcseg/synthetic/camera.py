"""From amounts of dye to the picture a microscope camera writes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .parameters import SmearParameters

_BLUR_DIAMETER = 63.0  # of a white cell in pixels, where the blur is as it is given


@dataclass(frozen=True)
class Aperture:
    """The round edge of the microscope's field: a circle in image pixels."""

    row: float
    col: float
    radius: float

    def depth(self, shape: tuple[int, int]) -> np.ndarray:
        """Return how far inside the field each pixel is, in pixels, float32."""
        y = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(self.row)
        x = np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(self.col)
        return np.float32(self.radius) - np.sqrt(y * y + x * x)


def draw_aperture(rng: np.random.Generator, shape: tuple[int, int], share: float) -> Aperture | None:
    """Return a field edge that leaves about ``share`` of the image dark, or None for 0."""
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.7)
    if share <= 0:
        return None
    # From the middle towards a corner rather than a side.
    angle = np.arctan2(np.sin(angle) * shape[0], np.cos(angle) * shape[1])
    diagonal = float(np.hypot(*shape))
    row = shape[0] / 2 + away * diagonal * np.sin(angle)
    col = shape[1] / 2 + away * diagonal * np.cos(angle)
    y, x = np.linspace(0, shape[0] - 1, 64)[:, None], np.linspace(0, shape[1] - 1, 64)[None, :]
    return Aperture(row, col, float(np.quantile(np.hypot(y - row, x - col), 1 - share)))


def _light(rng: np.random.Generator, shape: tuple[int, int], uneven: float) -> np.ndarray:
    """Return the light on each pixel in each colour, about 1, float32 (H, W, 3)."""
    y = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, 32, dtype=np.float32)[None, :]
    cy, cx, gy, gx = rng.normal(0, 1, 4)
    fall = 1 - uneven * (0.16 * ((y - 0.3 * cy) ** 2 + (x - 0.3 * cx) ** 2) + 0.05 * (gy * y + gx * x))
    tint = rng.normal(0, 0.012 * uneven, (3, 2))
    coarse = np.stack([fall + t[0] * y + t[1] * x for t in tint], -1)
    coarse /= np.quantile(coarse, 0.9)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def _aberrate(image: np.ndarray, shift: float) -> np.ndarray:
    height, width = image.shape[:2]
    reach = 0.5 * float(np.hypot(height, width))
    planes = list(cv2.split(image))
    for plane, sign in ((0, 1.0), (2, -1.0)):
        zoom = 1 + sign * 0.5 * shift / reach
        move = np.array([[zoom, 0, (1 - zoom) * width / 2], [0, zoom, (1 - zoom) * height / 2]])
        planes[plane] = cv2.warpAffine(planes[plane], move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return cv2.merge(planes)


def photograph(
    rng: np.random.Generator, dyes: np.ndarray, field: SmearParameters, aperture: Aperture | None
) -> np.ndarray:
    """Return the picture of a slide.

    Light is absorbed after Beer and Lambert, unevenly bright, blurred, sharpened,
    made noisy and compressed.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of light and noise.
    dyes : ndarray of float32, shape (5, H, W)
        Amount of each dye.
    field : SmearParameters
        The stain and the light path.
    aperture : Aperture or None
        Edge of the field.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB.
    """
    shape = dyes.shape[1:]
    image = np.empty((*shape, 3), np.float32)
    absorbed = field.stain.matrix()
    blur = field.blur * field.cell_diameter / _BLUR_DIAMETER
    for start in range(0, shape[0], 256):  # strip by strip, to spare memory
        strip = slice(start, start + 256)
        density = np.tensordot(dyes[:, strip], absorbed, axes=(0, 0))
        np.exp(np.negative(density, out=density), out=image[strip])
    image *= _light(rng, shape, field.uneven_light)
    image *= np.asarray(field.seen_stain.background, np.float32)
    if aperture is not None:
        depth = aperture.depth(shape)
        # The edge is out of focus, and each colour ends a little elsewhere.
        soft = 0.003 * float(np.hypot(*shape)) + 1.5
        for plane, shift in enumerate((0.5, 0.6, -0.8)):
            image[..., plane] *= 0.03 + 0.97 / (1 + np.exp(np.clip(-(depth / soft * 2 + shift), -30, 30)))
    if field.aberration > 0:
        image = _aberrate(image, field.aberration)
    if blur > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    if field.sharpening > 0:
        soft_image = cv2.GaussianBlur(image, (0, 0), max(1.6 * blur, 1.0))
        image = cv2.addWeighted(image, 1 + field.sharpening, soft_image, -field.sharpening, 0)
    if field.noise > 0:
        fine = np.asarray(rng.standard_normal(image.shape, dtype=np.float32))
        grain = 0.5 * fine + np.asarray(cv2.GaussianBlur(fine, (0, 0), 0.8))
        image += grain * (field.noise * np.sqrt(np.clip(image, 4, 255) / 255))
    picture = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    if field.jpeg_quality is None:
        return picture
    _, packed = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, field.jpeg_quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))[..., ::-1])
