"""The size of a pixel is read where a file states it, and not made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from napari_wbcseg.images.pixel_size import (
    PixelSize,
    read_pixel_size,
)


class TestPixelSize:
    def test_imagej_and_ome_files_are_understood(self, tmp_path: Path) -> None:
        grey = np.zeros((8, 8), dtype=np.uint16)
        tifffile.imwrite(
            tmp_path / "ij.tif", grey, imagej=True, resolution=(4, 2), metadata={"unit": "um", "axes": "YX"}
        )
        assert read_pixel_size(tmp_path / "ij.tif") == PixelSize(0.5, 0.25, "µm")
        tifffile.imwrite(
            tmp_path / "a.ome.tif",
            grey,
            metadata={"axes": "YX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.3, "PhysicalSizeXUnit": "µm"},
        )
        assert read_pixel_size(tmp_path / "a.ome.tif") == PixelSize(0.3, 0.1, "µm")

    def test_nothing_is_made_up(self, tmp_path: Path) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", dpi=(72, 72))
        tifffile.imwrite(tmp_path / "plain.tif", np.zeros((8, 8), np.uint8))
        tifffile.imwrite(
            tmp_path / "inch.tif", np.zeros((8, 8), np.uint8), resolution=(72, 72), resolutionunit=2
        )
        (tmp_path / "text.tif").write_text("no image")
        for name in ("a.jpg", "plain.tif", "inch.tif", "text.tif", "missing.tif"):
            assert read_pixel_size(tmp_path / name) is None
