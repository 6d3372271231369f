"""A layer that is removed leaves no vertex array enabled, which the next drawing would crash on."""

from __future__ import annotations

from napari_wbcseg.plugin.shared.canvas_guard import guard_canvas


def enabled_arrays(canvas):
    from vispy.gloo import gl

    canvas.makeCurrent()
    enabled = [i for i in range(16) if gl.glGetVertexAttrib(i, gl.GL_VERTEX_ATTRIB_ARRAY_ENABLED)]
    canvas.doneCurrent()
    return enabled


def test_no_vertex_array_outlives_its_layer(make_napari_viewer, qtbot):
    from qtpy.QtOpenGLWidgets import QOpenGLWidget
    from qtpy.QtWidgets import QApplication

    viewer = make_napari_viewer(show=True)
    guard_canvas(viewer)
    points = viewer.add_points([[2, 2]], size=1)
    canvas = next(w for w in QApplication.allWidgets() if isinstance(w, QOpenGLWidget) and w.isValid())
    viewer.screenshot(flash=False)
    assert enabled_arrays(canvas), "vispy leaves them enabled after it has drawn"
    viewer.layers.remove(points)
    assert not enabled_arrays(canvas)
    viewer.add_points([[3, 3]], size=1)
    viewer.screenshot(flash=False)
