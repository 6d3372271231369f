"""A `Segmentation` as napari layers: proposals, probability and cells."""

from __future__ import annotations

import zlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Shapes

from ...classification.classes import CLASS_BY, PERSON
from ...segmentation.result import Segmentation, with_unique_labels
from .canvas_guard import guard_canvas
from .class_colours import colour_cells
from .counts import counted_name, counts_of, layer_name
from .features import features_table
from .metadata import LayerInfo, Role
from .viewer import image_data, own_viewer, placement

# napari draws labels of 16 bits as they are, and converts the whole plane of any wider type each time it
# is shown, undone or redone: 5 against 300 ms for 4000 x 4000. The rest is room for cells drawn by hand.
_FEW = 60_000
_RECTANGLES_AT_ONCE = 40
#: What kind of layer has which role.
_KINDS = {"probability": "image", "proposals": "shapes", "cells": "labels"}
_PROPOSAL_LOOK = {"face_color": "transparent", "edge_color": "#f2c14e", "edge_width": 1.5}


@dataclass(frozen=True)
class ResultLayers:
    """The layers of one segmentation, in the order of the layer list."""

    probability: Image
    proposals: Shapes
    cells: Labels


@dataclass(frozen=True)
class LayerArrays:
    """A segmentation in the form that napari's layers take; made off the GUI thread.

    Attributes
    ----------
    labels : ndarray of uint16, or of int32 where there are many
        Shape of the segmentation; in a stack the numbers run on over the planes, so that each is one cell.
    features : DataFrame
        Row *n* belongs to label *n*; row 0 is the background. napari finds a label's row by its position.
    rectangles : ndarray of float64, shape (n, 4, 2) or (n, 4, 3)
        Corners of the proposals in data coordinates, on the edges of the pixels.
    fingerprint : int
        Of the labels, to tell later whether they were corrected.
    """

    labels: np.ndarray
    features: pd.DataFrame
    rectangles: np.ndarray
    fingerprint: int


def layer_arrays(segmentation: Segmentation) -> LayerArrays:
    """Turn a segmentation into arrays for layers. Safe in a worker thread."""
    labels, cells = segmentation.labels, segmentation.cells
    if labels.ndim == 3:
        labels, cells = with_unique_labels(labels, cells)
    if int(labels.max(initial=0)) < _FEW:
        labels = labels.astype(np.uint16)
    features = features_table(cells)
    return LayerArrays(labels, features, rectangles(segmentation.proposals), fingerprint(labels))


def add_segmentation(
    viewer: ViewerModel,
    segmentation: Segmentation,
    source: Layer | None = None,
) -> ResultLayers:
    """Add the layers of a segmentation, replacing those of an earlier run on the same source.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers go.
    segmentation : Segmentation
        What `napari_wbcseg.segment` returned.
    source : Layer, optional
        The image layer it came from. The result layers take over its scale, translation, rotation, shear,
        affine, units and axis labels, and lie right above it.

    Returns
    -------
    ResultLayers
        The three layers: probability and proposals (hidden at first) and cells. Layers of an
        earlier run are the same objects with new content, so that what the user set on them
        (name, colours, visibility, place in the list) stays.
    """
    *_, layers = landing(viewer, segmentation, source, layer_arrays(segmentation))
    assert layers is not None
    return layers


