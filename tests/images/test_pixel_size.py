"""The size of a pixel is read where a file states it, made micrometres, and never made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_wbcseg.images.pixel_size import PixelSize
from napari_wbcseg.images.read import read_file, read_pixel_size

GREY = np.zeros((8, 8), np.uint8)
TENTH = PixelSize(0.1, 0.1)


def ome(path: Path, attributes: str, prefix: str = "") -> None:
    name = f"xmlns:{prefix[:-1]}" if prefix else "xmlns"
    xml = (
        f'<?xml version="1.0"?><{prefix}OME {name}="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<{prefix}Image ID="Image:0"><{prefix}Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
        f'SizeX="8" SizeY="8" SizeC="1" SizeZ="1" SizeT="1" {attributes}><{prefix}TiffData IFD="0" '
        f'PlaneCount="1"/></{prefix}Pixels></{prefix}Image></{prefix}OME>'
    )
    tifffile.imwrite(path, GREY, description=xml.encode(), metadata=None)


def sizes(x: str, y: str, x_unit: str = "", y_unit: str = "") -> str:
    units = [f'PhysicalSize{axis}Unit="{unit}"' for axis, unit in (("X", x_unit), ("Y", y_unit)) if unit]
    return " ".join([f'PhysicalSizeX="{x}"', f'PhysicalSizeY="{y}"', *units])


@pytest.mark.parametrize(
    ("attributes", "prefix"),
    [
        (sizes("0.1", "0.1"), ""),
        (sizes("0.1", "0.1"), "OME:"),
        (sizes("0.1", "0.1").replace('"', "'"), ""),
        (sizes("0.1", "0.1", "&#181;m", "&#xB5;m"), ""),
        (sizes("0.1", "0.1", "μm", "μm"), ""),  # the Greek letter
        (sizes("0.1", "0.1", "Âµm", "Âµm"), ""),  # UTF-8 that was read as Latin letters
        (sizes("0.1", "0.1", "microns", "micrometers"), ""),
        (sizes("1E-7", "1E-7", "m", "m"), ""),
        (sizes("1000", "1000", "Å", "Å"), ""),
        (sizes("3.937007874e-6", "3.937007874e-6", "in", "inch"), ""),
        (sizes("100", "0.1", "nm", "µm"), ""),
    ],
)
def test_ome_in_any_unit_and_spelling(tmp_path: Path, attributes: str, prefix: str) -> None:
    ome(tmp_path / "a.ome.tif", attributes, prefix)
    assert read_pixel_size(tmp_path / "a.ome.tif") == TENTH


@pytest.mark.parametrize("size", ["0.0", "NaN", "INF", "-0.1", "350", "1e-9", "", "wide"])
@pytest.mark.parametrize("sides", [(True, True), (True, False), (False, True)])
def test_what_cannot_be_true_is_told_and_costs_nothing(
    tmp_path: Path, size: str, sides: tuple[bool, bool]
) -> None:
    ome(tmp_path / "a.ome.tif", sizes(*(size if wrong else "0.5" for wrong in sides)))
    image, notes = read_file(tmp_path / "a.ome.tif")[:2]
    assert image.shape == (8, 8)
    assert len(notes) == 1
    assert "those of a microscope are not" in notes[0]
    assert read_pixel_size(tmp_path / "a.ome.tif") is None


def test_sides_that_no_camera_has_beside_each_other_are_told_too(tmp_path: Path) -> None:
    ome(tmp_path / "a.ome.tif", sizes("0.1", "0.4"))
    assert read_pixel_size(tmp_path / "a.ome.tif") == PixelSize(0.4, 0.1), "as of a line scanner, about"
    ome(tmp_path / "a.ome.tif", sizes("0.1", "0.5"))
    assert read_pixel_size(tmp_path / "a.ome.tif") is None
    assert "pixels of 0.1 µm × 0.5 µm" in read_file(tmp_path / "a.ome.tif").notes[0]


@pytest.mark.parametrize("unit", ["reference frame", "pixel"])
def test_a_size_in_no_length_is_none(tmp_path: Path, unit: str) -> None:
    ome(tmp_path / "a.ome.tif", sizes("1", "1", unit, unit))
    assert read_pixel_size(tmp_path / "a.ome.tif") is None
    assert read_file(tmp_path / "a.ome.tif").notes == ()


@pytest.mark.parametrize(
    ("text", "expected"), [("0.2500", 0.25), ("0,2500", 0.25), ("2.5e-01", 0.25), ("0", None), ("none", None)]
)
def test_aperio(tmp_path: Path, text: str, expected: float | None) -> None:
    description = f"Aperio Image Library v12\r\n8x8 JPEG/RGB Q=70|AppMag = 40|MPP = {text}|Left = 3"
    tifffile.imwrite(tmp_path / "a.svs", GREY, tile=(16, 16), description=description, metadata=None)
    assert read_pixel_size(tmp_path / "a.svs") == (expected and PixelSize(expected, expected))


@pytest.mark.parametrize(
    ("unit", "resolution", "expected"),
    [
        ("um", (4, 2), PixelSize(0.5, 0.25)),
        ("microns", (10, 10), TENTH),
        ("\\u00B5m", (10, 10), TENTH),
        ("mm", (1e4, 1e4), TENTH),
        ("inch", (72, 72), None),
        ("pixel", (1, 1), None),
    ],
)
def test_imagej(
    tmp_path: Path, unit: str, resolution: tuple[float, float], expected: PixelSize | None
) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", GREY, imagej=True, resolution=resolution, metadata={"unit": unit, "axes": "YX"}
    )
    assert read_pixel_size(tmp_path / "a.tif") == expected


@pytest.mark.parametrize("unit", ["PhysicalSizeUnit", "PhysicalSizeXUnit"])
def test_the_words_of_ome_in_a_plain_tiff(tmp_path: Path, unit: str) -> None:
    """As scripts write them with tifffile."""
    size = {"PhysicalSizeX": 1e-4, "PhysicalSizeY": 1e-4, unit: "mm", unit.replace("X", "Y"): "mm"}
    tifffile.imwrite(tmp_path / "a.tif", GREY, metadata={"axes": "YX", **size})
    assert read_pixel_size(tmp_path / "a.tif") == TENTH


def test_resolutions_of_prints_say_nothing_of_the_slide(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", dpi=(72, 72))
    tifffile.imwrite(tmp_path / "plain.tif", GREY)
    tifffile.imwrite(tmp_path / "inch.tif", GREY, resolution=(72, 72), resolutionunit="inch")
    tifffile.imwrite(tmp_path / "cm.tif", GREY, resolution=(28.35, 28.35), resolutionunit="centimeter")
    (tmp_path / "text.tif").write_text("no image")
    for name in ("a.jpg", "plain.tif", "inch.tif", "cm.tif", "text.tif", "missing.tif"):
        assert read_pixel_size(tmp_path / name) is None
    assert read_file(tmp_path / "inch.tif").notes == ()
    for unit, resolution in {"centimeter": 1e5, "inch": 254e3}.items():
        tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=[resolution] * 2, resolutionunit=unit)
        assert read_pixel_size(tmp_path / "a.tif") == TENTH


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp"])
def test_a_picture_tells_it_where_it_is_that_of_a_microscope(tmp_path: Path, name: str) -> None:
    """ImageJ and cameras write it into PNG, in pixels a metre."""
    Image.new("RGB", (8, 8)).save(tmp_path / name, dpi=(25_400, 12_700))
    size = read_pixel_size(tmp_path / name)
    assert size is not None
    assert size[:2] == pytest.approx((2.0, 1.0), rel=1e-4)
    assert size.unit == "µm"
    assert read_file(tmp_path / name).pixel_size == size


def ome_zarr(group: zarr.Group, size: int, own: list[float], shared: list[float] | None) -> None:
    group.create_array("0", shape=(size, size), chunks=(8, 8), dtype=np.uint8)
    scale = [{"type": "scale", "scale": own}]
    multiscale = {
        "axes": [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    if shared:
        multiscale["coordinateTransformations"] = [{"type": "scale", "scale": shared}]
    group.attrs["multiscales"] = [multiscale]


def test_ome_zarr_with_scales_of_levels_and_of_all(tmp_path: Path) -> None:
    ome_zarr(zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2), 16, [0.1, 0.1], None)
    ome_zarr(zarr.open_group(tmp_path / "b.zarr", mode="w", zarr_format=2), 16, [1.0, 1.0], [0.1, 0.1])
    for name in ("a.zarr", "b.zarr"):
        assert read_pixel_size(tmp_path / name) == TENTH
    (tmp_path / "b.zarr" / ".zattrs").write_text(json.dumps({"multiscales": [{"axes": 3}]}))
    assert read_pixel_size(tmp_path / "b.zarr") is None


def test_of_several_images_that_of_the_one_that_is_counted(tmp_path: Path) -> None:
    root = zarr.open_group(
        tmp_path / "a.zarr", mode="w", zarr_format=2, attributes={"bioformats2raw.layout": 3}
    )
    ome_zarr(root.create_group("0"), 8, [5.0, 5.0], None)
    ome_zarr(root.create_group("1"), 64, [0.1, 0.1], None)
    assert read_pixel_size(tmp_path / "a.zarr") == TENTH
    image, notes = read_file(tmp_path / "a.zarr")[:2]
    assert image.shape == (64, 64)
    assert any("left out: 0 (8 × 8)" in note for note in notes)


@pytest.mark.parametrize("second", [0.1, 0.2])
def test_planes_of_pixels_of_different_sizes_have_none(tmp_path: Path, second: float) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        for size in (0.1, second):
            about = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": size}
            tiff.write(GREY + 9, photometric="minisblack", metadata=about)
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    for number, size in enumerate((0.1, second)):
        image = group.create_group(str(number))
        image.create_array("0", data=GREY + 9)
        axes = [{"name": axis, "unit": "micrometer"} for axis in "yx"]
        scale = [{"type": "scale", "scale": [size, size]}]
        levels = [{"path": "0", "coordinateTransformations": scale}]
        image.attrs["multiscales"] = [{"axes": axes, "datasets": levels}]
    for name in ("a.ome.tif", "a.zarr"):
        pixels, notes, found = read_file(tmp_path / name)
        assert (pixels.shape, found) == ((2, 8, 8), TENTH if second == 0.1 else None)
        assert any("pixels of different sizes" in note for note in notes) == (second == 0.2)
