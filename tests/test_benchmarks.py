"""The measure itself: what `benchmarks/accuracy.py` counts, and the groups it composes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

FOLDER = Path(__file__).parents[1] / "benchmarks"
if not FOLDER.is_dir():
    pytest.skip("The benchmarks are not beside the tests.", allow_module_level=True)
sys.path.insert(0, str(FOLDER))

import accuracy  # noqa: E402
from accuracy_scores import Outcome  # noqa: E402
from accuracy_sets import BenchImage  # noqa: E402
from accuracy_touching import Host, touching_group  # noqa: E402
from baseline import segment_classically  # noqa: E402
from box_matching import box_iou, match_boxes  # noqa: E402
from speed_child import MeasurementError, measure  # noqa: E402

from napari_wbcseg.training.samples.sources import CutOut  # noqa: E402


def scored(name: str, items: list[BenchImage], labels: np.ndarray) -> Outcome:
    """Score what finds the same in every image."""
    return accuracy.measure("labels", lambda image: (labels, None), name, items)


def _disc(diameter: int) -> CutOut:
    rows, cols = np.mgrid[: diameter + 6, : diameter + 6] - (diameter + 5) / 2
    mask = (np.hypot(rows, cols) < diameter / 2).astype(np.float32)
    image = np.ones((*mask.shape, 3), np.float32)
    image[mask > 0] = (0.4, 0.2, 0.6)
    return CutOut(image, mask, float(diameter), 1.0)


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_touching_group_is_one_region_of_as_many_whole_cells(number: int) -> None:
    host = Host(np.ones((300, 300, 3), np.float32), np.full(3, 240.0), np.zeros((300, 300), np.int32))
    made = touching_group(host, [_disc(40), _disc(50)], number, np.random.default_rng(number))
    assert made is not None
    image, labels = made
    assert ndimage.label(labels > 0)[1] == 1
    areas = np.bincount(labels.ravel())[1:]
    assert len(areas) == number
    assert areas.min() > 0.6 * np.pi * 20**2
    # The truth is where the picture was changed.
    assert image[labels > 0].mean() < 150
    assert np.all(image[ndimage.binary_dilation(labels > 0, iterations=4) == 0] == 240)


def test_a_set_is_left_out_as_missing_or_as_damaged(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert accuracy.read_set("zheng", tmp_path, None) == []
    assert "its data is not in WBCSEG_DATA" in capsys.readouterr().out
    (tmp_path / "zheng_dataset1").mkdir()
    for name in ("1.bmp", "1.png"):
        (tmp_path / "zheng_dataset1" / name).write_bytes(b"none")
    assert accuracy.read_set("zheng", tmp_path, None) == []
    assert "its data cannot be read: " in capsys.readouterr().out


def test_counts_that_agree_by_chance_are_not_taken_for_cells_found() -> None:
    labels = np.zeros((200, 200), np.int32)
    labels[20:60, 20:60] = 1
    labels[150:180, 150:180] = 2
    item = BenchImage("field", np.zeros((200, 200, 3), np.uint8), 2, points=np.array([[40, 40], [40, 150]]))
    assert scored("clean", [item], labels).told == {"clean: fields right": "0/1 (−1 +1)"}


def test_one_label_over_two_cells_finds_one_of_them() -> None:
    labels = np.zeros((100, 100), np.int32)
    labels[20:80, 10:90] = 1
    item = BenchImage("field", np.zeros((100, 100, 3), np.uint8), 2, points=np.array([[50, 25], [50, 75]]))
    assert scored("clean", [item], labels).told == {"clean: fields right": "0/1 (−1 +0)"}


def test_doubtful_boxes_are_shown_with_and_without() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    box = np.array([[10, 10, 50, 50]])
    items = [BenchImage("a", image, 1, boxes=box), BenchImage("b", image, 1, boxes=box + 40, doubtful=True)]
    labels = np.zeros((100, 100), np.int32)
    labels[10:50, 10:50] = 1
    told = scored("txl", items, labels).told
    assert told == {"txl: F1": "0.500 (1.000)", "txl: counts right": "100.0% (100.0%)"}


def test_what_is_found_in_an_ignored_place_is_no_mistake() -> None:
    labels = np.zeros((100, 100), np.int32)
    labels[10:50, 10:50], labels[60:80, 60:80] = 1, 2
    image, box = np.zeros((100, 100, 3), np.uint8), np.array([[10, 10, 50, 50]])
    items = [
        BenchImage("a", image, 1, boxes=box, ignore=np.array([[60, 60, 90, 90]])),
        BenchImage("b", image, 1, boxes=box, ignore=np.zeros((0, 4), int)),
    ]
    outcome = scored("pig", items, labels)
    assert outcome.told == {"pig: F1": "0.800 (−0 +1)", "pig: counts right": "1/2"}
    assert outcome.failures == ["b: 1 of 1 found, 1 extra"]


def test_the_baseline_finds_dark_nuclei_and_nothing_in_an_empty_picture() -> None:
    rows, cols = np.mgrid[:200, :300]
    image = np.full((200, 300, 3), 235, np.uint8)
    for col in (80, 220):
        image[np.hypot(rows - 100, cols - col) < 30] = (180, 150, 200)
        image[np.hypot(rows - 100, cols - col) < 20] = (80, 40, 130)
    image[np.hypot(rows - 100, cols - 150) < 20] = (215, 190, 190)
    assert segment_classically(image).max() == 2
    assert segment_classically(np.full((64, 64, 3), 235, np.uint8)).max() == 0


def test_a_measurement_runs_in_a_process_of_its_own() -> None:
    found = measure("json", "loads", s='{"seconds": 2}')
    assert found["seconds"] == 2
    assert 5 < found["peak_mb"] < 100, "of a Python that loaded nothing"
    with pytest.raises(MeasurementError, match=r"json\.loads: .*Expecting value"):
        measure("json", "loads", s="nothing")


def test_boxes_match_as_the_rectangles_they_stand_for() -> None:
    a, b = [[2, 2, 12, 12], [2, 20, 12, 30]], [[14, 20, 18, 30], [2, 4, 12, 14]]
    assert box_iou(a, b) == pytest.approx(np.array([[0, 80 / 120], [0, 0]]))
    matches = match_boxes(a, b)
    assert matches.pairs.tolist() == [[0, 1]]
    assert (matches.true_positive, matches.false_positive, matches.false_negative) == (1, 1, 1)
    assert match_boxes([], []).f1 == 1
    assert match_boxes([], b).false_positive == 2
    assert box_iou([[5, 5, 5, 5]], [[5, 5, 5, 5]])[0, 0] == 0  # boxes without area
