"""Scores are those of their definitions, and a truth that tells touching cells not apart is taken so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg import SegmentationSettings, evaluate
from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.errors import Cancelled, DatasetError
from napari_wbcseg.evaluation.evaluate import compare, network_dice
from napari_wbcseg.evaluation.metrics import soft_dice
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.pipeline import segment

from ..dark_model import spots, write_dark_model


@pytest.fixture
def model(tmp_path: Path) -> ModelFile:
    return write_dark_model(tmp_path / "dark.safetensors")


def pair(name: str, centres: tuple[tuple[int, int], ...], truth: tuple[tuple[int, int], ...]) -> TrainingPair:
    """Return an image with discs at some centres whose truth has them at others."""
    shape = (128, 128)
    return TrainingPair(name, spots(shape, centres)[0], spots(shape, truth)[1], name)


@pytest.fixture
def pairs() -> list[TrainingPair]:
    return [
        pair("right", ((40, 40),), ((40, 40),)),
        pair("moved", ((40, 40),), ((40, 50),)),  # IoU 0.53
        pair("missed", ((40, 40),), ((40, 40), (90, 90))),
        pair("extra", ((40, 40), (90, 90)), ((40, 40),)),
        pair("empty", (), ()),
    ]


def test_each_image_has_its_row_and_the_summary_is_theirs(
    model: ModelFile, pairs: list[TrainingPair]
) -> None:
    result = evaluate(model, pairs)
    rows = result.rows.set_index("image")
    assert list(rows.index) == ["right", "moved", "missed", "extra", "empty"]
    assert list(rows["cells"]) == [1, 1, 2, 1, 0]
    assert list(rows["found"]) == [1, 1, 1, 2, 0]
    assert list(rows["count_error"]) == [0, 0, -1, 1, 0]
    assert list(rows["average_precision"]) == [1, 1, 0.5, 0.5, 1]
    assert rows["dice"].to_list() == pytest.approx([1, 0.69, 2 / 3, 2 / 3, 1], abs=0.02)
    summary = result.summary
    assert (summary["images"], summary["cells"], summary["found"]) == (5, 5, 5)
    assert summary["dice"] == pytest.approx(rows["dice"].mean())
    assert summary["iou"] == pytest.approx(rows["iou"].mean())
    assert summary["average_precision"] == pytest.approx(4 / 6)  # of all cells together
    assert (summary["precision"], summary["recall"], summary["f1"]) == pytest.approx((0.8, 0.8, 0.8))
    assert summary["count_error"] == pytest.approx(0.4)
    assert summary["count_right"] == pytest.approx(0.6)
    assert result.model == f"dark@{model.hash}"
    assert result.settings == SegmentationSettings(recipe="classic")


def test_what_is_too_large_for_memory_has_the_same_scores(
    model: ModelFile, pairs: list[TrainingPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = evaluate(model, pairs)
    monkeypatch.setattr("napari_wbcseg.segmentation.pipeline._IN_MEMORY", 1)
    found = evaluate(model, pairs)
    assert found.rows.drop(columns="seconds").equals(expected.rows.drop(columns="seconds"))
    assert found.summary["soft_dice"] == pytest.approx(expected.summary["soft_dice"], abs=1e-3)


def test_soft_dice_is_over_the_pixels_of_all_images_together(
    model: ModelFile, pairs: list[TrainingPair]
) -> None:
    result = evaluate(model, pairs)
    truth = np.stack([p.labels > 0 for p in pairs])
    probability = np.stack([segment(p.image, model, result.settings).probability for p in pairs])
    assert result.summary["soft_dice"] == pytest.approx(soft_dice(truth, probability), abs=1e-9)


def test_the_published_score_is_of_the_network_alone(model: ModelFile, pairs: list[TrainingPair]) -> None:
    # No region reaches this area, so nothing is proposed and segmentation finds nothing.
    settings = SegmentationSettings(recipe="classic", min_area=10_000)
    result = evaluate(model, pairs[:1], settings)
    assert result.summary["dice"] == 0
    assert result.summary["soft_dice"] < 0.01
    assert result.summary["network_dice"] == pytest.approx(1, abs=0.002)
    assert np.isnan(network_dice(model, pairs[-1:] * 0, settings))


class TestBlackAndWhiteTruth:
    """Two touching cells, found apart; a mask cannot say whether that is right."""

    @pytest.fixture
    def touching(self) -> np.ndarray:
        labels = np.zeros((60, 60), np.int32)
        labels[10:30, 10:30], labels[10:30, 30:50] = 1, 2
        return labels

    def test_regions_are_compared_with_regions(self, touching: np.ndarray) -> None:
        mask = np.where(touching > 0, 255, 0).astype(np.uint8)
        truth = TrainingPair("a", np.zeros((60, 60, 3), np.uint8), (touching > 0).astype(np.int32), "a", mask)
        row = compare(truth, touching)
        assert row["regions"] is True
        assert (row["cells"], row["found"], row["average_precision"]) == (1, 1, 1)

    def test_numbered_cells_are_compared_one_by_one(self, touching: np.ndarray) -> None:
        truth = TrainingPair("a", np.zeros((60, 60, 3), np.uint8), touching, "a")
        assert compare(truth, touching)["average_precision"] == 1
        merged = compare(truth, (touching > 0).astype(np.int32))
        assert (merged["cells"], merged["found"], merged["count_error"]) == (2, 1, -1)
        assert merged["dice"] == 1


def test_a_set_is_cut_into_tiles_on_request(model: ModelFile) -> None:
    image, labels = spots((256, 384), ((60, 60), (60, 190), (200, 320)))
    field = TrainingPair("field", image, labels, "field")
    assert len(evaluate(model, [field]).rows) == 1
    tiles = evaluate(model, [field], tiles=True).rows
    assert list(tiles["image"]) == ["field@r0c0", "field@r0c128", "field@r128c256"]
    assert (tiles["average_precision"] == 1).all()


def test_progress_reaches_its_end_and_can_stop_the_work(model: ModelFile, pairs: list[TrainingPair]) -> None:
    seen: list[tuple[int, int]] = []
    evaluate(model, pairs, progress=lambda done, total, stage: seen.append((done, total)))
    assert seen == [(n, 5) for n in range(6)]

    def stop(done: int, total: int, stage: str) -> None:
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        evaluate(model, pairs, progress=stop)


def test_no_data_is_a_sentence(model: ModelFile, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no image to evaluate"):
        evaluate(model, [])
    with pytest.raises(DatasetError, match="nowhere"):
        evaluate(model, tmp_path / "nowhere")


def test_boxes_are_no_outlines_to_be_scored_by(model: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "boxes.csv").touch()
    with pytest.raises(DatasetError, match="not how they are outlined"):
        evaluate(model, tmp_path)
