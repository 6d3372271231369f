"""The robust method around a network whose answer is known, at a cell diameter that is given."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_wbcseg.box import Box
from napari_wbcseg.errors import Cancelled
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.progress import silent
from napari_wbcseg.segmentation.detections import Detections
from napari_wbcseg.segmentation.looks import Look
from napari_wbcseg.segmentation.pipeline import segment
from napari_wbcseg.segmentation.prediction import Predictor
from napari_wbcseg.segmentation.robust import look_at_tile, propose
from napari_wbcseg.segmentation.scale import Levels
from napari_wbcseg.segmentation.tiles import tile_grid
from napari_wbcseg.settings import SegmentationSettings

from ..drawings import disc_labels, picture, worst_dice, write_dark_robust_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    path: Path = tmp_path_factory.mktemp("model") / "dark.safetensors"
    return write_dark_robust_model(path)


def find(image: np.ndarray, model: ModelFile, diameter: float, progress=silent, **changes: object):
    # Every dark pixel is a centre to this network, so connected regions are its cells.
    settings = SegmentationSettings(cell_diameter=diameter, split_touching=False, **changes)
    return segment(image, model, settings, progress)


def field(diameter: float) -> np.ndarray:
    """Label three whole cells, one cut by the border, and a speck."""
    d = diameter
    discs = [(1.0, 1.0, 1.0), (1.2, 3.0, 1.1), (2.8, 1.4, 0.9), (2.9, 3.9, 1.0), (2.9, 2.6, 0.15)]
    return disc_labels((round(3.6 * d), round(4 * d)), [(r * d, c * d, s * d) for r, c, s in discs])


@pytest.mark.parametrize("diameter", [20.0, 48.0, 130.0, 400.0])
def test_cells_of_any_size_are_outlined(model: ModelFile, diameter: float) -> None:
    truth = field(diameter)
    found = find(picture(truth), model, diameter)
    cells = np.where(truth == 5, 0, truth)
    assert len(np.unique(found.labels)) == 5, "four cells, and the speck is none"
    assert worst_dice(cells, found.labels) > 0.97
    assert found.cell_diameter == diameter
    assert found.labels.dtype == np.int32
    assert found.labels.shape == found.probability.shape == truth.shape
    assert found.probability.dtype == np.float32
    assert found.probability.min() >= 0
    assert found.probability.max() <= 1
    assert found.cells["certainty"].between(0.5, 1).all()


def test_every_cell_lies_in_a_region_looked_at(model: ModelFile) -> None:
    truth = field(48.0)
    found = find(picture(truth), model, 48.0)
    looked = np.zeros(truth.shape, bool)
    for r0, c0, r1, c1 in found.proposals:
        looked[r0:r1, c0:c1] = True
    assert looked[found.labels > 0].all()


def test_the_colour_of_the_light_does_not_matter(model: ModelFile) -> None:
    truth = field(48.0)
    white = picture(truth, dark=60, bright=240)
    yellow = white * np.array([1.0, 0.85, 0.4])
    dim = white * 0.4
    expected = find(white, model, 48.0).labels
    for image in (yellow, dim):
        assert worst_dice(expected, find(image, model, 48.0).labels) > 0.99


def test_mirrored_images_give_mirrored_cells(model: ModelFile) -> None:
    truth = field(40.0)
    plain = find(picture(truth), model, 40.0).labels
    for axis in (0, 1):
        flipped = find(picture(np.flip(truth, axis)), model, 40.0).labels
        assert worst_dice(np.flip(plain, axis), flipped) > 0.97
        assert len(np.unique(flipped)) == len(np.unique(plain))


def test_averaging_over_flips_keeps_the_cells(model: ModelFile) -> None:
    truth = field(48.0)
    plain = find(picture(truth), model, 48.0)
    flips = find(picture(truth), model, 48.0, flips=True)
    np.testing.assert_allclose(flips.probability, plain.probability, atol=1e-5)


def test_a_cell_larger_than_a_window_is_not_cut(model: ModelFile) -> None:
    truth = disc_labels((700, 800), [(350, 400, 500)])
    found = find(picture(truth), model, 48.0)  # 500 pixels across, though 48 was said
    assert len(np.unique(found.labels)) == 2
    assert worst_dice(truth, found.labels) > 0.99


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5), (40, 50)])
def test_an_empty_slide_gives_nothing(model: ModelFile, shape: tuple[int, int]) -> None:
    for level in (0, 255):
        image = np.full((*shape, 3), level, np.uint8)
        for settings in (SegmentationSettings(), SegmentationSettings(cell_diameter=60)):
            found = segment(image, model, settings)
            assert found.labels.shape == found.probability.shape == shape
            if level == 255:
                assert not found.labels.any()
                assert found.proposals.shape == (0, 4)


def test_stopping_stops_at_every_stage(model: ModelFile) -> None:
    image = picture(field(48.0))
    stages: list[str] = []
    find(image, model, 48.0, progress=lambda done, total, stage: stages.append(stage))
    for number in range(len(stages)):
        calls = iter(range(len(stages)))

        def progress(done: int, total: int, stage: str, calls=calls, number=number) -> None:
            if next(calls) == number:
                raise Cancelled

        with pytest.raises(Cancelled):
            find(image, model, 48.0, progress=progress)


def test_cells_of_another_size_must_be_surer(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = disc_labels((120, 240), [(60, 60, 48), (60, 180, 48)])
    nothing = np.zeros(labels.shape, np.float32), np.zeros((0, 4), np.int64)
    found = Detections(labels, *nothing, {1: 0.65, 2: 0.75})
    monkeypatch.setattr("napari_wbcseg.segmentation.robust.find_cells", lambda *_: found)
    for look, left in ((0, [0.65, 0.75]), (1, [0.75])):
        (tile,) = tile_grid(labels.shape, 1.0, look=look)
        cells = look_at_tile(tile, dark(labels), Look(48.0), predictor)
        assert cells.rows["certainty"].tolist() == left


# Where cells may be ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def predictor(model: ModelFile) -> Predictor:
    return Predictor(model, SegmentationSettings(), silent)


def dark(labels: np.ndarray) -> np.ndarray:
    """Return the network's input for cells through which a quarter of the light passes."""
    return np.where(labels[..., None] > 0, np.float32(1.5), np.float32(0)).repeat(3, axis=2)


