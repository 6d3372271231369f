"""Keep the canvas drawing after a layer is taken out of the list.

vispy leaves the vertex arrays of a drawing enabled when it deletes their buffers
(vispy#1611, napari#6472 and #8471). The next drawing then reads memory that is gone, and
with some OpenGL drivers (Mesa's, some on Windows) napari ends with a segmentation fault.
Every drawing enables the arrays that it needs, so each may begin with none.
"""

from __future__ import annotations

import weakref
from typing import Any

_ARRAYS = 16  # that every OpenGL has; napari's drawings use fewer
_guarded: weakref.WeakSet[Any] = weakref.WeakSet()


def guard_canvases() -> None:
    """Make the removal of a layer harmless for every canvas that there is.

    It is done as vispy draws: whoever makes its context current, or leaves it, in between has vispy write
    into none, and ends napari in that way.
    """
    from qtpy.QtWidgets import QApplication

    for widget in QApplication.allWidgets():
        canvas = getattr(widget, "_vispy_canvas", None)
        if canvas is not None and canvas not in _guarded:
            _guarded.add(canvas)
            canvas.events.draw.connect(_let_go_of_arrays)


def _let_go_of_arrays(event: Any = None) -> None:
    from vispy.gloo import gl

    for array in range(_ARRAYS):
        gl.glDisableVertexAttribArray(array)
