"""How sharp an image is, in diameters of its cells, and which planes are of one place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_wbcseg import synthetic_smear
from napari_wbcseg.images.focus import PARAMETERS, edge_spread, is_one_field


def discs(diameter: int, blur: float) -> np.ndarray:
    """Return discs of one size, blurred by a share of their diameter."""
    image = np.zeros((6 * diameter, 6 * diameter, 3), np.float32)
    for row in range(3):
        for col in range(3):
            cv2.circle(
                image, (diameter * (2 * col + 1), diameter * (2 * row + 1)), diameter // 2, (1, 1, 1), -1
            )
    return cv2.GaussianBlur(image, (0, 0), blur * diameter)


@pytest.mark.parametrize("diameter", [16, 40, 120])
@pytest.mark.parametrize("blur", [0.08, 0.12, 0.16])
def test_a_blur_is_measured_at_any_size_of_cell(diameter, blur) -> None:
    assert edge_spread(discs(diameter, blur), diameter) == pytest.approx(blur, rel=0.2)


def test_noise_does_not_make_a_blurred_picture_sharp() -> None:
    blurred = discs(40, 0.16)
    noisy = blurred + np.random.default_rng(0).normal(0, 0.05, blurred.shape).astype(np.float32)
    assert edge_spread(noisy, 40) > PARAMETERS.most


def test_an_image_of_one_colour_has_no_edges() -> None:
    assert edge_spread(np.full((30, 40, 3), 0.5, np.float32), 20) == 0.0


def test_planes_of_one_field_are_known_and_those_of_others_too() -> None:
    smear = synthetic_smear((256, 256), seed=5).image
    planes = [cv2.GaussianBlur(smear, (0, 0), sigma).astype(np.float32) for sigma in (0.5, 2.0, 4.0)]
    assert is_one_field(planes)
    other = synthetic_smear((256, 256), seed=6).image.astype(np.float32)
    assert not is_one_field([*planes, other])
