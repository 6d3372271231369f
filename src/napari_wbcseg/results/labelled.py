"""What can be saved: a label image, its table, and where both came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ..errors import OutputError
from ..images.pixel_size import CENTIMETRES, PixelSize, unit_symbol
from ..segmentation.result import Segmentation, count_in_words
from ..settings import SegmentationSettings

if TYPE_CHECKING:
    import pandas as pd

_MAX_PIXELS = 2**31

#: Under this key of a layer's ``metadata`` the plugin keeps the model, settings and notes of a result.
METADATA_KEY = "napari_wbcseg"


@runtime_checkable
class LabelsLayer(Protocol):
    """What is read of a napari labels layer; napari itself is not imported."""

    @property
    def name(self) -> str:
        """What the layer is called."""

    @property
    def data(self) -> Any:
        """The labels, or the levels of a pyramid of them."""

    @property
    def features(self) -> Any:
        """A table."""

    @property
    def metadata(self) -> Any:
        """A dictionary."""

    @property
    def scale(self) -> Any:
        """Distance between pixels, an entry an axis."""

    @property
    def translate(self) -> Any:
        """Place of the first pixel, an entry an axis."""


@dataclass(frozen=True)
class Placement:
    """Where the pixels of an array lie in the world, an entry an axis.

    Attributes
    ----------
    scale, translate : tuple of float
        Distance between pixels, and place of the first.
    units : tuple of str
        Symbols such as ``µm``; ``pixel`` where there is no unit of length.
    axis_labels : tuple of str
        Empty where the axes have no names.
    """

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]
    axis_labels: tuple[str, ...] = ()

    @classmethod
    def of_pixels(cls, ndim: int, pixel_size: PixelSize | None = None) -> Placement:
        """Return the placement of an image whose pixels have this size; planes are one apart."""
        scale, units = [1.0] * ndim, ["pixel"] * ndim
        if pixel_size is not None:
            scale[-2:] = [float(pixel_size.row), float(pixel_size.column)]
            units[-2:] = [unit_symbol(pixel_size.unit)] * 2
        return cls(tuple(scale), (0.0,) * ndim, tuple(units))

    @property
    def pixel_size(self) -> PixelSize | None:
        """Size of a pixel, or None where nothing says it."""
        row, column = self.scale[-2:]
        unit = self.units[-1]
        if self.units[-2] != unit:
            return None
        if unit not in CENTIMETRES and row == column == 1:
            return None
        return PixelSize(abs(row), abs(column), unit)


@dataclass(frozen=True)
class LabelledImage:
    """A label image with its table, and what is known of its origin.

    Attributes
    ----------
    labels : ndarray of int, shape (H, W) or (N, H, W)
        0 is background; labels need not be contiguous.
    cells : DataFrame
        A row for each label; in a stack for each label of each plane, with its ``plane``.
    placement : Placement
    name : str
        Of the image.
    image : array, optional
        The image itself, (H, W), (H, W, 3), or a stack of such; what `segment` takes.
    image_path : Path, optional
        Where it was read from.
    settings : SegmentationSettings, optional
        None where the labels were drawn by hand.
    model : str
        ``name@hash``; empty where there was none.
    model_source : str
        The name or path that the model was asked for by; empty for its name.
    cell_diameter : float, optional
        In pixels.
    notes : tuple of str
    edited : bool
        Whether the labels differ from what the model found.
    """

    labels: np.ndarray
    cells: pd.DataFrame
    placement: Placement
    name: str = ""
    image: Any = None
    image_path: Path | None = None
    settings: SegmentationSettings | None = None
    model: str = ""
    model_source: str = ""
    cell_diameter: float | None = None
    notes: tuple[str, ...] = ()
    edited: bool = False

    @property
    def stacked(self) -> bool:
        """Whether the labels are a stack of planes."""
        return self.labels.ndim == 3

    @property
    def to_check(self) -> frozenset[tuple[int, int]]:
        """Plane (0 in an image that is no stack) and label of each cell worth a second look."""
        if not len(self.cells) or "check" not in self.cells:
            return frozenset()
        marked = self.cells[self.cells["check"].astype(bool)]
        planes = marked["plane"] if self.stacked else np.zeros(len(marked), int)
        return frozenset(zip(map(int, planes), map(int, marked["label"]), strict=True))

    @property
    def summary(self) -> str:
        """The count in words, such as ``23 white cells, 2 to check``."""
        return count_in_words(len(self.cells), len(self.to_check))


def labelled_image(
    result: Segmentation | LabelledImage | LabelsLayer,
    *,
    image: Any = None,
    image_path: str | Path | None = None,
    pixel_size: PixelSize | None = None,
    name: str | None = None,
    model_source: str = "",
) -> LabelledImage:
    """Return what can be saved of a result or of a labels layer.

    Parameters
    ----------
    result : Segmentation, LabelledImage or napari labels layer
        The layer may be any, also one drawn by hand, of integers or booleans, lazy or
        multiscale. Its table is its features; what was painted since is measured anew.
    image, image_path, pixel_size, name, model_source
        What the result itself does not say.

    Raises
    ------
    OutputError
        If it is no label image of two or three dimensions.
    """
    if isinstance(result, LabelledImage):
        found = result
    elif isinstance(result, Segmentation):
        found = _of_segmentation(result, pixel_size, image)
    elif isinstance(result, LabelsLayer):
        found = _of_layer(result, image)
    else:
        raise OutputError(
            f"A {type(result).__name__} cannot be saved: give what segment returned, or a labels layer."
        )
    changes: dict[str, Any] = {}
    if image is not None:
        changes["image"] = image
    if image_path is not None:
        changes["image_path"] = Path(image_path)
    if name is not None or not found.name:
        changes["name"] = name or (Path(image_path).stem if image_path is not None else "cells")
    if model_source:
        changes["model_source"] = model_source
    return replace(found, **changes) if changes else found


def number_through(labels: np.ndarray, cells: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Return a stack in which the numbers of the cells run on over the planes, and its table.

    In a `Segmentation` of a stack each plane begins with 1 again; in files and in layers a
    number is to be one cell.

    Parameters
    ----------
    labels : ndarray of int, shape (N, H, W)
    cells : DataFrame
        With ``label`` and ``plane``.
    """
    largest = [int(plane.max(initial=0)) for plane in labels]
    before = np.concatenate([[0], np.cumsum(largest)[:-1]]).astype(np.int64)
    numbered = labels.astype(np.int64) + before.reshape(-1, 1, 1)
    numbered[labels == 0] = 0
    if sum(largest) < 2**31:
        numbered = numbered.astype(np.int32)
    own = cells["label"].to_numpy(np.int64) + before[cells["plane"].to_numpy(np.int64)]
    return numbered, cells.assign(label=own)


