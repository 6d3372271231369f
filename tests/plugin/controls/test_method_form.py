"""The choice of the classifier: built in, taught by the user, a file, or none."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QPushButton

from napari_wbcseg.datasets.corrections import learnt_file
from napari_wbcseg.plugin.controls.method_form import ClassesEditor, QFileDialog
from napari_wbcseg.plugin.shared.events import events
from napari_wbcseg.settings import SegmentationSettings, settings_of


@pytest.fixture
def editor(qtbot, monkeypatch, tmp_path):
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path))
    made = ClassesEditor(settings_of(SegmentationSettings)["classes"])
    qtbot.addWidget(made)
    return made


def offered(editor):
    box = editor._value.native
    return [box.itemText(index) for index in range(box.count())]


def test_what_was_taught_is_offered_once_there_is_something(editor):
    assert (editor.value, offered(editor)) == ("built-in", ["built-in"])
    learnt_file().write_bytes(b"")
    events.classes_learnt.emit()
    assert offered(editor) == ["built-in", "as you taught"]
    editor._value.value = str(learnt_file())
    assert editor.value == str(learnt_file())
    learnt_file().unlink()
    events.classes_learnt.emit()
    assert (editor.value, offered(editor)) == ("built-in", ["built-in"]), "forgotten"


def test_a_file_can_be_chosen_and_none(editor, monkeypatch):
    answers = iter(["", "/data/own.safetensors"])
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (next(answers), ""))
    editor.findChild(QPushButton).click()
    assert editor.value == "built-in"
    editor.findChild(QPushButton).click()
    assert editor.value == "/data/own.safetensors"
    assert "own.safetensors" in offered(editor)
    editor.set(None)
    assert editor.value is None
