"""A layer that is removed leaves nothing behind that the next drawing would crash on."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from napari_wbcseg.plugin.controls.panel import open_panel
from napari_wbcseg.plugin.shared.canvas_guard import guard_canvas


def enabled_arrays(canvas):
    from vispy.gloo import gl

    canvas.makeCurrent()
    enabled = [i for i in range(16) if gl.glGetVertexAttrib(i, gl.GL_VERTEX_ATTRIB_ARRAY_ENABLED)]
    canvas.doneCurrent()
    return enabled


@pytest.mark.parametrize(
    "guard", [guard_canvas, lambda viewer: open_panel(viewer, "Train WBC model")], ids=["alone", "training"]
)
def test_no_vertex_array_outlives_its_layer(make_napari_viewer, qtbot, guard):
    from qtpy.QtOpenGLWidgets import QOpenGLWidget
    from qtpy.QtWidgets import QApplication

    viewer = make_napari_viewer(show=True)
    guard(viewer)
    points = viewer.add_points([[2, 2]], size=1)
    canvas = next(w for w in QApplication.allWidgets() if isinstance(w, QOpenGLWidget) and w.isValid())
    viewer.screenshot(flash=False)
    assert enabled_arrays(canvas), "vispy leaves them enabled after it has drawn"
    viewer.layers.remove(points)
    assert not enabled_arrays(canvas)
    viewer.add_points([[3, 3]], size=1)
    viewer.screenshot(flash=False)


def test_what_drew_a_layer_is_deleted_in_the_context_that_drew_it(make_napari_viewer, qtbot):
    from qtpy.QtGui import QOpenGLContext
    from qtpy.QtOpenGLWidgets import QOpenGLWidget
    from qtpy.QtWidgets import QApplication

    viewer, contexts = make_napari_viewer(show=True), []
    viewer.layers.events.removed.connect(lambda: contexts.append(QOpenGLContext.currentContext()))
    guard_canvas(viewer)
    points = viewer.add_points([[2, 2]], size=1)
    canvas = next(w for w in QApplication.allWidgets() if isinstance(w, QOpenGLWidget) and w.isValid())
    viewer.screenshot(flash=False)
    canvas.doneCurrent()
    viewer.layers.remove(points)
    assert contexts == [canvas.context()]


PICTURES_COME_AND_GO = textwrap.dedent(
    """
    import os
    import time

    import napari
    import numpy as np
    from qtpy.QtWidgets import QApplication

    from napari_wbcseg.plugin.shared.canvas_guard import guard_canvas

    def live():
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            QApplication.processEvents()

    viewer = napari.Viewer()
    guard_canvas(viewer)
    pictures = np.random.default_rng(0).integers(0, 255, (4, 220, 260, 3)).astype(np.uint8)
    picture = viewer.add_image(pictures[0], rgb=True)
    live()
    cells = viewer.add_labels(np.zeros((220, 260), int))
    live()
    for other in pictures[1:]:
        viewer.layers.remove(picture)
        picture = viewer.add_image(other, rgb=True)
        viewer.reset_view()
        live()
    viewer.layers.remove(cells)
    live()
    print("drawn", flush=True)
    os._exit(0)
    """
)


def test_pictures_that_come_and_go_leave_napari_alive(qapp):
    """The canvas that was left without a context, into which vispy then wrote, was a segmentation fault."""
    run = subprocess.run([sys.executable, "-c", PICTURES_COME_AND_GO], capture_output=True, text=True)
    assert "drawn" in run.stdout, run.stderr[-2000:]


CLOSED_DURING_WORK = textwrap.dedent(
    """
    import napari
    import numpy as np
    from qtpy.QtCore import QTimer

    from napari_wbcseg.plugin.shared.activity import ActivityBar
    from napari_wbcseg.plugin.controls.panel import open_panel

    viewer = napari.Viewer()
    cells = viewer.add_labels(np.pad(np.ones((20, 20), int), 40))
    review = open_panel(viewer, "Review white blood cells")
    review.select([(0, 1)])
    open_panel(viewer, "White blood cell session")
    bar = ActivityBar("Working")

    def work():
        QTimer.singleShot(0, viewer.window._qt_window.close)
        bar.show(1, 3, "Working still")

    QTimer.singleShot(500, work)
    napari.run()
    print("ended", flush=True)
    """
)


def test_napari_closes_while_work_is_shown_in_its_activity_dock(qapp):
    """Its bar handles events: the window went in the middle of that, with the frames of the cells in it."""
    run = subprocess.run([sys.executable, "-c", CLOSED_DURING_WORK], capture_output=True, text=True)
    assert run.stdout == "ended\n", run.stderr[-2000:]
