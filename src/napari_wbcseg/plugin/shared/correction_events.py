"""Word that the training set has changed."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal


class _TrainingSetEvents(QObject):
    changed = Signal()


#: Emits ``changed()`` when a field was added to the training set; every open widget listens.
training_set_events = _TrainingSetEvents()
