"""What can be saved, as a `Segmentation`: a result, or a labels layer of napari as it is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..classification.classes import BUILT_IN, ClassList
from ..errors import OutputError
from ..images.pixel_size import PixelSize, unit_symbol
from ..segmentation.measure import current_cells, known_rows
from ..segmentation.result import Placement, Segmentation, with_unique_labels
from ..settings import SegmentationSettings

_MAX_PIXELS = 2**31

#: Under this key of a layer's ``metadata`` the plugin keeps the model, settings and notes of a result.
METADATA_KEY = "napari_wbcseg"

#: A labels layer of napari, or what has these of its attributes; napari itself is not imported.
LabelsLayer = Any
_READ_OF_A_LAYER = ("name", "data", "features", "metadata", "scale", "translate")


def as_segmentation(
    result: Segmentation | LabelsLayer,
    *,
    image: Any = None,
    image_path: str | Path | None = None,
    pixel_size: PixelSize | None = None,
    name: str | None = None,
    model_source: str = "",
    measure: bool = True,
) -> Segmentation:
    """Return what can be saved of a result or of a labels layer.

    Parameters
    ----------
    result : Segmentation or napari labels layer
        The layer may be any, also one drawn by hand, of integers or booleans, lazy or
        multiscale. Its table is its features; what was painted since is measured anew.
    image : array, optional
        What new cells are measured on.
    image_path, pixel_size, name, model_source
        What the result itself does not say.
    measure : bool
        Whether cells that were drawn or changed are measured now; whoever loads the result does it too.

    Raises
    ------
    OutputError
        If it is no label image of two or three dimensions.
    """
    if isinstance(result, Segmentation):
        data, table, found = result.labels, result.cells, result
        if found.place is None and pixel_size is not None:
            found = replace(found, place=Placement.of_pixels(len(data.shape), pixel_size))
    elif all(hasattr(result, name) for name in _READ_OF_A_LAYER):
        data = result.data[0] if getattr(result, "multiscale", False) else result.data
        table, found = result.features, _about(result, data)
    else:
        raise OutputError(
            f"A {type(result).__name__} cannot be saved: give what segment returned, or a labels layer."
        )
    labels = _label_array(data)
    # Labels may have been corrected: dataclasses.replace(result, labels=corrected).
    cells, edited = current_cells(labels, table, image) if measure else (known_rows(table), False)
    if labels.ndim == 3:
        labels, cells = with_unique_labels(labels, cells)
    path = found.image_path if image_path is None else Path(image_path)
    return replace(
        found,
        labels=labels,
        cells=cells,
        name=name or found.name or ("" if path is None else path.stem),
        image_path=path,
        model_source=model_source or found.model_source,
        edited=found.edited or edited,
    )


def _about(layer: LabelsLayer, data: Any) -> Segmentation:
    """Return what a layer says of its labels, these left as they are."""
    about = layer.metadata.get(METADATA_KEY, {}) if isinstance(layer.metadata, Mapping) else {}
    settings = about.get("settings")
    return Segmentation(
        data,
        layer.features,
        settings=SegmentationSettings(**settings) if settings else None,
        model=str(about.get("model") or ""),
        classifier=str(about.get("classifier") or ""),
        cell_diameter=about.get("cell_diameter"),
        field_share=about.get("field_share"),
        notes=tuple(about.get("notes") or ()),
        place=getattr(layer, "place", None) or placement_of(layer, len(data.shape)),
        name=str(about.get("source") or layer.name),
        edited=bool(about.get("edited")),
        classes=ClassList.from_list(about["classes"]) if about.get("classes") else BUILT_IN,
    )


def placement_of(layer: LabelsLayer, ndim: int) -> Placement:
    """Return where the pixels of a layer lie, in its last axes."""
    scale = tuple(map(float, _last(layer.scale, ndim, 1.0)))
    translate = tuple(map(float, _last(layer.translate, ndim, 0.0)))
    return Placement(
        scale,
        translate,
        tuple(unit_symbol(str(unit)) for unit in _last(getattr(layer, "units", None), ndim, "pixel")),
        tuple(str(label) for label in _last(getattr(layer, "axis_labels", None), ndim, "")),
        _affine(layer, scale, translate),
    )


def _affine(
    layer: LabelsLayer, scale: tuple[float, ...], translate: tuple[float, ...]
) -> tuple[tuple[float, ...], ...]:
    """Return what rotation, shear and affine of a napari layer come to after its scale and translation."""
    ndim, to_world = len(scale), getattr(layer, "data_to_world", None)
    if to_world is None or len(layer.scale) != ndim:
        return ()
    world = np.array([to_world(point) for point in (np.zeros(ndim), *np.eye(ndim))], float)
    whole, own = np.eye(ndim + 1), np.diag([*scale, 1.0])
    whole[:-1] = np.column_stack([*(world[1:] - world[0]), world[0]])
    own[:-1, -1] = translate
    rest = whole @ np.linalg.inv(own)
    return () if np.allclose(rest, np.eye(ndim + 1)) else tuple(map(tuple, rest.tolist()))


def _label_array(data: Any) -> np.ndarray:
    if np.prod(data.shape, dtype=float) > _MAX_PIXELS:
        raise OutputError(
            f"Labels of shape {tuple(data.shape)} are too large to be saved at once. "
            "Save a part of them; a whole slide is in its own labels.zarr and table already."
        )
    array = np.asarray(data)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iu" or array.ndim not in (2, 3) or 0 in array.shape:
        raise OutputError(
            f"Labels must be whole numbers of shape (H, W) or (N, H, W), not {array.dtype} {array.shape}."
        )
    if array.dtype.kind == "i" and int(array.min()) < 0:
        raise OutputError("Labels below 0 cannot be saved: number the cells from 1.")
    return array


def _last(values: Sequence[Any] | None, ndim: int, missing: Any) -> list[Any]:
    """Return the entries of the last axes, with something where there is none."""
    given = [] if values is None else list(values)[-ndim:]
    return [missing] * (ndim - len(given)) + given
