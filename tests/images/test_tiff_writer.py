"""A label image keeps every label and the size of its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_wbcseg.images.pixel_size import PixelSize
from napari_wbcseg.images.read import read_pixel_size
from napari_wbcseg.images.tiff_writer import write_tiff

from ..drawings import two_discs


@pytest.fixture
def labels() -> np.ndarray:
    return two_discs()


class TestLabels:
    def test_every_label_comes_back(self, tmp_path: Path, labels: np.ndarray) -> None:
        path = write_tiff(tmp_path / "new" / "a-labels.tif", labels)
        stored = tifffile.imread(path)
        assert stored.dtype == np.uint16
        np.testing.assert_array_equal(stored, labels)
        with tifffile.TiffFile(path) as tiff:
            assert tiff.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert path.stat().st_size < labels.nbytes / 20

    def test_labels_beyond_sixteen_bits_become_int32(self, tmp_path: Path) -> None:
        many = np.array([[0, 65_536]], dtype=np.int64)
        stored = tifffile.imread(write_tiff(tmp_path / "a.tif", many))
        assert stored.dtype == np.int32
        np.testing.assert_array_equal(stored, many)

    def test_a_stack_keeps_its_planes(self, tmp_path: Path, labels: np.ndarray) -> None:
        stack = np.stack([labels, labels[::-1], labels * 0])
        np.testing.assert_array_equal(tifffile.imread(write_tiff(tmp_path / "a.tif", stack)), stack)

    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            (PixelSize(0.25, 0.2), PixelSize(0.25, 0.2)),
            (PixelSize(2e-4, 2.5e-4, "mm"), PixelSize(0.2, 0.25)),
            (PixelSize(3, 3, "pixel"), None),
        ],
    )
    def test_the_pixel_size_is_kept_in_micrometres(
        self, tmp_path: Path, labels: np.ndarray, size: PixelSize, expected: PixelSize | None
    ) -> None:
        assert read_pixel_size(write_tiff(tmp_path / "a.tif", labels, size)) == expected

    def test_the_resolution_is_one_that_any_program_reads(self, tmp_path: Path, labels: np.ndarray) -> None:
        path = write_tiff(tmp_path / "a.tif", labels, PixelSize(0.25, 0.2, "µm"))
        with tifffile.TiffFile(path) as tiff:
            across = tiff.pages.first.tags["XResolution"].value
            assert across[0] / across[1] == pytest.approx(1e4 / 0.2, rel=1e-5)  # pixels a cm
            assert tiff.pages.first.tags["ResolutionUnit"].value == 3
