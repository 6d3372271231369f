"""Files that a run leaves behind, written by the shell and by the plugin alike.

`save` writes one result, or a labels layer, in any of the `FORMATS`; `load_result` reads
it back and `replay` does it again. For an image called ``NAME`` there are
``NAME-labels.tif`` with ``NAME-result.json``, ``NAME-cells.csv``, ``NAME.ome.zarr``,
``NAME-rois.zip``, ``NAME.geojson``, ``NAME-overlay.png`` and ``NAME-mask.jpg`` (as the
SigTuple set has it); for a large image the folder ``NAME-cells``; for a run ``counts.csv``,
``cells.csv``, ``run.json`` and ``report.html``. Every file appears whole under its name or not at all.
"""
