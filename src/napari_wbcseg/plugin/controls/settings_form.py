"""A form made from the fields of a settings class: one magicgui widget a field."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Generic, TypeVar, cast

from magicgui.widgets import CheckBox, FloatSpinBox, create_widget
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QWidget

from ...settings import SegmentationSettings, Setting, TrainingSettings, settings_of
from .basic_widgets import Folded, fill, form, stretched, together, with_tip

SettingsT = TypeVar("SettingsT", SegmentationSettings, TrainingSettings)

_LARGEST = 2**31 - 1  # that Qt's spin boxes hold


class FieldEditor(QWidget):
    """Shows and changes one setting.

    Parameters
    ----------
    setting : Setting
        Its type, limits, default and description.
    """

    changed = Signal()

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        self._value = self.make_widget(setting)
        self._none = CheckBox(text=setting.none) if setting.optional else None
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        native = stretched(self._value.native)
        if setting.unit:
            native.setSuffix(f" {setting.unit}")
        # A wheel that scrolls the panel must not change a number under the mouse.
        native.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        if self._none is not None:
            row.addWidget(self._none.native)
            self._none.changed.connect(self._on_none)
        row.addWidget(native, 1)
        self._value.changed.connect(lambda: self.changed.emit())
        self.set(setting.default)

    def make_widget(self, setting: Setting) -> ValueWidget[Any]:
        """Return what holds the value."""
        options: dict[str, Any] = {}
        if setting.kind in (int, float):
            step = _step(setting)
            low = (setting.low or 0) + step * setting.above
            high = (_LARGEST if setting.high is None else setting.high) - step * setting.below
            options = {"min": low, "max": high, "step": step if setting.kind is float else None}
        return cast(ValueWidget[Any], create_widget(annotation=setting.annotation, options=options))

    @property
    def value(self) -> Any:
        """The value shown, of the field's type."""
        if self._none is not None and self._none.value:
            return None
        return self._value.value

    def set(self, value: Any) -> None:
        """Show a value."""
        if self._none is not None:
            self._none.value = value is None
            self._value.enabled = value is not None
        if value is None:
            return
        if isinstance(self._value, FloatSpinBox):  # which rounds to its digits, and has limits a step away
            native, digits = self._value.native, -int(Decimal(repr(float(value))).as_tuple().exponent)
            native.setDecimals(max(native.decimals(), digits))
            native.setRange(min(native.minimum(), value), max(native.maximum(), value))
        self._value.value = value

    def suggest(self, value: Any) -> None:
        """Show a value to start from while the setting is left to the computer."""
        if self.value is None:
            self._value.value = value

    def _on_none(self, none: bool) -> None:
        self._value.enabled = not none
        self.changed.emit()


class SettingsForm(QWidget, Generic[SettingsT]):
    """A form of the fields of a settings class, of which some may be folded away.

    The recipe is none of them: it is that of the model.

    Parameters
    ----------
    settings : SegmentationSettings or TrainingSettings
        What is shown at first; its class decides the fields.
    top : iterable of str, optional
        The fields shown first, in this order; the others are in the part ``more``. By default there are none.
    editors : mapping of str to type, optional
        Editors of their own for some fields.
    above : iterable of tuple (str, QWidget, str)
        Rows above the fields: title, what stands in it, tip.

    Attributes
    ----------
    more : Folded
        The other fields; who lays out the form finds a place for them.
    """

    changed = Signal()

    def __init__(
        self,
        settings: SettingsT,
        top: Iterable[str] | None = None,
        editors: Mapping[str, type[FieldEditor]] | None = None,
        above: Iterable[tuple[str, QWidget, str]] = (),
    ) -> None:
        super().__init__()
        known: dict[str, Setting] = settings_of(type(settings))
        del known["recipe"]
        first: list[str] = list(known if top is None else top)
        self.editors: dict[str, FieldEditor] = {}
        self._rows: dict[str, QFormLayout] = {}  # that an editor is in
        rows, others = form(*above), form()
        fill(self, rows)
        self.more = Folded("More options", together(others))
        for name in dict.fromkeys([*first, *known]):
            editor = self.editors[name] = (editors or {}).get(name, FieldEditor)(known[name])
            self._rows[name] = rows if name in first else others
            tip = known[name].description
            self._rows[name].addRow(with_tip(QLabel(known[name].title), tip), with_tip(editor, tip))
            editor.changed.connect(self.changed)
        self.set_values(settings)

    def values(self) -> dict[str, Any]:
        """Return the values shown, by field."""
        return {name: editor.value for name, editor in self.editors.items()}

    def set_values(self, settings: SettingsT) -> None:
        """Show the values of these settings."""
        for name, editor in self.editors.items():
            editor.set(getattr(settings, name))

    def show_recipe(self, recipe: str) -> None:
        """Show only the fields that this recipe reads."""
        for name, editor in self.editors.items():
            self._rows[name].setRowVisible(editor, editor.setting.recipe in (None, recipe))


def _step(setting: Setting) -> float:
    """Return a step that suits the number: a tenth of small ones, 1 for lengths."""
    default, high = setting.default, setting.high
    if isinstance(default, float) and 0 < default < 0.01:
        return float(10.0 ** (math.floor(math.log10(default)) - 1))
    return 0.05 if high is not None and high <= 1 else 1.0
