"""What earlier versions saved opens in this one, and says the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_wbcseg import Segmentation, SegmentationSettings, TrainingSettings, load_result, replay
from napari_wbcseg.datasets.corrections import read_record
from napari_wbcseg.datasets.read import read_pairs
from napari_wbcseg.network.library import load_model
from napari_wbcseg.results.load import settings_in
from napari_wbcseg.results.records import ResultRecord, RunRecord
from napari_wbcseg.segmentation.large.result import LargeResult

from .dark_model import spots

DATA = Path(__file__).with_name("data")
LABELS = spots((120, 160), ((40, 40), (80, 110)))[1]


@pytest.fixture(params=sorted(path.name for path in DATA.iterdir() if path.name[0].isdigit()))
def saved(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of one version; its model is in the library, as it was then."""
    folder = DATA / request.param
    monkeypatch.setenv("WBCSEG_MODELS", str(folder))
    return folder


@pytest.mark.parametrize("name", ["smear-result.json", "smear-labels.tif", "smear.ome.zarr"])
def test_a_result(saved: Path, name: str) -> None:
    result = load_result(saved / "run" / name)
    np.testing.assert_array_equal(result.labels, LABELS)
    assert result.cells["label"].tolist() == [1, 2]
    assert result.cells["area"].tolist() == [1257, 1257]
    assert result.settings.grey_threshold == 130
    assert result.model == load_model("dark").id
    assert not result.edited
    assert result.image_path is not None
    assert result.image_path.samefile(saved / "smear.png")
    assert result.class_diameter == result.cell_diameter, "which classes were told at then"


@pytest.mark.parametrize("name", ["named-result.json", "named.ome.zarr"])
def test_what_was_said_of_its_cells(saved: Path, name: str) -> None:
    result: Segmentation = load_result(saved / name)
    assert result.cells["class"].tolist() == ["monocyte", "smudge cell"]
    assert result.cells["class_by"].tolist() == ["model", "person"]
    assert result.cells["p_basophil"].tolist() == [0.1, 0.6]
    assert result.classes("smudge cell").colour == "#123456"
    assert (result.white_cells, result.notes, result.classifier) == (1, ("A note.",), "own@0123456789ab")


def test_a_result_is_had_again(saved: Path) -> None:
    np.testing.assert_array_equal(replay(saved / "run" / "smear-result.json").labels, LABELS)


def test_a_run_and_its_model(saved: Path) -> None:
    record = RunRecord.read(saved / "run" / "run.json")
    assert record.model.load().id == load_model("dark").id
    assert [(one.status, one.count) for one in record.inputs] == [("ok", 2)]
    assert len(pd.read_csv(saved / "run" / "cells.csv")) == 2
    assert ResultRecord.read(saved / "run" / "smear-result.json").pictures


def test_the_result_of_a_large_image(saved: Path) -> None:
    result = LargeResult.open(saved / "slide")
    np.testing.assert_array_equal(result.labels.arrays[0][:], LABELS)
    assert result.cells["area"].tolist() == [1257, 1257]


def test_corrections(saved: Path) -> None:
    (known,) = read_record(saved / "corrections")
    assert (known.scale, known.unit, known.decided_by, known.decisions[0].label) == (
        (0.25, 0.25),
        "µm",
        "ann",
        2,
    )
    (pair,) = read_pairs(saved / "corrections")
    np.testing.assert_array_equal(pair.labels, LABELS)


def test_settings(saved: Path) -> None:
    settings, record = settings_in(saved / "settings.json")
    wanted = SegmentationSettings(recipe="classic", grey_threshold=130, min_area=400, classes=None)
    assert (settings, record) == (wanted, None)
    training = TrainingSettings.from_json(saved / "training.json")
    assert (training.recipe, training.seed, training.epochs) == ("robust", 7, 60)
