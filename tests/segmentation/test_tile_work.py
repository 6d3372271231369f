"""The same image gives the same cells bit for bit, wherever its pixels lie and however its tiles are done.

The network is one that takes what is dark for a cell, its weights disturbed, so that it looks at its
surroundings as a trained one does.
"""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from napari_wbcseg.box import Box
from napari_wbcseg.images.pixel_source import PixelSource
from napari_wbcseg.images.read import open_large
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation import standard_stain
from napari_wbcseg.segmentation.global_estimates import GlobalEstimates
from napari_wbcseg.segmentation.large.folder import PLAN_FILE
from napari_wbcseg.segmentation.large.pyramid import Pyramid
from napari_wbcseg.segmentation.large.run import LargeRun
from napari_wbcseg.segmentation.pipeline import segment
from napari_wbcseg.segmentation.prediction import Predictor
from napari_wbcseg.segmentation.result import Segmentation
from napari_wbcseg.segmentation.tile_work import Canvas
from napari_wbcseg.settings import SegmentationSettings

from ..discs import write_taught
from ..drawings import write_dark_robust_model
from .smears import SETTINGS, assert_same, smear

pytestmark = pytest.mark.usefixtures("small_tiles")


def as_dask(image: np.ndarray, folder: Path, seed: int) -> Any:
    import dask.array as da

    chunks = np.random.default_rng(seed).integers(20, 90, 2).tolist()
    return da.from_array(image, chunks=(*chunks, 3))


def as_zarr(image: np.ndarray, folder: Path, seed: int) -> Any:
    path = folder / f"{seed}-{'x'.join(map(str, image.shape))}.zarr"
    zarr.create_array(str(path), data=image, chunks=(min(50, len(image)), 33, 3))
    return zarr.open_array(str(path), mode="r")


def as_tiff(image: np.ndarray, folder: Path, seed: int) -> Any:
    path = folder / f"{seed}.tif"
    tifffile.imwrite(path, image, tile=(32, 48), photometric="rgb")
    return open_large(path).full


