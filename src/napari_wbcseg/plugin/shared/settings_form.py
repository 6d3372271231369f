"""A form made from the fields of a settings class: one magicgui widget a field."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, SpinBox
from magicgui.widgets.bases import ValueWidget
from pydantic.fields import FieldInfo
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QSizePolicy, QWidget

from ...settings import SegmentationSettings, TrainingSettings

SettingsT = TypeVar("SettingsT", SegmentationSettings, TrainingSettings)

# What Qt's spin boxes hold; a field without a limit gets these.
_INT_LIMITS = (0, 2**31 - 1)
_FLOAT_LIMITS = (0.0, 1e9)


class FieldEditor(QWidget):
    """Shows and changes one setting.

    Parameters
    ----------
    name : str
        Name of the field.
    field : FieldInfo
        Its type, limits, default and description.
    none_text : str
        What a field that may be None calls that value.
    unit : str
        Shown behind a number.
    """

    changed = Signal()

    def __init__(self, name: str, field: FieldInfo, none_text: str = "automatic", unit: str = "") -> None:
        super().__init__()
        self.name = name
        self.recipe, self.description = _split_recipe(field.description or "")
        kind, self._optional = _plain_type(field.annotation)
        self._value: ValueWidget[Any] = _value_widget(kind, field)
        self._none = CheckBox(text=none_text) if self._optional else None
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        native = self._value.native
        if unit and hasattr(native, "setSuffix"):
            native.setSuffix(f" {unit}")
        # A wheel that scrolls the panel must not change a number under the mouse.
        native.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        if self._none is not None:
            row.addWidget(self._none.native)
            self._none.changed.connect(self._on_none)
        native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        row.addWidget(native, 1)
        self._value.changed.connect(lambda: self.changed.emit())
        self.setToolTip(self.description)
        self.set(field.get_default())

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
        if value is not None:
            self._value.value = value

    def suggest(self, value: Any) -> None:
        """Show a value to start from while the setting is left to the computer."""
        if self.value is None:
            self._value.value = value

    def _on_none(self, none: bool) -> None:
        self._value.enabled = not none
        self.changed.emit()


class SettingsForm(QWidget, Generic[SettingsT]):
    """A form of some of the fields of a settings class.

    Parameters
    ----------
    settings : SegmentationSettings or TrainingSettings
        What is shown at first; its class decides the fields.
    fields : iterable of str, optional
        The fields shown, in this order; by default all but those of ``leave_out``.
    leave_out : iterable of str
        Fields not shown; they keep the value of ``settings``.
    units, none_texts : dict
        Unit of a number and name of None, by field.
    """

    changed = Signal()

    def __init__(
        self,
        settings: SettingsT,
        fields: Iterable[str] | None = None,
        leave_out: Iterable[str] = (),
        units: dict[str, str] | None = None,
        none_texts: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        known = type(settings).model_fields
        left_out = set(leave_out)
        names = list(fields) if fields is not None else [name for name in known if name not in left_out]
        self.editors: dict[str, FieldEditor] = {}
        self._labels: dict[str, QLabel] = {}
        self._rows = layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setVerticalSpacing(4)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for name in names:
            none_text = (none_texts or {}).get(name, "automatic")
            editor = FieldEditor(name, known[name], none_text, (units or {}).get(name, ""))
            label = QLabel(title_of(name))
            label.setToolTip(editor.description)
            layout.addRow(label, editor)
            self.editors[name], self._labels[name] = editor, label
            editor.changed.connect(self.changed)
        self.set_values(settings)

    def insert_row(self, index: int, title: str, widget: QWidget, tip: str = "") -> None:
        """Put another widget among the fields, in line with them."""
        label = QLabel(title)
        label.setToolTip(tip)
        widget.setToolTip(tip)
        self._rows.insertRow(index, label, widget)

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
            shown = editor.recipe in (None, recipe)
            editor.setVisible(shown)
            self._labels[name].setVisible(shown)


def title_of(name: str) -> str:
    """Return a field's name as a label: ``cell_diameter`` is ``Cell diameter``."""
    return name.replace("_", " ").capitalize()


def _split_recipe(description: str) -> tuple[str | None, str]:
    """Take the recipe off the front of a description such as ``Robust: diameter of ...``."""
    for recipe in ("robust", "classic"):
        start = f"{recipe.capitalize()}: "
        if description.startswith(start):
            rest = description.removeprefix(start)
            return recipe, rest[0].upper() + rest[1:]
    return None, description


def _plain_type(annotation: Any) -> tuple[Any, bool]:
    """Return a type without its ``None``, and whether it had one."""
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        if len(kinds) == 1:
            return kinds[0], True
    return annotation, False


def _value_widget(kind: Any, field: FieldInfo) -> ValueWidget[Any]:
    if get_origin(kind) is Literal:
        return ComboBox(choices=get_args(kind))
    if kind is bool:
        return CheckBox(text="")
    low, high = _limits(field)
    if kind is int:
        return SpinBox(
            min=_INT_LIMITS[0] if low is None else int(low),
            max=_INT_LIMITS[1] if high is None else int(high),
        )
    if kind is float:
        step = _step(field.get_default(), high)
        return FloatSpinBox(
            min=_FLOAT_LIMITS[0] if low is None else low + (step if _exclusive(field, "gt") else 0),
            max=_FLOAT_LIMITS[1] if high is None else high - (step if _exclusive(field, "lt") else 0),
            step=step,
        )
    raise TypeError(f"A setting of type {kind} has no widget.")


def _limits(field: FieldInfo) -> tuple[float | None, float | None]:
    low = high = None
    for constraint in field.metadata:
        for name in ("ge", "gt"):
            low = getattr(constraint, name, low)
        for name in ("le", "lt"):
            high = getattr(constraint, name, high)
    return low, high


def _exclusive(field: FieldInfo, name: str) -> bool:
    return any(getattr(constraint, name, None) is not None for constraint in field.metadata)


def _step(default: Any, high: float | None) -> float:
    """Return a step that suits the number: a tenth of small ones, 1 for lengths."""
    if isinstance(default, float) and 0 < default < 0.01:
        return float(10.0 ** (math.floor(math.log10(default)) - 1))
    return 0.05 if high is not None and high <= 1 else 1.0
