"""Finding image files by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_wbcseg.errors import ImageError
from napari_wbcseg.images.find import find_images, image_stem, is_mask_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "s-10.png",
        "s-2.png",
        "s-1.JPG",
        "s-1-mask.jpg",
        ".hidden.png",
        "notes.txt",
        "deep/s-3.tif",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_a_folder_stands_for_its_images(folder: Path) -> None:
    assert {path.name for path in find_images(folder)} == {"s-1.JPG", "s-2.png", "s-10.png"}
    assert {path.name for path in find_images(folder, recursive=True)} == {
        "s-1.JPG", "s-2.png", "s-3.tif", "s-10.png",
    }  # fmt: skip


def test_a_zarr_is_an_image_and_a_folder_that_is_called_as_one_is_none(folder: Path) -> None:
    for name in ("slide.zarr/.zgroup", "s-5.png/notes.txt"):
        (folder / name).parent.mkdir()
        (folder / name).touch()
    found = {path.name for path in find_images(folder)}
    assert found == {"s-1.JPG", "s-2.png", "s-10.png", "slide.zarr"}


def test_folders_that_are_linked_are_looked_into_once_and_hidden_ones_not(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "s-4.png").touch()
    (folder / "linked").symlink_to(elsewhere)
    (folder / "deep" / "back").symlink_to(folder)
    (folder / ".Trash").mkdir()
    (folder / ".Trash" / "s-1.png").touch()
    found = sorted(path.name for path in find_images(folder, recursive=True))
    assert found == ["s-1.JPG", "s-10.png", "s-2.png", "s-3.tif", "s-4.png"]


def test_pictures_of_kinds_that_are_not_read_are_found_to_be_reported(folder: Path) -> None:
    for name in ("slide.jxl", "IM0001.dcm"):
        (folder / name).touch()
        assert folder / name in find_images(folder)


def test_a_pattern_stands_for_what_matches(folder: Path) -> None:
    assert {path.name for path in find_images(str(folder / "*.png"))} == {"s-2.png", "s-10.png"}
    assert find_images(folder / "**" / "*.tif") == [folder / "deep" / "s-3.tif"]


def test_a_missing_file_is_taken_to_be_reported_by_itself(folder: Path) -> None:
    assert find_images(folder / "gone.png") == [folder / "gone.png"]


def test_nothing_found_is_an_error(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(ImageError, match="empty holds no image"):
        find_images(folder / "empty")
    with pytest.raises(ImageError, match=r"No image matches .*x\*\.png"):
        find_images(folder / "x*.png")
    with pytest.raises(ImageError, match="empty name"):
        find_images("")  # not all that lies in the present folder
    with pytest.raises(ImageError, match="only masks"):
        find_images(folder / "s-1-mask.jpg")


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("a-mask.jpg", "a"),
        ("a_mask.png", "a"),
        ("a_masks.tif", "a"),
        ("a_cp_masks.png", "a"),
        ("a_labels.tif", "a"),
        ("a-labels.tif", "a"),
        ("A-MASK.JPG", "A"),
        ("a-2.jpg", "a-2"),
        ("unmasked.png", "unmasked"),
    ],
)
def test_masks_are_known_by_their_names_and_not_counted(tmp_path: Path, name: str, image: str) -> None:
    assert image_stem(Path(name).stem) == image
    assert is_mask_name(name) == (Path(name).stem != image)
    (tmp_path / name).touch()
    (tmp_path / "other.png").touch()
    found = {path.name for path in find_images(tmp_path)}
    assert found == ({"other.png"} if is_mask_name(name) else {"other.png", name})


def test_a_folder_with_brackets_in_its_name_is_meant_as_it_is_written(tmp_path: Path) -> None:
    for name in ("slides [2]", "slides 2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    assert find_images(str(tmp_path / "slides [2]" / "*.png")) == [tmp_path / "slides [2]" / "a.png"]
    assert find_images(str(tmp_path / "slides [1-3]" / "*.png")) == [tmp_path / "slides 2" / "a.png"]
    (tmp_path / "a[1].png").touch()
    assert find_images(tmp_path / "a[1].png") == [tmp_path / "a[1].png"]
