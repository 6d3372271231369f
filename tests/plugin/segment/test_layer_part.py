"""A part of a layer is read piece by piece, and what is found in it goes back to its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_wbcseg.errors import Cancelled
from napari_wbcseg.images.illumination import absorbed, background_colour
from napari_wbcseg.images.pixel_source import PixelSource
from napari_wbcseg.plugin.segment.layer_part import choose_part
from napari_wbcseg.plugin.shared.regions import region_outlines
from napari_wbcseg.progress import silent
from napari_wbcseg.results.save import with_current_cells

from ..conftest import dark_discs, discs

CENTRES = [(20, 20), (20, 380), (280, 30), (150, 200), (285, 390)]


@pytest.fixture(scope="module")
def smear():
    """Draw five cells in a field that is larger than the margin around a region."""
    return discs((310, 410), CENTRES, radius=10)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(st.integers(-50, 300), st.integers(-50, 400)),
    st.tuples(st.integers(12, 300), st.integers(12, 400)),
)
def test_a_region_has_the_cells_whose_centre_is_in_it(smear, corner, sides):
    from napari.layers import Image, Shapes

    (row, col), (height, width) = corner, sides
    # A centre on the very line may count or not.
    row, col = row + 0.25, col + 0.25
    box = np.array([[row, col], [row, col + width], [row + height, col + width], [row + height, col]])
    if row + height < 0 or col + width < 0:
        return
    layer = Image(smear, rgb=True, scale=(0.5, 0.25), translate=(3, -2))
    part = choose_part(layer, regions=Shapes([box * (0.5, 0.25) + (3, -2)]))
    found = part.place(dark_discs(part.read(silent)))
    inside = [(r, c) for r, c in sorted(CENTRES) if row < r < row + height and col < c < col + width]
    assert list(zip(found.cells["row"], found.cells["col"], strict=True)) == inside
    assert [int(found.labels[centre]) for centre in inside] == list(range(1, len(inside) + 1))
    whole = dark_discs(smear)
    assert set(np.unique(whole.labels[found.labels > 0])) == {int(whole.labels[centre]) for centre in inside}
    assert len(found.proposals) == len(inside)


@pytest.mark.parametrize("scales", [(1, 1), (64, 14)], ids=["bytes", "bright in another plane"])
def test_cells_of_a_plane_that_are_drawn_again_are_measured_in_its_light(smear, scales):
    from napari.layers import Image

    dtype = np.uint8 if scales == (1, 1) else np.uint16
    stack = np.stack([smear.astype(dtype) * dtype(scale) for scale in scales])
    part = choose_part(Image(stack, rgb=True), 1)
    light = tuple(PixelSource(stack[1]).background.tolist())
    found = part.place(replace(dark_discs(smear), backgrounds=(light,)))
    labels = found.labels * (found.labels != 2)
    drawn = with_current_cells(replace(found, labels=labels, cells=found.cells[:0]), stack).cells
    expected = absorbed(smear[CENTRES[0]], background_colour(smear))
    np.testing.assert_allclose(drawn["mean_stain"], float(expected), atol=0.01)


def test_cells_drawn_on_a_plane_that_was_not_segmented_are_measured_in_its_own_light(smear):
    from napari.layers import Image

    stack = np.stack([smear, smear // 2, smear // 3])
    found = choose_part(Image(stack, rgb=True), 1).place(replace(dark_discs(smear), backgrounds=((9, 9, 9),)))
    drawn = np.stack([found.labels[1]] * 3)
    cells = with_current_cells(replace(found, labels=drawn, cells=found.cells[:0]), stack).cells
    for plane, light in enumerate([background_colour(stack[0]), np.full(3, 9), background_colour(stack[2])]):
        stain = cells.loc[cells["plane"] == plane, "mean_stain"].iloc[0]
        assert stain == pytest.approx(float(absorbed(stack[plane][CENTRES[0]], light)), abs=0.01)


def test_all_of_a_layer_is_left_as_it_is(smear):
    from napari.layers import Image

    part = choose_part(Image([smear, smear[::2, ::2]], rgb=True, multiscale=True))
    assert part.read(silent).base is smear
    found = dark_discs(smear)
    assert part.place(found) is found


def test_a_plane_goes_back_to_its_place_in_the_stack(smear):
    from napari.layers import Image

    part = choose_part(Image(np.stack([smear, smear]), rgb=True), plane=1)
    found = part.place(replace(dark_discs(part.read(silent)), field_share=0.8))
    assert found.field_share == 0.4, "of both planes, whose area is that of the result"
    assert found.labels.shape == (2, 310, 410)
    assert found.labels[0].max() == 0
    assert set(found.cells["plane"]) == {1}
    assert found.proposals.shape == (5, 5)
    assert found.notes[0] == "Only plane 1 was segmented."


@pytest.mark.parametrize("stacked", [False, True])
def test_a_cell_that_reaches_far_out_of_a_region_is_not_cut(stacked):
    """Of cells wider than the margin what lay beyond it was lost, and they were said to be at the border."""
    from napari.layers import Image, Shapes

    smear = discs((1000, 1100), [(420, 430), (900, 900)], radius=300)
    whole = dark_discs(smear)
    layer = Image(np.stack([smear] * 2) if stacked else smear, rgb=True)
    region, seen = Shapes([[[400, 400], [400, 460], [460, 460], [460, 400]]]), []
    part = choose_part(layer, 1 if stacked else None, region)
    found = part.find(lambda pixels: seen.append(pixels.shape) or dark_discs(pixels), silent)
    assert found.cells["area"].tolist() == whole.cells["area"].tolist()[:1]
    assert seen == [(317, 317, 3), (1000, 1100, 3)]


def test_of_a_region_no_count_per_area_of_the_whole_image_is_told(smear):
    from napari.layers import Image, Shapes

    box = [[0, 0], [0, 200], [150, 200], [150, 0]]
    part = choose_part(Image(smear, rgb=True), regions=Shapes([box]))
    assert part.place(replace(dark_discs(part.read(silent)), field_share=1.0)).field_share is None


@pytest.mark.parametrize(("right", "meet"), [(111, [False]), (140, [True, True])])
def test_a_cell_does_not_touch_one_that_was_left_out_of_the_region(right, meet):
    """The table said that it touches another until it was reviewed, and the saved one for good."""
    from napari.layers import Image, Shapes

    smear = discs((200, 200), [(100, 100), (100, 122)], radius=10)
    region = Shapes([[[80, 80], [80, right], [120, right], [120, 80]]])
    part = choose_part(Image(smear, rgb=True), regions=region)
    found = dark_discs(part.read(silent))
    found = part.place(replace(found, cells=found.cells.assign(touching=True)))
    assert found.cells["touching"].tolist() == meet


def test_an_ellipse_is_round():
    from napari.layers import Image, Shapes

    ellipse = Shapes([[[0, 0], [0, 40], [20, 40], [20, 0]]], shape_type="ellipse")
    (outline,) = region_outlines(ellipse, Image(np.zeros((50, 50))))
    rows, cols = (outline - (10, 20)).T
    np.testing.assert_allclose((rows / 10) ** 2 + (cols / 20) ** 2, 1)


def test_a_region_in_nanometres_lies_on_an_image_in_micrometres_where_it_is_seen():
    from napari.layers import Image, Shapes

    box = np.array([[0.0, 0.0], [0.0, 2000.0], [1000.0, 2000.0], [1000.0, 0.0]])  # nm
    image = Image(np.zeros((50, 50)), scale=(0.1, 0.1), units=("um", "um"))
    (outline,) = region_outlines(Shapes([box], units=("nm", "nm")), image)
    np.testing.assert_allclose(outline, box / 100)
    (outline,) = region_outlines(Shapes([box]), image)  # in pixels, as napari shows it
    np.testing.assert_allclose(outline, box / 0.1)


def test_thousands_of_regions_ask_napari_for_few_points(monkeypatch):
    from napari.layers import Image, Shapes

    box = np.array([[0, 0], [0, 4], [4, 4], [4, 0]])
    regions = Shapes([box + place for place in range(1000)], shape_type="ellipse", rotate=30)
    layer = Image(np.zeros((3, 50, 50)), scale=(1, 2, 2), rotate=(0, 0, 0))
    asked, convert = [], Image.world_to_data
    monkeypatch.setattr(Image, "world_to_data", lambda *of: asked.append(of) or convert(*of))
    outlines = region_outlines(regions, layer)
    assert len(asked) < 10, "a point at a time the window stops for seconds"
    middle = regions.data_to_world((9.0, 9.0))
    assert np.allclose(outlines[7].mean(axis=0), np.array(middle) / 2)


def test_reading_a_lazy_image_stops_when_asked(smear):
    import dask.array as da
    from napari.layers import Image

    read = []

    def chunk(block):
        read.append(1)
        return block

    lazy = da.from_array(np.tile(smear, (80, 1, 1)), chunks=(310, 410, 3)).map_blocks(chunk, dtype=np.uint8)
    part = choose_part(Image(lazy, rgb=True, contrast_limits=(0, 255)))
    read.clear()

    def stop(done, total, stage):
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        part.read(stop)
    assert 0 < len(read) < 80
