"""Segment the synthetic smear in napari, as the widget does, and print the count.

Run it in either of two ways::

    napari examples/segment_in_napari.py
    python examples/segment_in_napari.py

What a person does with the mouse is a call each:

1. File ▸ Open Sample ▸ White blood cells ▸ Synthetic smear,
2. Plugins ▸ White blood cells ▸ Segment white blood cells,
3. the button *Segment*, which works in the background; ``segmented`` tells when the
   layers are there.

To segment without the widget, and wait for it::

    from napari_wbcseg import segment
    from napari_wbcseg.plugin import add_segmentation

    add_segmentation(viewer, segment(image.data), image)
"""

import napari

viewer = napari.current_viewer() or napari.Viewer()
image, truth = viewer.open_sample("napari-wbcseg", "synthetic_smear")

_, widget = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Segment white blood cells")


def tell(segmentation, layers):
    """Print what was found."""
    print(f"{image.name}: {segmentation.summary} ({truth.data.max()} were drawn)")
    print(segmentation.cells[["label", "row", "col", "area", "certainty"]].to_string(index=False))


widget.segmented.connect(tell)
widget.failed.connect(print)
widget.image = image
widget.run()

if __name__ == "__main__":
    napari.run()
