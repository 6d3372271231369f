"""What this plugin keeps with a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from napari.layers import Layer

#: Key of a result layer's ``metadata`` under which this plugin keeps what it knows of the layer.
METADATA_KEY = "napari_wbcseg"

#: A layer as napari's readers and samples give it: data, options and type.
LayerDataTuple = tuple[Any, dict[str, Any], str]

Role = Literal["proposals", "probability", "cells"]


def role_of(layer: Layer) -> Role | None:
    """Return what a layer is among our results, or None for any other layer."""
    return layer.metadata.get(METADATA_KEY, {}).get("role")
