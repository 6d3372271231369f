"""What of a layer is segmented: all of it, the plane shown, or the regions drawn on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Image, Layer, Shapes

from ...box import Box
from ...errors import ImageError
from ...images.read import is_large
from ...progress import Progress
from ...segmentation.measure import touching
from ...segmentation.result import Segmentation
from ...words import note_of_part
from ..shared.layer_check import check_layer
from ..shared.regions import inside, region_outlines
from ..shared.viewer import image_data, plane_shape, times

_MARGIN = 128  # pixels around a region, so that the cells on its outline are seen whole
_MORE = 512  # where one of them is not
_LARGEST = 2**28  # pixels of a plane; more do not fit into a napari layer, nor into most memories
#: Pixels up to which a result becomes ordinary layers in memory, which can be corrected by hand.
IN_MEMORY = 64_000_000


@dataclass(frozen=True, eq=False)
class Part:
    """What of a layer is segmented, and where in the layer it lies.

    Attributes
    ----------
    data : array, shape (H, W), (H, W, C), (N, H, W) or (N, H, W, C)
        The pixels of the plane or planes; lazy where the layer's are. Read those of the part by `read`.
    shape : tuple of int
        Rows and columns of the whole layer, for a stack with its planes in front.
    plane : int or None
        The one plane that is segmented; None for all there are.
    window : Box
        Where the pixels are in the whole plane.
    outlines : tuple of ndarray of float64, shape (n, 2)
        Corners of the regions, row and column in the whole plane; none for all of it.
    name : str
        What the part is called; empty for the whole layer.
    """

    data: Any
    shape: tuple[int, ...]
    plane: int | None
    window: Box
    outlines: tuple[np.ndarray, ...] = ()
    name: str = ""

    @property
    def of_slide(self) -> bool:
        """Whether it lies in an image of which not all can have cells in memory."""
        return bool(self.outlines) and is_slide(self.shape)

    def cut_out(self, progress: Progress) -> tuple[Part, Box]:
        """Return the same of a picture of the regions and what is around them, and where that lies.

        For a worker thread: the picture is read.
        """
        wide = replace(self, window=self.window.grown(_MORE, self.shape))
        corner = np.array(wide.window[:2])
        outlines = tuple(outline - corner for outline in self.outlines)
        window = self.window.relative_to(wide.window)
        return Part(wide.read(progress), wide.window.shape, None, window, outlines, self.name), wide.window

    def read(self, progress: Progress) -> np.ndarray:
        """Return the pixels; for a worker thread.

        Lazy arrays are read chunk by chunk, so that reading can be cancelled.
        """
        stacked = len(self.shape) == 3 and self.plane is None
        data = self.data[(slice(None),) * stacked + self.window.slices]
        if isinstance(data, np.ndarray):
            return data
        import dask.array as da
        from dask.callbacks import Callback

        def told(key: Any, result: Any, graph: Any, state: Any, worker: Any) -> None:
            progress(len(state["finished"]), len(graph), "Reading the image")

        out = np.empty(data.shape, data.dtype)
        with Callback(posttask=told):
            da.store(da.asarray(data), out, lock=False)
        return out

    def find(self, segment: Callable[[np.ndarray], Segmentation], progress: Progress) -> Segmentation:
        """Segment this part and put what is found where it is; with more around it where a cell was cut."""
        found = self.place(segment(self.read(progress)))
        drawn = found.labels[..., *self.window.slices].reshape(-1, *self.window.shape)
        if self.outlines and self.window.cuts(drawn.max(axis=0), self.shape[-2:]):
            return replace(self, window=self.window.grown(_MORE, self.shape[-2:])).find(segment, progress)
        return found

    def place(self, found: Segmentation) -> Segmentation:
        """Put what was found in this part where it is in the whole layer.

        A cell belongs to a region that its centre lies in. Cells are numbered anew.
        """
        if not self.outlines and self.window.shape == self.shape[-2:] and found.labels.shape == self.shape:
            return found
        if self.outlines:
            found = _inside(found, self.outlines, self.window)
        row0, col0 = self.window[:2]
        index = (... if self.plane is None else self.plane, *self.window.slices)
        # Pages that nothing is written to take no memory.
        labels, probability = np.zeros(self.shape, np.int32), np.zeros(self.shape, np.float32)
        labels[index], probability[index] = found.labels, found.probability
        cells = found.cells.assign(row=found.cells["row"] + row0, col=found.cells["col"] + col0)
        proposals = found.proposals.copy()
        proposals[:, -4:] += (row0, col0, row0, col0)
        # Of more than 8 bits full brightness is told by the maximum, which the layer may have elsewhere.
        backgrounds = found.backgrounds if self.data.dtype == np.uint8 else ()
        share = None if self.outlines else found.field_share  # of the slide, in the regions, is not known
        if self.plane is not None:
            share = None if share is None else share / self.shape[0]
            backgrounds = (*[None] * self.plane, *backgrounds)
            cells = cells.assign(plane=self.plane)
            proposals = np.insert(proposals, 0, self.plane, axis=1)
        said = [note_of_part(self.name, len(self.outlines) > 1)] if self.name else []
        return replace(
            found,
            labels=labels,
            probability=probability,
            cells=cells,
            proposals=proposals,
            field_share=share,
            backgrounds=backgrounds,
            notes=(*said, *found.notes),
        )


def check_part(layer: Image | None, regions: Shapes | None) -> str:
    """Return what would be segmented of an image layer, or of what of it lies in regions.

    Raises
    ------
    ImageError
        If it cannot be segmented.
    """
    words = check_layer(layer)
    assert layer is not None
    rows, columns = plane_shape(layer)[-2:]
    if regions is None and rows * columns > _LARGEST and not _in_tiles(layer):
        raise ImageError(
            f"{columns} × {rows} pixels are too many for one layer: choose or draw a region, "
            "or use the command wbcseg segment."
        )
    return words


def is_slide(shape: tuple[int, ...]) -> bool:
    """Say whether regions of an image of this shape, without colours, become pictures of their own."""
    return len(shape) == 2 and math.prod(shape) > _LARGEST


def _in_tiles(layer: Layer) -> bool:
    """Say whether the whole of a layer is segmented tile by tile, and so fills."""
    return layer.ndim == 2 and is_large(image_data(layer))


def choose_part(layer: Image, plane: int | None = None, regions: Shapes | None = None) -> Part | None:
    """Return the part of a layer that is one plane of it, inside regions, or both.

    None for all of a large image, which is segmented tile by tile.

    Parameters
    ----------
    layer : napari.layers.Image
        One image or a stack; of several resolutions, the highest is taken.
    plane : int, optional
        Plane of a stack, or beyond an end of it, which is taken then; by default all planes.
    regions : napari.layers.Shapes, optional
        Rectangles, ellipses and polygons; the layers need not have one scale.

    Raises
    ------
    ImageError
        If it cannot be segmented, or no region lies on the layer.
    """
    check_part(layer, regions)
    if regions is None and _in_tiles(layer):
        return None
    data, shape = image_data(layer), plane_shape(layer)
    whole = Part(data, shape, None, Box(0, 0, *shape[-2:]))
    part = whole if regions is None else _in_regions(whole, layer, regions)
    if plane is None or len(shape) == 2:
        return part
    plane = min(max(plane, 0), shape[0] - 1)
    name = " in ".join(filter(None, (part.name, f"plane {plane}")))
    return replace(part, data=data[plane], plane=plane, name=name)


def _in_regions(whole: Part, layer: Image, regions: Shapes) -> Part:
    """Return what of a layer lies in regions, and a margin around them."""
    outlines, shape = region_outlines(regions, layer), whole.shape[-2:]
    if not outlines:
        raise ImageError(
            f"The layer {regions.name} is empty: draw a rectangle, an ellipse or a polygon around cells."
        )
    points = np.concatenate(outlines)
    low, high = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int) + 1
    box = Box(*low.tolist(), *high.tolist()).within(shape)
    if min(box.shape) <= 0:
        raise ImageError(f"The regions of {regions.name} do not lie on {layer.name}: draw them on it.")
    window = box.grown(_MARGIN, shape)
    if is_slide(whole.shape) and window.grown(_MORE, shape).area > IN_MEMORY:
        raise ImageError(
            f"The regions of {regions.name} take {times(window.shape[::-1])} pixels, and a picture in "
            f"memory at most {IN_MEMORY // 10**6} million: draw them smaller, or those that lie far "
            "apart one after the other."
        )
    name = f"the {'regions' if len(outlines) > 1 else 'region'} drawn in the layer {regions.name}"
    return replace(whole, window=window, outlines=outlines, name=name)


def _inside(found: Segmentation, outlines: tuple[np.ndarray, ...], window: Box) -> Segmentation:
    """Leave out what has its centre outside the regions, and number the rest anew."""

    def within(points: np.ndarray) -> np.ndarray:
        return inside(points + np.array(window[:2], float), outlines)

    kept = within(found.cells[["row", "col"]].to_numpy(float))
    cells = found.cells[kept].reset_index(drop=True)
    fresh = np.arange(1, len(cells) + 1)
    number = np.zeros(int(found.labels.max(initial=0)) + 1, np.int32)
    number[cells["label"]] = fresh
    boxes = found.proposals[:, -4:].reshape(-1, 2, 2).mean(axis=1)
    labels = number[found.labels]
    met = np.concatenate([touching(plane) for plane in labels.reshape(-1, *labels.shape[-2:])])
    return replace(
        found,
        labels=labels,
        cells=cells.assign(label=fresh, touching=np.isin(fresh, met)),
        proposals=found.proposals[within(boxes)],
    )
