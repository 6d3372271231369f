"""How long the gallery of the Review panel takes: to open with many cells, and to name one.

Run it where there is a display, or under a virtual one::

    xvfb-run -a python benchmarks/gallery.py --cells 2000

The cells are drawn by code. Times end when the window has been painted. Of naming it also says how long the
window's thread computed (``name_work_ms``), which other programs on the machine do not lengthen.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np


def picture(cells: int, side: int = 64) -> tuple[np.ndarray, np.ndarray, Any]:
    """Draw a grid of round cells: the image, the labels, and a table with a class for each."""
    import pandas as pd

    from napari_wbcseg.classification.classes import BUILT_IN_CLASSES

    across = int(np.ceil(np.sqrt(cells)))
    rows, cols = np.indices((side, side)) - side // 2
    disc = rows**2 + cols**2 < (0.4 * side) ** 2
    numbers = np.arange(1, across**2 + 1, dtype=np.uint16).reshape(across, across)
    numbers[numbers > cells] = 0
    labels = np.kron(numbers, disc.astype(np.uint16))
    generator = np.random.default_rng(0)
    image = generator.integers(215, 245, (*labels.shape, 3), np.uint8)
    image[labels > 0] = generator.integers(60, 160, (int((labels > 0).sum()), 3), np.uint8)
    sure = generator.uniform(0.4, 1, cells + 1)
    names = generator.choice(BUILT_IN_CLASSES.names[:8], cells + 1)
    table = {"class": names, "class_probability": sure, "class_by": "model", "check": sure < 0.45}
    return image, labels, pd.DataFrame(table)


def measure(cells: int, names: int) -> dict[str, float]:
    """Return seconds to open, and milliseconds to name a cell: the median and the longest."""
    import napari
    from qtpy.QtWidgets import QApplication

    def settle(seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            QApplication.processEvents()

    viewer = napari.Viewer()
    image, labels, table = picture(cells)
    viewer.add_image(image, rgb=True)
    viewer.add_labels(labels, features=table, name="cells")
    widget: Any = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Review white blood cells")[1]
    while widget.review.count < cells or widget.review.measuring:
        settle(0.1)
    settle(2)
    began = time.perf_counter()
    widget.show_gallery()
    QApplication.processEvents()
    widget.gallery.viewport().grab()
    opened = time.perf_counter() - began
    settle(2)
    bar = widget.gallery.verticalScrollBar()
    scrolled = []
    for value in np.linspace(0, bar.maximum(), 60).astype(int).tolist():
        began = time.perf_counter()
        bar.setValue(value)
        widget.gallery.viewport().grab()
        scrolled.append(1000 * (time.perf_counter() - began))
    taken, worked = [], []
    for number in range(names):
        widget.select([widget.shown[7 * number]])
        settle(1)
        began, computed = time.perf_counter(), time.thread_time()
        widget.gallery.press(str(1 + number % 8))
        widget.gallery.viewport().grab()
        taken.append(1000 * (time.perf_counter() - began))
        worked.append(1000 * (time.thread_time() - computed))
        QApplication.processEvents()
    viewer.close()
    return {
        "cells": cells,
        "open_s": round(opened, 3),
        "scroll_ms": round(float(np.median(scrolled)), 1),
        "scroll_longest_ms": round(max(scrolled), 1),
        "name_ms": round(float(np.median(taken)), 1),
        "name_longest_ms": round(max(taken), 1),
        "name_work_ms": round(float(np.median(worked)), 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--names", type=int, default=20, help="cells that are named")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.cells, asked.names)))
