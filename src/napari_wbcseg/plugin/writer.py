"""File ▸ Save Selected Layers: a labels layer in the formats of `napari_wbcseg.save`.

Each function is a writer of the manifest, for one labels layer and, where it is selected
too, its image. An image that is not given is looked up in the current viewer. Called without a path,
as the command palette does, it says where the formats are offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .shared.metadata import LayerDataTuple


def _write(name: str, path: str = "", layers: Sequence[LayerDataTuple] = ()) -> list[str]:
    """Save what napari hands over in the format of a name."""
    from napari import current_viewer
    from napari.layers import Layer
    from napari.utils.notifications import show_error

    from ..results.formats.registry import FORMATS
    from .shared.saving import LayerSnapshot, save_snapshot
    from .shared.unsaved import keep_unsaved

    if path == "":
        show_error("Choose a layer of cells in the layer list, then File ▸ Save Selected Layers.")
        return []
    target = Path(path)
    if not target.name.lower().endswith(FORMATS[name].endings):
        # The dialog leaves the ending to who saves.
        target = target.with_name(f"{target.name}{FORMATS[name].endings[0]}")
    viewer = current_viewer()
    there = list(viewer.layers) if viewer is not None else []
    made: dict[str, Any] = {}
    for data, about, kind in layers:  # of the viewer, where what a review says of its cells is the latest
        own = next((layer for layer in there if layer.data is data and layer._type_string == kind), None)
        made[kind] = own or Layer.create(data, about, kind)
    snapshot = LayerSnapshot.of_layer(made["labels"], viewer, made.get("image"))
    files = save_snapshot(snapshot, target)
    if viewer is not None and made["labels"] in there:
        keep_unsaved(viewer).saved_in(made["labels"], snapshot, files)
    return [str(file) for file in files]


write_tiff = partial(_write, "tiff")
write_csv = partial(_write, "csv")
write_overlay = partial(_write, "overlay")
write_geojson = partial(_write, "geojson")
write_rois = partial(_write, "roi")
write_ome_zarr = partial(_write, "ome-zarr")
write_settings = partial(_write, "json")
