"""Fields with boxes: outlines are drawn where they can be, and left out where they cannot."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from scipy import ndimage

from napari_wbcseg.box import Box
from napari_wbcseg.datasets.boxes import is_boxes, outline_from_box, read_boxed_pairs, read_boxes, split_names
from napari_wbcseg.datasets.read import read_pairs
from napari_wbcseg.errors import DatasetError, ImageError

from ..drawings import dice

HEADER = "image,kind,r0,c0,r1,c1"


def cell_image(row: float = 100, col: float = 110, diameter: float = 90) -> tuple[np.ndarray, np.ndarray]:
    """Draw a purple cell with a dark nucleus and two red cells beside it, and its mask."""
    rows, cols = np.mgrid[:200, :220]
    rng = np.random.default_rng(0)
    image = np.full((200, 220, 3), (235, 225, 225), float)
    for r, c in ((20, 25), (175, 190)):
        image[(rows - r) ** 2 + (cols - c) ** 2 <= 24**2] = (220, 160, 165)
    mask = (rows - row) ** 2 + (cols - col) ** 2 <= diameter**2 / 4
    image[mask] = (165, 140, 200)
    image[(rows - row) ** 2 + (cols - col + 6) ** 2 <= (0.3 * diameter) ** 2] = (85, 45, 130)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8), mask


def box_of(mask: np.ndarray) -> Box:
    return Box.of(ndimage.find_objects(mask.astype(np.uint8))[0])


def write_set(folder: Path, lines: list[str], images: dict[str, np.ndarray]) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "boxes.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    for name, image in images.items():
        iio.imwrite(folder / "images" / name, image)
    return folder


def line(name: str, box: tuple[int, int, int, int], kind: str = "WBC") -> str:
    return f"{name},{kind},{','.join(map(str, box))}"


@pytest.mark.parametrize("diameter", [40, 90, 140])
def test_a_cell_is_outlined_inside_its_box(diameter: int) -> None:
    image, truth = cell_image(diameter=diameter)
    mask = outline_from_box(image, box_of(truth))
    assert mask is not None
    assert mask.dtype == bool
    assert mask.shape == truth.shape
    assert dice(mask, truth) > 0.95


def test_a_cell_that_the_border_cuts_is_outlined_to_the_border() -> None:
    image, truth = cell_image(row=20)
    mask = outline_from_box(image, box_of(truth))
    assert mask is not None
    assert mask[0].any()
    assert dice(mask, truth) > 0.93


def test_the_same_box_gives_the_same_outline() -> None:
    image, truth = cell_image()
    np.testing.assert_array_equal(
        outline_from_box(image, box_of(truth)), outline_from_box(image, box_of(truth))
    )


def test_an_outline_that_does_not_fill_its_box_is_none() -> None:
    image, truth = cell_image()
    r0, c0, _, _ = box_of(truth)
    assert outline_from_box(image, Box(r0, c0, r0 + 200, c0 + 110)) is None
    assert outline_from_box(np.full((200, 220, 3), 230, np.uint8), Box(40, 40, 120, 120)) is None


def test_fields_with_boxes_become_pairs(tmp_path: Path) -> None:
    image, truth = cell_image()
    lines = [line("b.png", box_of(truth)), line("b.png", (5, 5, 45, 50), "RBC"), line("a.png", box_of(truth))]
    lines += [line("c.png", (5, 5, 45, 50), "RBC")]
    folder = write_set(tmp_path / "set", lines, {"a.png": image, "b.png": image, "c.png": image})
    assert is_boxes(folder)
    pairs = read_boxed_pairs(folder, ["a.png", "b.png", "c.png"])
    assert [pair.name for pair in pairs] == ["a", "b", "c"]
    for pair in pairs[:2]:
        assert pair.labels.max() == 1, "red cells are none"
        assert dice(pair.labels == 1, truth) > 0.95
    assert not pairs[2].labels.any()
    np.testing.assert_array_equal(pairs[0].image, image)


def test_a_field_with_a_cell_that_cannot_be_outlined_is_left_out(tmp_path: Path) -> None:
    image, truth = cell_image()
    lines = [line("a.png", box_of(truth)), line("b.png", box_of(truth)), line("b.png", (150, 20, 195, 80))]
    folder = write_set(tmp_path / "set", lines, {"a.png": image, "b.png": image})
    assert [pair.name for pair in read_boxed_pairs(folder, ["a.png", "b.png"])] == ["a"]


def test_a_16_bit_or_grey_field_is_read_as_8_bit_colour(tmp_path: Path) -> None:
    image, truth = cell_image()
    grey = image.mean(axis=2).astype(np.uint8)
    deep = grey.astype(np.uint16) * 257
    lines = [line("a.png", box_of(truth)), line("b.png", box_of(truth))]
    folder = write_set(tmp_path / "set", lines, {"a.png": grey, "b.png": deep})
    first, second = read_boxed_pairs(folder, ["a.png", "b.png"])
    assert first.image.shape == (200, 220, 3)
    assert first.image.dtype == np.uint8
    np.testing.assert_array_equal(first.image, second.image)


def test_the_last_third_of_the_fields_is_kept_for_testing(tmp_path: Path) -> None:
    names = [f"{i:02}.png" for i in range(10)]
    lines = [line(name, (0, 0, 9, 9)) for name in reversed(names)]
    folder = write_set(tmp_path / "set", lines, {})
    train, test = split_names(folder)
    assert train == names[:7]
    assert test == names[7:]


def test_read_pairs_knows_the_layout_and_takes_the_training_part(tmp_path: Path) -> None:
    image, truth = cell_image()
    names = [f"{i}.png" for i in range(3)]
    folder = write_set(tmp_path / "set", [line(n, box_of(truth)) for n in names], dict.fromkeys(names, image))
    assert [pair.name for pair in read_pairs(folder)] == ["0", "1"]


def test_names_may_be_numbers(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", [line(name, (0, 0, 9, 9)) for name in ("10", "007", "8")], {})
    assert split_names(folder) == (["007", "10"], ["8"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot be read"),
        ("image,kind,r0\na,WBC,1\n", "lacks the columns c0, c1, r1"),
        (f"{HEADER}\na.png,WBC,1,1,9,9\na.png,WBC,1,2,three,4\n", "Line 3 .* is no box"),
        (f"{HEADER}\na.png,WBC,1,2,,4\n", "Line 2 .* is no box"),
        (f"{HEADER}\na.png,WBC,9,2,3,4\n", "Line 2 .* is no box"),
        (f"{HEADER}\na.png,WBC,1,2,inf,4\n", "Line 2 .* is no box"),
        (f"{HEADER}\n,WBC,1,2,3,4\n", "Line 2 .* is no box"),
    ],
)
def test_a_table_that_cannot_be_used_is_explained(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "boxes.csv").write_text(content)
    with pytest.raises(DatasetError, match=words):
        read_boxes(tmp_path)


def test_a_missing_table_a_missing_image_and_a_box_outside_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"boxes\.csv is not there"):
        read_boxes(tmp_path / "gone")
    image, truth = cell_image()
    folder = write_set(
        tmp_path / "set", [line("a.png", (300, 0, 350, 50)), line("b.png", box_of(truth))], {"a.png": image}
    )
    with pytest.raises(ImageError, match=r"no file .*b\.png"):
        read_boxed_pairs(folder, ["b.png"])
    with pytest.raises(DatasetError, match=r"box 300, 0, 350, 50 .*outside .*a\.png"):
        read_boxed_pairs(folder, ["a.png"])


def test_other_folders_have_no_boxes(tmp_path: Path) -> None:
    assert not is_boxes(tmp_path)
    assert not is_boxes(tmp_path / "gone")
