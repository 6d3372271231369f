"""Reading images with their truth from folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wbcseg.datasets.masks import read_labels
from napari_wbcseg.datasets.read import pairs_of, read_pairs
from napari_wbcseg.errors import DatasetError, ImageError
from napari_wbcseg.images.read import turned


def _image(shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (*shape, 3), endpoint=True).astype(np.uint8)


def _mask(shape: tuple[int, int] = (40, 50), value: int = 255) -> np.ndarray:
    """Two separate squares."""
    mask = np.zeros(shape, np.uint8)
    mask[4:14, 5:15] = mask[22:34, 30:42] = value
    return mask


def _save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


def _labels(path: Path) -> np.ndarray:
    return read_labels(path)[0]


@pytest.mark.parametrize("ending", ["-mask", "_mask", "_labels"])
def test_an_image_and_its_mask_lie_side_by_side(tmp_path: Path, ending: str) -> None:
    for name in ("b-10", "b-9"):
        _save(tmp_path / f"{name}.png", _image())
        _save(tmp_path / f"{name}{ending}.png", _mask())
    pairs = read_pairs(str(tmp_path))
    assert [pair.name for pair in pairs] == [pair.group for pair in pairs] == ["b-9", "b-10"]
    for pair in pairs:
        np.testing.assert_array_equal(pair.image, _image())
        assert (pair.image.dtype, pair.labels.dtype, pair.labels.max()) == (np.uint8, np.int32, 2)
        np.testing.assert_array_equal(pair.labels > 0, _mask() > 0)


def test_a_mask_whose_accents_a_mac_coded_is_that_of_its_image(tmp_path: Path) -> None:
    _save(tmp_path / "Z\u00fcrich.png", _image())
    _save(tmp_path / "Zu\u0308rich-mask.png", _mask())
    assert len(read_pairs(tmp_path)) == 1


def test_pairs_in_folders_of_the_two_folders_are_taken_too(tmp_path: Path) -> None:
    for place in ("a.png", "tuesday/a.png", "monday/b/a.png", "monday/b/.hidden/a.png"):
        _save(tmp_path / "images" / place, _image())
        _save(tmp_path / "labels" / place.replace(".png", "_mask.png"), _mask())
    assert [pair.name for pair in read_pairs(tmp_path)] == ["a", "monday/b/a", "tuesday/a"]
    (tmp_path / "labels" / "tuesday" / "a_mask.png").unlink()
    with pytest.raises(DatasetError, match=r"tuesday.a\.png is without a mask; add a file named a-mask"):
        read_pairs(tmp_path)


def test_links_are_followed_as_they_are_where_images_are_segmented(tmp_path: Path) -> None:
    _save(tmp_path / "there" / "a.png", _image())
    _save(tmp_path / "cells" / "a.png", _mask())
    for folder, elsewhere in {"images": "there", "labels": "cells"}.items():
        (tmp_path / "set" / folder).mkdir(parents=True)
        (tmp_path / "set" / folder / "tuesday").symlink_to(tmp_path / elsewhere)
    assert [pair.name for pair in read_pairs(tmp_path / "set")] == ["tuesday/a"]


@pytest.mark.parametrize("truth", ["labels", "masks"])
@pytest.mark.parametrize("ending", ["", "_mask"])
def test_images_and_truth_lie_in_two_folders(tmp_path: Path, truth: str, ending: str) -> None:
    _save(tmp_path / "images" / "a.png", _image())
    _save(tmp_path / truth / f"a{ending}.tif", _mask())
    (pair,) = read_pairs(tmp_path)
    assert (pair.name, pair.labels.max()) == ("a", 2)


def test_grey_and_16_bit_images_become_8_bit_rgb(tmp_path: Path) -> None:
    grey = _image()[..., 0].astype(np.uint16) * 257
    grey[0, 0] = 65535
    _save(tmp_path / "a.tif", grey)
    _save(tmp_path / "a-mask.png", _mask())
    (pair,) = read_pairs(tmp_path)
    np.testing.assert_array_equal(pair.image, np.dstack([grey // 257] * 3))


# Masks


def test_jpeg_mask_is_thresholded_at_127_and_split_into_regions(tmp_path: Path) -> None:
    path = tmp_path / "m.jpg"
    Image.fromarray(_mask()).save(path, quality=60)
    labels, mask = read_labels(path)
    grey = np.asarray(Image.open(path))
    assert len(np.unique(grey)) > 2, "the noise of the JPEG is what the threshold is for"
    np.testing.assert_array_equal(labels > 0, grey > 127)
    np.testing.assert_array_equal(mask, grey)
    assert labels.max() == 2


def test_colour_jpeg_of_a_black_and_white_mask_is_accepted(tmp_path: Path) -> None:
    path = _save(tmp_path / "m.jpg", np.dstack([_mask()] * 3))
    assert _labels(path).max() == 2


@pytest.mark.parametrize("value", [1, 7, 255])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_one_value_means_black_and_white(tmp_path: Path, value: int, suffix: str) -> None:
    assert _labels(_save(tmp_path / f"m{suffix}", _mask(value=value))).max() == 2


def test_one_bit_mask(tmp_path: Path) -> None:
    assert _labels(_save(tmp_path / "m.png", _mask() > 0)).max() == 2


def test_probabilities_are_thresholded_in_the_middle(tmp_path: Path) -> None:
    mask = _mask() / np.float32(255)
    mask[:3] = 0.4
    labels = _labels(_save(tmp_path / "m.tif", mask.astype(np.float32)))
    np.testing.assert_array_equal(labels > 0, mask > 0.5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_numbered_cells_stay_as_they_are(tmp_path: Path, dtype: type) -> None:
    labels = _mask(value=1).astype(dtype)
    labels[22:34, 36:42] = 5  # touches the other: only the numbers tell them apart
    read, mask = read_labels(_save(tmp_path / "m.tif", labels))
    np.testing.assert_array_equal(read, labels.astype(np.int32))
    assert mask is None


def test_grey_edges_of_a_drawn_mask_are_no_cells(tmp_path: Path) -> None:
    mask = _mask()
    mask[3, 5:15], mask[14, 5:15] = 60, 190
    np.testing.assert_array_equal(_labels(_save(tmp_path / "m.png", mask)) > 0, mask > 127)


def test_grey_edges_in_16_bits_are_not_taken_for_cells(tmp_path: Path) -> None:
    mask = _mask().astype(np.uint16) * 257
    path = _save(tmp_path / "m.tif", mask)
    assert _labels(path).max() == 2
    mask[3, 5:15], mask[14, 5:15] = 15_000, 49_000
    with pytest.raises(DatasetError, match=r"65535.*save it in 8 bits"):
        _labels(_save(path, mask))
    assert read_labels(path, "foreground")[0].max() == 2


def _nuclei_in_cells(body: int, nucleus: int, dtype: type = np.uint8) -> np.ndarray:
    """Two cells, each with its nucleus inside."""
    mask = np.zeros((40, 50), dtype)
    mask[5:15, 5:15] = mask[22:36, 25:42] = body
    mask[8:12, 7:12] = mask[26:33, 30:38] = nucleus
    return mask


@pytest.mark.parametrize(("body", "nucleus"), [(1, 2), (2, 1), (64, 255), (10, 20)])
def test_values_for_parts_of_cells_are_refused_until_one_says_how_to_read_them(
    tmp_path: Path, body: int, nucleus: int
) -> None:
    mask = _nuclei_in_cells(body, nucleus)
    path = _save(tmp_path / "m.png", mask)
    with pytest.raises(
        DatasetError, match=r"m\.png has the values .*nucleus and cell body.*--masks foreground"
    ):
        read_labels(path)
    cells, _ = read_labels(path, "foreground")
    assert cells.max() == 2
    np.testing.assert_array_equal(cells > 0, mask > 0)
    np.testing.assert_array_equal(read_labels(path, "numbers")[0], mask)


def test_a_bright_body_with_a_white_nucleus_is_one_cell(tmp_path: Path) -> None:
    mask = _nuclei_in_cells(128, 255)
    labels, truth = read_labels(_save(tmp_path / "m.png", mask))
    np.testing.assert_array_equal(labels > 0, mask > 0)
    np.testing.assert_array_equal(truth, np.where(mask, 255, 0), "half a cell nowhere")


def test_cells_that_touch_are_no_parts(tmp_path: Path) -> None:
    labels = np.zeros((40, 50), np.uint8)
    labels[5:15, 5:15], labels[5:15, 15:25], labels[15:25, 5:25] = 1, 2, 3
    np.testing.assert_array_equal(_labels(_save(tmp_path / "m.png", labels)), labels)


def test_255_numbered_cells_in_8_bits_are_cells(tmp_path: Path) -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[::5, ::5].flat[:255] = np.arange(1, 256)
    np.testing.assert_array_equal(_labels(_save(tmp_path / "m.png", labels)), labels)


@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.bmp", "m.gif"])
def test_colours_of_a_palette_number_the_cells(tmp_path: Path, name: str) -> None:
    labels = _mask(value=1)
    labels[22:34, 36:42] = 2
    image = Image.fromarray(labels, mode="P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / name)
    np.testing.assert_array_equal(_labels(tmp_path / name), labels)


def test_greys_of_a_palette_are_what_they_show(tmp_path: Path) -> None:
    indices = np.where(_mask() > 0, 0, 1).astype(np.uint8)
    for name in ("m.png", "m.tif"):
        image = Image.fromarray(indices, mode="P")
        image.putpalette([255, 255, 255, 0, 0, 0])
        image.save(tmp_path / name)
        np.testing.assert_array_equal(_labels(tmp_path / name) > 0, _mask() > 0)


@pytest.mark.parametrize("cell", [True, np.uint8(255), np.uint16(1)])
def test_a_mask_that_viewers_show_inverted_is_taken_as_stored(tmp_path: Path, cell: np.generic) -> None:
    """So tifffile writes booleans and ImageJ its masks: of a large cell the surroundings were the cell."""
    large = np.zeros((40, 50), bool)
    large[3:39, 2:47] = True
    for mask in (large, _mask() > 0):
        tifffile.imwrite(tmp_path / "m.tif", mask * cell, photometric="miniswhite")
        np.testing.assert_array_equal(_labels(tmp_path / "m.tif") > 0, mask)


def test_a_mask_may_be_as_large_as_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(tmp_path / "m.png", _mask())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # twice as many Pillow takes for an attack
    assert _labels(path).max() == 2


def test_a_field_without_cells_is_allowed_among_others(tmp_path: Path) -> None:
    for name, mask in (("a", _mask()), ("b", np.zeros((40, 50), np.uint8))):
        _save(tmp_path / f"{name}.png", _image())
        _save(tmp_path / f"{name}-mask.png", mask)
    assert [pair.labels.max() for pair in read_pairs(tmp_path)] == [2, 0]


def test_a_cell_that_fills_its_crop_is_not_inverted(tmp_path: Path) -> None:
    row, col = np.mgrid[-32:33, -32:33]
    disc = (row**2 + col**2 <= 32**2).astype(np.uint8) * np.uint8(255)
    assert (disc > 0).mean() > 0.5
    assert disc[0].any()
    assert _labels(_save(tmp_path / "m.png", disc)).max() == 1


# What cannot be used


def test_mask_without_image_and_the_reverse(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", _image())
    _save(tmp_path / "a-mask.png", _mask())
    _save(tmp_path / "b-mask.png", _mask())
    with pytest.raises(DatasetError, match=r"b-mask\.png is without an image"):
        read_pairs(tmp_path)
    _save(tmp_path / "b.png", _image())
    _save(tmp_path / "c.png", _image())
    with pytest.raises(DatasetError, match=r"c\.png is without a mask; add a file named c-mask"):
        read_pairs(tmp_path)


def test_mask_of_another_size(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", _image())
    _save(tmp_path / "a-mask.png", _mask((40, 60)))
    with pytest.raises(DatasetError, match=r"a-mask\.png is 60 × 40 pixels .*a\.png is 50 × 40; make"):
        read_pairs(tmp_path)


def test_folders_that_hold_nothing_to_use(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    _save(tmp_path / "deeper" / "a.png", _image())
    with pytest.raises(DatasetError, match=r"holds no image \(folders in it were not searched\)"):
        read_pairs(tmp_path)
    with pytest.raises(DatasetError, match=r"no folder or archive .*gone"):
        read_pairs(tmp_path / "gone")
    _save(tmp_path / "a.png", _image())
    with pytest.raises(DatasetError, match="1 image but no masks"):
        read_pairs(tmp_path)
    with pytest.raises(DatasetError, match="not a folder"):
        read_pairs(tmp_path / "a.png")
    (tmp_path / "images").mkdir()
    with pytest.raises(DatasetError, match="no folder labels or masks"):
        read_pairs(tmp_path)


def test_all_masks_empty(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", _image())
    _save(tmp_path / "a-mask.png", np.zeros((40, 50), np.uint8))
    with pytest.raises(DatasetError, match=r"None of the 1 masks .* has a cell"):
        read_pairs(tmp_path)


def test_inverted_mask(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", _image())
    _save(tmp_path / "a-mask.png", 255 - _mask())
    with pytest.raises(DatasetError, match=r"a-mask\.png seems inverted: 88% of it is white"):
        read_pairs(tmp_path)


def test_two_masks_of_one_image(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", _image())
    _save(tmp_path / "a-mask.png", _mask())
    _save(tmp_path / "a_labels.tif", _mask())
    with pytest.raises(DatasetError, match="same image a; remove one"):
        read_pairs(tmp_path)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (_image(), "coloured"),
        (np.where(_mask() > 0, -2, 0).astype(np.int16) + (_mask() == 0), "neither"),
        ((_mask() + np.arange(50)).astype(np.float32) / 3, "neither"),
        (np.stack([_mask()] * 3 + [_mask()] * 3), "one grey image"),
    ],
)
def test_masks_that_say_nothing(tmp_path: Path, mask: np.ndarray, words: str) -> None:
    with pytest.raises(DatasetError, match=rf"m\.tif .*{words}"):
        _labels(_save(tmp_path / "m.tif", mask))


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    _save(tmp_path / "a-mask.png", _mask())
    with pytest.raises(ImageError, match=r"a\.png is not"):
        read_pairs(tmp_path)
    tifffile.imwrite(tmp_path / "a.tif", np.full((40, 50), np.nan, np.float32))
    (tmp_path / "a.png").unlink()
    with pytest.raises(ImageError, match=r"a\.tif: The image has NaN"):
        read_pairs(tmp_path)


class TestMasksThatWouldLoseCells:
    """A reading that would drop whole regions is refused, in a sentence."""

    def numbered(self, values: list[int], apart: int = 14) -> np.ndarray:
        mask = np.zeros((30, apart * len(values) + 4), np.uint8)
        for number, value in enumerate(values):
            mask[8:18, number * apart + 4 : number * apart + 14] = value
        return mask

    @pytest.mark.parametrize(
        "values", [[42, 85, 128, 170, 212, 255], [1, 2, 3, 4, 5, 6, 7, 255], [85, 170, 255]]
    )
    @pytest.mark.parametrize("apart", [14, 10])
    def test_numbers_that_look_black_and_white(self, tmp_path: Path, values: list[int], apart: int) -> None:
        mask = self.numbered(values, apart)  # 10: they touch
        path = _save(tmp_path / "m.png", mask)
        with pytest.raises(DatasetError, match=r"m\.png reaches 255.*--masks numbers|parts of cells"):
            _labels(path)
        labels, _ = read_labels(path, "numbers")
        assert len(np.unique(labels[labels > 0])) == len(values)

    def test_a_jpeg_of_such_numbers(self, tmp_path: Path) -> None:
        path = tmp_path / "m.jpg"
        Image.fromarray(self.numbered([60, 110, 180, 255])).save(path, quality=90)
        with pytest.raises(DatasetError, match="2 regions darker"):
            _labels(path)

    def test_soft_edges_and_specks_are_dropped_as_before(self, tmp_path: Path) -> None:
        mask = np.asarray(Image.fromarray(_mask()).resize((100, 80), Image.Resampling.BICUBIC)).copy()
        mask[60, 10] = 90
        assert len(np.unique(mask)) > 5
        assert _labels(_save(tmp_path / "m.png", mask)).max() == 2


class TestTurnedPictures:
    """Pixels are as stored, in pairs too; a mask drawn on the turned picture is refused."""

    def pair(self, folder: Path, orientation: int, mask_of: str) -> Path:
        image = np.full((60, 60, 3), 230, np.uint8)
        image[5:20, 5:25] = (120, 60, 160)
        mask = np.where(image[..., 1] < 128, 255, 0).astype(np.uint8)
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(image).save(folder / "a.jpg", exif=exif, quality=95)
        _save(folder / "a_mask.png", mask if mask_of == "stored" else turned(mask, orientation))
        return folder

    @pytest.mark.parametrize("orientation", range(2, 9))
    def test_each_orientation(self, tmp_path: Path, orientation: int) -> None:
        (pair,) = read_pairs(self.pair(tmp_path, orientation, "stored"))
        assert pair.image[pair.labels > 0][:, 1].mean() < 70
        with pytest.raises(DatasetError, match=rf"turned as its camera noted \(orientation {orientation}\)"):
            read_pairs(self.pair(tmp_path, orientation, "turned"))


@pytest.mark.parametrize("ending", ["_masks", "-labels", "_cp_masks", "-mask"])
def test_masks_of_other_programs_and_our_own_labels_are_known(tmp_path: Path, ending: str) -> None:
    _save(tmp_path / "a.png", _image())
    _save(tmp_path / f"a{ending}.tif", _mask(value=1).astype(np.uint16))
    (pair,) = read_pairs(tmp_path)
    assert (pair.name, pair.labels.max()) == ("a", 2)


def test_the_picture_with_outlines_that_was_saved_beside_them_is_no_image(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", _image())
    _save(tmp_path / "a-labels.tif", _mask(value=1).astype(np.uint16))
    _save(tmp_path / "a-overlay.png", _image())
    assert [pair.name for pair in read_pairs(tmp_path)] == ["a"]


def test_pairs_of_another_kind_are_a_sentence() -> None:
    with pytest.raises(DatasetError, match=r"A tuple is no image with its truth: give .* TrainingPair"):
        pairs_of([(_image(), _mask())])  # type: ignore[list-item]
