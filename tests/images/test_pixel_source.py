"""Parts of an image of any kind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.images.illumination import absorbed
from napari_wbcseg.images.pixel_source import PixelSource


@pytest.mark.parametrize("shape", [(9000, 12000, 3), (40, 60_000, 3)])
def test_the_light_of_a_slide_is_told_without_reading_it_as_a_whole(shape: tuple[int, ...]) -> None:
    read = []

    def block(block_info: Any = None) -> np.ndarray:
        (rows, cols, colours) = (end - start for start, end in block_info[None]["array-location"])
        read.append(rows * cols)
        return np.tile(np.array([200, 180, 240], np.uint8), (rows, cols, colours // 3))

    slide = da.map_blocks(
        block,
        chunks=da.core.normalize_chunks((500, 500, 3), shape),
        dtype=np.uint8,
        meta=np.zeros((0, 0, 0), np.uint8),
    )
    source = PixelSource(slide)
    np.testing.assert_array_equal(source.background, [200, 180, 240])
    assert sum(read) < 0.4 * shape[0] * shape[1]


def test_the_density_of_some_pixels_of_a_part_is_that_of_the_same_pixels_of_all() -> None:
    """It is read in strips, of which those without any such pixel are left out."""
    image = np.random.default_rng(0).integers(40, 240, (900, 60, 3), np.uint8)
    inside = np.zeros((800, 50), bool)
    inside[[0, 3, 600, 799], [7, 49, 0, 20]] = True
    source = PixelSource(image)
    whole = absorbed(image.astype(np.float32), source.background)[70:870, 5:55]
    np.testing.assert_array_equal(source.density(inside, (70, 5)), np.where(inside, whole, 0))


def test_a_small_copy_of_a_part_is_read_in_parts_and_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 255, (120, 170, 3), np.uint8)
    monkeypatch.setattr("napari_wbcseg.images.pixel_source._READ_SIDE", 50)
    small = PixelSource(image).reduced(Box(12, 30, 108, 162), 6)
    means = image[12:108, 30:162].reshape(16, 6, 22, 6, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(small, means, atol=0.01)


LARGE = (2500, 2600)


class Counted(PixelSource):
    """Counts the pixels that are read."""

    pixels = 0

    def read(self, *box: int) -> np.ndarray:
        self.pixels += Box(*box[:4]).area
        return super().read(*box)


def slide() -> np.ndarray:
    """Return an empty slide with something black in its middle."""
    pixels = np.random.default_rng(0).integers(220, 240, (*LARGE, 3), np.uint8)
    pixels[1000:1600, 1000:1600] = 5
    return pixels


def test_of_a_large_image_that_shows_the_slide_to_its_edge_only_that_is_read() -> None:
    source = Counted(slide())
    assert source.find_field_of_view() is None
    assert source.pixels < 0.1 * LARGE[0] * LARGE[1]


@pytest.mark.parametrize("side", [np.s_[:300], np.s_[-300:], np.s_[:, :300], np.s_[:, -300:]])
def test_a_dark_side_of_a_large_image_is_none_of_the_slide(side) -> None:
    pixels = slide()
    pixels[side] = 5
    found = PixelSource(pixels).find_field_of_view()
    assert found is not None
    inside = found.inside(Box(0, 0, *LARGE))
    assert not inside[side].any()
    assert inside[1300, 1300], "what is dark in the middle is on the slide"
    assert inside.mean() > 0.8


def test_what_is_in_memory_waits_for_no_file_that_is_read_beside_it() -> None:
    """The window of napari stood still at each edit of cells while parts of a slide were read."""

    class Slide:
        shape, dtype = (40, 40, 3), np.dtype(np.uint8)

        def __getitem__(self, key: Any) -> np.ndarray:
            begun.set()
            go_on.wait(20)
            return np.zeros(self.shape, self.dtype)[key]

    begun, go_on = Event(), Event()
    slide, smear = PixelSource(Slide(), 255), PixelSource(np.full((30, 30, 3), 9, np.uint8))
    with ThreadPoolExecutor(2) as threads:
        threads.submit(slide.raw, 0, 0, 10, 10)
        assert begun.wait(20)
        read = threads.submit(smear.raw, 0, 0, 10, 10)
        try:
            assert read.result(5).shape == (10, 10, 3)
        finally:
            go_on.set()
