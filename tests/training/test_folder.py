"""The job that a training keeps on disk, and what becomes of a damaged one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.errors import DatasetError
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training.folder import TrainingJob, read_job, write_job

PAIRS = "job/pairs.npz"


@pytest.fixture
def folder(pairs: list[TrainingPair], tmp_path: Path) -> Path:
    known = {"platelets": (Box(1, 2, 3, 4),), "all_boxed": True, "look_alikes": (Box(5, 5, 9, 9),)}
    boxed = replace(pairs[0], **known, white_cell=50.0)
    write_job(tmp_path, TrainingJob([boxed, pairs[1]], TrainingSettings(), "mine"))
    return tmp_path


def test_a_job_is_read_back(folder: Path, pairs: list[TrainingPair]) -> None:
    job = read_job(folder)
    assert job.name == "mine"
    first, second = job.data
    np.testing.assert_array_equal(first.image, pairs[0].image)
    np.testing.assert_array_equal(second.labels, pairs[1].labels)
    assert (first.red_cells, first.platelets) == ((), (Box(1, 2, 3, 4),))
    assert (first.all_boxed, first.look_alikes, first.white_cell) == (True, (Box(5, 5, 9, 9),), 50.0)
    assert (second.all_boxed, second.look_alikes, second.white_cell) == (False, (), None)


@pytest.mark.parametrize("place", [*np.linspace(0, 0.999, 12), "cut", "empty"])
def test_images_that_are_damaged_get_a_sentence_and_never_other_pixels(
    folder: Path, pairs: list[TrainingPair], place: float | str
) -> None:
    path = folder / PAIRS
    content = bytearray(path.read_bytes())
    if isinstance(place, str):
        content = content[: len(content) // 2] if place == "cut" else content[:0]
    else:
        at = int(place * len(content))
        content[at : at + 40] = bytes(value ^ 0xFF for value in content[at : at + 40])
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"pairs\.npz, the images of this training, cannot be read"):
        read_job(folder)
