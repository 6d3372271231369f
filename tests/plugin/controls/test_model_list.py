"""The models to choose from are listed from their headers."""

from __future__ import annotations

from napari.settings import get_plugin_settings

from napari_wbcseg.network.library import list_models, load_model
from napari_wbcseg.plugin.controls.method_form import MethodForm
from napari_wbcseg.plugin.controls.model_list import ModelPicker
from napari_wbcseg.plugin.controls.panel import open_panel
from napari_wbcseg.plugin.session.files import Session
from napari_wbcseg.plugin.shared.events import events


def test_headers_tell_what_whole_files_tell(small_model):
    small_model("mine", "classic")
    for info in list_models():
        assert (info.header, info.problem) == (load_model(info.name).header, "")


def test_a_file_that_ends_too_early_is_noticed_without_reading_it(small_model, own_models_folder):
    small_model("cut")
    path = own_models_folder / "cut.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    (info,) = [info for info in list_models() if info.name == "cut"]
    assert "truncated" in info.problem


def test_that_the_chosen_model_is_gone_is_said(viewer, small_model, qtbot):
    """The panels went on with wbc without a word."""
    path = small_model("mine", "classic").path
    session = open_panel(viewer, "White blood cell session")
    session.session = Session(path.parent)
    panels = session, open_panel(viewer, "Segment white blood cells")
    for panel in panels:
        panel.model = "mine"
    path.unlink()
    events.models_changed.emit("")
    for panel in panels:
        assert (panel.model, panel.settings.recipe) == ("wbc", "robust")
        assert panel.message.text() == "The model mine is there no more: wbc is chosen now."


def test_a_model_that_comes_while_another_is_chosen_is_offered_and_not_chosen(small_model, qtbot):
    small_model("mine")
    picker = ModelPicker("mine")
    qtbot.addWidget(picker)
    small_model("yours")
    with qtbot.assertNotEmitted(picker.currentIndexChanged):
        events.models_changed.emit("yours")
    assert picker.name == "mine"
    picker.name = "yours"
    assert picker.recipe == "robust"


def test_that_the_model_of_the_preferences_is_not_there_is_said(viewer, small_model, qtbot, monkeypatch):
    """The panels began with wbc without a word, as with the path of a model, which was said to do."""
    small_model("mine")
    said, settings = [], get_plugin_settings("napari-wbcseg").segmentation
    monkeypatch.setattr("napari_wbcseg.plugin.controls.method_form.show_info", said.append)
    sentence = "The preferences name the model gone, which is not there: wbc is chosen."
    for name, chosen, told in (("mine", "mine", []), ("gone", "wbc", [sentence])):
        monkeypatch.setattr(settings, "model", name)
        form = MethodForm()
        qtbot.addWidget(form)
        assert (form.models.name, said) == (chosen, told)
