"""Slides in the layouts of scanners: the slide without what lies beside it, its pixel size and objective."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_wbcseg.box import Box
from napari_wbcseg.errors import ImageError
from napari_wbcseg.images.pixel_size import PixelSize
from napari_wbcseg.images.read import (
    open_large,
    read_file,
    read_image,
    read_pixel_size,
    size_of_file,
)

from . import slide_files as written

ROWS, COLS = np.mgrid[:512, :640]
WAVES = (ROWS + 2 * COLS, 3 * COLS - ROWS, COLS)
PIXELS = np.stack([150 + 80 * np.sin(wave / 40) for wave in WAVES], -1).astype(np.uint8)

Write = Callable[[Path, np.ndarray], None]
SCANNERS: dict[str, tuple[Write, str, int]] = {
    "aperio.svs": (written.write_aperio, "Aperio, objective 40 ×; left out: label, thumbnail", 2),
    # OpenSlide does not know this one, and tifffile reads it.
    "big-endian.svs": (partial(written.write_aperio, byteorder=">"), "left out: Thumbnail", 2),
    "bigtiff.svs": (partial(written.write_aperio, byteorder=">", bigtiff=True), "Aperio", 2),
    "jpeg2000.svs": (written.write_aperio_jpeg2000, "Aperio, objective 40 ×.", 1),
    "two regions.scn": (written.write_leica, "Leica, objective 40 ×; left out: macro", 1),
    "ventana.bif": (written.write_ventana, "Ventana, objective 40 ×; left out: macro", 1),
    "hamamatsu.ndpi": (written.write_hamamatsu, "Hamamatsu, objective 40 ×; left out: macro", 6),
    "mirax.mrxs": (written.write_mirax, "Mirax, objective 40 ×.", 1),
    "zeiss.czi": (written.write_zeiss, "Zeiss, objective 40 ×.", 2),
}


@pytest.mark.parametrize("name", SCANNERS)
def test_a_slide_is_what_was_scanned_of_it(name: str, tmp_path: Path) -> None:
    pytest.importorskip("openslide")
    write, about, levels = SCANNERS[name]
    path = tmp_path / name
    write(path, PIXELS)
    slide = open_large(path)
    assert about in slide.notes[0]
    assert len(slide.levels) == levels
    assert size_of_file(path) == (PIXELS[..., 0].size, True)
    assert read_pixel_size(path) == PixelSize(written.MPP, written.MPP)
    whole = read_file(path).pixels
    assert np.abs(whole.astype(int) - PIXELS).mean() < 1, "JPEG loses little, and no pixel lies elsewhere"
    for part in (np.s_[200:300, 250:400], np.s_[::7, ::-5], np.s_[-1]):
        np.testing.assert_array_equal(np.asarray(slide.full[part]), whole[part])


def test_tiles_that_overlap_are_joined(tmp_path: Path) -> None:
    pytest.importorskip("openslide")
    written.write_ventana(tmp_path / "a.bif", PIXELS, overlap=8)
    slide = np.asarray(open_large(tmp_path / "a.bif").full)
    assert slide.shape == (488, 608, 3)
    assert np.abs(slide.astype(int) - PIXELS[:488, :608]).mean() < 1


def test_what_was_not_scanned_is_empty_slide(tmp_path: Path) -> None:
    pytest.importorskip("openslide")
    import openslide

    from napari_wbcseg.images.slides import SlidePixels

    written.write_mirax(tmp_path / "a.mrxs", PIXELS)
    slide = openslide.OpenSlide(tmp_path / "a.mrxs")
    level = SlidePixels(slide, 0)
    assert slide.dimensions == (1280, 1024)
    assert level.shape == (1, 512, 640, 3)
    assert (level.read(0, Box(512, 0, 600, 700)) == 255).all()


def test_a_pyramid_of_no_scanner_is_read_by_tifffile(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(PIXELS, tile=(128, 128), photometric="rgb", subifds=1)
        tiff.write(PIXELS[::2, ::2], tile=(128, 128), photometric="rgb", subfiletype=1)
    slide = open_large(tmp_path / "a.tif")
    assert slide.notes == ()
    assert [level.shape[0] for level in slide.levels] == [512, 256]
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), PIXELS)


def test_slides_that_are_tiff_are_read_without_openslide_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.write_aperio(tmp_path / "a.svs", PIXELS)
    written.write_mirax(tmp_path / "a.mrxs", PIXELS)
    monkeypatch.setitem(sys.modules, "openslide", None)
    slide = open_large(tmp_path / "a.svs")
    assert np.abs(np.asarray(slide.full).astype(int) - PIXELS).mean() < 1
    assert read_pixel_size(tmp_path / "a.svs") == PixelSize(written.MPP, written.MPP)
    for door in (open_large, read_image):
        with pytest.raises(ImageError, match=r"a\.mrxs .* pip install 'napari-wbcseg\[slides\]'"):
            door(tmp_path / "a.mrxs")


@pytest.mark.parametrize("name", ["a.mrxs", "a.czi"])
def test_a_slide_that_openslide_cannot_read_is_said(name: str, tmp_path: Path) -> None:
    pytest.importorskip("openslide")
    SCANNERS[{"a.mrxs": "mirax.mrxs", "a.czi": "zeiss.czi"}[name]][0](tmp_path / name, PIXELS)
    if name == "a.czi":
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:2000])
    else:
        (tmp_path / "a" / "Index.dat").unlink()
    for door in (open_large, read_image):
        with pytest.raises(ImageError, match=f"{name}.* cannot be read by OpenSlide .*OME-TIFF"):
            door(tmp_path / name)


def _real_slides() -> list[Path]:
    folder = Path(os.environ.get("WBCSEG_SLIDES", "."))
    return sorted(folder.glob("*.*")) if "WBCSEG_SLIDES" in os.environ else []


@pytest.mark.parametrize("path", _real_slides(), ids=lambda path: path.name)
def test_real_slides_are_those_that_openslide_shows(path: Path) -> None:
    """Slides in the folder that WBCSEG_SLIDES names, such as those of OpenSlide's test data."""
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(path) as slide:
        stated = slide.properties.get("openslide.mpp-x")
        left, top = (int(slide.properties.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
        expected = np.asarray(slide.read_region((left, top), 0, (300, 300)).convert("RGB"))
    image = open_large(path)
    size = read_pixel_size(path)
    assert (size and f"{size.column:.6g}") == (stated and f"{float(stated):.6g}")
    part = np.asarray(image.full[:300, :300])
    np.testing.assert_array_equal(part, expected[: part.shape[0], : part.shape[1]])
