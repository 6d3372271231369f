"""How long the window stands still: the longest gap between two turns of the event loop, step by step.

A smear of 4000 x 4000 pixels with 200 cells is opened in a real viewer, segmented by the
widget, and its cells are edited. A timer of the event loop notes the time between two turns.
The same is done by napari alone, with plain layers of the same content, so that what is
napari's own share is seen. Where there is no display, run it under a virtual one::

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/responsiveness.py

Two numbers are told for each step, in milliseconds: the longest gap by the clock, which other
programs on the machine lengthen too, and the longest computation on the window's thread
within one turn, which they do not. napari is warmed up before: the first layer of a kind
costs some 0.3 s for imports and shaders, whoever adds it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_wbcseg import Segmentation, synthetic_smear
from napari_wbcseg.plugin.shared.jobs import Job

_TILE = 1000
_TICK = 2  # ms
_LIMIT = 100  # ms


@dataclass
class Gap:
    """The longest time between two turns, and the longest computation in one, in ms."""

    clock: float = 0.0
    work: float = 0.0

    def __str__(self) -> str:
        return f"{self.clock:7.0f} {self.work:7.0f}"


@contextmanager
def measured() -> Iterator[Gap]:
    """Measure the gaps of the event loop while the block runs."""
    gap = Gap()
    last = [time.perf_counter(), time.thread_time()]

    def tick() -> None:
        now = [time.perf_counter(), time.thread_time()]
        gap.clock = max(gap.clock, 1000 * (now[0] - last[0]))
        gap.work = max(gap.work, 1000 * (now[1] - last[1]))
        last[:] = now

    timer = QTimer()
    timer.timeout.connect(tick)
    timer.start(_TICK)
    try:
        yield gap
    finally:
        tick()
        timer.stop()


def live(seconds: float = 0.6, until: Callable[[], bool] | None = None, patience: float = 900) -> None:
    """Let the event loop turn for a while, or until something is so."""
    start = time.perf_counter()
    while (time.perf_counter() - start < seconds) if until is None else not until():
        QApplication.processEvents()
        time.sleep(0.001)
        if time.perf_counter() - start > patience:
            raise TimeoutError("It takes too long; try a smaller --side.")


def large_smear(side: int, cells: int) -> np.ndarray:
    """Compose a smear of fields of 1000 x 1000 pixels, with about so many cells in all."""
    fields = max(1, side // _TILE)
    drawn = {"white_cells": max(1, round(cells / fields**2)), "dark_edge": 0, "uneven_light": 0}
    images = [synthetic_smear((_TILE, _TILE), seed=seed, **drawn).image for seed in range(fields**2)]
    return np.vstack([np.hstack(images[row * fields : (row + 1) * fields]) for row in range(fields)])


def edit(labels: napari.layers.Labels) -> None:
    """Paint, erase, undo and redo as a hand would."""
    labels.brush_size = 30
    middle = np.array(labels.data.shape) // 2
    for step in range(12):
        labels.paint(tuple(middle + 8 * step), 5 if step % 3 else 0)
        live(0.05)
    for act in (labels.undo, labels.undo, labels.redo):
        act()
        live(0.3)


def napari_alone(viewer: napari.Viewer, found: Segmentation) -> dict[str, Gap]:
    """Do with plain layers what the plugin does."""
    gaps: dict[str, Gap] = {}
    with measured() as gaps["the window at rest"]:
        live(2)
    with measured() as gaps["adding the layers"]:
        viewer.add_image(found.probability, contrast_limits=(0, 1), visible=False)
        live(0.05)
        boxes = [[[r0, c0], [r0, c1], [r1, c1], [r1, c0]] for r0, c0, r1, c1 in found.proposals]
        viewer.add_shapes(boxes or None, ndim=2, face_color="transparent", visible=False)
        live(0.05)
        labels = viewer.add_labels(found.labels.copy(), features=found.cells)
        live()
    with measured() as gaps["replacing the layers"]:
        labels.data = found.labels.copy()
        live()
    with measured() as gaps["editing the cells"]:
        edit(labels)
    for layer in list(viewer.layers)[1:]:
        viewer.layers.remove(layer)
        live(0.3)
    return gaps


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=4000, help="rows and columns of the smear")
    parser.add_argument("--cells", type=int, default=200, help="cells drawn on it")
    options = parser.parse_args()
    image = large_smear(options.side, options.cells)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    source = viewer.add_image(image, rgb=True)
    live(2)
    for add in (viewer.add_labels, viewer.add_image):  # warm up
        layer = add(np.zeros((8, 8), np.uint8))
        live(0.5)
        viewer.layers.remove(layer)
        live(0.5)

    _, widget = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Segment white blood cells")
    widget.image = source
    live(2)
    ours: dict[str, Gap] = {}
    with measured() as ours["the window at rest"]:
        live(2)
    kept: list[Segmentation] = []
    landed: list[float] = []
    widget.segmented.connect(lambda found, layers: (kept.append(found), landed.append(time.perf_counter())))
    start = time.perf_counter()
    with measured() as ours["segmenting"]:
        widget.run()
        live(until=lambda: not widget._run.can_be_cancelled)
    with measured() as ours["adding the layers"]:
        live(until=lambda: not widget.running)
        live()
    print(f"{image.shape[1]} x {image.shape[0]} pixels in {landed[0] - start:.0f} s: {kept[0].summary}")
    with measured() as ours["editing the cells"]:
        edit(viewer.layers[-1])
    widget.run()
    live(until=lambda: not widget._run.can_be_cancelled)
    with measured() as ours["replacing the layers"]:
        live(until=lambda: not widget.running)
        live()

    before, times = list(viewer.layers), []
    for wait in (1, 4, 8):
        widget.run()
        live(wait)
        start = time.perf_counter()
        widget.cancel()
        live(until=lambda: not widget.running)
        times.append(time.perf_counter() - start)
        live(until=lambda: not Job._running)
    same = "as it was" if list(viewer.layers) == before else "CHANGED"
    print(f"Cancel acted within {max(times):.2f} s; the layer list is {same}.")
    viewer.window.remove_dock_widget(widget)
    for layer in list(viewer.layers)[1:]:
        viewer.layers.remove(layer)
    live(1)
    alone = napari_alone(viewer, kept[0])

    print(f"\n{'longest, in ms':24}{'napari alone':>18}{'with the plugin':>18}")
    print(f"{'':24}" + f"{'gap':>10}{'work':>8}" * 2)
    for step, gap in ours.items():
        plain = str(alone[step]) if step in alone else f"{'-':>7} {'-':>7}"
        late = "" if gap.work <= max(_LIMIT, alone.get(step, Gap()).work) else "  over the limit"
        print(f"{step:24}{plain:>18}{gap!s:>18}{late}")
    start = time.perf_counter()
    viewer.close()
    live(until=lambda: not Job._running)
    print(f"\nClosed in {time.perf_counter() - start:.1f} s.")


if __name__ == "__main__":
    main()
