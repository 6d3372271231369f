"""File ▸ Save Selected Layers: a labels layer in the formats of `napari_wbcseg.save`.

Each function is a writer of the manifest, for one labels layer and, where it is selected
too, its image. An image that is not given is looked up in the current viewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .shared.metadata import LayerDataTuple


def write_tiff(path: str, layers: Sequence[LayerDataTuple]) -> list[str]:
    """Write the labels with their scale, and beside them the JSON with the table and the settings."""
    return _write(path, "tiff", layers)


def write_csv(path: str, layers: Sequence[LayerDataTuple]) -> list[str]:
    """Write the table of the cells."""
    return _write(path, "csv", layers)


def write_overlay(path: str, layers: Sequence[LayerDataTuple]) -> list[str]:
    """Write a picture of the image with the cells outlined and numbered."""
    return _write(path, "overlay", layers)


def write_geojson(path: str, layers: Sequence[LayerDataTuple]) -> list[str]:
    """Write GeoJSON for QuPath."""
    return _write(path, "geojson", layers)


def write_rois(path: str, layers: Sequence[LayerDataTuple]) -> list[str]:
    """Write a zip of ImageJ regions."""
    return _write(path, "roi", layers)


def write_ome_zarr(path: str, layers: Sequence[LayerDataTuple]) -> list[str]:
    """Write OME-Zarr: the labels, and the image where it is known."""
    return _write(path, "ome-zarr", layers)


def write_settings(path: str, layers: Sequence[LayerDataTuple]) -> list[str]:
    """Write the settings and the table as JSON, without the labels."""
    return _write(path, "json", layers)


def _write(path: str, name: str, layers: Sequence[LayerDataTuple]) -> list[str]:
    import napari
    from napari.layers import Image, Labels

    from ..results.save import FORMATS
    from .shared.saving import LayerSnapshot, save_snapshot

    target = Path(path)
    if not target.name.lower().endswith(FORMATS[name].endings):
        # The dialog leaves the ending to who saves.
        target = target.with_name(f"{target.name}{FORMATS[name].endings[0]}")
    made = {kind: (Labels if kind == "labels" else Image)(data, **about) for data, about, kind in layers}
    snapshot = LayerSnapshot.of_layer(made["labels"], napari.current_viewer(), made.get("image"))
    return [str(file) for file in save_snapshot(snapshot, target)]
