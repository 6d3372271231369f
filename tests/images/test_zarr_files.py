"""A zarr from elsewhere runs no code, and only numbers are read from it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr

from napari_wbcseg import save
from napari_wbcseg.errors import ImageError
from napari_wbcseg.images.read import open_large, read_file, read_image
from napari_wbcseg.images.zarr_files import open_zarr
from napari_wbcseg.results.load import load_result
from napari_wbcseg.segmentation.result import Segmentation

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def metadata_v2(**changes: object) -> dict[str, object]:
    return {
        **{"zarr_format": 2, "shape": [8, 8], "chunks": [8, 8], "dtype": "|u1", "compressor": None},
        **{"fill_value": 0, "order": "C", "filters": None},
        **changes,
    }


@pytest.mark.parametrize("where", ["array", "in a group", "consolidated only", "as a result"])
def test_a_pickle_in_a_file_is_never_opened(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "a.zarr"
    array = {"array": folder, "as a result": folder / "labels" / "cells" / "0"}.get(where, folder / "0")
    array.mkdir(parents=True)
    evil = json.dumps(metadata_v2(dtype="|O", filters=[{"id": "pickle", "protocol": 5}]))
    (array / ".zarray").write_text(json.dumps(metadata_v2()) if where == "consolidated only" else evil)
    trap = np.empty((8, 8), object)
    trap[:] = Trap(tmp_path / "sprung")
    (array / "0.0").write_bytes(numcodecs.Pickle().encode(trap))
    if array != folder:
        levels = {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]}
        for group in {folder, array.parent, folder / "labels"} & {folder, *array.parents}:
            (group / ".zgroup").write_text('{"zarr_format": 2}')
            (group / ".zattrs").write_text(json.dumps(levels))
        if where == "consolidated only":
            known = {".zgroup": {"zarr_format": 2}, ".zattrs": levels, "0/.zarray": json.loads(evil)}
            (folder / ".zmetadata").write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": known}))
    for door in (load_result,) if where == "as a result" else (open_zarr, open_large, read_image):
        with pytest.raises(ImageError, match=r"codec 'pickle'|values of type"):
            door(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": [{"id": "json2"}]},
        {"filters": [{"id": "vlen-utf8"}]},
        {"filters": [{"id": "astype", "encode_dtype": "|O", "decode_dtype": "|u1"}]},
        {"compressor": {"id": "unheard-of"}},
        {"storage_transformers": [{"name": "unheard-of"}]},
        {"dtype": "|O"},
        {"dtype": "<U4"},
        {"dtype": [["a", "<u1"]]},
        {"dtype": "<M8[ns]"},
    ],
)
def test_other_codecs_and_types_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    (tmp_path / ".zarray").write_text(json.dumps(metadata_v2(**changes)))
    with pytest.raises(ImageError):
        open_zarr(tmp_path)


@pytest.mark.parametrize(
    "codecs",
    [[{"name": "numcodecs.pickle"}], ["vlen-bytes"], [{"name": "sharding_indexed", "configuration": {
        "codecs": [{"name": "numcodecs.pickle"}], "chunk_shape": [4, 4]}}]],
)  # fmt: skip
def test_codecs_of_version_3_too(tmp_path: Path, codecs: list[object]) -> None:
    zarr.save_array(str(tmp_path / "a.zarr"), PIXELS[..., 0])
    file = tmp_path / "a.zarr" / "zarr.json"
    metadata = json.loads(file.read_text())
    file.write_text(json.dumps({**metadata, "codecs": codecs}))
    with pytest.raises(ImageError, match="codec"):
        open_zarr(tmp_path / "a.zarr")


@pytest.mark.parametrize("version", [2, 3])
def test_what_users_attach_is_not_taken_for_what_an_array_asks_for(tmp_path: Path, version: int) -> None:
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=version)
    group.create_array("0", data=PIXELS)
    group.attrs["multiscales"] = [{"axes": list("yxc"), "datasets": [{"path": "0"}]}]
    group.attrs["scan"] = {"dtype": "of a camera", "filters": ["green"]}
    zarr.consolidate_metadata(group.store)
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr"), PIXELS)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("compressor", ["default", "blosc", "none"])
def test_the_common_ones_are_read(tmp_path: Path, version: int, compressor: str) -> None:
    blosc = numcodecs.Blosc() if version == 2 else zarr.codecs.BloscCodec()
    given = {"default": "auto", "blosc": blosc, "none": None}[compressor]
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=PIXELS.shape, chunks=(16, 16, 3), dtype=np.uint8, zarr_format=version,
        compressors=given,
    )  # fmt: skip
    array[:] = PIXELS
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr"), PIXELS)
    np.testing.assert_array_equal(np.asarray(open_large(tmp_path / "a.zarr").full), PIXELS)


def test_shards_are_read(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(40, 50), chunks=(8, 8), shards=(32, 32), dtype=np.uint16
    )
    array[:] = PIXELS[..., 0]
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr"), PIXELS[..., 0])
    assert read_file(tmp_path / "a.zarr").notes == (), "a shard is a file of many parts"


@pytest.mark.parametrize("chunk", [1, 1000])
def test_more_than_the_files_can_hold_is_not_believed(tmp_path: Path, chunk: int) -> None:
    huge = metadata_v2(shape=[10**6, 10**6], chunks=[chunk, chunk])
    (tmp_path / ".zarray").write_text(json.dumps(huge))
    with pytest.raises(ImageError, match="cannot hold"):
        open_large(tmp_path)
    with pytest.raises(ImageError, match="cannot hold"):
        read_image(tmp_path)


def test_metadata_that_are_none_are_said(tmp_path: Path) -> None:
    for text in ("", "[]", "[" * 100_000, "\0", '{"zarr_format": 2}', '{"node_type": "array"}'):
        (tmp_path / "zarr.json").write_text(text)
        with pytest.raises(ImageError):
            open_large(tmp_path)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("told", ["label", "color"])
@pytest.mark.parametrize(
    "order",
    [
        *[("Blue", "Red", "Green"), ("r", "g", "b"), ("DAPI", "x", "y"), ("0000FF", "00FF00", "FF0000")],
        ("FFFFFF", "Blue", "Red", "Green"),
    ],
)
def test_channels_are_taken_by_their_names_or_colours(
    tmp_path: Path, version: int, order: tuple[str, ...], told: str
) -> None:
    places = {"Blue": 2, "Red": 0, "Green": 1, "0000FF": 2, "00FF00": 1, "FF0000": 0}
    stored = np.stack([PIXELS[..., places.get(name, i)] for i, name in enumerate(order)])
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=version)
    group.create_array("0", data=stored)
    scales = {"axes": [{"name": name} for name in "cyx"], "datasets": [{"path": "0"}]}
    about = {"multiscales": [scales], "omero": {"channels": [{told: name} for name in order]}}
    group.attrs.update(about if version == 2 else {"ome": about})
    pixels, notes, _ = read_file(tmp_path / "a.zarr")
    assert np.array_equal(pixels, PIXELS)
    assert [" blue were taken; left out: " in note for note in notes] == [True] * (len(order) == 4)
    assert np.array_equal(np.asarray(open_large(tmp_path / "a.zarr").levels[0]), PIXELS)


@pytest.mark.parametrize("version", [2, 3])
def test_parts_that_are_missing_are_said(tmp_path: Path, version: int) -> None:
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=version)
    array = group.create_array("0", shape=PIXELS.shape, chunks=(20, 25, 3), dtype=np.uint8)
    array[:] = PIXELS
    levels = [{"axes": ["y", "x", "c"], "datasets": [{"path": "0"}]}]
    group.attrs.update({"ome": {"multiscales": levels}} if version == 3 else {"multiscales": levels})
    folder = tmp_path / "a.zarr" / "0"
    assert not read_file(tmp_path / "a.zarr").notes
    assert not read_file(folder).notes
    next(path for path in folder.rglob("*") if path.is_file() and path.name in ("1.1.0", "0")).unlink()
    for image in (tmp_path / "a.zarr", folder):
        assert "1 of the 4 parts of" in read_file(image).notes[0]
        assert "unless the image is empty there" in open_large(image).notes[0]


@pytest.mark.parametrize("inside", ["", "labels", "labels/cells"])
def test_labels_are_no_image(tmp_path: Path, inside: str) -> None:
    folder = tmp_path / "a.ome.zarr"
    labels = np.zeros((40, 50), np.int32)
    labels[5:9, 5:9] = 1
    save(Segmentation(labels, None), folder)
    with pytest.raises(ImageError, match="labels, the numbers of cells, and no image"):
        read_file(folder / inside)
    save(Segmentation(labels, None), folder, image=PIXELS)
    if not inside:
        np.testing.assert_array_equal(read_file(folder).pixels, PIXELS)


def test_labels_that_a_viewer_reads_just_then_are_written_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows neither replaces nor removes a file that is open."""
    zarr.create_array(tmp_path / "a.zarr", data=np.ones((4, 4), np.uint8), chunks=(4, 4))
    array, refused = open_zarr(tmp_path / "a.zarr", mode="r+"), list[str]()

    def later(act: str) -> None:
        known = getattr(os, act)

        def acting(*paths: Path, **more: object) -> None:
            if act not in refused:
                refused.append(act)
                raise PermissionError(f"{paths[-1]} is open")
            known(*paths, **more)

        monkeypatch.setattr(os, act, acting)

    for act in ("replace", "unlink"):
        later(act)
    for value in (2, 0):  # nothing has no file
        array[...] = value
        assert (array[...] == value).all()
    assert refused == ["replace", "unlink"]
