"""Keep napari alive when a layer is taken out of the list.

napari then has vispy delete what the layer was drawn with, in whatever OpenGL context is current (0.9:
``VispyCanvas._clean_and_update_scenegraph``): often that of Qt, which shares these things but not the
state of the canvas. And vispy leaves the vertex arrays of the last drawing enabled (vispy#1611, napari#6472
and #8471). Either way the next drawing reads memory that is gone, and with some OpenGL drivers (Mesa's,
some on Windows) napari ends with a segmentation fault. Every drawing enables the arrays that it needs.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

from napari.components import ViewerModel
from qtpy.compat import isalive

_ARRAYS = 16  # that every OpenGL has; napari's drawings use fewer
_guarded: weakref.WeakSet[Any] = weakref.WeakSet()


def guard_canvas(viewer: ViewerModel) -> None:
    """Watch a viewer's layer list from now on, and make the removal of a layer harmless."""
    if viewer.layers not in _guarded and hasattr(viewer, "window"):  # a model alone has none
        _guarded.add(viewer.layers)
        window = weakref.ref(viewer.window.main_menu.window())
        viewer.layers.events.removing.connect(partial(_prepare_canvas, window))


def _prepare_canvas(window: weakref.ref[Any], event: Any = None) -> None:
    """Make the canvas current, in which vispy deletes next, and let go of its vertex arrays."""
    from qtpy.QtOpenGLWidgets import QOpenGLWidget
    from vispy.gloo import gl

    shown = window()
    if shown is None or not isalive(shown):  # asked of what is in it while it is deleted, Qt crashes
        return
    for canvas in shown.findChildren(QOpenGLWidget):
        if canvas.isValid():
            canvas.makeCurrent()
            for array in range(_ARRAYS):
                gl.glDisableVertexAttribArray(array)
