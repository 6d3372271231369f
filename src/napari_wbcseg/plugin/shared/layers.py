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
from ...errors import SettingsError
from ...segmentation.result import Segmentation, with_unique_labels
from .class_colours import show_classes
from .counts import counted_name, counts_of, layer_name
from .features import features_table
from .metadata import LayerInfo, Role
from .pictures import found_in, id_of, path_of
from .viewer import image_data, own_viewer, placement, remove_layers

# napari draws labels of 16 bits as they are, and converts the whole plane of any wider type each time it
# is shown, undone or redone: 5 against 300 ms for 4000 x 4000. The rest is room for cells drawn by hand.
_FEW = 60_000
_RECTANGLES_AT_ONCE = 40
_ROLES = ("probability", "proposals", "cells")
#: Of cells that are filled: the picture is seen through them.
CELLS_OPACITY = 0.45
_MAGMA = {"colormap": "magma", "blending": "additive", "contrast_limits": (0, 1), "opacity": 0.6}
_PROPOSAL_LOOK = {"face_color": "transparent", "edge_color": "#f2c14e", "edge_width": 1.5}


@dataclass(frozen=True)
class ResultLayers:
    """The layers of one segmentation; of a result too large for memory only the cells are one."""

    cells: Labels
    proposals: Shapes | None = None
    probability: Image | None = None


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
    labels, cells = with_unique_labels(segmentation.labels, segmentation.cells)
    if int(labels.max(initial=0)) < _FEW:
        labels = labels.astype(np.uint16)
    features = features_table(cells)
    return LayerArrays(labels, features, rectangles(segmentation.proposals), fingerprint(labels))


