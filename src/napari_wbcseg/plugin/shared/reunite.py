"""Results that were opened from files find their picture, and pictures their results."""

from __future__ import annotations

from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Labels, Layer

from ...files import FileState
from ...results.origins import FileRecord
from .metadata import LayerInfo, id_of, is_cells, is_picture, note
from .viewer import plane_shape


def reunite(viewer: ViewerModel, layer: Layer) -> list[Labels]:
    """Look for what belongs to a layer that is new, put the picture below its cells, and return these.

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
            found.append(cells)
    return found


def watch_file(picture: Layer) -> None:
    """Note of a picture that is new in a viewer what its file is like, unless its reader did."""
    file = path_of(picture)
    if LayerInfo.of(picture).state is None and file is not None and file.is_file():
        note(picture, state=FileState.of(file))


def path_of(layer: Layer) -> Path | None:
    """Return the file that a layer, or the image in it, was read from."""
    path = LayerInfo.of(layer).path or getattr(getattr(layer, "source", None), "path", None)
    return Path(path) if path else None


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
