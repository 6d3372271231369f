"""What a labels layer of napari says, as a result; napari itself is not imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..classification.classes import BUILT_IN_CLASSES, ClassList
from ..errors import OutputError
from ..images.pixel_size import unit_symbol
from ..segmentation.result import ABOUT_IN_WORDS, Placement, Segmentation
from ..settings import SegmentationSettings

#: A labels layer of napari, or what has these of its attributes.
LabelsLayer = Any
_READ_OF_A_LAYER = ("name", "data", "features", "metadata", "scale", "translate")
#: Under this key of a layer's ``metadata`` the plugin keeps the model, settings and notes of a result.
METADATA_KEY = "napari_wbcseg"


def of_layer(layer: LabelsLayer) -> Segmentation:
    """Return what a labels layer says, its labels and its table left as they are.

    Raises
    ------
    OutputError
        If it is no labels layer.
    """
    if not all(hasattr(layer, name) for name in _READ_OF_A_LAYER):
        raise OutputError(
            f"A {type(layer).__name__} cannot be saved: give what segment returned, or a labels layer."
        )
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    about = layer.metadata.get(METADATA_KEY, {}) if isinstance(layer.metadata, Mapping) else {}
    settings = about.get("settings")
    return Segmentation(
        data,
        layer.features,
        settings=SegmentationSettings(**settings) if settings else None,
        place=placement_of(layer, len(data.shape)),
        corner=about.get("corner", (0, 0)),
        name=str(about.get("source") or layer.name),
        classes=ClassList.from_list(about["classes"]) if about.get("classes") else BUILT_IN_CLASSES,
        **{name: about[name] for name in ABOUT_IN_WORDS if name in about},
    )


def placement_of(layer: Any, ndim: int) -> Placement:
    """Return where the pixels of a napari layer lie, in its last axes."""
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
    layer: Any, scale: tuple[float, ...], translate: tuple[float, ...]
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


def _last(values: Sequence[Any] | None, ndim: int, missing: Any) -> list[Any]:
    """Return the entries of the last axes, with something where there is none."""
    given = [] if values is None else list(values)[-ndim:]
    return [missing] * (ndim - len(given)) + given
