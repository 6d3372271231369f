"""Windows see every pixel, and their predictions blend without a seam."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import peak_local_max

from napari_wbcseg.box import Box
from napari_wbcseg.errors import Cancelled
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.prediction import (
    Predictor,
    _blend_weights,
    box_windows,
    centred_window,
    find_peaks,
)
from napari_wbcseg.segmentation.standard_stain import StandardStain
from napari_wbcseg.settings import SegmentationSettings

shapes = st.tuples(st.integers(1, 400), st.integers(1, 400))


class Echo:
    """An engine that answers what it is asked."""

    name, device = "echo", "none"

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []
        self.seen: list[np.ndarray] = []

    def predict(self, batch: np.ndarray) -> np.ndarray:
        self.sizes.append(batch.shape)
        self.seen += list(batch)
        return batch


class Slope(Echo):
    """Answers with an image and its slope along rows and columns, which mirroring turns round."""

    def predict(self, batch: np.ndarray) -> np.ndarray:
        image = batch[..., 0]
        return np.stack([image, np.gradient(image, axis=1), np.gradient(image, axis=2)], axis=-1)


def blend(image, windows, engine=None, channels=None, batch_size=4, progress=silent, stage="", **options):
    predictor = Predictor.__new__(Predictor)
    predictor.settings, predictor.progress = SegmentationSettings(batch_size=batch_size), progress
    predictor._engine, predictor._channels = engine or Echo(), channels or image.shape[2]
    predictor._heads, predictor.standard = options.pop("heads", {}), options.pop("standard", None)
    return np.moveaxis(predictor.blended(image, windows, stage, **options), 0, -1)


@settings(deadline=None)
@given(st.floats(-50, 450), st.floats(-50, 450), shapes, st.sampled_from([16, 128, 129]))
def test_a_centred_window_stays_inside_and_holds_its_point(row, col, shape, size) -> None:
    window = centred_window(row, col, shape, size)
    assert window.shape == (size, size)
    for start, length, point in ((window.top, shape[0], row), (window.left, shape[1], col)):
        assert start >= 0
        assert start + size <= length or start == 0
        if 0 <= point <= length - 1:
            assert start <= round(point) < start + size


def test_a_window_far_from_the_border_is_centred() -> None:
    assert centred_window(200.0, 250.0, (500, 500), 128) == Box(136, 186, 264, 314)


def covering(shape: tuple[int, int], multiple: int) -> list[Box]:
    """Return windows that cover a whole image."""
    return box_windows((0, 0, *shape), shape, multiple)


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(64, 300))
def test_windows_side_by_side_overlap_by_a_cell(length, largest) -> None:
    windows = box_windows((0, 0, 10, length), (10, length), 16, largest)
    for one, two in pairwise(windows):
        assert one.left < two.left
        assert one.right - two.left >= 48


@settings(deadline=None)
@given(shapes, st.sampled_from([4, 16, 32]))
def test_windows_cover_every_pixel_of_any_image(shape, multiple) -> None:
    assert_covered((0, 0, *shape), shape, covering(shape, multiple), multiple)


@settings(deadline=None)
@given(st.data(), shapes, st.sampled_from([4, 16, 32]))
def test_windows_cover_every_pixel_of_any_box(data, shape, multiple) -> None:
    r0, c0 = (data.draw(st.integers(0, side - 1)) for side in shape)
    r1, c1 = data.draw(st.integers(r0 + 1, shape[0])), data.draw(st.integers(c0 + 1, shape[1]))
    assert_covered((r0, c0, r1, c1), shape, box_windows((r0, c0, r1, c1), shape, multiple), multiple)


def assert_covered(box, shape, windows, multiple) -> None:
    seen = np.zeros(shape, bool)
    for window in windows:
        assert window.top >= 0
        assert window.left >= 0
        assert window.shape[0] % multiple == 0
        assert window.shape[1] % multiple == 0
        # It reaches beyond the image only where the image is smaller.
        assert window.bottom <= shape[0] or window.top == 0
        assert window.right <= shape[1] or window.left == 0
        seen[window.slices] = True
    assert seen[box[0] : box[2], box[1] : box[3]].all()


def test_a_window_is_filled_where_it_reaches_beyond_the_image() -> None:
    image = np.arange(1, 13, dtype=np.float32).reshape(3, 4, 1)
    engine = Echo()
    blend(image, [Box(1, 1, 3, 3), Box(2, 3, 4, 5)], engine, fill=9)
    np.testing.assert_array_equal(engine.seen[0], image[1:3, 1:3])
    np.testing.assert_array_equal(engine.seen[1][..., 0], [[12, 9], [9, 9]])


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60))
def test_every_pixel_of_a_window_counts_and_the_middle_most(height, width) -> None:
    weights = _blend_weights(height, width)
    assert (weights > 0).all()
    assert weights.max() <= 1
    assert weights.max() == weights[height // 2, width // 2]
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])


@settings(max_examples=25, deadline=None)
@given(shapes, st.integers(0, 2**16), st.booleans())
def test_overlapping_windows_blend_to_what_each_of_them_says(shape, seed, flips) -> None:
    image = np.random.default_rng(seed).random((*shape, 2), dtype=np.float32)
    predicted = blend(image, covering(shape, 16), flips=flips)
    np.testing.assert_allclose(predicted, image, atol=1e-5)


def test_a_constant_stays_constant_across_seams() -> None:
    image = np.full((300, 333, 1), 0.7, np.float32)
    windows = [*covering((300, 333), 16), Box(40, 60, 104, 124), Box(41, 60, 105, 124)]
    np.testing.assert_allclose(blend(image, windows), 0.7, rtol=1e-6)


def test_pixels_that_no_window_sees_are_0() -> None:
    image = np.ones((100, 100, 1), np.float32)
    predicted = blend(image, [Box(20, 30, 52, 46)])
    expected = np.zeros((100, 100), bool)
    expected[20:52, 30:46] = True
    np.testing.assert_array_equal(predicted[..., 0], expected)


def test_no_windows_at_all_are_no_error() -> None:
    predicted = blend(np.ones((5, 6, 1), np.float32), [])
    assert predicted.shape == (5, 6, 1)
    assert not predicted.any()


def test_windows_are_brought_to_a_standard_stain() -> None:
    image, engine = np.full((8, 24, 3), 0.5, np.float32), Echo()
    faded = StandardStain(white=(0.5, 0.6, 0.4), mixing=((2.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    blend(image, [Box(0, 0, 8, 8), Box(0, 8, 8, 24)], engine, standard=faded)
    assert [one.shape for one in engine.seen] == [(8, 8, 3), (8, 16, 3)]
    for one in engine.seen:
        # Twice the density of red: the light that passes, three quarters, squared.
        assert one.reshape(-1, 3) == pytest.approx(np.array([[2 - 2 * 0.75**2, 0.5, 0.5]] * (one.size // 3)))


def test_mirroring_turns_offsets_back() -> None:
    image = np.random.default_rng(0).random((64, 64, 1), dtype=np.float32)
    window = [Box(0, 0, 64, 64)]
    plain = blend(image, window, Slope(), 3)
    mirrored = blend(image, window, Slope(), 3, flips=True, heads={"offset": slice(1, 3)})
    np.testing.assert_allclose(mirrored, plain, atol=1e-5)
    wrong = blend(image, window, Slope(), 3, flips=True)
    assert np.abs(wrong - plain).max() > 0.1


def test_a_batch_holds_windows_of_one_size_and_as_many_pixels_as_asked() -> None:
    engine = Echo()
    windows = [Box(r, 0, r + 128, 128) for r in range(7)] + [Box(r, 0, r + 256, 256) for r in range(3)]
    blend(np.ones((300, 300, 1), np.float32), windows, engine, batch_size=4)
    assert engine.sizes == [(count, 128, 128, 1) for count in (4, 2, 1)] + [(1, 256, 256, 1)] * 3


def test_progress_counts_windows_and_can_cancel() -> None:
    told: list[tuple[int, int, str]] = []

    def progress(done: int, total: int, stage: str) -> None:
        told.append((done, total, stage))
        if done >= 4:
            raise Cancelled

    windows = [Box(r, 0, r + 128, 128) for r in range(12)]
    with pytest.raises(Cancelled):
        blend(np.ones((300, 300, 1), np.float32), windows, batch_size=2, progress=progress, stage="Work")
    assert told == [(0, 12, "Work"), (2, 12, "Work"), (4, 12, "Work")]


@pytest.mark.parametrize("apart", [1, 2, 4])
def test_peaks_are_those_of_scikit_image_also_on_plateaus(apart: int) -> None:
    rng = np.random.default_rng(apart)
    for levels in (4, 1000):
        image = np.round(rng.random((40, 50)) * levels).astype(np.float32) / levels
        expected = peak_local_max(image, min_distance=apart, threshold_abs=0.25, exclude_border=False)
        np.testing.assert_array_equal(find_peaks(image, apart, 0.25), expected)


def test_a_map_without_a_peak_has_none() -> None:
    assert find_peaks(np.zeros((5, 7), np.float32), 2, 0.25).shape == (0, 2)
