"""Pale slides are looked at again in the stain that the network knows best; ordinary ones are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_wbcseg.box import Box
from napari_wbcseg.segmentation.looks import looks_for, palest_nucleus
from napari_wbcseg.segmentation.pipeline import segment
from napari_wbcseg.segmentation.standard_stain import PARAMETERS, SWAPPED, Colour, StandardStain
from napari_wbcseg.settings import SegmentationSettings
from napari_wbcseg.synthetic.smear import synthetic_smear

# Optical densities of pale lilac nuclei, and of bluish red cells.
LILAC, BLUISH = (0.5, 0.65, 0.05), (0.5, 0.4, 0.1)


def seen(density: Colour) -> Colour:
    """Return what the network takes of a density."""
    red, green, blue = 2 - 2 * np.exp(-np.array(density))
    return red, green, blue


def told(white: Colour, red: Colour | None = BLUISH, certainty: float = 0.9) -> StandardStain | None:
    cells = np.array([(seen(white), certainty)] * 3, [("stain", float, 3), ("certainty", float)])
    return StandardStain.of(cells, None if red is None else seen(red))


def pale_smear() -> tuple[np.ndarray, int]:
    """Return a smear that has faded and is a little out of focus."""
    smear = synthetic_smear((320, 320), cell_diameter=36, white_cells=9, stain="giemsa", seed=4)
    light = cv2.GaussianBlur((smear.image / 255) ** [0.15, 0.12, 0.03], (0, 0), 1.0)
    return np.rint(255 * light).astype(np.uint8), smear.count


@pytest.mark.parametrize("red", [BLUISH, None])
def test_both_stains_are_brought_to_the_standard_and_empty_slide_stays(red: Colour | None) -> None:
    standard = told(LILAC, red)
    assert standard is not None
    other = 0.4 * np.cross(LILAC, BLUISH)  # a stain of which the two are no part
    image = np.array([[(0.0, 0.0, 0.0), seen(LILAC), seen(BLUISH), seen(tuple(other))]], np.float32)
    empty, white, of_red, left = standard.brought(image)[0]
    assert left == pytest.approx(seen(tuple(other)), abs=1e-3)
    assert empty == pytest.approx(0)
    assert white == pytest.approx(seen(PARAMETERS.white), abs=1e-3)
    if red is not None:
        assert of_red == pytest.approx(seen(PARAMETERS.red), abs=1e-3)


def test_it_is_said_where_red_and_blue_are_swapped() -> None:
    smear = synthetic_smear((256, 320), white_cells=4, seed=3)
    assert SWAPPED not in segment(smear.image).notes
    swapped = segment(smear.image[..., ::-1])
    assert swapped.count == smear.count
    assert SWAPPED in swapped.notes


def test_only_a_pale_slide_is_all_looked_at_again() -> None:
    pale, ordinary = told(LILAC), told(PARAMETERS.white)
    assert pale is not None
    assert ordinary is not None
    assert (pale.pale, ordinary.pale) == (True, False)
    assert [look.all_in_standard for look in looks_for([40.0, 20.0], pale)] == [False, False, True]
    assert not any(look.all_in_standard for look in looks_for([40.0, 20.0], ordinary))
    nuclei = palest_nucleus(PARAMETERS.white, PARAMETERS.red)
    assert [look.least_stain for look in looks_for([40.0, 20.0], pale, 0.5)] == [0.5, 0.5, nuclei]


@pytest.mark.parametrize(
    ("white", "red", "certainty"),
    [
        pytest.param(LILAC, BLUISH, 0.7, id="no sure cell"),
        pytest.param(LILAC, LILAC, 0.9, id="red cells alike"),
        pytest.param(LILAC, (0.7, 1.0, 0.5), 0.9, id="platelets, paler than red cells"),
    ],
)
def test_other_slides_are_left_as_they_are(white: Colour, red: Colour, certainty: float) -> None:
    assert told(white, red, certainty) is None


def is_white_cell(density: Colour, certainty: float, wide: int) -> bool:
    """Say what becomes of a detection, 30 pixels across, of which a square of some pixels is stained."""
    standard = told(LILAC)
    assert standard is not None
    image = np.zeros((50, 50, 3), np.float32)
    image[15 : 15 + wide, 15 : 15 + wide] = seen(density)
    box = Box(10, 10, 40, 40)
    return standard.is_white_cell(image, 30.0, box, np.ones(box.shape, bool), certainty)


@pytest.mark.parametrize("certainty", [0.9, 0.5])
@pytest.mark.parametrize(
    ("density", "expected"),
    [
        pytest.param(LILAC, True, id="a cell"),
        pytest.param(tuple(1.8 * part for part in LILAC), True, id="a darker cell"),
        pytest.param(tuple(0.5 * part for part in LILAC), False, id="a smudge cell"),
        pytest.param((1.0, 1.0, 1.0), False, id="ink"),
        pytest.param(BLUISH, False, id="a red cell"),
    ],
)
def test_what_is_stained_like_the_white_cells_stays(
    density: Colour, expected: bool, certainty: float
) -> None:
    assert is_white_cell(density, certainty, wide=25) == expected


def test_the_unsure_must_be_stained_so_over_most_of_it() -> None:
    assert is_white_cell(LILAC, 0.9, wide=22)
    assert not is_white_cell(LILAC, 0.5, wide=22)


@pytest.mark.parametrize("by_hand", [None, 42.0])
def test_in_a_pale_smear_more_cells_are_found(monkeypatch: pytest.MonkeyPatch, by_hand: float | None) -> None:
    settings = SegmentationSettings(classes=None, cell_diameter=by_hand)
    image, count = pale_smear()
    assert segment(image, settings=settings).count == count
    monkeypatch.setattr(StandardStain, "of", lambda *_: None)
    assert segment(image, settings=settings).count < count
