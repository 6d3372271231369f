"""`segment`: any image in, one valid `Segmentation` out, with the models that come with the package."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_wbcseg import SegmentationSettings, load_model, segment, synthetic_smear
from napari_wbcseg.errors import Cancelled, ImageError, ModelError, SettingsError
from napari_wbcseg.images.field_of_view import field_of_view
from napari_wbcseg.images.focus import COLOURS_FIRST
from napari_wbcseg.images.pixels import resample
from napari_wbcseg.images.prepare import GREY
from napari_wbcseg.network.architecture import Output, UNetArchitecture
from napari_wbcseg.network.model_file import ModelFile, ModelHeader
from napari_wbcseg.segmentation.measure import COLUMNS
from napari_wbcseg.segmentation.result import Segmentation
from napari_wbcseg.segmentation.uncounted import NONE_SEEN

from ..dark_model import spots, write_dark_model
from ..drawings import worst_dice

RECIPES = ("robust", "classic")


def easy_smear(
    seed: int = 3, cell_diameter: float = 63.0, shape: tuple[int, int] = (256, 320), cells: int = 4
):
    """Draw a sparse, clean field that any decent model counts right."""
    return synthetic_smear(
        shape,
        cell_diameter=cell_diameter,
        white_cells=cells,
        touching=0.0,
        density=0.15,
        platelets=0.0,
        debris=0.0,
        dark_edge=0.0,
        noise=1.0,
        kinds={"neutrophil": 0.5, "lymphocyte": 0.5},
        seed=seed,
    )


@pytest.fixture(scope="module")
def smear():
    return easy_smear()


@pytest.fixture(scope="module")
def result(smear) -> Segmentation:
    return segment(smear.image)


@pytest.fixture(scope="module")
def dark(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return write_dark_model(tmp_path_factory.mktemp("model") / "dark.safetensors")


def assert_valid(result: Segmentation, shape: tuple[int, ...]) -> None:
    assert result.labels.shape == result.probability.shape == shape
    assert result.labels.dtype == np.int32
    assert result.probability.dtype == np.float32
    assert np.isfinite(result.probability).all()
    assert 0 <= result.probability.min() <= result.probability.max() <= 1
    assert set(COLUMNS) <= set(result.cells.columns)
    assert result.count == len(result.cells)
    assert result.proposals.shape[1] == (4 if len(shape) == 2 else 5)
    assert result.proposals.dtype == np.int64
    assert result.cells["label"].tolist() == list(range(1, result.count + 1)), "a label is a cell"
    assert np.bincount(result.labels.ravel(), minlength=1)[1:].tolist() == result.cells["area"].tolist()
    if len(shape) == 3:
        for cell in result.cells.itertuples():
            assert (result.labels[cell.plane] == cell.label).sum() == cell.area


def assert_empty(result: Segmentation, shape: tuple[int, ...]) -> None:
    assert_valid(result, shape)
    assert result.count == 0
    assert not result.labels.any()
    assert result.summary == "0 white cells"
    assert repr(result) == f"<Segmentation: 0 white cells; labels of shape {shape}>"
    assert result.to_check == 0


# What comes out ------------------------------------------------------------------------------------


def test_an_easy_smear_is_counted_with_no_other_argument(smear, result) -> None:
    assert_valid(result, smear.labels.shape)
    assert abs(result.count - smear.count) <= 1
    assert result.settings == SegmentationSettings()
    assert result.model == load_model("wbc").id
    assert str(result.count) in result.summary


def test_the_cells_found_are_the_cells_there(smear, result) -> None:
    found = sum(
        worst_dice(np.where(smear.labels == i, 1, 0), result.labels) > 0.7 for i in range(1, smear.count + 1)
    )
    assert found >= smear.count - 1


@pytest.mark.parametrize("diameter", [32.0, 63.0, 125.0])
def test_the_diameter_of_cells_is_estimated(diameter: float) -> None:
    shape = (round(3.5 * diameter), round(4.5 * diameter))
    found = segment(easy_smear(5, diameter, shape, cells=3).image)
    assert abs(found.count - 3) <= 1
    assert found.cell_diameter == pytest.approx(diameter, rel=0.4)
    assert found.class_diameter == pytest.approx(diameter, rel=0.4)
    assert found.cells["diameter"].median() == pytest.approx(diameter, rel=0.4)


def test_the_count_does_not_depend_on_mirroring(smear, result) -> None:
    for axis in (0, 1):
        assert abs(segment(np.flip(smear.image, axis).copy()).count - result.count) <= 1


def test_the_share_of_the_image_that_shows_the_slide_is_told(smear, result) -> None:
    assert result.field_share == 1
    rows, cols = np.mgrid[:256, :320]
    round_field = np.where((np.hypot(rows - 128, cols - 160) < 120)[..., None], smear.image, 4)
    share = segment(round_field.astype(np.uint8)).field_share
    assert share == pytest.approx(np.pi * 120**2 / (256 * 320), rel=0.05)


def test_cells_that_a_round_field_cuts_are_at_the_border(smear) -> None:
    """Only those were that touched the rectangle around the field."""
    rows, cols = np.mgrid[:256, :320]
    field = np.hypot(rows - 95, cols - 140) < 110
    cells = segment(np.where(field[..., None], smear.image, 4).astype(np.uint8)).cells
    reach = np.hypot(cells["row"] - 95, cells["col"] - 140) + cells["diameter"] / 2
    assert cells["border"].tolist() == (reach > 105).tolist() == [True, False, True]


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (70, 90, 160)])
def test_a_picture_on_paper_has_the_cells_that_it_has_alone(smear, colour: tuple[int, int, int]) -> None:
    grey = (0.7 * smear.image).astype(np.uint8)  # of which the empty slide is darker than paper
    framed = np.full((grey.shape[0] + 160, grey.shape[1] + 60, 3), colour, np.uint8)
    framed[20:-140, 30:-30] = grey
    found = segment(framed)
    rows, cols = (np.flatnonzero(field_of_view(framed).any(axis)) for axis in (1, 0))
    part = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    alone = segment(framed[part])
    assert found.count == alone.count > 0
    np.testing.assert_array_equal(found.labels[part], alone.labels)
    same = ["border", "certainty", "class"]
    pd.testing.assert_frame_equal(found.cells[same], alone.cells[same])
    assert found.field_share == pytest.approx(alone.labels.size / found.labels.size)


def test_panels_are_counted_one_by_one(smear, result) -> None:
    grey = (0.7 * smear.image).astype(np.uint8)
    panels = np.full((2 * grey.shape[0] + 24, 2 * grey.shape[1] + 24, 3), 255, np.uint8)
    for top, left in product((8, grey.shape[0] + 16), (8, grey.shape[1] + 16)):
        panels[top : top + grey.shape[0], left : left + grey.shape[1]] = grey
    assert segment(panels).count == 4 * result.count


def test_labels_run_in_reading_order(result) -> None:
    firsts = [int(np.flatnonzero(result.labels == i)[0]) for i in range(1, result.count + 1)]
    assert firsts == sorted(firsts)


def test_the_same_image_gives_the_same_cells(smear, result) -> None:
    again = segment(smear.image)
    np.testing.assert_array_equal(again.labels, result.labels)
    np.testing.assert_array_equal(again.probability, result.probability)
    assert again.cells.equals(result.cells)


def test_the_given_array_is_left_alone(smear) -> None:
    before = smear.image.copy()
    segment(smear.image, settings=SegmentationSettings(cell_diameter=63))
    np.testing.assert_array_equal(smear.image, before)


def test_cells_below_the_certainty_asked_for_are_to_check(smear, result) -> None:
    strict = segment(smear.image, settings=SegmentationSettings(check_below=1.0, cell_diameter=63))
    assert strict.to_check == (strict.cells["certainty"] < 1).sum()
    lenient = segment(smear.image, settings=SegmentationSettings(check_below=0.0, cell_diameter=63))
    assert lenient.to_check == 0
    assert ((result.cells["certainty"] < 0.75) == result.cells["check"]).all()


# What goes in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda image: image.astype(np.uint16) * 257, id="uint16"),
        pytest.param(lambda image: image.astype(np.float32) / 255, id="float 0..1"),
        pytest.param(lambda image: image.astype(np.float64), id="float 0..255"),
        pytest.param(lambda image: image.astype(np.int32), id="int32"),
        pytest.param(lambda image: np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]), id="alpha"),
        pytest.param(lambda image: image.tolist(), id="list"),
        pytest.param(lambda image: np.asfortranarray(image), id="column order"),
        pytest.param(lambda image: np.repeat(image, 2, axis=1)[:, ::2], id="strided"),
    ],
)
def test_the_same_picture_in_any_form_gives_the_same_cells(smear, convert: Any) -> None:
    settings = SegmentationSettings(cell_diameter=63)
    expected = segment(smear.image, settings=settings)
    found = segment(convert(smear.image), settings=settings)
    assert found.count == expected.count
    assert (found.labels == expected.labels).mean() > 0.999
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-3)


def test_dask_and_zarr_images_are_taken(smear) -> None:
    settings = SegmentationSettings(cell_diameter=63)
    expected = segment(smear.image, settings=settings)
    sixteen_bit = smear.image.astype(np.uint16) * 257
    dask_array = pytest.importorskip("dask.array", reason="dask is not installed")
    found = segment(dask_array.from_array(sixteen_bit, chunks=(100, 100, 3)), settings=settings)
    np.testing.assert_array_equal(found.labels, expected.labels)
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    stored = zarr.array(sixteen_bit)
    np.testing.assert_array_equal(segment(stored, settings=settings).labels, expected.labels)


def test_a_grey_image_is_the_same_as_its_three_equal_channels(smear) -> None:
    grey = smear.image.mean(axis=2).astype(np.uint8)
    settings = SegmentationSettings(cell_diameter=63)
    found = segment(grey, settings=settings)
    assert_valid(found, grey.shape)
    assert any("grey" in note for note in found.notes)
    as_colour = segment(grey[..., None].repeat(3, axis=2), settings=settings)
    np.testing.assert_array_equal(found.labels, as_colour.labels)
    np.testing.assert_array_equal(segment(grey[..., None], settings=settings).labels, found.labels)


@pytest.mark.parametrize("recipe", RECIPES)
def test_of_an_inverted_picture_it_is_asked_whether_it_is_one(smear, result, recipe: str) -> None:
    inverted = segment(255 - smear.image, settings=SegmentationSettings(recipe=recipe))
    assert any("is it one?" in note for note in inverted.notes)
    assert not any("is it one?" in note for note in result.notes)


def test_a_stack_is_segmented_plane_by_plane(smear) -> None:
    settings = SegmentationSettings(cell_diameter=63)
    other = easy_smear(4).image
    white = np.full_like(other, 255)
    planes = [smear.image, white, other]
    found = segment(np.stack(planes), settings=settings)
    assert_valid(found, (3, *smear.labels.shape))
    for index, plane in enumerate(planes):
        alone = segment(plane, settings=settings)
        cells = found.cells[found.cells["plane"] == index].drop(columns="plane").reset_index(drop=True)
        before = int(cells["label"].min()) - 1 if len(cells) else 0
        np.testing.assert_array_equal(
            np.where(found.labels[index], found.labels[index] - before, 0), alone.labels
        )
        cells = cells.assign(label=cells["label"] - before)
        assert cells.equals(alone.cells) or (len(cells) == 0 and alone.count == 0)
        np.testing.assert_array_equal(found.proposals[found.proposals[:, 0] == index][:, 1:], alone.proposals)
        assert found.class_diameter[index] == (alone.class_diameter or 63)
    assert found.cell_diameter == 63


def test_a_stack_of_grey_planes_and_one_of_a_single_plane(dark: ModelFile) -> None:
    image, labels = spots()
    grey = image[..., 0]
    settings = SegmentationSettings(recipe="classic")
    found = segment(np.stack([grey, grey[::-1]]), dark, settings)
    assert_valid(found, (2, *grey.shape))
    assert found.cells["plane"].tolist() == [0, 0, 1, 1]
    assert found.cells["label"].tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(found.labels[0] > 0, labels > 0)
    assert_valid(segment(grey[None], dark, settings), (1, *grey.shape))


def test_a_stack_without_cells_is_empty(dark: ModelFile) -> None:
    assert_empty(segment(np.full((2, 40, 50, 3), 255, np.uint8), dark), (2, 40, 50))


def test_of_planes_that_show_one_place_it_is_asked_whether_they_are_depths(dark: ModelFile) -> None:
    image, _ = spots()
    note = "2 planes seem to be one field at several depths of focus, or times: are they?"
    assert note in segment(np.stack([image, np.clip(image, 0, 200)]), dark).notes[0]
    (note, *_) = segment(np.stack([image, image[::-1]]), dark).notes
    assert note == "The count is that of all 2 planes together."


def test_that_there_is_no_colour_to_tell_cells_by_is_said_once_however_grey_is_stored(smear) -> None:
    grey = smear.image[:300, :400, 1]
    for image in (grey, np.repeat(grey[..., None], 3, axis=2), np.stack([grey, grey[::-1]])):
        assert segment(image).notes.count(GREY) == 1
    assert GREY not in segment(smear.image[:300, :400]).notes


def test_of_three_grey_planes_that_show_one_place_it_is_asked_whether_they_are_its_colours(
    dark: ModelFile,
) -> None:
    image, _ = spots()
    planes = np.stack([np.asarray(image)[..., 0]] * 3)
    assert COLOURS_FIRST in segment(planes, dark).notes
    for others in (planes[:2], np.stack([planes] * 3, axis=-1), np.stack([*planes[:2], planes[2, ::-1]])):
        assert COLOURS_FIRST not in segment(others, dark).notes


def test_what_is_noted_of_some_planes_says_of_which(smear) -> None:
    image = smear.image[:300, :400]
    blank, none = np.full_like(image, 230), NONE_SEEN
    assert f"Of plane 1: {none}" in segment(np.stack([image, blank])).notes
    assert f"Of plane 0, 2: {none}" in segment(np.stack([blank, image, blank])).notes
    assert none in segment(np.stack([blank, blank])).notes


def test_cells_too_small_to_be_seen_are_where_the_note_is_followed(smear) -> None:
    tiny = resample(smear.image, 7 / 63)
    assert segment(tiny).notes == (NONE_SEEN,)
    enlarged = segment(resample(tiny, 4.0))
    assert (enlarged.count, enlarged.notes) == (smear.count, ())


def test_planes_of_a_stack_share_one_range_of_values(dark: ModelFile) -> None:
    image, _ = spots()
    faint = image.astype(np.uint16)
    bright = faint * 257
    found = segment(np.stack([bright, faint]), dark)
    assert segment(faint, dark).count == 2
    assert not found.labels[1].any(), "beside 16-bit values it is all but black"


# Nothing there -------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.full((130, 150, 3), 255, np.uint8), id="white"),
        pytest.param(np.zeros((130, 150, 3), np.uint8), id="black"),
        pytest.param(np.full((130, 150), 180, np.uint8), id="grey"),
        pytest.param(np.zeros((130, 150), np.float32), id="float zeros"),
        pytest.param(np.ones((130, 150, 3)), id="float ones"),
        pytest.param(np.full((1, 1, 3), 200, np.uint8), id="one pixel"),
        pytest.param(np.zeros((1, 1), np.uint8), id="one black pixel"),
        pytest.param(np.full((1, 700, 3), 210, np.uint8), id="one row"),
        pytest.param(np.full((700, 1, 3), 210, np.uint8), id="one column"),
        pytest.param(np.full((3, 500, 3), 210, np.uint8), id="thin strip"),
        pytest.param(np.full((500, 6, 3), 0, np.uint8), id="thin black strip"),
    ],
)
def test_an_image_with_nothing_in_it_is_an_empty_result(recipe: str, image: np.ndarray) -> None:
    settings = SegmentationSettings(recipe=recipe)
    assert_empty(segment(image, settings=settings), image.shape[:2])
    fixed = settings.replace(cell_diameter=60)
    assert_empty(segment(image, settings=fixed), image.shape[:2])


def test_a_field_of_red_cells_alone_is_empty() -> None:
    field = synthetic_smear((256, 320), white_cells=0, platelets=0, debris=0, dark_edge=0, seed=2)
    assert segment(field.image).count <= 1


# Models, recipes and stopping ----------------------------------------------------------------------


def test_the_classic_recipe_takes_the_classic_model(smear) -> None:
    found = segment(smear.image, settings=SegmentationSettings(recipe="classic"))
    assert found.model == load_model("classic").id
    assert found.cell_diameter is None
    assert_valid(found, smear.labels.shape)


def test_a_setting_of_another_recipe_changes_nothing(smear) -> None:
    """With the classic recipe, whose form shows no diameter, one that was set for the other told classes."""
    classic, given = (
        segment(smear.image, settings=SegmentationSettings(recipe="classic", cell_diameter=diameter))
        for diameter in (None, 25)
    )
    assert given.cell_diameter is None
    pd.testing.assert_frame_equal(given.cells, classic.cells)


def test_a_model_alone_brings_its_recipe(dark: ModelFile) -> None:
    image, labels = spots()
    for given in (dark, dark.path, str(dark.path)):
        found = segment(image, given)
        assert found.settings.recipe == "classic"
        assert found.model == dark.id
        assert found.count == 2
        assert worst_dice(labels, found.labels) > 0.99


@pytest.mark.parametrize(("model", "recipe"), [("classic", "robust"), (None, "robust")])
def test_settings_for_another_recipe_than_the_models_are_refused(
    dark: ModelFile, model: str | None, recipe: str
) -> None:
    with pytest.raises(SettingsError, match=r"was trained for the recipe classic.*choose a model"):
        segment(spots()[0], model or dark, SegmentationSettings(recipe=recipe))


def test_settings_given_as_a_dict_get_a_sentence(dark: ModelFile) -> None:
    settings: Any = {"grey_threshold": 130}
    with pytest.raises(SettingsError, match=r"are a dict: give SegmentationSettings"):
        segment(spots()[0], dark, settings)


@pytest.mark.parametrize(("threshold", "cutoff"), [(21, 20), (10, 50)])
def test_settings_by_which_no_cell_can_be_found_are_refused(smear, threshold: int, cutoff: int) -> None:
    settings = SegmentationSettings(recipe="classic", grey_threshold=threshold, dark_cutoff=cutoff)
    with pytest.raises(SettingsError, match=rf"between the dark cutoff, {cutoff}, .* raise the other"):
        segment(smear.image, settings=settings)


@pytest.mark.parametrize(
    ("recipe", "channels", "heads"),
    [
        ("robust", 3, [("cell", 1)]),
        ("robust", 3, [("cell", 1), ("centre", 1), ("offset", 1), ("size", 1)]),
        ("robust", 1, [("cell", 1), ("centre", 1), ("offset", 2), ("size", 1)]),
        ("classic", 3, [("cell", 1)]),
        ("classic", 1, [("nucleus", 1)]),
    ],
)
def test_a_model_that_is_no_network_of_its_recipe_is_refused(
    tmp_path: Path, recipe: str, channels: int, heads: list[tuple[str, int]]
) -> None:
    architecture = UNetArchitecture(
        input_channels=channels, widths=(2, 2), outputs=tuple(Output(n, c, "linear") for n, c in heads)
    )
    weights = {key: np.zeros(shape, np.float32) for key, shape in architecture.tensor_shapes().items()}
    header = ModelHeader(name="odd", recipe=recipe, architecture=architecture)
    model = ModelFile.write(tmp_path / "odd.safetensors", header, weights)
    with pytest.raises(ModelError, match=f"odd is no network of the recipe {recipe}"):
        segment(spots()[0], model)


def test_a_file_name_instead_of_an_image_is_explained(tmp_path: Path) -> None:
    for name in ("smear.png", tmp_path / "smear.png"):
        with pytest.raises(ImageError, match=r"smear\.png.* is a file name.*read_image"):
            segment(name)


@pytest.mark.parametrize("recipe", RECIPES)
def test_stopping_in_progress_ends_the_work(smear, recipe: str) -> None:
    settings = SegmentationSettings(recipe=recipe, cell_diameter=63)
    told: list[tuple[int, int, str]] = []
    segment(smear.image, settings=settings, progress=lambda *step: told.append(step))
    assert told[-1][2] == "Measuring"
    assert all(0 <= done <= total or total == 0 for done, total, _ in told)
    for stop_at in sorted({0, len(told) // 2, len(told) - 1}):
        heard: list[int] = []

        def progress(done: int, total: int, stage: str, stop_at=stop_at, heard=heard) -> None:
            heard.append(done)
            if len(heard) > stop_at:
                raise Cancelled("stopped")

        with pytest.raises(Cancelled):
            segment(smear.image, settings=settings, progress=progress)
        assert len(heard) == stop_at + 1


def test_progress_of_a_stack_says_which_plane(dark: ModelFile) -> None:
    image, _ = spots()
    stages: list[str] = []
    segment(np.stack([image, image]), dark, progress=lambda done, total, stage: stages.append(stage))
    assert any("(plane 0 of 0 to 1)" in stage for stage in stages)
    assert "(plane 1 of 0 to 1)" in stages[-1]


@pytest.mark.parametrize("shape", [(1, 1, 200, 300, 3), (1, 200, 300, 3)])
def test_axes_of_length_one_are_one_plane(tmp_path: Path, shape: tuple[int, ...]) -> None:
    model = write_dark_model(tmp_path / "dark.safetensors")
    image = spots()[0][:200, :300]
    one, found = segment(image, model), segment(np.broadcast_to(image, shape).copy(), model)
    np.testing.assert_array_equal(found.labels, one.labels[None])
