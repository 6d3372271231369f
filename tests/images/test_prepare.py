"""Bringing arrays to one scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_wbcseg.errors import ImageError
from napari_wbcseg.images import prepare
from napari_wbcseg.images.prepare import (
    bit_range,
    held,
    preparation_notes,
    prepare_image,
)

from .random_images import random_grey, random_rgb


def notes(image: np.ndarray) -> tuple[str, ...]:
    return preparation_notes(image.shape, image.dtype, bit_range(image))


def test_8_bit_rgb_is_taken_as_it_is() -> None:
    prepared = prepare_image(random_rgb())
    assert prepared.dtype == np.float32
    assert notes(random_rgb()) == ()
    np.testing.assert_array_equal(prepared, random_rgb())


def test_grey_is_repeated_with_a_note() -> None:
    for grey in (random_grey(), random_grey()[..., None]):
        np.testing.assert_array_equal(prepare_image(grey), np.dstack([random_grey()] * 3))
        assert any("grey" in note for note in notes(grey))


def test_alpha_is_dropped_with_a_note_and_does_not_set_the_range() -> None:
    image = np.dstack([random_rgb(top=1000, dtype=np.uint16), np.full((12, 17), 65535, np.uint16)])
    assert bit_range(image) == 1023
    assert any("alpha" in note for note in notes(image))


@pytest.mark.parametrize(
    ("dtype", "maximum", "expected"),
    [
        (np.uint8, 3, 255),
        (np.uint16, 0, 255),
        (np.uint16, 255, 255),
        (np.uint16, 256, 1023),
        (np.uint16, 1023, 1023),
        (np.uint16, 1024, 4095),
        (np.uint16, 4095, 4095),
        (np.uint16, 16383, 16383),
        (np.uint16, 16384, 65535),
        (np.int64, 65535, 65535),
        (np.int8, 127, 255),
        (np.float32, 0, 1),
        (np.float16, 1, 1),
        (np.float64, 1.0005, 1),
        (np.float64, 2, 255),
        (np.float32, 255.1, 255),
        (np.float32, 300, 1023),
        (np.float64, 65535, 65535),
    ],
)
def test_the_maximum_says_the_range(dtype: type, maximum: float, expected: float) -> None:
    image = np.zeros((4, 5, 3), dtype)
    image[1, 2, 0] = maximum
    assert bit_range(image) == expected
    assert prepare_image(image).max() == pytest.approx(min(255, maximum * 255 / expected), rel=1e-3)


def test_the_same_picture_in_any_type_is_the_same() -> None:
    image = random_rgb()
    image[0, 0] = 255
    for other in (
        image.astype(np.uint16) * 257,
        image / 255,
        image.astype(np.float32),
        image.astype(np.int32),
    ):
        np.testing.assert_allclose(prepare_image(other), image, atol=1e-3)


def test_a_block_with_the_range_of_the_whole_equals_the_block_of_the_whole() -> None:
    image = random_rgb(40, 40, 4000, np.uint16)
    image[:20] //= 100
    whole = prepare_image(image)
    block = prepare_image(image[:20], value_range=bit_range(image))
    np.testing.assert_array_equal(block, whole[:20])
    assert not np.array_equal(prepare_image(image[:20]), whole[:20])


def test_range_of_a_dask_image() -> None:
    da = pytest.importorskip("dask.array")
    assert bit_range(da.from_array(random_rgb(top=3000, dtype=np.uint16), chunks=5)) == 4095


def test_a_lazy_image_is_read_once_for_its_range() -> None:
    da = pytest.importorskip("dask.array")
    read = []

    def block(block_id: tuple[int, int]) -> np.ndarray:
        read.append(block_id)
        return np.full((10, 10), 300 * (1 + sum(block_id)), np.uint16)

    lazy = da.map_blocks(
        block, chunks=((10, 10), (10, 10)), dtype=np.uint16, meta=np.zeros((0, 0), np.uint16)
    )
    assert bit_range(lazy) == 1023
    assert len(read) == 4


def test_what_fits_into_memory_is_read_once_and_the_rest_when_it_is_asked_for(monkeypatch) -> None:
    da = pytest.importorskip("dask.array")
    lazy = da.from_array(np.arange(600, dtype=np.uint8).reshape(10, 20, 3), chunks=4)
    assert isinstance(held(lazy), np.ndarray)
    np.testing.assert_array_equal(held(lazy), lazy.compute())
    monkeypatch.setattr(prepare, "PARAMETERS", replace(prepare.PARAMETERS, held=599))
    assert held(lazy) is lazy


def test_the_given_array_is_left_alone() -> None:
    image = random_rgb(top=2, dtype=np.float32)
    before = image.copy()
    prepare_image(image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((8, 8), bool), "boolean"),
        (np.zeros((8, 8, 2), np.uint8), "2 channels"),
        (np.zeros((8, 8, 5), np.uint8), "5 channels"),
        (np.zeros((3, 80, 80), np.uint8), "colours in front"),
        (np.zeros((9, 80, 80), np.uint8), "stack"),
        (np.zeros((9, 80, 80, 3), np.uint8), "stack"),
        (np.zeros(7, np.uint8), "not an image"),
        (np.zeros((0, 8, 3), np.uint8), "no pixels"),
        (np.full((8, 8), np.nan), "NaN"),
        (np.where(np.eye(8) > 0, np.inf, 1), "infinite"),
        (np.full((8, 8), -0.5), "negative"),
        (np.full((8, 8), -3, np.int16), "negative"),
        (np.full((8, 8), 70000, np.int32), "65535"),
        (np.zeros((8, 8), complex), "complex"),
        (np.array([["a", "b"]]), "type"),
    ],
)
def test_what_is_not_an_image_is_explained(array: np.ndarray, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        prepare_image(array)
