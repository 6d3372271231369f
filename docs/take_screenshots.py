"""Take all pictures in ``docs/images``: of the widgets on the synthetic smear, and of what the demo finds.

Run it where there is a display, or under a virtual one::

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/take_screenshots.py

The training shown is a real one, of short epochs, and cancelled.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
import pandas as pd
from PIL import Image
from qtpy.QtWidgets import QApplication

import napari_wbcseg
from napari_wbcseg import synthetic_smear
from napari_wbcseg.plugin.controls.panel import open_panel
from napari_wbcseg.plugin.segment.widget import SegmentWidget
from napari_wbcseg.results.formats.pictures import draw_overlay

IMAGES = Path(__file__).parent / "images"


def wait_for(what: Callable[[], bool], seconds: float = 600) -> None:
    """Let the window live until something is so."""
    end = time.monotonic() + seconds
    while not what():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            raise TimeoutError("The picture is not ready.")


def rest(seconds: float = 1.0) -> None:
    """Let the window draw."""
    start = time.monotonic()
    wait_for(lambda: time.monotonic() - start > seconds)


def save(picture: Image.Image, name: str) -> None:
    """Save a picture in 256 colours, to keep it small."""
    picture.quantize(256, Image.Quantize.FASTOCTREE).save(IMAGES / name, optimize=True)


def take(viewer: napari.Viewer, name: str) -> None:
    """Save a picture of the window."""
    picture = viewer.window.screenshot(canvas_only=False, flash=False)
    save(Image.fromarray(picture[..., :3]), name)


def take_demo() -> None:
    """Take what ``wbcseg demo`` shows, in the size of the README."""
    smear = synthetic_smear()
    result = napari_wbcseg.segment(smear.image)
    overlay = Image.fromarray(draw_overlay(smear.image, result.labels, result.cells))
    save(overlay.resize((768, 576), Image.Resampling.LANCZOS), "demo.png")
    print(f"demo.png: {result.summary}; {smear.count} were drawn")


def take_diameter(viewer: napari.Viewer, segment: SegmentWidget) -> None:
    """Take the circle that shows the diameter, set beside a cell."""
    cell = segment.segmentation.cells.iloc[len(segment.segmentation.cells) // 2]
    camera = viewer.scene.camera
    before = camera.center, camera.zoom
    camera.center, camera.zoom = (0, cell["row"], cell["col"]), 4
    segment.panel.method.diameter._none.value = False
    rest()
    take(viewer, "diameter.png")
    segment.panel.method.diameter._none.value = True
    camera.center, camera.zoom = before


def take_review(viewer: napari.Viewer, segment: SegmentWidget) -> None:
    """Take the table of the cells, one of which a slip of the brush has put in two pieces."""
    review = segment.review()
    rest()
    cell = review.review.cells.iloc[2]
    review.labels.brush_size = 14
    review.labels.paint((cell["row"] + 60, cell["col"] - 20), int(cell["label"]))
    rest()
    review.next_to_check()
    review.show_histogram("area")
    viewer.reset_view()
    rest(1.5)
    take(viewer, "review.png")
    print(f"review.png: {review.review.summary()}")
    review.undo()


def take_gallery() -> None:
    """Take the gallery of 200 cells and their differential; the classes are those that were drawn."""
    smear = synthetic_smear((1500, 2000), white_cells=200, seed=3)
    unsure = np.random.default_rng(3).uniform(0.45, 1, smear.count)
    said = {"class": smear.kinds, "class_probability": unsure, "class_by": "model", "check": unsure < 0.5}
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    viewer.add_image(smear.image, rgb=True, name="synthetic smear")
    features = pd.DataFrame(said, index=range(1, smear.count + 1)).reindex(range(smear.count + 1))
    viewer.add_labels(smear.labels.astype(np.uint16), features=features, name="cells")
    review = open_panel(viewer, "Review white blood cells")
    wait_for(lambda: review.review.count == smear.count and not review.review.measuring)
    review.show_gallery()
    inner = review.cells.query("`class` == 'lymphocyte' and row > 500 and col > 500")
    review.select([(0, int(inner["label"].iloc[0]))])
    rest(2)
    take(viewer, "gallery.png")
    review.show_differential()
    viewer.reset_view()
    rest(2)
    take(viewer, "differential.png")
    print(f"gallery.png, differential.png: {review.differential.differential.summary}")
    viewer.close()


def take_session(folder: Path) -> None:
    """Take a session of drawn smears, segmented."""
    for number in range(1, 9):
        smear = synthetic_smear((480, 640), white_cells=3 + number, seed=number)
        Image.fromarray(smear.image).save(folder / f"smear-{number}.png")
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    session = open_panel(viewer, "White blood cell session")
    session.open_pictures([folder])
    wait_for(lambda: session.shown is not None)
    session.segment_all()
    wait_for(lambda: not session.running)
    session.show_picture(3)
    wait_for(lambda: session.shown is session.entries[3])
    rest(2)
    take(viewer, "session.png")
    viewer.close()


def main() -> None:
    """Take every picture."""
    take_demo()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    image, truth = viewer.open_sample("napari-wbcseg", "synthetic_smear")

    segment = open_panel(viewer, "Segment white blood cells")
    segment.image = image
    rest()
    viewer.reset_view()
    rest()
    take(viewer, "segment_start.png")
    segment.run()
    wait_for(lambda: not segment.running)
    rest()
    take(viewer, "segment.png")
    print(f"segment.png: {segment.segmentation.summary}; {truth.data.max()} were drawn")
    take_diameter(viewer, segment)
    take_review(viewer, segment)

    train = open_panel(viewer, "Train WBC model")
    train.image, train.labels = image, truth
    wait_for(lambda: not train.plan.busy)
    rest()
    take(viewer, "train_plan.png")
    # A new network, for one that goes on from a model has little left to learn from so little.
    train.start.begin_anew("robust")
    train.settings = train.settings.replace(epochs=12, steps_per_epoch=12, batch_size=8, learning_rate=2e-3)
    train.train()
    wait_for(lambda: len(train.run.monitor.history) >= 8 or not train.running)
    rest(1.5)
    take(viewer, "train.png")
    print(f"train.png: {train.run.monitor.history[-1]}")
    train.run.cancel()
    wait_for(lambda: not train.running)
    viewer.close()
    take_gallery()
    with tempfile.TemporaryDirectory() as smears:
        take_session(Path(smears))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WBCSEG_MODELS"] = f"{folder}/models"  # unsaved corrections are kept beside it
        main()
