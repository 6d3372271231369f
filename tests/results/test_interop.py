"""Other programs read what `save` writes, by their own readers; ``tox -e interop`` installs some."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg import save
from napari_wbcseg.images.pixel_size import PixelSize

SIZE = PixelSize(0.25, 0.25, "µm")
LABELS = (3, 9, 700)
#: Debian's package imagej puts it there.
IMAGEJ = Path("/usr/share/java/ij.jar")
MACRO = """
files = split(getArgument(), ";");
open(files[0]);
roiManager("open", files[1]);
for (i = 0; i < roiManager("count"); i++) {
    roiManager("select", i);
    getRawStatistics(area, mean, least, most);
    getPixelSize(unit, width, height);
    print(call("ij.plugin.frame.RoiManager.getName", i), area, least, most, unit, width);
}
"""
CELLPROFILER = """
import sys
from cellprofiler_core import preferences
preferences.set_headless()
from cellprofiler_core.image import ObjectsImage
from cellprofiler_core.utilities.java import start_java, stop_java
start_java()
objects = ObjectsImage("cells", sys.argv[1], None, None).provide_image(None)
objects.pixel_data.astype("int32").tofile(sys.argv[2])
stop_java()
"""


@pytest.mark.skipif(
    not (IMAGEJ.exists() and shutil.which("java") and shutil.which("xvfb-run")),
    reason="ImageJ is not installed: apt-get install imagej xvfb",
)
def test_imagej_measures_each_region_on_the_labels(tmp_path, result):
    labels, _ = save(result, tmp_path / "a-labels.tif", pixel_size=SIZE)
    (regions,) = save(result, tmp_path / "a.zip")
    (tmp_path / "measure.ijm").write_text(MACRO)
    command = [
        "xvfb-run",
        "-a",
        "java",
        "-cp",
        str(IMAGEJ),
        "ij.ImageJ",
        "-batch",
        str(tmp_path / "measure.ijm"),
    ]
    said = subprocess.run(
        [*command, f"{labels};{regions}"], capture_output=True, text=True, check=True
    ).stdout
    # A region covers its label and nothing else: the least and the most that lie below it are its number.
    assert [line.split() for line in said.splitlines()] == [
        ["cell-00003", "209", "3", "3", "µm", "0.25"],
        ["cell-00009-check", "50", "9", "9", "µm", "0.25"],
        ["cell-00700", "400", "700", "700", "µm", "0.25"],
    ]


def test_read_roi_reads_a_region_a_cell(tmp_path, result):
    read_roi = pytest.importorskip("read_roi", reason="read-roi is not installed")
    regions = read_roi.read_roi_zip(str(save(result, tmp_path / "a.zip")[0]))
    assert list(regions) == ["cell-00003", "cell-00009-check", "cell-00700"]
    assert Counter(region["type"] for region in regions.values()) == {"composite": 2, "traced": 1}


def test_bioio_reads_labels_and_scale_of_the_tiff(tmp_path, result, labels):
    bioio = pytest.importorskip("bioio", reason="bioio is not installed")
    reader = pytest.importorskip("bioio_tifffile", reason="bioio-tifffile is not installed").Reader
    path, _ = save(result, tmp_path / "a-labels.tif", pixel_size=SIZE)
    read = bioio.BioImage(path, reader=reader)
    np.testing.assert_array_equal(read.get_image_data("YX"), labels)
    assert tuple(read.physical_pixel_sizes)[-2:] == pytest.approx((0.25, 0.25))


def test_bioio_reads_image_labels_and_scale_of_the_ome_zarr(tmp_path, result, labels, image):
    bioio = pytest.importorskip("bioio", reason="bioio is not installed")
    reader = pytest.importorskip("bioio_ome_zarr", reason="bioio-ome-zarr is not installed").Reader
    (path,) = save(result, tmp_path / "a.ome.zarr", image=image, pixel_size=SIZE)
    read = bioio.BioImage(path, reader=reader)
    np.testing.assert_array_equal(read.get_image_data("YXC"), image)
    assert read.channel_names == ["red", "green", "blue"]
    cells = bioio.BioImage(path / "labels" / "cells", reader=reader)
    np.testing.assert_array_equal(cells.get_image_data("YX"), labels)
    for one in (read, cells):
        assert (one.physical_pixel_sizes.Y, one.physical_pixel_sizes.X) == (0.25, 0.25)


def test_geojson_and_its_specification_take_the_outlines(tmp_path, result):
    geojson = pytest.importorskip("geojson", reason="geojson is not installed")
    specified = pytest.importorskip("geojson_pydantic", reason="geojson-pydantic is not installed")
    (path,) = save(result, tmp_path / "a.geojson")
    with path.open(encoding="utf-8") as file:
        assert not geojson.load(file).errors()
    read = specified.FeatureCollection.model_validate(json.loads(path.read_text(encoding="utf-8")))
    assert len(read.features) == len(LABELS)


@pytest.mark.skipif(
    "WBCSEG_CELLPROFILER" not in os.environ, reason="WBCSEG_CELLPROFILER names no Python that has it"
)
def test_cellprofiler_takes_the_labels_as_objects(tmp_path, result, labels):
    path, _ = save(result, tmp_path / "a-labels.tif")
    command = [os.environ["WBCSEG_CELLPROFILER"], "-c", CELLPROFILER, path.as_uri(), str(tmp_path / "read")]
    subprocess.run(command, capture_output=True, text=True, check=True)
    numbered_anew = np.searchsorted((0, *LABELS), labels)
    np.testing.assert_array_equal(
        np.fromfile(tmp_path / "read", np.int32).reshape(labels.shape), numbered_anew
    )


def test_vigra_by_which_ilastik_reads_takes_the_labels(tmp_path, result, labels):
    """It is in no package index; Debian has it for the system's Python: apt-get install python3-vigra."""
    read = "vigra.impex.readImage(sys.argv[1]).transpose()[0].astype('i4').tofile(sys.argv[2])"
    path, _ = save(result, tmp_path / "a-labels.tif")
    command = ["/usr/bin/python3", "-c", f"import sys, vigra; {read}", str(path), str(tmp_path / "read")]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"vigra is not installed ({str(getattr(error, 'stderr', error)).splitlines()[-1:]})")
    np.testing.assert_array_equal(np.fromfile(tmp_path / "read", np.int32).reshape(labels.shape), labels)