def in_any_order(image: Any, folder: Path, model: ModelFile, seed: int) -> Segmentation:
    run = LargeRun(image, folder / f"run-{seed}", model, SETTINGS)
    rng = np.random.default_rng(seed)
    for _ in run.tiles(lambda: (rng.uniform(0, 300), rng.uniform(0, 300))):
        pass
    return run.finish()


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(1, 1, 0)
@example(1, 200, 0)
@example(70, 150, 1)
@example(130, 140, 2)
@given(st.integers(1, 140), st.integers(1, 160), st.integers(0, 99))
def test_arrays_of_all_kinds_and_tiles_in_any_order_give_the_same(
    model: ModelFile, tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("kinds")
    image = smear(height, width, seed)
    expected = segment(image, model, SETTINGS)
    kinds: list[Callable[[np.ndarray, Path, int], Any]] = [as_dask, as_zarr, as_tiff]
    one, two = kinds[seed % 3], kinds[(seed + 1) % 3]
    assert_same(segment(one(image, folder, seed), model, SETTINGS), expected)
    assert_same(in_any_order(two(image, folder, seed), folder, model, seed), expected)


def test_there_are_cells_on_the_borders_of_tiles(model: ModelFile) -> None:
    labels = segment(smear(130, 140, 2), model, SETTINGS).labels
    assert labels.max() >= 5
    across = (labels[63] > 0) & (labels[63] == labels[64])
    assert across.any(), "else the test above would show little"


def windows_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return what comes to hold each part of an image that is read."""
    read, parts = PixelSource.read, list[tuple[int, ...]]()

    def counted(source: PixelSource, *part: int) -> np.ndarray:
        parts.append(part)
        return read(source, *part)

    monkeypatch.setattr(PixelSource, "read", counted)
    return parts


@pytest.mark.parametrize("pale", [False, True])
def test_what_is_estimated_is_the_same_too(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pale: bool
) -> None:
    """The size of the cells; and of a pale slide its stain, in which all tiles are looked at again."""
    image, chosen = smear(150, 160, 2), SegmentationSettings(split_touching=False)
    if pale:  # beside a standard that is darker still
        looked_for = replace(standard_stain.PARAMETERS, white=(2.0, 2.2, 2.0), sure=0.6)
        monkeypatch.setattr(standard_stain, "PARAMETERS", looked_for)
    expected = segment(image, model, chosen)
    assert_same(segment(as_dask(image, tmp_path, 1), model, chosen), expected)
    run = LargeRun(as_tiff(image, tmp_path, 1), tmp_path / "run", model, chosen)
    for _ in run.tiles():
        break  # as if it were stopped; what was known of the other tiles is forgotten
    run = LargeRun(as_zarr(image, tmp_path, 1), tmp_path / "run", model, chosen)
    plan = json.loads((tmp_path / "run" / PLAN_FILE).read_text())
    looks = GlobalEstimates.model_validate(plan["estimates"]).looks
    assert any(look.all_in_standard for look in looks) == pale
    read = windows_read(monkeypatch)
    done = [tile.done for tile in run.tiles()]
    assert len(read) == len(set(read)) == len(done) / (1 + pale), "by both looks at a window together"
    assert_same(run.finish(), expected)
    monkeypatch.undo()
    without = segment(image, model, chosen).probability
    assert pale == (not np.array_equal(without, expected.probability)), "else this would show nothing"


def test_a_stack_on_disk_is_the_same_as_in_memory(model: ModelFile, tmp_path: Path) -> None:
    stack = np.stack([smear(70, 60, seed) for seed in range(3)])
    path = tmp_path / "stack.zarr"
    zarr.save_array(str(path), stack)
    assert_same(segment(zarr.open_array(str(path)), model, SETTINGS), segment(stack, model, SETTINGS))


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (100, 130, 3), (2, 80, 3, 3)])
def test_an_image_with_nothing_in_it_is_empty(model: ModelFile, shape: tuple[int, ...]) -> None:
    dark = write_dark_robust_model(model.path.parent / "dark.safetensors")
    for chosen in (SETTINGS, SegmentationSettings()):
        result = segment(np.full(shape, 240, np.uint8), dark, chosen)
        assert result.count == 0
        assert result.labels.shape == shape[:-1]
        assert not result.labels.any()


def test_a_result_too_large_for_memory_lies_in_zarr_arrays(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = np.stack([smear(70, 60, seed) for seed in range(2)])
    expected = [segment(stack[0], model, SETTINGS), segment(stack, model, SETTINGS)]
    monkeypatch.setattr("napari_wbcseg.segmentation.pipeline._IN_MEMORY", 4_000)
    for image, one in zip((stack[0], stack), expected, strict=True):
        result = segment(image, model, SETTINGS)
        assert isinstance(result.labels, zarr.Array)
        assert_same(result, one)
        steps = np.rint(one.probability * np.float32(255)) / np.float32(255)
        np.testing.assert_array_equal(np.asarray(result.probability), steps)
        copies, labels = (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)), result.labels
        del result
        np.testing.assert_array_equal(
            np.asarray(labels), one.labels, "who keeps the labels keeps their files"
        )
        del labels  # and the folder
        for again in copies:
            assert_same(again, one)


def test_one_classifier_tells_all_cells_though_its_file_is_written_anew_meanwhile(
    model: ModelFile, tmp_path: Path
) -> None:
    file, other, image = tmp_path / "own.safetensors", tmp_path / "swapped.safetensors", smear(130, 140, 2)
    own = write_taught(file)
    write_taught(other, swapped=True)
    chosen = SETTINGS.replace(classes=str(file))
    expected = segment(image, model, chosen)
    assert not segment(image, model, SETTINGS.replace(classes=str(other))).cells.equals(expected.cells)
    found = segment(image, model, chosen, lambda *_: shutil.copy(other, file))
    assert found.classifier == own.id
    assert_same(found, expected)


def test_what_was_not_scanned_is_not_predicted(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.full((300, 400, 3), 255, np.uint8)
    image[:90, :90] = smear(90, 90, 1)
    looked_at = []
    predict = Predictor.predict

    def counted(predictor: Predictor, pixels: np.ndarray, windows: Any, stage: str, **others: Any) -> Any:
        if stage == "Looking for cells":
            looked_at.append(pixels)
        return predict(predictor, pixels, windows, stage, **others)

    monkeypatch.setattr(Predictor, "predict", counted)
    assert segment(image, model, SETTINGS).count > 0
    assert 0 < len(looked_at) < 10, "of some thirty tiles those that show the smear"


@given(st.data(), st.integers(1, 60), st.integers(1, 60))
def test_coarser_levels_hold_every_second_pixel(data: st.DataObject, height: int, width: int) -> None:
    levels = [np.zeros((-(-height // step), -(-width // step)), np.int32) for step in (1, 2, 4, 8)]
    canvas = Canvas(levels)
    for _ in range(4):
        top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        box = Box(top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width)))
        values = np.random.default_rng(top).integers(0, 9, box.shape)
        how = data.draw(st.sampled_from([canvas.draw, canvas.replace]))
        how(box, values)
    for level, array in enumerate(levels):
        assert np.array_equal(array, levels[0][:: 2**level, :: 2**level])


def test_zeros_let_what_was_drawn_show_through_and_replace_takes_it_away() -> None:
    canvas = Canvas([np.zeros((2, 3, 4), int)], plane=1)
    whole = Box(0, 0, 3, 4)
    canvas.draw(whole, np.arange(12).reshape(3, 4))
    canvas.draw(Box(0, 0, 1, 2), np.array([[0, 20]]))
    assert canvas.read(Box(0, 0, 1, 3)).tolist() == [[0, 20, 2]]
    canvas.replace(Box(0, 1, 1, 2), np.array([[0]]))
    assert canvas.read(Box(0, 0, 1, 3)).tolist() == [[0, 0, 2]]
    assert not canvas.arrays[0][0].any(), "another plane is left alone"


def test_a_pyramid_on_disk_is_a_canvas(tmp_path: Path) -> None:
    pyramid = Pyramid.create(tmp_path / "labels.zarr", (1500, 1100), np.int32)
    patch = np.random.default_rng(0).integers(0, 5, (300, 301))
    pyramid.draw(Box(900, 799, 1200, 1100), patch)
    again = Pyramid.open(tmp_path / "labels.zarr")
    assert [array.shape for array in again.arrays] == [(1500, 1100), (750, 550)]
    assert np.array_equal(again.read(Box(900, 799, 1200, 1100)), patch)
    assert np.array_equal(np.asarray(again.arrays[1]), np.asarray(again.arrays[0])[::2, ::2])
