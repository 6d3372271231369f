"""Word of what concerns every open widget."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal


class _Events(QObject):
    #: Emitted with the name of a model that was added to the library, or empty where one went.
    models_changed = Signal(str)
    #: Emitted when a field was added to the training set.
    training_set_changed = Signal()
    #: Emitted when a review learned classes, or forgot them.
    classes_learnt = Signal()
    #: Emitted when a copy of unsaved corrections is offered, or no more.
    copies_changed = Signal()


events = _Events()
