"""The models to choose from are listed from their headers, in a thread."""

from __future__ import annotations

from napari_wbcseg.network.library import list_models
from napari_wbcseg.plugin.shared.model_list import ModelPicker


def test_headers_tell_what_whole_files_tell(small_model):
    small_model("mine", "classic")
    quick, whole = list_models(weights=False), list_models()
    assert [(info.name, info.header, info.problem) for info in quick] == [
        (info.name, info.model.header, info.problem) for info in whole
    ]
    assert all(info.model is None for info in quick)


def test_a_file_that_ends_too_early_is_noticed_without_reading_it(small_model, own_models_folder):
    small_model("cut")
    path = own_models_folder / "cut.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    (info,) = [info for info in list_models(weights=False) if info.name == "cut"]
    assert "truncated" in info.problem


def test_the_list_is_read_beside_the_window(small_model, qtbot):
    small_model("mine")
    picker = ModelPicker("mine")
    qtbot.addWidget(picker)
    assert not picker.ready
    with qtbot.waitSignal(picker.model_changed, timeout=5000):
        pass
    assert picker.ready
    assert picker.name == "mine"


def test_who_asks_before_it_is_read_is_answered(small_model, qtbot):
    small_model("mine")
    picker = ModelPicker()
    qtbot.addWidget(picker)
    picker.name = "mine"
    assert picker.name == "mine"
