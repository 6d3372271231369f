"""Count in napari, save in every format, and open what was saved.

Run it in either of two ways::

    napari examples/save_from_napari.py
    python examples/save_from_napari.py

What a person does with the mouse is a call each:

1. *Segment* in the panel Segment white blood cells: ``segment`` and ``add_segmentation``,
2. *Save …* there, or File ▸ Save Selected Layers: ``save``,
3. File ▸ Open File(s) of the labels, or of ``smear-result.json``: ``viewer.open``,
4. to do it all again from the settings in that file: ``replay``.
"""

import tempfile
from pathlib import Path

import napari

from napari_wbcseg import replay, save, segment
from napari_wbcseg.plugin import add_segmentation

viewer = napari.current_viewer() or napari.Viewer()
image, truth = viewer.open_sample("napari-wbcseg", "synthetic_smear", seed=3, shape=(384, 512), white_cells=4)
viewer.layers.remove(truth)  # it would need the scale too
image.scale, image.units = (0.1, 0.1), ("um", "um")  # as the microscope says

found = segment(image.data)
cells = add_segmentation(viewer, found, image).cells

folder = Path(tempfile.mkdtemp(prefix="wbcseg-"))
files = save(cells, folder / "smear", "tiff,csv,overlay,geojson,roi,ome-zarr", image=image.data)
print(f"{found.summary}, saved in {folder}:", *(file.name for file in files), sep="\n  ")

(opened,) = viewer.open(folder / "smear-labels.tif", plugin="napari-wbcseg")
opened.name = "cells from the file"
print(f"Opened again: {len(opened.features) - 1} cells, {opened.scale[0]:g} µm a pixel.")

again = replay(folder / "smear-result.json", image=image.data)
print(f"Done again with the same settings and model: {again.summary}.")

if __name__ == "__main__":
    napari.run()
