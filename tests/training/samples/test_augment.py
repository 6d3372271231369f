"""Augmentation changes colour, light and sharpness, never where the cells are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_wbcseg.training.samples.augment import (
    augment,
    random_camera,
    random_light,
    random_optics,
    random_stain,
)

Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]

CHANGES: dict[str, Change] = {
    "stain": random_stain,
    "light": lambda image, cells, rng: random_light(image, rng),
    "optics": lambda image, cells, rng: random_optics(image, rng),
    "camera": lambda image, cells, rng: random_camera(image, rng),
    "all": augment,
}


def tile(shape: tuple[int, int] = (64, 80)) -> tuple[np.ndarray, np.ndarray]:
    """Return the transmittance of a stained disc on a slide with a red cell, and its mask."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    cells = (rows - 30) ** 2 + (cols - 40) ** 2 <= 14**2
    red = (rows - 50) ** 2 + (cols - 68) ** 2 <= 9**2
    image = np.ones((*shape, 3), np.float32)
    image[red] = (0.9, 0.55, 0.6)
    image[cells] = (0.45, 0.25, 0.6)
    return image, cells


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("seed", range(5))
def test_one_seed_gives_one_image_and_the_given_one_is_left_alone(name: str, seed: int) -> None:
    image, cells = tile()
    before = image.copy()
    first = CHANGES[name](image, cells, np.random.default_rng(seed))
    again = CHANGES[name](image, cells, np.random.default_rng(seed))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(image, before)
    assert first.shape == image.shape


@pytest.mark.parametrize("name", CHANGES)
def test_seeds_give_different_images(name: str) -> None:
    image, cells = tile()
    made = {CHANGES[name](image, cells, np.random.default_rng(seed)).tobytes() for seed in range(12)}
    assert len(made) > 4


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(64, 80), (128, 128), (33, 95)]))
def test_the_result_is_transmittance_again(seed, shape) -> None:
    image, cells = tile(shape)
    made = augment(image, cells, np.random.default_rng(seed))
    assert made.shape == image.shape
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert made.min() >= 0
    assert made.max() <= 1.25


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_blur_and_lost_resolution_do_not_move_cells(seed) -> None:
    _, cells = tile((60, 80))
    lone = np.where(cells[..., None], np.float32(0.3), np.float32(1)).repeat(3, axis=2)
    made = random_optics(lone, np.random.default_rng(seed))
    dark = np.clip(1 - made.mean(axis=2), 0, None)
    rows, cols = np.mgrid[:60, :80]
    assert (dark * rows).sum() / dark.sum() == pytest.approx(30, abs=1)
    assert (dark * cols).sum() / dark.sum() == pytest.approx(40, abs=1)


def test_the_empty_slide_stays_empty_whatever_the_stain() -> None:
    image, cells = tile()
    for seed in range(30):
        made = random_stain(image, cells, np.random.default_rng(seed))
        np.testing.assert_allclose(made[:8, :8], 1, atol=1e-5)


def test_most_cells_can_still_be_seen() -> None:
    image, cells = tile()
    ring = np.zeros_like(cells)
    ring[5:55, 15:65] = True
    ring &= ~cells
    seen = 0
    for seed in range(60):
        made = augment(image, cells, np.random.default_rng(seed)).mean(axis=2)
        seen += made[cells].mean() < made[ring].mean() - 0.05
    assert seen > 50


def test_stains_vary_in_strength_and_in_hue() -> None:
    image, cells = tile()
    means = np.array(
        [random_stain(image, cells, np.random.default_rng(seed))[cells].mean(axis=0) for seed in range(60)]
    )
    assert np.ptp(means.mean(axis=1)) > 0.3
    hue = means / means.sum(axis=1, keepdims=True)
    assert (np.ptp(hue, axis=0) > 0.1).all()


def test_pictures_are_out_of_focus_by_up_to_a_tenth_of_a_cell_and_no_further() -> None:
    edge = np.ones((16, 96, 3), np.float32)
    edge[:, :48] = 0.2

    def width(seed: int) -> float:
        """Return over how many pixels the edge is spread: contrast over steepest slope."""
        made = random_optics(edge, np.random.default_rng(seed), cell=40.0)[8, :, 0]
        return float(np.ptp(made) / np.abs(np.diff(made)).max())

    # Of a Gaussian: its standard deviation times the root of 2 pi.
    widest = max(map(width, range(120))) / np.sqrt(2 * np.pi)
    assert 3.0 < widest < 4.2


def test_some_pictures_moved_along_a_line() -> None:
    dots = np.ones((41, 41, 3), np.float32)
    dots[20, 20] = 0.0

    def shape(seed: int) -> tuple[float, float]:
        """Return how far the dot is spread along its length and across, standard deviations in pixels."""
        dark = 1 - random_optics(dots, np.random.default_rng(seed), cell=40.0)[..., 0]
        rows, cols = np.nonzero(dark > 0.02)
        if len(rows) < 2:
            return 0.0, 0.0
        across, along = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov([rows, cols])), 0))
        return float(along), float(across)

    moved = [along for along, across in map(shape, range(150)) if along > 1.2 and across < 0.5]
    assert 2 <= len(moved) <= 20
    assert max(moved) < 3.3, "no further than a fifth of a cell, of 8 pixels"


def test_glare_lies_on_one_place_of_some_pictures() -> None:
    slide = np.full((96, 96, 3), 0.5, np.float32)

    def unevenness(seed: int) -> float:
        made = random_light(slide, np.random.default_rng(seed))
        rows, cols = np.mgrid[-1:1:96j, -1:1:96j]
        plane = np.stack([np.ones(rows.size), rows.ravel(), cols.ravel()], axis=1)
        flat = made[..., 0].ravel()
        return float(np.abs(flat - plane @ np.linalg.lstsq(plane, flat, rcond=None)[0]).max())

    bright = [seed for seed in range(120) if unevenness(seed) > 0.02]
    assert 4 <= len(bright) <= 30
    lit = [random_light(slide, np.random.default_rng(seed)).max() for seed in bright]
    assert max(lit) > 0.7


def test_stray_light_takes_contrast_and_leaves_the_empty_slide() -> None:
    image, _ = tile()
    veiled = [random_optics(image, np.random.default_rng(seed)) for seed in range(60)]
    assert all(made[0, 0].max() <= 1.001 for made in veiled)
    assert min(np.ptp(made) for made in veiled) < 0.6 * np.ptp(image)


def test_the_chromatin_of_some_cells_is_clumped_and_their_cytoplasm_is_not() -> None:
    image, cells = tile()
    rows, cols = np.indices(cells.shape)
    nucleus, far = np.hypot(rows - 30, cols - 40) < 7, np.hypot(rows - 30, cols - 40) < 9
    image[far] = (0.3, 0.15, 0.5)
    plasm = cells & (np.hypot(rows - 30, cols - 40) > 10.5) & (np.hypot(rows - 30, cols - 40) < 12)

    def spread(seed: int, where: np.ndarray) -> float:
        return float(np.log(random_stain(image, cells, np.random.default_rng(seed))[where]).std(axis=0).max())

    clumped = [seed for seed in range(80) if spread(seed, nucleus) > 0.1]
    assert 8 <= len(clumped) <= 32
    assert np.median([spread(seed, plasm) for seed in clumped]) < 0.05
