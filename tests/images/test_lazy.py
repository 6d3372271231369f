"""Files opened lazily: tiled TIFF, zarr and OME-Zarr become arrays of rows and columns."""

from __future__ import annotations

from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import tifffile
import zarr

from napari_wbcseg.errors import ImageError
from napari_wbcseg.images import lazy
from napari_wbcseg.images.lazy import is_large, is_large_file, open_large
from napari_wbcseg.images.pixel_size import PixelSize
from napari_wbcseg.images.read import read_pixel_size

PIXELS = np.random.default_rng(0).integers(0, 255, (90, 130, 3), np.uint8)


def write_pyramid(path: Path) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        options = {"tile": (32, 32), "photometric": "rgb", "compression": "zlib"}
        tiff.write(PIXELS, subifds=1, **options)
        tiff.write(PIXELS[::2, ::2], subfiletype=1, **options)


def write_planes(path: Path) -> None:
    tifffile.imwrite(
        path, np.moveaxis(PIXELS, -1, 0), tile=(32, 32), photometric="rgb", planarconfig="separate"
    )


def write_zarr(path: Path) -> None:
    zarr.save_array(str(path), PIXELS)


def write_ome_zarr(path: Path) -> None:
    """Write axes t, c, z, y, x, as microscopes do."""
    group = zarr.open_group(str(path), mode="w")
    for number, step in enumerate((1, 2)):
        part = np.moveaxis(PIXELS[::step, ::step], -1, 0)[None, :, None]
        group.create_array(str(number), shape=part.shape, chunks=(1, 1, 1, 32, 32), dtype=part.dtype)[:] = (
            part
        )
    sets = [{"path": str(number)} for number in range(2)]
    group.attrs["ome"] = {"multiscales": [{"axes": [{"name": a} for a in "tczyx"], "datasets": sets}]}


@pytest.mark.parametrize(
    ("name", "write", "levels"),
    [
        ("pyramid.tif", write_pyramid, 2),
        ("planes.tif", write_planes, 1),
        ("strips.tif", lambda path: tifffile.imwrite(path, PIXELS, photometric="rgb"), 1),
        ("plain.zarr", write_zarr, 1),
        ("slide.ome.zarr", write_ome_zarr, 2),
    ],
)
def test_files_become_arrays_of_rows_and_columns(tmp_path: Path, name: str, write, levels: int) -> None:
    write(tmp_path / name)
    image = open_large(tmp_path / name)
    assert image.full.shape[:2] == (90, 130)
    assert [level.shape for level in image.levels] == [(90, 130, 3), (45, 65, 3)][:levels]
    assert np.array_equal(np.asarray(image.full[20:60, 31:99]), PIXELS[20:60, 31:99])
    small = cloudpickle.loads(cloudpickle.dumps(cloudpickle.loads(cloudpickle.dumps(image.levels[-1]))))
    assert np.array_equal(np.asarray(small), PIXELS[::levels, ::levels]), "as where dask has a cluster"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yxc", "cyx", "xyc", "tczyx", "czyx", "tzyxc", "xcy"])
def test_ome_zarr_of_both_versions_with_its_axes_in_any_order(
    tmp_path: Path, axes: str, version: str
) -> None:
    pixels = np.expand_dims(PIXELS, tuple(range(len(axes) - 3)))
    stored = pixels.transpose([("".join(a for a in "tz" if a in axes) + "yxc").index(axis) for axis in axes])
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", shape=stored.shape, chunks=stored.shape, dtype=np.uint8)[:] = stored
    scale = [{"type": "scale", "scale": [0.5 if axis in "yx" else 1.0 for axis in axes]}]
    named = [{"name": axis, **({"unit": "micrometer"} if axis in "yx" else {})} for axis in axes]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    known = {"multiscales": [{"axes": named, "datasets": datasets, "version": version}]}
    group.attrs.update(known if version == "0.4" else {"ome": {**known, "version": version}})
    np.testing.assert_array_equal(np.asarray(open_large(tmp_path / "a.zarr").full), PIXELS)
    assert read_pixel_size(tmp_path / "a.zarr") == PixelSize(0.5, 0.5)


def test_what_cannot_be_read_in_parts_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no file"):
        open_large(tmp_path / "missing.tif")
    (tmp_path / "broken.tif").write_bytes(b"II*\0 and nothing more")
    with pytest.raises(ImageError, match=r"broken\.tif"):
        open_large(tmp_path / "broken.tif")
    with pytest.raises(ImageError, match="no zarr"):
        open_large(tmp_path)
    zarr.save_array(str(tmp_path / "stack.zarr"), np.zeros((5, 20, 30, 3), np.uint8))
    with pytest.raises(ImageError, match="grey or RGB"):
        open_large(tmp_path / "stack.zarr")


def test_what_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "LARGE_PIXELS", 10_000)
    assert is_large(PIXELS)
    assert not is_large(PIXELS[:50])
    assert not is_large(np.zeros((7, 90, 130), np.uint8)), "a stack is taken plane by plane"
    tifffile.imwrite(tmp_path / "big.tif", PIXELS, photometric="rgb")
    tifffile.imwrite(tmp_path / "small.tif", PIXELS[:50], photometric="rgb")
    assert is_large_file(tmp_path / "big.tif")
    assert not is_large_file(tmp_path / "small.tif")
    assert not is_large_file(tmp_path / "missing.tif")
