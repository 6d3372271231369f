"""The Segment widget: check, run, cancel, replace, close."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import PIL.Image
import pytest
import tifffile
from napari.layers import Labels, Layer
from napari.utils import Colormap
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_wbcseg import save
from napari_wbcseg.errors import ImageError
from napari_wbcseg.images.focus import focus_note
from napari_wbcseg.plugin.review.training_set import field_writer
from napari_wbcseg.plugin.segment.colours import colour_offer
from napari_wbcseg.plugin.segment.widget import SegmentWidget
from napari_wbcseg.plugin.shared.events import events
from napari_wbcseg.plugin.shared.file_layers import image_layer, read_result_layers
from napari_wbcseg.plugin.shared.jobs import Job
from napari_wbcseg.plugin.shared.metadata import LayerInfo, note
from napari_wbcseg.plugin.shared.viewer import pixel_size
from napari_wbcseg.progress import silent
from napari_wbcseg.results.layer import METADATA_KEY, of_layer
from napari_wbcseg.settings import SegmentationSettings

from ..conftest import dark_discs, discs


@pytest.fixture
def widget(viewer, small_model, qtbot):
    """Dock the widget as a user does."""
    small_model("my-stain")
    return viewer.window.add_plugin_dock_widget("napari-wbcseg", "Segment white blood cells")[1]


def run(widget, qtbot, timeout=20_000):
    with qtbot.waitSignal(widget.segmented, timeout=timeout) as signal:
        widget.run()
    return signal.args


def no_thread_left(qtbot):
    qtbot.waitUntil(lambda: not Job._running, timeout=5000)
    assert QThreadPool.globalInstance().waitForDone(5000)
    assert QThreadPool.globalInstance().activeThreadCount() == 0


def test_run_adds_the_layers_and_tells_the_count(viewer, widget, quick_segment, qtbot):
    source = viewer.add_image(discs(), rgb=True)
    segmentation, layers = run(widget, qtbot)
    assert segmentation.count == 3
    assert layers.cells in viewer.layers
    assert widget.panel.result.text() == "3 white cells"
    assert "Cell diameter 24 px, estimated" in widget.panel.found.text()
    assert widget.panel.method.diameter._value.value == 24, "a start for setting it by hand"
    assert widget.settings.cell_diameter is None
    assert widget.image is source, "the results do not become the image"
    no_thread_left(qtbot)


def test_the_widget_gives_what_the_function_gives(viewer, widget, small_model, qtbot):
    """The real pipeline with a small random network: what it finds is no matter, that it is the same is."""
    from napari_wbcseg import segment

    small_model("tiny", "classic")
    widget.panel.method.models.refresh("tiny")
    source = viewer.add_image(discs(), rgb=True)
    segmentation, layers = run(widget, qtbot, timeout=60_000)
    expected = segment(source.data, "tiny", SegmentationSettings(recipe="classic"))
    np.testing.assert_array_equal(layers.cells.data, expected.labels)
    np.testing.assert_allclose(layers.probability.data, expected.probability, atol=1e-6)
    assert segmentation.model == expected.model
    assert segmentation.settings == expected.settings


@pytest.mark.parametrize(
    ("shape", "rgb", "planes"),
    [((60, 70, 3), True, None), ((60, 70), False, None), ((4, 60, 70), False, 4), ((4, 60, 70, 3), True, 4)],
)
def test_colour_grey_and_stacks_are_segmented(viewer, widget, quick_segment, qtbot, shape, rgb, planes):
    viewer.add_image(np.full(shape, 230, np.uint8), rgb=rgb)
    segmentation, layers = run(widget, qtbot)
    assert segmentation.count == 0
    assert layers.cells.data.shape == ((60, 70) if planes is None else (planes, 60, 70))


def test_axes_of_one_place_are_left_out(viewer, widget, quick_segment, qtbot):
    layer = viewer.add_image(discs()[None, None], rgb=True, scale=(1, 1, 0.5, 0.5))
    found, layers = run(widget, qtbot)
    assert found.count == 3
    assert layers.cells.data.shape == (1, 120, 160)
    np.testing.assert_allclose(layers.cells.extent.world, layer.extent.world[:, 1:])
    assert widget.review().image is layer


@pytest.mark.parametrize(
    "place",
    [{"scale": (-0.5, 0.5)}, {"rotate": 30}, {"affine": np.array([[1, 0.2, 3], [0, 2, 4], [0, 0, 1]])}],
    ids=["mirrored", "turned", "affine"],
)
def test_cells_lie_on_a_picture_that_is_not_upright(viewer, widget, quick_segment, qtbot, place):
    layer = viewer.add_image(discs(), rgb=True, **place)
    found, layers = run(widget, qtbot)
    assert found.count == 3, "the pixels are those of the file, however they are shown"
    for point in ((30, 30), (90, 70)):
        world = layer.data_to_world(point)
        assert layers.cells.get_value(world, world=True) > 0
        np.testing.assert_allclose(layers.cells.data_to_world(point), world)


def test_a_multiscale_layer_is_segmented_in_full_resolution(viewer, widget, quick_segment, qtbot):
    viewer.add_image([discs(), discs()[::2, ::2]], rgb=True, multiscale=True)
    _, layers = run(widget, qtbot)
    assert layers.cells.data.shape == (120, 160)


def test_images_of_a_file_that_napari_did_not_open_are_told_of(
    viewer, widget, quick_segment, qtbot, tmp_path
):
    with tifffile.TiffWriter(tmp_path / "two.tif") as tiff:
        for pixels in (discs(), discs()[:60]):
            tiff.write(pixels, photometric="rgb", metadata=None)
    viewer.open(tmp_path / "two.tif", plugin="napari")
    found, _ = run(widget, qtbot)
    assert found.count == 3
    assert "two.tif holds 2 images, of which napari opened the first alone" in found.notes[-1]


def test_what_was_left_out_of_a_file_is_noted_of_its_cells(viewer, widget, quick_segment, qtbot, tmp_path):
    """In the shell it was: in napari depths of focus that a file tells of left no count in doubt."""
    file = tmp_path / "a.png"
    PIL.Image.fromarray(np.dstack([discs(), np.full((120, 160), 255, np.uint8)])).save(file)
    viewer.add_layer(Layer.create(*image_layer(file, "a")))
    assert "alpha" in widget.panel.about.text()
    found, layers = run(widget, qtbot)
    assert ["alpha" in note for note in found.notes] == [True]
    assert "alpha" not in widget.panel.about.text(), "it stands below"
    save(layers.cells, tmp_path / "a-labels.tif", image_path=file)
    (_, image, _), _ = read_result_layers(tmp_path / "a-result.json")
    assert image["metadata"][METADATA_KEY]["notes"] == found.notes, "for the next run"


def test_one_plane_of_depths_of_focus_is_in_no_doubt(viewer, widget, quick_segment, qtbot):
    layer = viewer.add_image(np.stack([discs()] * 2), rgb=True, name="stack")
    note(layer, notes=(focus_note(2),))
    _, layers = run(widget, qtbot)
    assert LayerInfo.of(layers.cells).in_doubt
    widget.only_plane_shown = True
    _, layers = run(widget, qtbot)
    assert not LayerInfo.of(layers.cells).in_doubt


def test_running_twice_replaces_the_layers(viewer, widget, quick_segment, qtbot):
    viewer.add_image(discs(), rgb=True)
    run(widget, qtbot)
    before = [layer.name for layer in viewer.layers]
    run(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == before


def test_cancel_leaves_the_layers_as_they_were(viewer, widget, slow_segment, qtbot):
    viewer.add_image(discs(), rgb=True)
    slow_segment.go.set()
    run(widget, qtbot)
    slow_segment.go.clear()
    before = list(viewer.layers)

    widget.run()
    qtbot.waitUntil(slow_segment.started.is_set, timeout=5000)
    with qtbot.waitSignal(widget.cancelled, timeout=1000):
        widget.panel.cancel.click()

    assert list(viewer.layers) == before
    assert not widget.running
    assert widget.panel.run.isEnabled()
    no_thread_left(qtbot)


def test_the_activity_dock_shows_the_run_and_can_cancel_it(viewer, widget, slow_segment, qtbot):
    from napari.utils.progress import progress

    viewer.add_image(discs(), rgb=True)
    widget.run()
    qtbot.waitUntil(lambda: widget.panel.bar.maximum() == 3, timeout=5000)
    (bar,) = progress._all_instances
    assert bar.total == 3
    with qtbot.waitSignal(widget.cancelled, timeout=1000):
        bar.cancel()
    assert not progress._all_instances


def test_a_layer_removed_while_running_gives_a_sentence_and_no_layer(viewer, widget, slow_segment, qtbot):
    source = viewer.add_image(discs(), rgb=True)
    widget.run()
    qtbot.waitUntil(slow_segment.started.is_set, timeout=5000)
    viewer.layers.remove(source)
    with qtbot.waitSignal(widget.failed, timeout=5000) as signal:
        slow_segment.go.set()
    assert "removed" in signal.args[0]
    assert not viewer.layers


def test_what_was_found_is_not_put_on_other_pixels(viewer, widget, slow_segment, qtbot):
    source = viewer.add_image(discs(), rgb=True)
    widget.run()
    qtbot.waitUntil(slow_segment.started.is_set, timeout=5000)
    source.data = discs((100, 90))
    with qtbot.waitSignal(widget.failed, timeout=5000) as signal:
        slow_segment.go.set()
    assert "replaced" in signal.args[0]
    assert list(viewer.layers) == [source]
    source.data = discs((80, 70))
    assert widget.panel.about.text() == "One colour image, 70 × 80 pixels."


def test_a_layer_renamed_while_running_is_still_the_source(viewer, widget, slow_segment, qtbot):
    source = viewer.add_image(discs(), rgb=True)
    widget.run()
    source.name = "other"
    with qtbot.waitSignal(widget.segmented, timeout=5000):
        slow_segment.go.set()
    assert widget.panel.picker.current_choice == "other"
    assert viewer.layers[-1].name == "3 white cells of other"


def test_who_has_gone_on_to_another_picture_stays_there(viewer, widget, slow_segment, qtbot):
    first = viewer.add_image(discs((130, 170)), rgb=True, name="first")
    second = viewer.add_image(discs(centres=((50, 50),)), rgb=True, name="second")
    slow_segment.go.set()
    cells = run(widget, qtbot)[1].cells
    slow_segment.go.clear()
    viewer.layers.selection.active = first
    widget.run()
    viewer.layers.selection.active = cells
    assert widget.panel.about.text() == "One colour image, 160 × 120 pixels."
    assert widget.panel.result.text() == "1 white cell"
    review = widget.review()
    review.select([(0, 1)])
    review.accept()
    with qtbot.waitSignal(widget.segmented, timeout=5000) as signal:
        slow_segment.go.set()
    assert signal.args[1].cells in viewer.layers
    assert viewer.layers.selection == {cells}
    assert (widget.image, review.labels) == (second, cells)
    assert widget.message.text() == "first: 3 white cells."
    review.undo()
    assert not review.cells["decision"].any(), "what can be undone is not forgotten"


def test_closing_the_viewer_while_running_leaves_no_thread(viewer, widget, slow_segment, qtbot):
    viewer.add_image(discs(), rgb=True)
    widget.run()
    qtbot.waitUntil(slow_segment.started.is_set, timeout=5000)
    viewer.close()
    qtbot.waitUntil(slow_segment.stopped.is_set, timeout=2000)
    no_thread_left(qtbot)


def test_closing_napari_while_a_stack_is_segmented_asks(viewer, widget, slow_segment, qtbot, monkeypatch):
    asked = []
    monkeypatch.setattr(QMessageBox, "question", lambda *given: asked.append(given[2]))
    viewer.add_image(np.stack([discs()] * 2), rgb=True, name="stack")
    viewer.show()
    window = viewer.window._qt_window
    window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    widget.run()
    window.close()
    qtbot.waitUntil(lambda: len(asked) == 1, timeout=5000)
    assert asked[0].startswith("stack is being segmented")
    assert window.isVisible()
    widget.cancel()


def test_closing_the_widget_while_running_leaves_no_thread(viewer, widget, slow_segment, qtbot):
    viewer.add_image(discs(), rgb=True)
    widget.run()
    qtbot.waitUntil(slow_segment.started.is_set, timeout=5000)
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(slow_segment.stopped.is_set, timeout=2000)
    no_thread_left(qtbot)
    assert len(viewer.layers) == 1


def test_two_viewers_run_at_once(make_napari_viewer, small_model, slow_segment, qtbot):
    small_model()
    viewers = [make_napari_viewer(), make_napari_viewer()]
    widgets = []
    for number, viewer in enumerate(viewers, start=1):
        viewer.add_image(discs(centres=[(30, 40 * n) for n in range(1, number + 1)]), rgb=True)
        widget = SegmentWidget(viewer)
        viewer.window.add_dock_widget(widget, name="segment")
        widgets.append(widget)
    for widget in widgets:
        widget.run()
    with qtbot.waitSignals([widget.segmented for widget in widgets], timeout=10_000):
        slow_segment.go.set()
    assert [viewer.layers[-1].name for viewer in viewers] == [
        "1 white cell of Image",
        "2 white cells of Image",
    ]
    qtbot.wait(50)


@pytest.mark.parametrize(
    ("data", "rgb", "words"),
    [
        (np.zeros((40, 40), bool), False, "boolean"),
        (np.zeros((40, 40, 2), np.uint8), False, "2 channels"),
        (np.zeros((40, 40, 5), np.uint8), False, "5 channels"),
        (np.zeros((40, 40, 3), np.uint8), False, "that napari took for planes"),
        (np.zeros((2, 2, 40, 40), np.uint8), False, "4 dimensions"),
    ],
)
def test_a_layer_that_cannot_be_segmented_is_explained_beside_the_button(
    viewer, widget, data, rgb, words, qtbot
):
    layer = viewer.add_image(data, rgb=rgb)
    assert not widget.panel.run.isEnabled()
    assert words in widget.panel.status.text()
    assert widget.panel.about.text() == "", "it is said once"
    with qtbot.waitSignal(widget.failed) as signal:
        widget.run()
    assert words in signal.args[0]
    assert list(viewer.layers) == [layer]


def test_without_an_image_the_next_step_is_told(widget):
    assert not widget.panel.run.isEnabled()
    assert "Open Sample" in widget.panel.status.text()


def test_without_a_model_a_run_is_refused(viewer, qtbot, monkeypatch):
    monkeypatch.setattr("napari_wbcseg.network.library._paths", dict)
    widget = SegmentWidget(viewer)
    qtbot.addWidget(widget)
    viewer.add_image(discs(), rgb=True)
    with qtbot.waitSignal(widget.failed, timeout=60_000) as signal:
        widget.run()
    assert "model" in signal.args[0]


def test_an_error_is_shown_as_its_sentence(viewer, widget, qtbot, monkeypatch, capsys):
    def fail(*arguments):
        raise ImageError("The image has NaN values; replace them.")

    monkeypatch.setattr("napari_wbcseg.segmentation.pipeline.segment", fail)
    viewer.add_image(discs(), rgb=True)
    with qtbot.waitSignal(widget.failed, timeout=5000) as signal:
        widget.run()
    assert signal.args == ["The image has NaN values; replace them."]
    assert widget.message.text() == "The image has NaN values; replace them."
    assert "Traceback" not in capsys.readouterr().err
    assert len(viewer.layers) == 1


def test_a_count_in_doubt_is_a_question(viewer, widget, qtbot, monkeypatch):
    asked = "Is it one? Invert it and count again."
    monkeypatch.setattr(
        "napari_wbcseg.segmentation.pipeline.segment",
        lambda *given: dataclasses.replace(dark_discs(*given), notes=(asked,)),
    )
    viewer.add_image(discs(), rgb=True)
    run(widget, qtbot)
    assert widget.panel.result.text() == "count in doubt"
    assert asked in widget.panel.notes.text()


def test_the_settings_shown_are_the_settings_used(viewer, widget, qtbot, monkeypatch):
    used = []

    def segment(image, model, settings, progress):
        used.append((model, settings))
        return dark_discs(image, model, settings, progress)

    monkeypatch.setattr("napari_wbcseg.segmentation.pipeline.segment", segment)
    viewer.add_image(discs(), rgb=True)
    settings = SegmentationSettings(cell_diameter=41.5, probability_threshold=0.35, split_touching=False)
    widget.model, widget.settings = "my-stain", settings
    assert widget.settings == settings
    run(widget, qtbot)
    widget.settings = SegmentationSettings()
    run(widget, qtbot)
    assert used == [("my-stain", settings), ("my-stain", SegmentationSettings())]


def test_a_trained_model_appears_in_the_list_and_is_not_chosen_unasked(widget, small_model):
    before = widget.model
    small_model("leishman", "classic")
    events.models_changed.emit("leishman")
    assert widget.panel.method.models.findData("leishman") >= 0
    assert widget.model == before
    widget.model = "leishman"
    assert widget.settings.recipe == "classic", "a model brings its recipe"


def test_settings_of_a_recipe_take_a_model_of_it(widget, small_model):
    small_model("leishman", "classic")
    widget.panel.method.models.refresh()
    widget.model = "my-stain"
    widget.settings = SegmentationSettings(recipe="classic")
    assert widget.model in ("classic", "leishman")
    assert widget.panel.method.models.recipe == "classic"


def test_a_spoilt_model_file_is_listed_but_cannot_be_chosen(widget, own_models_folder):
    (own_models_folder / "spoilt.safetensors").write_bytes(b"nothing")
    widget.panel.method.models.refresh()
    index = widget.panel.method.models.findData("spoilt")
    assert index >= 0
    assert not widget.panel.method.models.model().item(index).isEnabled()


def test_the_picker_follows_the_active_layer_and_forgets_removed_ones(viewer, widget):
    first, second = (viewer.add_image(discs(), rgb=True, name=name) for name in "ab")
    assert widget.image is second
    viewer.layers.selection.active = first
    assert widget.image is first
    viewer.layers.remove(first)
    assert widget.image is second
    viewer.layers.clear()
    assert widget.image is None


@pytest.mark.parametrize("lazy", [False, True])
def test_only_the_regions_are_segmented(viewer, widget, quick_segment, qtbot, lazy):
    import dask.array as da

    image = discs()
    viewer.add_image(da.from_array(image, chunks=(50, 50, 3)) if lazy else image, rgb=True, scale=(0.5, 0.5))
    widget.regions = viewer.add_shapes([[[5, 5], [5, 30], [25, 30], [25, 5]]], scale=(1, 1))
    segmentation, layers = run(widget, qtbot)
    assert segmentation.count == 1, "of three cells one has its centre in the region"
    assert layers.cells.data.shape == (120, 160)
    assert layers.cells.data[30, 30] == 1
    assert "Only the region" in widget.panel.notes.text()


def test_regions_of_a_slide_become_a_picture_of_their_own(
    viewer, widget, quick_segment, qtbot, monkeypatch, tmp_path
):
    """Cells over all of a slide of 100,000 pixels a side would take 16 GB."""
    import dask.array as da

    for name, value in {"_LARGEST": 15_000, "IN_MEMORY": 15_000, "_MARGIN": 10, "_MORE": 10}.items():
        monkeypatch.setattr(f"napari_wbcseg.plugin.segment.layer_part.{name}", value)
    whole = discs()
    place = {"scale": (0.5, 0.5), "translate": (7, 9), "units": ("µm", "µm")}
    slide = viewer.add_image(da.from_array(whole, chunks=(50, 50, 3)), rgb=True, name="slide", **place)
    shape = [[25, 25], [25, 70], [60, 70], [60, 25]]
    regions = viewer.add_shapes([shape], **place)
    widget.image, widget.regions = slide, regions
    segmentation, layers = run(widget, qtbot)
    assert segmentation.count == 1, "of three cells one has its centre in the region"
    picture = widget.image
    widget.image = slide
    assert widget.panel.run.text() == "Segment", "nothing of the slide is replaced"
    segmentation, twice = run(widget, qtbot)
    assert (widget.image, twice.cells) == (picture, layers.cells), "the same region is one picture"
    viewer.layers.selection.active = picture
    assert widget.image is picture
    assert picture.name == "region of slide"
    assert np.array_equal(picture.data, whole[5:81, 5:91])
    assert layers.cells.data.shape == picture.data.shape[:2]
    np.testing.assert_allclose(layers.cells.data_to_world((0, 0)), slide.data_to_world((5, 5)))
    (cell,) = segmentation.cells[["row", "col"]].to_numpy()
    np.testing.assert_allclose(layers.cells.data_to_world(cell), slide.data_to_world((30, 30)), atol=0.5)
    assert "1 white cell" in widget.panel.result.text()
    again, same = run(widget, qtbot)
    assert again.count == 1
    assert same.cells is layers.cells, "on the picture, as on any"
    labels, options, _ = read_result_layers(save(layers.cells, tmp_path / "region", "tiff")[0])[-1]
    for found in (segmentation, again, of_layer(layers.cells), of_layer(Labels(labels, **options))):
        assert found.corner == (5, 5), "in QuPath and ImageJ they lie in the slide"
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "training"))
    (field,) = field_writer(picture, layers.cells)(silent)
    assert field.group == "slide", "none is trained on while another of its slide is kept aside"
    widget.image = slide
    widget.panel.pixel_size.set_size(0.25, 0.25)
    for part in (picture, layers.cells):
        np.testing.assert_allclose(part.data_to_world((0, 0)), slide.data_to_world((5, 5)))
        assert tuple(part.scale) == (0.25, 0.25)
    widget.image = picture
    widget.panel.pixel_size.set_size(0.5, 0.5)
    assert {tuple(one.scale) for one in (slide, picture, layers.cells, regions)} == {(0.5, 0.5)}
    slide.name = "another"
    assert picture.name == "region of another"
    regions.add([[0, 0], [0, 159], [119, 159], [119, 0]])
    widget.image = slide
    with qtbot.waitSignal(widget.failed, timeout=1000) as signal:
        widget.run()
    assert "160 × 120 pixels, and a picture" in signal.args[0]


def test_only_the_plane_shown_is_segmented(viewer, widget, quick_segment, qtbot):
    stack = np.stack([discs(centres=[(40, 40)]), discs(), discs(centres=[])])
    viewer.add_image(stack, rgb=True, scale=(4, 1, 1))
    viewer.dims.set_current_step(0, 1)
    widget.only_plane_shown = True
    segmentation, layers = run(widget, qtbot)
    assert layers.cells.data.shape == (3, 120, 160)
    assert [int(plane.max()) for plane in layers.cells.data] == [0, 3, 0]
    assert widget.panel.here.text() == "plane 1: 3 white cells"
    viewer.dims.set_current_step(0, 0)
    assert widget.panel.here.text() == "plane 0: 0 white cells"
    assert list(segmentation.cells["plane"]) == [1, 1, 1]


def test_a_region_without_shapes_or_beside_the_image_is_explained(viewer, widget, quick_segment, qtbot):
    viewer.add_image(discs(), rgb=True)
    for shapes, words in (
        ([], "is empty: draw a rectangle"),
        ([[[900, 900], [900, 950], [950, 950], [950, 900]]], "do not lie on"),
    ):
        widget.regions = viewer.add_shapes(shapes or None, ndim=2)
        with qtbot.waitSignal(widget.failed, timeout=1000) as signal:
            widget.run()
        assert words in signal.args[0]


def test_work_that_does_not_listen_is_cancelled_within_a_second(viewer, widget, qtbot, monkeypatch):
    started, go = threading.Event(), threading.Event()

    def deaf(image, model, settings, progress):
        started.set()
        go.wait(20)
        return dark_discs(image, model, settings)

    monkeypatch.setattr("napari_wbcseg.segmentation.pipeline.segment", deaf)
    source = viewer.add_image(discs(), rgb=True)
    widget.run()
    qtbot.waitUntil(started.is_set, timeout=5000)
    with qtbot.waitSignal(widget.cancelled, timeout=1000):
        widget.cancel()
    assert not widget.running
    go.set()
    no_thread_left(qtbot)
    assert list(viewer.layers) == [source], "what it found in the end is dropped"


def test_the_count_follows_brush_and_undo(viewer, widget, quick_segment, qtbot):
    viewer.add_image(discs(), rgb=True)
    _, layers = run(widget, qtbot)
    cells = layers.cells
    cells.paint((110, 10), 4)
    qtbot.waitUntil(lambda: widget.panel.result.text() == "4 white cells", timeout=5000)
    assert cells.name == "4 white cells of Image"
    cells.undo()
    qtbot.waitUntil(lambda: widget.panel.result.text() == "3 white cells", timeout=5000)
    assert viewer.canvas.overlays.text.text == "3 white cells"


def test_a_diameter_is_drawn_anew_while_the_view_is_in_3d(viewer, widget):
    widget.image = viewer.add_image(discs(), rgb=True)
    viewer.dims.ndisplay = 3
    for diameter in (40, 60):
        widget.panel.method.diameter.set(diameter)
        circle = widget._circle.layer
        np.testing.assert_allclose(np.ptp(circle.data[0], axis=0), diameter)
    assert (circle.nshapes, set(circle.selected_data)) == (1, {0})


def test_a_diameter_set_by_hand_is_drawn_and_can_be_pulled(viewer, widget, quick_segment, qtbot):
    source = viewer.add_image(discs(), rgb=True, scale=(0.5, 0.5))
    editor = widget.panel.method.diameter
    editor._none.value = False
    editor._value.value = 40
    circle = widget._circle.layer
    assert circle is not None
    np.testing.assert_allclose(np.ptp(circle.data[0], axis=0), 40)
    np.testing.assert_allclose(circle.scale, source.scale)
    assert widget.image is source
    assert widget.regions is None, "the circle is no region"
    circle.data = [np.array([[0, 0], [0, 50], [50, 50], [50, 0]], float)]
    qtbot.waitUntil(lambda: widget.settings.cell_diameter == 50, timeout=1000)
    circle.data = [np.array([[0, 0], [36, 48], [-12, 84], [-48, 36]], float)]  # turned as it was pulled
    qtbot.waitUntil(lambda: widget.settings.cell_diameter == 60, timeout=1000)
    run(widget, qtbot)
    assert circle not in viewer.layers, "gone once it runs"
    widget.settings = SegmentationSettings(cell_diameter=33)
    assert widget._circle.layer is None, "a script sees no circle"


def test_an_axis_of_one_place_is_none_of_the_image_in_colour(viewer):
    """Its pixels were as high as that is deep."""
    image = viewer.add_image(np.zeros((1, 40, 50, 3), np.uint16), rgb=False, scale=(7, 2, 3, 1))
    offer = colour_offer(viewer, image)
    assert offer.add(viewer, offer.join(silent)).scale.tolist() == [2, 3]
    other = viewer.add_image(np.zeros((40, 50), np.uint16))
    viewer.add_image(np.zeros((1, 40, 50), np.uint16))
    assert colour_offer(viewer, other) is None, "of another number of axes, they are not compared"


def test_colours_that_napari_took_for_planes_become_one_image(viewer, widget, quick_segment, qtbot):
    image = discs()
    planes = np.moveaxis(image, -1, 0).astype(np.uint16) * 16
    viewer.add_image(planes, name="smear", scale=(1, 2, 2), affine=np.diag([1, 3, 3, 1]))
    assert "the colours of one image" in widget.panel.about.text()
    widget.panel.join.click()
    qtbot.waitUntil(lambda: bool(widget.image and widget.image.rgb), timeout=5000)
    assert [layer.name for layer in viewer.layers] == ["smear"]
    np.testing.assert_allclose(widget.image.data_to_world((5, 7)), (30, 42))
    assert np.abs(widget.image.data.astype(int) - image).max() <= 1
    assert run(widget, qtbot)[0].count == 3


def test_one_layer_a_colour_becomes_one_image(viewer, widget, quick_segment, qtbot):
    image = discs()
    channels = viewer.add_image(image, channel_axis=2, name="smear")
    widget.regions = viewer.add_shapes(ndim=2)
    assert "red, green and blue" in widget.panel.about.text(), "as long as the button is there"
    widget.regions = None
    widget.panel.join.click()
    qtbot.waitUntil(lambda: bool(widget.image and widget.image.rgb), timeout=5000)
    np.testing.assert_array_equal(widget.image.data, image)
    assert not any(channel.visible for channel in channels)
    widget.panel.pixel_size.set_size(0.5, 0.5)
    assert {pixel_size(layer) for layer in viewer.layers} == {(0.5, 0.5, "µm")}


@pytest.mark.parametrize(
    ("names", "maps"),
    [
        (("smear-red", "smear-green", "smear-blue"), ("gray",) * 3),
        (("R", "G", "B"), ("gray",) * 3),
        (("Channel 5", "Cy3", "DAPI"), tuple(Colormap([(0, 0, 0), colour]) for colour in np.eye(3))),
    ],
    ids=["by file", "by letter", "by the colours that an OME-Zarr gives its channels"],
)
def test_layers_known_by_their_colours_become_one_image(viewer, widget, qtbot, names, maps):
    image = discs()
    for number in (2, 0, 1):
        viewer.add_image(image[..., number], name=names[number], colormap=maps[number])
    assert ", ".join(names) in widget.panel.about.text()
    widget.panel.join.click()
    qtbot.waitUntil(lambda: bool(widget.image and widget.image.rgb), timeout=5000)
    np.testing.assert_array_equal(widget.image.data, image)


def test_what_is_folded_takes_no_key_and_draw_needs_an_image(viewer, widget):
    from napari_wbcseg.plugin.controls.basic_widgets import Folded

    assert not widget.panel.draw.isEnabled()
    for part in widget.findChildren(Folded):
        assert not any(inner.isVisibleTo(widget) for inner in part._content.findChildren(QWidget))
        part.expand()
    assert widget.panel.method.editors["batch_size"].isVisibleTo(widget)


EDGES = [(0, 60), (60, 0), (119, 60), (60, 159), (0, 0)]


@pytest.mark.parametrize("centres", [[], [(60, 80)], EDGES], ids=["background", "one", "borders"])
def test_few_cells_and_cells_on_the_borders_land(viewer, widget, quick_segment, qtbot, centres):
    viewer.add_image(discs(centres=centres).astype(np.int32), rgb=True)
    segmentation, layers = run(widget, qtbot)
    assert segmentation.count == len(centres) == layers.cells.data.max()
    assert widget.panel.result.text() == segmentation.summary


def answer(button):
    """Press a button of the question that is about to be asked."""
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication, QMessageBox

    asked = []

    def press():
        box = QApplication.activeModalWidget()
        assert isinstance(box, QMessageBox)
        asked.append(box.text())
        next(each for each in box.buttons() if each.text().replace("&", "") == button).click()

    QTimer.singleShot(200, press)
    return asked


def test_corrections_are_not_thrown_away_unasked(viewer, widget, quick_segment, qtbot):
    viewer.add_image(discs(), rgb=True)
    cells = run(widget, qtbot)[1].cells
    with qtbot.waitSignal(widget.segmented, timeout=20_000):
        widget.panel.run.click()  # nothing was corrected: no question
    cells.fill((30, 30), 0)
    corrected = cells.data.copy()

    asked = answer("Cancel")
    widget.panel.run.click()
    assert len(asked) == 1
    assert "corrected by hand" in asked[0]
    assert not widget.running
    np.testing.assert_array_equal(cells.data, corrected)

    answer("Keep it")
    with qtbot.waitSignal(widget.segmented, timeout=20_000) as signal:
        widget.panel.run.click()
    new = signal.args[1].cells
    assert new is not cells
    assert cells.name.endswith(", kept")
    assert not cells.visible
    np.testing.assert_array_equal(cells.data, corrected)
    assert widget.panel.result.text() == "3 white cells"

    new.fill((30, 30), 0)
    answer("Replace it")
    with qtbot.waitSignal(widget.segmented, timeout=20_000) as signal:
        widget.panel.run.click()
    assert signal.args[1].cells is new
    assert new.data.max() == 3
    np.testing.assert_array_equal(cells.data, corrected)


def test_an_answer_is_for_the_picture_that_was_asked_about(viewer, widget, quick_segment, qtbot, monkeypatch):
    """A session showed the next picture meanwhile, and the corrections of that went."""
    first = viewer.add_image(discs(), rgb=True)
    run(widget, qtbot)[1].cells.fill((30, 30), 0)
    second = viewer.add_image(discs(), rgb=True)

    def replace_it(*_):
        widget.image = second
        return False

    widget.image = first
    monkeypatch.setattr("napari_wbcseg.plugin.segment.widget.ask_to_keep", replace_it)
    widget.panel.run.click()
    assert not widget.running


def test_what_is_corrected_during_a_run_is_kept(viewer, widget, slow_segment, qtbot):
    viewer.add_image(discs(), rgb=True)
    slow_segment.go.set()
    cells = run(widget, qtbot)[1].cells
    slow_segment.go.clear()
    widget.panel.run.click()  # nothing is corrected yet: no question
    cells.fill((30, 30), 0)
    with qtbot.waitSignal(widget.segmented, timeout=20_000) as signal:
        slow_segment.go.set()
    assert signal.args[1].cells is not cells
    assert cells.name.endswith(", kept")
    assert cells.data[30, 30] == 0


def test_of_a_copy_and_what_it_was_made_of_the_chosen_one_is_saved(viewer, widget, quick_segment, qtbot):
    from napari.layers._layer_actions import _duplicate_layer

    image = viewer.add_image(discs(), rgb=True)
    cells = run(widget, qtbot)[1].cells
    _duplicate_layer(viewer.layers)
    copy = next(layer for layer in viewer.layers if layer.name.endswith("copy"))
    viewer.layers.selection.active = copy
    assert widget.panel.cells() is copy

    viewer.layers.selection.active = cells
    cells.fill((30, 30), 0)
    viewer.layers.selection.active = image
    qtbot.waitUntil(lambda: widget.panel.result.text() == "2 white cells", timeout=5000)
    assert widget.panel.cells() is cells

    viewer.layers.remove(copy)
    assert widget.panel.cells() is cells
    viewer.layers.selection.active = cells
    _duplicate_layer(viewer.layers)
    viewer.layers.remove(cells)
    viewer.layers.selection.active = viewer.layers[-1]
    assert widget.panel.cells() is viewer.layers[-1]


def test_what_was_accepted_counts_as_a_correction(viewer, widget, quick_segment, qtbot):
    viewer.add_image(discs(), rgb=True)
    cells = run(widget, qtbot)[1].cells
    review = widget.review()
    review.select([(0, 1)])
    review.accept()
    assert run(widget, qtbot)[1].cells is not cells, "a script's run keeps them as well"
    assert cells in viewer.layers


def test_review_opens_in_front_and_once(viewer, widget, quick_segment, qtbot):
    from napari_wbcseg.plugin.panels import open_review, open_segment

    viewer.add_image(discs(), rgb=True, name="a")
    first = run(widget, qtbot)[1].cells
    review = widget.review()
    assert review.labels is first
    viewer.add_image(discs(centres=((50, 50),)), rgb=True, name="b")
    second = run(widget, qtbot)[1].cells
    dock = review.parent()
    while not hasattr(dock, "inner_widget"):
        dock = dock.parent()
    dock.hide()
    widget.panel.review.click()
    assert not dock.isHidden()
    assert review.labels is second
    open_review()
    open_segment()
    assert sorted(viewer.window.dock_widgets) == [
        "Review white blood cells (napari-wbcseg)",
        "Segment white blood cells (napari-wbcseg)",
    ]


def test_what_is_said_of_one_picture_does_not_stand_under_another(
    viewer, widget, quick_segment, qtbot, tmp_path
):
    first = viewer.add_image(discs(), rgb=True, name="a")
    run(widget, qtbot)
    with qtbot.waitSignal(widget.panel.save.saved, timeout=60_000):
        widget.panel.save.save(tmp_path / "a")
    assert "Saved" in widget.panel.save.message.text()
    assert "24 px" in widget.panel.found.text()
    viewer.add_image(discs(), rgb=True, name="b")
    assert widget.panel.save.message.text() == ""
    assert widget.panel.found.text() == ""
    assert widget.panel.result.text() == ""
    viewer.layers.selection.active = first
    assert "24 px" in widget.panel.found.text()
    assert widget.panel.result.text() == "3 white cells"


def test_a_second_saving_that_follows_at_once_is_known_to_run(viewer, widget, quick_segment, qtbot, tmp_path):
    viewer.add_image(discs(), rgb=True)
    run(widget, qtbot)
    form, names = widget.panel.save, ["a", "b"]
    form.formats = ["csv"]
    form.saved.connect(lambda files: names and form.save(tmp_path / names.pop(0)))
    with qtbot.waitSignal(form.saved, timeout=60_000):
        form.save(tmp_path / names.pop(0))
    qtbot.wait(0)
    assert form.running
    assert not form.button.isEnabled()
    with qtbot.waitSignal(form.saved, timeout=60_000):
        pass


def saved(viewer, tmp_path):
    """Save what is found in a picture on disk, and forget all of it."""
    from PIL import Image

    from napari_wbcseg.plugin.shared.layers import add_segmentation
    from napari_wbcseg.plugin.shared.saving import LayerSnapshot, save_snapshot

    Image.fromarray(discs()).save(tmp_path / "smear.png")
    (image,) = viewer.open(tmp_path / "smear.png", plugin="napari")
    cells = add_segmentation(viewer, dark_discs(image.data), image).cells
    save_snapshot(LayerSnapshot.of_layer(cells, viewer), tmp_path / "smear", "tiff")
    viewer.layers.clear()
    return tmp_path / "smear-result.json"


def test_another_day_picture_and_cells_are_in_place(viewer, widget, qtbot, tmp_path):
    record = saved(viewer, tmp_path)
    viewer.open(record, plugin="napari-wbcseg")
    assert [layer.name for layer in viewer.layers] == ["smear", "3 white cells of smear"]
    qtbot.waitUntil(lambda: widget.panel.result.text() == "3 white cells", timeout=5000)
    assert widget.image is viewer.layers[0]
    assert not widget.panel.next_steps.isHidden()
    assert widget.panel.save.button.isEnabled()
    assert viewer.canvas.overlays.text.visible
    with qtbot.waitSignal(widget.panel.save.saved, timeout=60_000):
        widget.panel.save.save(tmp_path / "again")
    import json

    written = json.loads((tmp_path / "again-result.json").read_text(encoding="utf-8"))
    assert written["image"]["path"] == str(tmp_path / "smear.png")
    review = widget.review()
    assert review.labels is viewer.layers["3 white cells of smear"]
    assert review.image is viewer.layers["smear"]


def test_cells_are_reviewed_on_their_own_picture_whichever_is_clicked(viewer, widget, qtbot, tmp_path):
    viewer.open(saved(viewer, tmp_path), plugin="napari-wbcseg")
    review = widget.review()
    other = viewer.add_image(np.zeros_like(viewer.layers["smear"].data), rgb=True, name="another")
    viewer.layers.selection.active = other
    assert review.labels is viewer.layers["3 white cells of smear"]
    assert review.image is viewer.layers["smear"]
    review.image = other
    assert review.image is other, "it may be chosen"


@pytest.mark.parametrize("again", [True, False])
def test_a_picture_that_was_removed_finds_its_cells_when_it_is_opened_again(
    viewer, widget, qtbot, tmp_path, again
):
    viewer.open(saved(viewer, tmp_path), plugin="napari-wbcseg")
    viewer.layers.remove("smear")
    (tmp_path / "tuesday").mkdir()
    (tmp_path / "tuesday" / "smear.png").write_bytes((tmp_path / "smear.png").read_bytes())
    viewer.open(tmp_path / "smear.png" if again else tmp_path / "tuesday" / "smear.png", plugin="napari")
    qtbot.wait(100)
    assert (viewer.layers[0].name == "smear") == again, "another picture of that name is not theirs"
    assert bool(viewer.canvas.overlays.text.visible) == again


def test_a_picture_that_is_opened_later_goes_below_its_cells(viewer, widget, qtbot, tmp_path):
    record = saved(viewer, tmp_path)
    (tmp_path / "smear.png").rename(tmp_path / "away.png")
    viewer.open(record, plugin="napari-wbcseg")
    assert [layer.name for layer in viewer.layers] == ["3 white cells of smear"]
    (tmp_path / "away.png").rename(tmp_path / "smear.png")
    viewer.open(tmp_path / "smear.png", plugin="napari")
    qtbot.waitUntil(lambda: viewer.layers[0].name == "smear", timeout=5000)
    assert widget.panel.result.text() == "3 white cells"
    assert viewer.canvas.overlays.text.text == "3 white cells"