def _of_segmentation(result: Segmentation, pixel_size: PixelSize | None, image: Any) -> LabelledImage:
    from ..segmentation.measured import current_cells

    labels, cells = _label_array(result.labels), result.cells
    if labels.ndim == 3:
        labels, cells = number_through(labels, cells)
    # Labels may have been corrected: dataclasses.replace(result, labels=corrected).
    cells, edited = current_cells(labels, cells, image)
    return LabelledImage(
        labels=labels,
        cells=cells,
        placement=Placement.of_pixels(result.labels.ndim, pixel_size),
        settings=result.settings,
        model=result.model,
        cell_diameter=result.cell_diameter,
        notes=tuple(result.notes),
        edited=edited,
    )


def _of_layer(layer: LabelsLayer, image: Any) -> LabelledImage:
    from ..segmentation.measured import current_cells

    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    labels = _label_array(data)
    about = layer.metadata.get(METADATA_KEY, {}) if isinstance(layer.metadata, Mapping) else {}
    settings = about.get("settings")
    cells, edited = current_cells(labels, layer.features, image)
    ndim = labels.ndim
    scale, translate = _numbers(layer.scale, ndim, 1.0), _numbers(layer.translate, ndim, 0.0)
    return LabelledImage(
        labels=labels,
        cells=cells,
        placement=Placement(
            scale,
            translate,
            tuple(unit_symbol(str(unit)) for unit in _last(getattr(layer, "units", None), ndim, "pixel")),
            tuple(str(label) for label in _last(getattr(layer, "axis_labels", None), ndim, "")),
        ),
        name=str(about.get("source") or layer.name),
        settings=SegmentationSettings(**settings) if settings else None,
        model=str(about.get("model") or ""),
        cell_diameter=about.get("cell_diameter"),
        notes=tuple(about.get("notes") or ()),
        edited=edited,
    )


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


def _numbers(values: Any, ndim: int, missing: float) -> tuple[float, ...]:
    return tuple(float(value) for value in _last(values, ndim, missing))


def _last(values: Sequence[Any] | None, ndim: int, missing: Any) -> list[Any]:
    """Return the entries of the last axes, with something where there is none."""
    given = [] if values is None else list(values)[-ndim:]
    return [missing] * (ndim - len(given)) + given
