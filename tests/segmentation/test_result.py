"""Where the pixels of a result lie, and how large they are, as far as anything says so."""

from __future__ import annotations

import math

import pytest

from napari_wbcseg.images.pixel_size import PixelSize
from napari_wbcseg.segmentation.result import Placement

PLAIN, MICRO = ("pixel", "pixel"), ("µm", "µm")
COS, SIN = math.cos(0.5), math.sin(0.5)


def turned(*rows: tuple[float, float]) -> tuple[tuple[float, ...], ...]:
    """Return the matrix of an affine transform that moves nothing."""
    (a, b), (c, d) = rows
    return (a, b, 0.0), (c, d, 0.0), (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("scale", "units", "affine", "size"),
    [
        pytest.param((0.5, 0.25), MICRO, (), PixelSize(0.5, 0.25), id="a scale"),
        pytest.param((-0.5, 0.25), MICRO, (), PixelSize(0.5, 0.25), id="mirrored"),
        pytest.param((1, 1), MICRO, (), PixelSize(1, 1), id="one micrometre"),
        pytest.param((1, 1), PLAIN, (), None, id="nothing said"),
        pytest.param((2, 2), PLAIN, (), PixelSize(2, 2, "pixel"), id="of two pixels"),
        pytest.param((0.5, 0.5), ("mm", "µm"), (), None, id="two units"),
        pytest.param((0.5, 0.25), MICRO, turned((COS, -SIN), (SIN, COS)), PixelSize(0.5, 0.25), id="turned"),
        pytest.param((0.5, 0.5), MICRO, turned((1, 0.3), (0, 1)), None, id="sheared: no rectangle"),
        pytest.param((0.5, 0.5), MICRO, turned((1, 0), (0, 0)), None, id="of no height"),
    ],
)
def test_the_size_of_a_pixel_is_that_of_a_rectangle_in_one_unit(
    scale: tuple[float, float], units: tuple[str, str], affine: tuple, size: PixelSize | None
) -> None:
    found = Placement(scale, (0.0, 0.0), units, affine=affine).pixel_size
    assert found == (size and (pytest.approx(size.row), pytest.approx(size.column), size.unit))
