"""Keep the canvas drawing after a layer of points or shapes is taken out of the list.

vispy leaves the vertex arrays of the last drawing enabled when it deletes their buffers
(vispy#1611, napari#6472 and #8471). The next drawing then reads memory that is gone, and
with some OpenGL drivers (Mesa's, some on Windows) napari ends with a segmentation fault.
Every drawing enables the arrays that it needs, so all can be disabled in between.
"""

from __future__ import annotations

import weakref
from typing import Any

from napari.components import ViewerModel

_ARRAYS = 16  # that every OpenGL has; napari's drawings use fewer
_guarded: weakref.WeakSet[Any] = weakref.WeakSet()


def guard_canvas(viewer: ViewerModel) -> None:
    """Watch a viewer's layer list from now on, and make the removal of a layer harmless."""
    if viewer.layers not in _guarded:
        _guarded.add(viewer.layers)
        viewer.layers.events.removed.connect(_let_go_of_arrays)


def _let_go_of_arrays(event: Any = None) -> None:
    from qtpy.QtOpenGLWidgets import QOpenGLWidget
    from qtpy.QtWidgets import QApplication
    from vispy.gloo import gl

    for widget in QApplication.allWidgets():
        if isinstance(widget, QOpenGLWidget) and widget.isValid():
            widget.makeCurrent()
            for array in range(_ARRAYS):
                gl.glDisableVertexAttribArray(array)
            widget.doneCurrent()
