"""A form shows every field of a settings class but the recipe, and gives back what was set."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QLineEdit

from napari_wbcseg.plugin.controls.settings_form import SettingsForm
from napari_wbcseg.settings import SegmentationSettings, TrainingSettings

FORMS = [
    SegmentationSettings(),
    SegmentationSettings(
        cell_diameter=123.5, flips=True, batch_size=3, check_below=0.4, engine="onnxruntime"
    ),
    TrainingSettings(),
    TrainingSettings.for_recipe("robust", seed=2**31 - 1, learning_rate=3e-5, steps_per_epoch=7),
    SegmentationSettings(cell_diameter=61.2547, probability_threshold=0.123, check_below=1 / 3),
    SegmentationSettings(probability_threshold=0.999, cell_diameter=6.001),
    TrainingSettings(learning_rate=1.25e-4, dropout=0.123, plateau_factor=0.001),
    TrainingSettings(learning_rate=3e-6, dropout=0.99, validation_fraction=0.999),
]


@pytest.mark.parametrize("settings", FORMS)
def test_settings_go_through_the_form_unchanged(qtbot, settings):
    form = SettingsForm(settings)
    qtbot.addWidget(form)
    assert set(form.editors) == set(type(settings).model_fields) - {"recipe"}
    assert type(settings)(**form.values(), recipe=settings.recipe) == settings


@pytest.mark.parametrize("cls", [SegmentationSettings, TrainingSettings])
@pytest.mark.parametrize("end", [-1e18, 1e18])
def test_whatever_is_typed_is_within_the_limits(qtbot, cls, end):
    form = SettingsForm(cls())
    qtbot.addWidget(form)
    for editor in form.editors.values():
        spin = editor._value.native
        if hasattr(spin, "setValue"):
            if editor._none is not None:
                editor._none.value = False
            spin.setValue(spin.minimum() if end < 0 else spin.maximum())
    assert cls(**form.values())


def test_an_optional_number_can_be_left_to_the_computer(qtbot):
    form = SettingsForm(SegmentationSettings(), ["cell_diameter"])
    qtbot.addWidget(form)
    editor = form.editors["cell_diameter"]
    assert form.values()["cell_diameter"] is None
    assert not editor._value.enabled
    editor._none.value = False
    editor._value.value = 80
    assert form.values()["cell_diameter"] == 80


def test_only_the_fields_of_the_recipe_are_shown(qtbot):
    form = SettingsForm(SegmentationSettings())
    qtbot.addWidget(form)
    form.show_recipe("classic")
    assert not form.editors["grey_threshold"].isHidden()
    assert form.editors["cell_diameter"].isHidden()
    form.show_recipe("robust")
    assert form.editors["grey_threshold"].isHidden()
    assert not form.editors["cell_diameter"].isHidden()


def test_every_field_is_explained(qtbot):
    for settings in (SegmentationSettings(), TrainingSettings()):
        form = SettingsForm(settings)
        qtbot.addWidget(form)
        assert all(len(editor.toolTip()) > 10 for editor in form.editors.values())
        assert not any(
            editor.toolTip().startswith(("Classic:", "Robust:")) for editor in form.editors.values()
        )


def test_the_keyboard_goes_from_the_rows_above_to_the_fields(qtbot):
    above = QLineEdit()
    form = SettingsForm(SegmentationSettings(), above=[("Model", above, "Which one.")])
    qtbot.addWidget(form)
    form.show()
    above.setFocus()
    form.focusNextChild()
    assert form.editors["cell_diameter"].isAncestorOf(form.focusWidget())


def test_what_is_not_on_top_is_folded_and_set_with_the_rest(qtbot):
    form = SettingsForm(SegmentationSettings(), ["cell_diameter"])
    for part in (form, form.more):
        qtbot.addWidget(part)
    assert form.isAncestorOf(form.editors["cell_diameter"])
    assert form.more.isAncestorOf(form.editors["batch_size"])
    form.set_values(SegmentationSettings(cell_diameter=50, batch_size=3))
    assert SegmentationSettings(**form.values()) == SegmentationSettings(cell_diameter=50, batch_size=3)


def test_a_change_is_told(qtbot):
    form = SettingsForm(SegmentationSettings())
    qtbot.addWidget(form)
    with qtbot.waitSignal(form.changed):
        form.editors["batch_size"]._value.value = 5