def landing(
    viewer: ViewerModel,
    segmentation: Segmentation,
    source: Layer | None,
    arrays: LayerArrays,
) -> Generator[ResultLayers | None]:
    """Do what `add_segmentation` does in steps, between which the window can live; the last gives the layers.

    Closing the generator early takes away the layers that were added.
    """
    viewer = own_viewer(viewer)
    guard_canvas(viewer)
    ndim = arrays.labels.ndim
    place = placement(source, ndim)
    source_id, picture = (None, "") if source is None else (str(source.unique_id), source.name)
    earlier = result_layers(viewer, source)
    former = {
        role: layer  # that can take new content
        for role, layer in earlier.items()
        if layer.ndim == ndim
        and layer._type_string == _KINDS.get(role)
        and not getattr(layer, "multiscale", False)
    }
    added: list[Layer] = []

    def about(role: Role) -> LayerInfo:
        return LayerInfo.of_result(
            role,
            segmentation,
            source=picture or None,
            source_id=source_id,
            fingerprint=arrays.fingerprint if role == "cells" else None,
        )

    def ready(role: Role, kind: type[Layer], *data: Any, **look: Any) -> Any:
        """Return the layer of a role: that of the earlier run, or a new one."""
        layer = former.get(role)
        if layer is None:
            layer = kind(*data, metadata=about(role).metadata, **look, **place)
            _insert(viewer, layer, source, added)
            added.append(layer)
        else:
            for name, value in place.items():
                setattr(layer, name, value)
        about(role).keep_in(layer)
        return layer

    try:
        probability = ready(
            "probability",
            Image,
            segmentation.probability,
            name=layer_name("probability", picture),
            rgb=False,
            colormap="magma",
            blending="additive",
            contrast_limits=(0, 1),
            opacity=0.6,
            visible=False,
        )
        if "probability" in former:
            probability.data = segmentation.probability
        yield None
        name = layer_name("proposals", picture)
        proposals = ready("proposals", Shapes, ndim=ndim, name=name, opacity=0.8, visible=False)
        if proposals.nshapes:
            proposals.data = []
        yield None
        for start in range(0, len(arrays.rectangles), _RECTANGLES_AT_ONCE):
            some = arrays.rectangles[start : start + _RECTANGLES_AT_ONCE]
            proposals.add(list(some), shape_type="rectangle", **_PROPOSAL_LOOK)
            yield None
        name = counted_name(about("cells"), segmentation.cells, picture)
        cells = ready("cells", Labels, arrays.labels, name=name, features=arrays.features, opacity=0.45)
        if "cells" in former:
            cells.editable = False  # forgets what Undo would bring into the new labels
            cells.data = arrays.labels
            cells.editable = True
            cells.features = arrays.features
        colour_cells(cells, arrays.features, segmentation.classes)
    except BaseException:
        for layer in added:
            if layer in viewer.layers:
                viewer.layers.remove(layer)
        raise
    for layer in earlier.values():
        if layer not in (probability, proposals, cells) and layer in viewer.layers:
            viewer.layers.remove(layer)
    viewer.layers.selection.active = cells
    counts_of(viewer).tell(cells, segmentation.cells)
    yield ResultLayers(probability, proposals, cells)


def _insert(viewer: ViewerModel, layer: Layer, source: Layer | None, added: list[Layer]) -> None:
    """Put a layer above its source and what was added before; on top where there is no source."""
    below = next((other for other in (*reversed(added), source) if other in viewer.layers), None)
    if below is None:
        viewer.add_layer(layer)
    else:
        viewer.layers.insert(viewer.layers.index(below) + 1, layer)


def result_layers(viewer: ViewerModel, source: Layer | None) -> dict[Role, Layer]:
    """Return the result layers that belong to a source layer, or to none that is known, by role."""
    source_id = None if source is None else str(source.unique_id)
    known = ((layer, LayerInfo.of(layer)) for layer in viewer.layers)
    return {
        info.role: layer
        for layer, info in known
        if info.role in _KINDS and info.source_id == source_id and not info.kept
    }


def is_corrected(cells: Any) -> bool:
    """Say whether cells were accepted, rejected, named or painted in; of a layer, or a snapshot of one."""
    features, info = cells.features, LayerInfo.of(cells)
    said = {"decision": ["accepted", "rejected"], CLASS_BY: [PERSON]}
    decided = any(name in features and features[name].isin(words).any() for name, words in said.items())
    if decided or info.edited or info.fingerprint is None:
        return True  # without looking at the labels, which may be a whole slide on disk
    return fingerprint(image_data(cells)) != info.fingerprint


def fingerprint(labels: Any) -> int:
    """Return a number that tells labels from corrected ones."""
    return zlib.crc32(np.ascontiguousarray(labels).data)


def rectangles(proposals: np.ndarray) -> np.ndarray:
    """Return the corners of boxes ``[plane,] row0, col0, row1, col1`` with exclusive ends."""
    boxes = np.asarray(proposals, dtype=float)
    if boxes.ndim != 2 or boxes.shape[1] not in (4, 5):
        boxes = boxes.reshape(0, 4)
    # A pixel's centre is at its whole number, so its edges are half a pixel away.
    row0, col0, row1, col1 = boxes[:, -4:].T - 0.5
    corners = np.stack([[row0, col0], [row0, col1], [row1, col1], [row1, col0]]).transpose(2, 0, 1)
    if boxes.shape[1] == 4:
        return corners
    planes = np.repeat(boxes[:, :1, None], 4, axis=1)
    return np.concatenate([planes, corners], axis=2)
