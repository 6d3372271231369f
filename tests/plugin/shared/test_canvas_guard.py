"""A layer that is removed leaves no vertex array enabled, which the next drawing would crash on."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from napari_wbcseg.plugin.shared.canvas_guard import guard_canvases


def test_no_vertex_array_outlives_its_layer(make_napari_viewer, qtbot):
    from qtpy.QtWidgets import QApplication
    from vispy.gloo import gl

    viewer = make_napari_viewer(show=True)
    (canvas,) = (w._vispy_canvas for w in QApplication.allWidgets() if hasattr(w, "_vispy_canvas"))
    seen = []

    def look(event):
        seen.append([i for i in range(16) if gl.glGetVertexAttrib(i, gl.GL_VERTEX_ATTRIB_ARRAY_ENABLED)])

    canvas.events.draw.connect(look)
    points = viewer.add_points([[2, 2]], size=1)
    for _ in range(2):
        viewer.screenshot(flash=False)
    assert seen[-1], "vispy leaves them enabled after it has drawn"
    guard_canvases()
    guard_canvases()
    viewer.layers.remove(points)
    viewer.screenshot(flash=False)
    assert not seen[-1]
    viewer.add_points([[3, 3]], size=1)
    viewer.screenshot(flash=False)


PICTURES_COME_AND_GO = textwrap.dedent(
    """
    import os
    import time

    import napari
    import numpy as np
    from qtpy.QtWidgets import QApplication

    from napari_wbcseg.plugin.shared.canvas_guard import guard_canvases

    def live():
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            QApplication.processEvents()

    viewer = napari.Viewer()
    guard_canvases()
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


def test_the_guard_itself_leaves_napari_alive(qapp):
    """It left the canvas without a context, into which vispy then wrote: a segmentation fault."""
    run = subprocess.run([sys.executable, "-c", PICTURES_COME_AND_GO], capture_output=True, text=True)
    assert "drawn" in run.stdout, run.stderr[-2000:]