@hypothesis.settings(max_examples=25, deadline=None)
@given(st.sampled_from([20.0, 48.0, 150.0]), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_a_region_holds_its_cell_whole_with_room_around(predictor, diameter, down, across, one_tile) -> None:
    shape = (260, 300)
    labels = disc_labels(shape, [(down * shape[0], across * shape[1], diameter)])
    rows, cols = np.nonzero(labels)
    levels = Levels(dark(labels), predictor) if one_tile else None
    boxes = propose(dark(labels), Look(diameter), predictor, levels)
    assert boxes.dtype == np.int64
    if np.ptp(rows) < 0.5 * diameter or np.ptp(cols) < 0.5 * diameter:
        return  # only a sliver of it is in the image
    ((r0, c0, r1, c1),) = boxes
    assert 0 <= r0 <= rows.min() < rows.max() < r1 <= shape[0]
    assert 0 <= c0 <= cols.min() < cols.max() < c1 <= shape[1]
    # Not much more than a quarter of a cell around, and the grid of the glance.
    assert rows.min() - r0 < 0.45 * diameter + 2
    assert c1 - cols.max() < 0.45 * diameter + 3


def test_cells_apart_are_regions_apart_and_specks_are_none(predictor: Predictor) -> None:
    labels = disc_labels((200, 400), [(100, 80, 50), (100, 250, 50), (30, 350, 7)])
    boxes = propose(dark(labels), Look(50.0), predictor)
    assert len(boxes) == 2


def test_what_the_estimate_of_the_size_has_seen_is_not_looked_at_again(predictor, monkeypatch) -> None:
    image = dark(disc_labels((200, 400), [(100, 80, 60), (100, 250, 60)]))
    levels = Levels(image, predictor)
    assert levels[80.0].cell.shape == (120, 240)
    monkeypatch.delattr(Predictor, "predict")
    assert len(propose(image, Look(60.0), predictor, levels)) == 2


def test_only_places_as_dark_as_a_nucleus_are_shown_to_the_network(predictor, monkeypatch) -> None:
    labels = disc_labels((900, 900), [(200, 200, 30), (600, 700, 30), (450, 100, 3)])
    pale = disc_labels((900, 900), [(800, 300, 30)])
    image = np.maximum(dark(labels), 0.6 * dark(pale))
    shown: list[list[Box]] = []
    predict = Predictor.predict
    monkeypatch.setattr(Predictor, "predict", lambda *a, **k: shown.append(a[2]) or predict(*a, **k))
    assert len(propose(image, Look(30.0), predictor)) == 3, "the speck is none"
    assert len(propose(image, Look(30.0, least_stain=1.2), predictor)) == 2, "the pale one is none"
    assert len(propose(image, Look(30.0, least_stain=0.8), predictor)) == 3
    everything, two, three = (sum(window.area for window in windows) for windows in shown)
    assert two < three < everything / 10
    # Where all is dark it is laid out as if nobody had asked.
    crowd = dark(
        disc_labels((900, 900), [(r, c, 30) for r in range(20, 900, 60) for c in range(20, 900, 60)])
    )
    np.testing.assert_array_equal(
        propose(crowd, Look(30.0, least_stain=1.2), predictor), propose(crowd, Look(30.0), predictor)
    )
    assert shown[-1] == shown[-2]


def test_a_slide_without_anything_dark_is_not_shown_to_the_network(predictor, monkeypatch) -> None:
    image = 0.5 * dark(disc_labels((200, 400), [(100, 80, 50)]))
    monkeypatch.setattr(Predictor, "blended", lambda *a, **k: pytest.fail("predicted"))
    assert propose(image, Look(50.0, least_stain=1.2), predictor).shape == (0, 4)


def test_an_empty_slide_has_no_regions(predictor: Predictor) -> None:
    for shape in ((120, 90), (1, 1), (1, 200), (200, 1)):
        assert propose(np.zeros((*shape, 3), np.float32), Look(40.0), predictor).shape == (0, 4)
