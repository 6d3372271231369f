"""The light is found on the empty slide, whatever else is in the picture, and divided out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from napari_wbcseg.images.illumination import (
    absorbed,
    background_colour,
    background_of,
    has_dark_background,
    is_grey,
    normalised,
    slide_of_cut_outs,
    transmittance,
)
from napari_wbcseg.images.prepare import prepare_image
from napari_wbcseg.synthetic.smear import synthetic_smear

colours = st.tuples(*(st.integers(60, 255) for _ in range(3)))


@settings(deadline=None)
@given(colours, st.integers(0, 2**16), st.floats(0, 0.6))
def test_the_colour_of_the_slide_is_found_between_cells(colour, seed, covered) -> None:
    rng = np.random.default_rng(seed)
    image = np.empty((60, 80, 3), np.float32)
    image[:] = colour
    image[: int(60 * covered)] *= rng.uniform(0.2, 0.9, 3)
    np.testing.assert_allclose(background_colour(image), colour, atol=0.5)


@pytest.mark.parametrize("background", [(250, 250, 250), (235, 215, 120), (180, 190, 220)])
def test_the_colour_of_a_smear_is_found_whatever_its_light(background: tuple[int, int, int]) -> None:
    smear = synthetic_smear((200, 260), background=background, uneven_light=0.0, dark_edge=0.0, seed=1)
    np.testing.assert_allclose(background_colour(smear.image), background, rtol=0.05)


def test_the_dark_edge_of_the_field_and_glare_take_no_part() -> None:
    image = np.full((100, 100, 3), (200, 180, 160), np.float32)
    image[:55] = 3
    image[99, :50] = 255
    np.testing.assert_allclose(background_colour(image), (200, 180, 160))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1), (3, 4)])
@pytest.mark.parametrize("level", [0, 12, 255])
def test_any_image_has_a_background_that_can_be_divided_by(shape: tuple[int, int], level: int) -> None:
    image = np.full((*shape, 3), level, np.uint8)
    background = background_colour(image)
    assert background.shape == (3,)
    assert background.dtype == np.float32
    assert (background >= 1).all()
    assert np.isfinite(transmittance(image, background)).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_light_of_pixels_that_are_no_rectangle_is_told_by_all_of_them(seed: int) -> None:
    """Of 512 of them it was told, up to 13 levels beside the light that the same cells were found in."""
    pixels = np.random.default_rng(seed).normal((230, 210, 190), 12.0, (200_000, 3)).astype(np.float32)
    light = pixels.mean(axis=1)
    low, high = np.percentile(light, [80, 98])
    exact = np.median(pixels[(light >= low) & (light <= high)], axis=0)
    np.testing.assert_allclose(background_of(pixels), exact, atol=0.3)


def test_a_colour_of_which_there_is_no_light_can_be_divided_by_too() -> None:
    green = np.zeros((20, 20, 3), np.uint8)
    green[..., 1] = 200
    assert background_colour(green).tolist() == [1, 200, 1]


def test_a_dim_picture_is_no_dark_edge() -> None:
    image = np.full((50, 50, 3), 20, np.uint8)
    np.testing.assert_allclose(background_colour(image), 20)


@settings(deadline=None)
@given(arrays(np.uint8, (20, 20, 3)), colours)
def test_transmittance_is_a_share_of_the_light(image, colour) -> None:
    passed = transmittance(image, np.array(colour))
    assert passed.dtype == np.float32
    assert passed.shape == image.shape
    assert passed.min() >= 0
    assert passed.max() <= 1.25
    np.testing.assert_allclose(passed, np.minimum(image / np.array(colour), 1.25), rtol=1e-5)


def test_a_tinted_lamp_changes_nothing() -> None:
    image = synthetic_smear((120, 160), seed=2).image.astype(np.float32)
    tinted = image * np.array([0.9, 0.7, 0.5], np.float32)
    plain = transmittance(image, background_colour(image))
    # Which pixels are the brightest depends a little on the tint.
    np.testing.assert_allclose(transmittance(tinted, background_colour(tinted)), plain, atol=0.05)


def test_density_is_0_on_the_empty_slide_and_adds_up_in_stain() -> None:
    pixels = np.full((50, 50, 3), 200, np.float32)
    pixels[10:20, 10:20] = 20
    density = absorbed(pixels, background_colour(pixels))
    assert density.dtype == np.float32
    assert density[0, 0] == 0
    assert density[15, 15] == pytest.approx(1.0)
    pixels[10:20, 10:20] = 0
    assert np.isfinite(absorbed(pixels, background_colour(pixels))).all()


@pytest.mark.parametrize("quality", [None, 75])
def test_a_picture_is_grey_whose_colours_are_alike(quality: int | None) -> None:
    image = synthetic_smear((128, 128), seed=5).image
    grey = Image.fromarray(image).convert("L").convert("RGB")
    if quality:
        grey.save(file := io.BytesIO(), "jpeg", quality=quality)
        grey = Image.open(file)
    assert is_grey(np.asarray(grey, np.float32))
    faded = image.mean(axis=-1, keepdims=True) + 0.4 * (image - image.mean(axis=-1, keepdims=True))
    for other in (image, faded, np.full_like(image, 230)):
        assert not is_grey(other.astype(np.float32))


class TestDarkBackground:
    @pytest.fixture(scope="class")
    @staticmethod
    def smear() -> np.ndarray:
        return synthetic_smear((256, 256), seed=5).image

    def asked(self, image: np.ndarray) -> bool:
        return has_dark_background(prepare_image(image))

    def test_an_inverted_picture_is_asked_about(self, smear: np.ndarray) -> None:
        assert not self.asked(smear)
        assert self.asked(255 - smear)
        assert self.asked((255 - smear)[..., 1].astype(np.uint16) * 200)

    def test_a_fluorescence_picture_is_asked_about(self) -> None:
        rows, cols = np.mgrid[:256, :256]
        glow = sum(
            200 * np.exp(-((rows - r) ** 2 + (cols - c) ** 2) / 400) for r, c in ((60, 60), (150, 180))
        )
        assert self.asked(np.clip(glow + 5, 0, 255).astype(np.uint8))

    @pytest.mark.parametrize(
        ("levels", "shares", "expected"),
        [
            pytest.param((0, 100, 255), (5, 80, 15), True, id="far darker than its brightest parts"),
            pytest.param((120, 150, 255), (5, 80, 15), True, id="hardly brighter than its darkest"),
            pytest.param((0, 200, 255), (40, 50, 10), False, id="neither"),
        ],
    )
    def test_a_background_is_dark_beside_either_end(
        self, levels: tuple[int, ...], shares: tuple[int, ...], expected: bool
    ) -> None:
        pixels = np.repeat(np.array(levels, np.uint8), 100 * np.array(shares))
        assert self.asked(np.random.default_rng(0).permutation(pixels).reshape(100, 100)) == expected

    def test_only_stained_cells_on_black_are_taken_for_cut_outs(self) -> None:
        smear = synthetic_smear((256, 256), seed=5)
        cut_out = np.where(smear.labels[..., None] > 0, smear.image, 0).astype(np.float32)
        assert self.asked(cut_out)
        slide = slide_of_cut_outs(cut_out)
        assert slide is not None
        assert 150 < slide.min() < slide.max() <= 255
        light = normalised(cut_out)
        assert (light[smear.labels == 0] == 1).all()
        assert light[smear.labels > 0].mean() == pytest.approx(
            normalised(smear.image)[smear.labels > 0].mean(), abs=0.1
        )
        for other in (255.0 - smear.image, 255 - cut_out[..., [1, 0, 2]], cut_out[..., [1, 0, 2]]):
            assert slide_of_cut_outs(other) is None
        assert slide_of_cut_outs(0 * cut_out) is None

    def test_the_dark_surround_of_an_eyepiece_is_no_dark_background(self, smear: np.ndarray) -> None:
        rows, cols = np.mgrid[:256, :256]
        outside = np.hypot(rows - 128, cols - 128) > 80
        round_field = np.where(outside[..., None], 4, smear).astype(np.uint8)
        assert np.median(round_field) == 4
        assert not self.asked(round_field)