def add_segmentation(
    viewer: ViewerModel, segmentation: Segmentation, source: Layer | None = None
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

    Raises
    ------
    SettingsError
        If it is given something else, such as the pixels of the layer.
    """
    for given, kind in ((segmentation, Segmentation), (source, Layer | None)):
        if not isinstance(given, kind):
            raise SettingsError(
                f"A {type(given).__name__} cannot be shown so: give what segment returned, and the image "
                "layer it is of."
            )
    *_, layers = layers_in_steps(viewer, segmentation, source, layer_arrays(segmentation))
    assert layers is not None
    return layers


def layers_in_steps(
    viewer: ViewerModel,
    found: Segmentation,
    source: Layer | None,
    arrays: LayerArrays,
    *,
    activate: bool = True,
) -> Generator[ResultLayers | None]:
    """Do what `add_segmentation` does in steps, between which the window can live.

    Each role gets the layer of an earlier run on the same source, with new content, or a new one. The cells
    become the active layer, unless the one that is active is to stay that.

    Yields
    ------
    ResultLayers or None
        The layers after the last step; closed before that, it takes away what it added.
    """
    viewer, picture, ndim = own_viewer(viewer), "" if source is None else source.name, arrays.labels.ndim
    counts, layers, where = counts_of(viewer), viewer.layers, placement(source, ndim)
    # In 3D napari's status bar fails on labels that become active before the mouse was on the canvas.
    activate = activate and viewer.dims.ndisplay == 2
    earlier, added = result_layers(viewer, source), list[Layer]()

    def layer_of(role: Role, kind: type[Layer], content: dict[str, Any], **look: Any) -> Any:
        """Return the layer of a role, filled, where it is to be: the earlier one as it looks or a new one."""
        info = info_of(role, found, source, fingerprint=arrays.fingerprint if role == "cells" else None)
        layer = earlier.get(role)
        # Between two steps it may be removed.
        if layer is not None and layer in layers and layer.ndim == ndim and not layer.multiscale:
            _fill_anew(layer, info, {**where, **content})
            return layer
        name = counted_name(info, found.cells, picture) if role == "cells" else layer_name(role, picture)
        layer = kind(**content, name=name, metadata=info.metadata, **look, **where)
        # Above its source and what was added before; on top where there is no source.
        below = next((one for one in (*reversed(added), source) if one in layers), None)
        place = len(layers) if below is None else layers.index(below) + 1
        insert_layer(viewer, place, layer, activate=activate)
        added.append(layer)
        return layer

    try:
        content: dict[str, Any] = {"data": found.probability}
        probability = layer_of("probability", Image, content, rgb=False, visible=False, **_MAGMA)
        yield None
        proposals = layer_of("proposals", Shapes, {}, ndim=ndim, visible=False, opacity=0.8)
        clear_shapes(proposals)
        yield None
        for start in range(0, len(arrays.rectangles), _RECTANGLES_AT_ONCE):
            some = list(arrays.rectangles[start : start + _RECTANGLES_AT_ONCE])
            proposals.add(some, shape_type="rectangle", **_PROPOSAL_LOOK)
            yield None
        content = {"data": arrays.labels, "features": arrays.features}
        cells = layer_of("cells", Labels, content, opacity=CELLS_OPACITY)
        show_classes(cells)
    except BaseException:
        remove_layers(viewer, *added)
        raise
    left = [one for one in earlier.values() if one not in (probability, proposals, cells)]
    remove_layers(viewer, *left)
    if activate:
        layers.selection.active = cells
    counts.tell(cells, found.cells)
    yield ResultLayers(cells, proposals, probability)


def _fill_anew(layer: Layer, info: LayerInfo, content: dict[str, Any]) -> None:
    """Put what was found now into a layer of an earlier run, which looks as the user left it."""
    info.keep_in(layer)
    layer.editable = False  # forgets what Undo would bring into new labels
    for name, value in content.items():
        setattr(layer, name, value)
    layer.editable = True


def info_of(role: Role, found: Segmentation, source: Layer | None, **more: Any) -> LayerInfo:
    """Return what is kept with a layer of what was found in a source."""
    more["corner"] = found.corner
    if source is None:
        return LayerInfo.of_result(role, found, **more)
    file = path_of(source)
    return LayerInfo.of_result(
        role,
        found,
        source=source.name,
        source_id=id_of(source),
        path=None if file is None else str(file),
        state=LayerInfo.of(source).state,
        **more,
    )


def insert_layer(viewer: ViewerModel, place: int, layer: Layer, *, activate: bool) -> None:
    """Put a layer into the list; napari makes it the active one, unless another is to stay that."""
    active = viewer.layers.selection.active
    if activate or active is None:
        viewer.layers.insert(place, layer)
        return
    with viewer.layers.selection.events.active.blocker():  # who follows it would leave what it is about
        viewer.layers.insert(place, layer)
        viewer.layers.selection.active = active


def result_layers(viewer: ViewerModel, source: Layer | None) -> dict[Role, Layer]:
    """Return the result layers that belong to a source layer, or to none that is known, by role."""
    known = ((layer, LayerInfo.of(layer)) for layer in viewer.layers if found_in(layer, source))
    return {
        info.role: layer
        for layer, info in reversed(list(known))  # napari puts copies and projections above
        if info.role in _ROLES and not info.kept
    }


def is_corrected(cells: Any) -> bool:
    """Say whether the cells of a layer were accepted, named or painted in."""
    features, info = cells.features, LayerInfo.of(cells)
    said = {"decision": ["accepted", "rejected"], CLASS_BY: [PERSON]}
    decided = any(name in features and features[name].isin(words).any() for name, words in said.items())
    if decided or info.edited or info.fingerprint is None:
        return True  # without looking at the labels, which may be a whole slide on disk
    return fingerprint(image_data(cells)) != info.fingerprint


def fingerprint(labels: Any) -> int:
    """Return a number that tells labels from corrected ones."""
    return zlib.crc32(np.ascontiguousarray(labels).data)


def clear_shapes(layer: Shapes) -> None:
    """Take all shapes out of a layer, so that others can be added, also while the view is in 3D.

    napari (0.9) takes none there into a layer of planes that is new, nor into one of a single plane whose
    ``data`` were set.
    """
    if layer.ndim > 2:
        layer.data = []
    else:
        layer.selected_data = set(range(layer.nshapes))
        layer.remove_selected()


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
