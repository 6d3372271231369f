from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_wbcseg.datasets.pair import TrainingPair
from napari_wbcseg.datasets.sigtuple import read_sigtuple
from napari_wbcseg.errors import TrainingError
from napari_wbcseg.images.read import read_image
from napari_wbcseg.synthetic.smear import synthetic_smear
from napari_wbcseg.training.duplicates import find_duplicates, refuse_duplicates


def named(name: str, image: np.ndarray) -> TrainingPair:
    return TrainingPair(name, image, np.zeros(image.shape[:2], np.int32), name)


@pytest.fixture(scope="module")
def tiles() -> list[TrainingPair]:
    """Return six different tiles."""
    image = synthetic_smear((256, 384), seed=4).image
    return [
        named(f"{r}-{c}", np.ascontiguousarray(image[r : r + 128, c : c + 128]))
        for r in (0, 128)
        for c in (0, 128, 256)
    ]


def as_jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=50)
    return np.asarray(Image.open(buffer))


COPIES = {
    "the file itself": lambda image: image,
    "saved anew as JPEG": as_jpeg,
    "mirrored": lambda image: image[:, ::-1],
    "turned, mirrored and saved anew": lambda image: as_jpeg(np.rot90(image)[::-1]),
    "darker": lambda image: (image * 0.7).astype(np.uint8),
    "half the size": lambda image: image[::2, ::2],
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_on_the_other_side_is_found_and_refused(tiles: list[TrainingPair], kind: str) -> None:
    copy = named("copy", COPIES[kind](tiles[2].image))
    assert [(one.name, other.name) for one, other in find_duplicates(tiles, [copy])] == [("0-256", "copy")]
    with pytest.raises(TrainingError, match=r"both|training and in the validation.*0-256 and copy\. Remove"):
        refuse_duplicates(tiles, [copy])


def test_different_pictures_are_no_copies(tiles: list[TrainingPair]) -> None:
    assert find_duplicates(tiles[:3], tiles[3:]) == []
    refuse_duplicates(tiles[:3], tiles[3:])
    refuse_duplicates([], tiles)


def test_empty_fields_of_one_colour_are_no_copies() -> None:
    blank = [named(str(level), np.full((64, 64, 3), level, np.uint8)) for level in (0, 200, 255)]
    assert find_duplicates(blank[:1], blank[1:]) == []


@pytest.mark.skipif("WBCSEG_DATA" not in os.environ, reason="WBCSEG_DATA names no folder of real images")
def test_real_copies_are_found_and_cells_that_look_alike_are_none() -> None:
    folder = Path(os.environ["WBCSEG_DATA"])
    crops = [
        [named(name, read_image(folder / "zheng_dataset1" / f"{name}.bmp")) for name in names]
        for names in (("112", "157", "166", "001"), ("139", "158", "171", "002"))
    ]
    found = [(one.name, other.name) for one, other in find_duplicates(*crops)]
    assert found == [("112", "139"), ("157", "158"), ("166", "171")]
    tiles = read_sigtuple(folder / "sigtuple")
    assert (
        find_duplicates([t for t in tiles if t.group == "fold-2"], [t for t in tiles if t.group != "fold-2"])
        == []
    )
