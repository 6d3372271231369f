"""A training that was interrupted is offered, until it is gone on with or discarded."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QMessageBox

from napari_wbcseg.plugin.controls.training_run import ResumePanel
from napari_wbcseg.settings import TrainingSettings
from napari_wbcseg.training.folder import TrainingJob, new_training_folder, write_job


@pytest.mark.parametrize(("said", "left"), [("No", True), ("Yes", False)])
def test_discard_asks_first(qtbot, monkeypatch, said, left):
    """A slip took hours of training away."""
    folder = new_training_folder("my-stain")
    write_job(folder, TrainingJob("/data/smears", TrainingSettings(), "my-stain"))
    monkeypatch.setattr(QMessageBox, "question", lambda *_: getattr(QMessageBox.StandardButton, said))
    panel = ResumePanel()
    qtbot.addWidget(panel)
    assert "my-stain was interrupted" in panel.text.text()
    panel.discard_button.click()
    assert folder.exists() == left
    assert bool(panel.text.text()) == left
