"""File ▸ Save Selected Layers: a labels layer in the formats of `napari_wbcseg.save`.

Each function is a writer of the manifest, for one labels layer and, where it is selected
too, its image. An image that is not given is looked up in the current viewer. Called without a path,
as the command palette does, it asks for one and saves the chosen layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .shared.metadata import LayerDataTuple


def _write(name: str, path: str = "", layers: Sequence[LayerDataTuple] = ()) -> list[str]:
    """Save what napari hands over in the format of a name."""
    import napari
    from napari.layers import Image, Labels

    from ..results.save import FORMATS
    from .shared.saving import LayerSnapshot, save_snapshot
    from .shared.unsaved import keep_unsaved
    from .shared.viewer import own_viewer

    if path == "":
        return _ask_and_save(name)
    target = Path(path)
    if not target.name.lower().endswith(FORMATS[name].endings):
        # The dialog leaves the ending to who saves.
        target = target.with_name(f"{target.name}{FORMATS[name].endings[0]}")
    made = {kind: (Labels if kind == "labels" else Image)(data, **about) for data, about, kind in layers}
    viewer = napari.current_viewer()
    snapshot = LayerSnapshot.of_layer(made["labels"], viewer, made.get("image"))
    files = save_snapshot(snapshot, target)
    for layer in own_viewer(viewer).layers if viewer is not None else ():
        if any(layer.data is data for data, *_ in layers):
            keep_unsaved(viewer).saved_in(layer, snapshot, files)
    return [str(file) for file in files]


def _ask_and_save(name: str) -> list[str]:
    import napari
    from napari.layers import Labels
    from napari.utils.notifications import show_error
    from qtpy.QtWidgets import QFileDialog

    from ..errors import WBCSegError
    from ..results.save import FORMATS
    from .shared.saving import LayerSnapshot, save_layer
    from .shared.unsaved import keep_unsaved

    viewer = napari.current_viewer()
    layer = None if viewer is None else viewer.layers.selection.active
    if not isinstance(layer, Labels):
        show_error("Choose a layer of cells in the layer list, then save it.")
        return []
    endings = " ".join(f"*{ending}" for ending in FORMATS[name].endings)
    path, _ = QFileDialog.getSaveFileName(
        None, f"Save {layer.name}", "", f"{FORMATS[name].title} ({endings})"
    )
    if not path:
        return []
    if not path.lower().endswith(FORMATS[name].endings):
        path += FORMATS[name].endings[0]
    try:
        files = save_layer(layer, path, viewer=viewer)
        keep_unsaved(viewer).saved_in(layer, LayerSnapshot.of_layer(layer, viewer), files)
        return [str(file) for file in files]
    except WBCSegError as error:
        show_error(str(error))
        return []


write_tiff = partial(_write, "tiff")
write_csv = partial(_write, "csv")
write_overlay = partial(_write, "overlay")
write_geojson = partial(_write, "geojson")
write_rois = partial(_write, "roi")
write_ome_zarr = partial(_write, "ome-zarr")
write_settings = partial(_write, "json")
