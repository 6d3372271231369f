"""Which picture cells are of, and how the two find each other when they were opened from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_warning

from ...files import FileState
from ...progress import Progress
from ...results.origins import FileRecord
from .jobs import in_background
from .metadata import LayerInfo, is_cells, is_picture, is_stained, note
from .viewer import image_data, own_viewer, placement_of_part, plane_shape


def found_in(layer: Layer, image: Layer | None) -> bool:
    """Say whether a layer is of what was found in an image; with None, in one that is not known."""
    return LayerInfo.of(layer).source_id == id_of(image)


def all_of(viewer: ViewerModel, *pictures: Layer) -> list[Layer]:
    """Return pictures in a viewer, what was found in them, and their regions with what was found in those."""
    ids = set(map(id_of, pictures))
    while new := {id_of(one) for one in viewer.layers if LayerInfo.of(one).source_id in ids} - ids:
        ids |= new
    return [one for one in viewer.layers if id_of(one) in ids]


def id_of(image: Layer | None) -> str | None:
    """Return what results keep of the image that they were found in."""
    return None if image is None else str(image.unique_id)


def source_image(viewer: ViewerModel, layer: Labels) -> Image | None:
    """Return the image that a labels layer belongs to.

    For a layer of this plugin the one it was found in; for any other the only image of its
    size, if there is just one.
    """
    images = [one for one in own_viewer(viewer).layers if is_stained(one)]
    info = LayerInfo.of(layer)
    if info.source_id is not None:
        return next((image for image in images if found_in(layer, image)), None)
    if info.path is not None:
        images = [image for image in images if may_be_of(layer, image)]
    fitting = [image for image in images if image_under(layer, image) is not None]
    return fitting[0] if len(fitting) == 1 else None


def image_under(layer: Labels, image: Image) -> Any:
    """Return the part of an image's array that lies under a labels layer; None if it does not fit."""
    shape, drawn = plane_shape(image), plane_shape(layer)
    if len(shape) != len(drawn):
        return None
    axes = slice(-len(drawn), None)
    scale = image.scale[axes]
    if not np.allclose(scale, layer.scale[axes], rtol=1e-3):
        return None
    start = np.rint((layer.translate[axes] - image.translate[axes]) / scale).astype(int)
    stop = start + drawn
    if (start < 0).any() or (stop > shape).any():
        return None
    data = image_data(image)
    if not isinstance(data, np.ndarray):  # a zarr would be read here and now
        import dask.array as da

        data = da.asarray(data)
    return data[tuple(slice(*ends) for ends in zip(start.tolist(), stop.tolist(), strict=True))]


def reunite(viewer: ViewerModel, layer: Layer) -> list[tuple[Labels, Image]]:
    """Look for what belongs to a layer that is new, put the picture below its cells, and return both.

    The picture of a saved result, or of cells whose picture was removed, is the one that was read from the
    recorded file, or of a saved result one of the recorded name; it has the shape of the cells.
    """
    layers = list(viewer.layers)
    there = set(map(id_of, layers))
    lonely = [one for one in layers if is_cells(one) and LayerInfo.of(one).source_id not in there]
    pictures = [one for one in reversed(layers) if is_picture(one)]
    found = []
    for cells in lonely:
        picture = next((one for one in pictures if may_be_of(cells, one)), None)
        if picture is not None and layer in (cells, picture):
            note(cells, source=picture.name, source_id=id_of(picture))
            if viewer.layers.index(picture) > viewer.layers.index(cells):
                viewer.layers.move(viewer.layers.index(picture), viewer.layers.index(cells))
            found.append((cells, picture))
    return found


def check_slide(cells: Labels, picture: Image) -> None:
    """Warn, once parts of all of it are read, of a picture in which cells that are on disk were not found."""
    folder, origin, pixels = LayerInfo.of(cells).folder, origin_of(picture), image_data(picture)
    if folder is None:
        return

    def is_another(progress: Progress) -> bool:
        from ...segmentation.large.result import is_of_another

        return is_of_another(Path(folder), pixels)

    def warn(another: bool) -> None:
        if another:  # or another version of a library reads it otherwise
            show_warning(f"{origin} is not as it was when these cells were found: is it their image?")

    in_background(is_another, done=warn)


def watch_file(picture: Layer) -> None:
    """Note of a picture that is new in a viewer what its file is like, unless its reader did."""
    file = path_of(picture)
    if LayerInfo.of(picture).state is None and file is not None and file.is_file():
        note(picture, state=FileState.of(file))


def path_of(layer: Layer) -> Path | None:
    """Return the file that a layer, or the image in it, was read from."""
    path = LayerInfo.of(layer).path or layer.source.path
    return Path(path) if path else None


def origin_of(picture: Layer) -> str:
    """Return the file of a picture, or what it is a part of; without either its name."""
    return str(path_of(picture) or LayerInfo.of(picture).source or picture.name)


def part_of(picture: Image, pixels: np.ndarray, corner: tuple[int, int], name: str) -> Image:
    """Return some pixels of a picture as one of their own, there, which knows what it is a part of."""
    (row, col), (down, right) = LayerInfo.of(picture).corner, corner
    info = LayerInfo(source=origin_of(picture), corner=(row + down, col + right))
    place = placement_of_part(picture, corner)
    return Image(pixels, rgb=picture.rgb, name=name, metadata=info.metadata, **place)


def may_be_of(cells: Layer, picture: Layer) -> bool:
    """Whether cells were found in a picture, or may have been: nothing tells that they were not."""
    info, about, file = LayerInfo.of(cells), LayerInfo.of(picture), path_of(picture)
    if plane_shape(cells) != plane_shape(picture):
        return False
    if info.path is not None and file is not None:
        recorded = Path(info.path)  # one of that name elsewhere is another, if the recorded one is there
        if recorded != file:
            return recorded.name == file.name and not recorded.exists() and _has_content(file, info.state)
        return None in (info.state, about.state) or info.state[:2] == about.state[:2]  # type: ignore[index]
    return (
        info.source_id is None
        and info.source is not None
        and info.source in (picture.name, file.stem if file else "")
    )


def _has_content(file: Path, state: FileState | None) -> bool:
    known = None if state is None else state.sha256
    return known is None or FileRecord(sha256=known).is_of(file)
