"""From `napari` to its window, to the Segment widget, to the first result."""

from __future__ import annotations

import time
from typing import Any


def start(plugin: bool) -> dict[str, Any]:
    """Open napari as its command does, with or without the plugin, and with it find the cells of a smear."""
    began = time.perf_counter()
    import napari
    from npe2 import PluginManager
    from qtpy.QtCore import QEventLoop, QTimer
    from qtpy.QtWidgets import QApplication

    if not plugin:
        manager = PluginManager.instance()
        manager.discover()
        manager.disable("napari-wbcseg")
    viewer = napari.Viewer()
    QApplication.processEvents()
    found: dict[str, Any] = {"window_s": time.perf_counter() - began}
    if plugin:
        from napari_wbcseg import synthetic_smear

        image = synthetic_smear((768, 1024), seed=0).image
        viewer.add_image(image, rgb=True)
        QApplication.processEvents()
        before = time.perf_counter()
        widget: Any = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Segment white blood cells")[1]
        QApplication.processEvents()
        found["widget_s"] = time.perf_counter() - before
        loop = QEventLoop()
        widget.segmented.connect(lambda *result: (found.update(cells=result[0].count), loop.quit()))
        QTimer.singleShot(300_000, loop.quit)
        before = time.perf_counter()
        widget.run()
        loop.exec()
        found["first_result_s"] = time.perf_counter() - before
        before = time.perf_counter()
        widget.run()
        loop.exec()
        found["second_result_s"] = time.perf_counter() - before
    viewer.close()
    return found
