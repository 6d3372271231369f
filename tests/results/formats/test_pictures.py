"""Pictures show what was found, and leave the image as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_wbcseg import Segmentation, save
from napari_wbcseg.classification.classes import BUILT_IN_CLASSES
from napari_wbcseg.errors import OutputError
from napari_wbcseg.results.formats.pictures import CELL_COLOUR, CHECK_COLOUR, class_counts, draw_overlay

from ...drawings import two_discs


@pytest.fixture
def labels() -> np.ndarray:
    return two_discs()


@pytest.fixture
def cells() -> pd.DataFrame:
    return pd.DataFrame({"label": [1, 2], "area": [2821.0, 738.0], "check": [False, True]})


class TestPictures:
    def test_the_mask_looks_like_the_published_ones(
        self, tmp_path: Path, labels: np.ndarray, cells: pd.DataFrame
    ) -> None:
        (file,) = save(Segmentation(labels, cells), tmp_path / "a-mask.jpg")
        with Image.open(file) as mask:
            assert (mask.format, mask.mode) == ("JPEG", "L")
            np.testing.assert_array_equal(np.asarray(mask) > 127, labels > 0)

    def test_cells_and_cells_to_check_differ_in_colour(self, labels: np.ndarray, cells: pd.DataFrame) -> None:
        ground = np.full((200, 300, 3), 230, dtype=np.uint8)
        picture = draw_overlay(ground, labels, cells)
        scale = picture.shape[0] // 200
        assert picture.shape == (200 * scale, 300 * scale, 3)
        middle, corner = picture[60 * scale : 140 * scale], picture[: 50 * scale, : 50 * scale]
        assert (middle == CELL_COLOUR).all(axis=2).sum() > 100
        assert not (middle == CHECK_COLOUR).all(axis=2).any()
        assert (corner == CHECK_COLOUR).all(axis=2).sum() > 50
        assert not (corner == CELL_COLOUR).all(axis=2).any()

    @pytest.mark.parametrize("number", [1, 4_000_000_000])
    def test_outlines_lie_on_the_rim_and_leave_the_inside_visible(
        self, labels: np.ndarray, number: int
    ) -> None:
        ground = np.full((200, 300, 3), (180, 120, 200), dtype=np.uint8)
        picture = draw_overlay(ground, labels * np.int64(number))
        scale = picture.shape[0] // 200
        np.testing.assert_array_equal(picture[100 * scale, 150 * scale], ground[0, 0])
        rim = picture[100 * scale, (150 + 25) * scale : (150 + 35) * scale]
        assert (rim == CELL_COLOUR).all(axis=1).any()

    def test_the_disc_of_a_white_class_is_seen_in_the_legend(self, labels: np.ndarray) -> None:
        """The first class that comes without a colour is white, as the ground of the legend is."""
        cells = pd.DataFrame({"label": [1, 2], "class": "blast", "check": False})
        picture = draw_overlay(
            np.full((800, 800, 3), 230, np.uint8), np.pad(labels, ((0, 600), (0, 500))), cells
        )
        disc = picture[800:, :14]  # left of the name
        assert (disc < 100).all(axis=2).sum() > 10

    def test_cells_without_a_class_are_in_the_legend_too(self) -> None:
        """The cells that were added to others were not, and its numbers did not come to the count."""
        cells = pd.DataFrame({"label": [1, 2, 3], "class": ["monocyte", "", ""]})
        assert class_counts(cells, BUILT_IN_CLASSES) == [
            ("monocyte 1", (240, 228, 66)),
            ("no class 2", CELL_COLOUR),
        ]
        assert class_counts(cells.assign(**{"class": ""}), BUILT_IN_CLASSES) == []

    def test_numbers_of_neighbours_are_not_written_over_each_other(self) -> None:
        labels = np.zeros((900, 900), dtype=np.int32)
        labels[400:430, 400:430], labels[400:430, 432:462] = 1, 2
        alone = [draw_overlay(np.zeros((900, 900, 3), np.uint8), np.where(labels == k, k, 0)) for k in (1, 2)]
        both = draw_overlay(np.zeros((900, 900, 3), np.uint8), labels)

        def ink(picture: np.ndarray) -> int:
            return int((picture == CELL_COLOUR).all(axis=2).sum())

        assert ink(both) > 0.97 * sum(map(ink, alone))

    @pytest.mark.parametrize("shape", [(128, 128), (1, 1), (3, 7000), (40, 9000)])
    def test_pictures_of_any_size_can_be_looked_at(self, shape: tuple[int, int]) -> None:
        picture = draw_overlay(np.full((*shape, 3), 200, np.uint8), np.ones(shape, np.int32))
        assert max(picture.shape) <= 6000
        assert shape != (128, 128) or min(picture.shape[:2]) >= 600

    def test_grey_and_sixteen_bit_images_are_drawn(self, labels: np.ndarray) -> None:
        grey = np.full(labels.shape, 40_000, dtype=np.uint16)
        assert draw_overlay(grey, labels)[-1, -1].tolist() == [156, 156, 156]

    @pytest.mark.parametrize("side", [100, 1000])
    def test_the_image_itself_is_left_as_it_was(self, side: int) -> None:
        image = np.full((side, side, 3), 200, dtype=np.uint8)
        image.flags.writeable = False  # as Pillow hands it out
        picture = draw_overlay(image, np.pad(np.ones((40, 40), np.int32), (side - 40) // 2))
        assert (picture != 200).any()
        assert (image == 200).all()

    def test_another_size_is_refused(self, labels: np.ndarray) -> None:
        with pytest.raises(OutputError, match="not drawn"):
            draw_overlay(np.zeros((10, 10, 3), np.uint8), labels)
