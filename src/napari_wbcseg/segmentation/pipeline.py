"""From an image to a `Segmentation`: the one way in for Python, shell and napari."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..box import Box
from ..classification.classify import class_list, classifier_of
from ..errors import ImageError, ModelError, SettingsError
from ..files import user_path
from ..images.focus import COLOURS_FIRST, focus_note, is_one_field
from ..images.pictures import array_of
from ..images.pixel_source import PixelSource, plane_sources
from ..images.prepare import held, lazy_array
from ..network.classifier import BUILT_IN_CLASSIFIER
from ..network.library import load_model
from ..network.model_file import ModelFile
from ..progress import Progress, silent
from ..settings import SegmentationSettings
from ..words import counted, listed
from .detections import Kept, TileCells
from .finish import finish
from .global_estimates import GlobalEstimates, estimate
from .large.files import TileFiles
from .measure import joined
from .result import Segmentation, passing_folder
from .tile_work import Canvas, TileWork, by_window, find_all, here

DEFAULT_MODEL = "wbc"

#: Channels that the network of each recipe takes, and those of its outputs that are read.
_READS: dict[str, tuple[int, dict[str, int]]] = {
    "classic": (1, {"cell": 1}),
    "robust": (3, {"cell": 1, "centre": 1, "offset": 2, "size": 1}),
}
# Pixels of the largest result that is kept in memory, at eight bytes a pixel.
_IN_MEMORY = 64_000_000
_CHUNK = 1024
_COMPARED_SIDE = 128  # pixels of the shorter side of planes that are compared


def segment(
    image: Any,
    model: str | Path | ModelFile = DEFAULT_MODEL,
    settings: SegmentationSettings | None = None,
    progress: Progress = silent,
) -> Segmentation:
    """Find, outline and measure the white blood cells of an image.

    Parameters
    ----------
    image : array, shape (H, W), (H, W, 3), (N, H, W) or (N, H, W, 3)
        RGB or grey, unsigned integers or floats; NumPy, dask or zarr, of which parts are read. An
        alpha channel is dropped. A stack is segmented plane by plane.
    model : str, Path or ModelFile
        Name or file of a model; ``wbc`` stands for the built-in model of the recipe.
    settings : SegmentationSettings, optional
        By default those of the model's recipe.
    progress : Progress
        Called often; raise `Cancelled` in it to stop.

    Returns
    -------
    Segmentation
        Above 64 million pixels ``labels`` and ``probability`` are zarr arrays in a temporary
        folder, which lasts as long as one of them, the latter in steps of 1/255.

    Raises
    ------
    ImageError
        If the array is no image: another number of channels or dimensions, boolean, empty,
        or with values that are not numbers.
    ModelError
        If the model or the classifier does not exist or cannot be used.
    SettingsError
        If the settings are of another recipe than the model, no cell can be found by them, or their engine is
        not installed.
    """
    file, settings = model_and_settings(model, settings)
    # What cannot be used is told before the work, not after it.
    classifier = classifier_of(settings)
    array, stacked = _image_or_stack(held(as_array(image)))
    sources = plane_sources(array, stacked)
    shape = (len(sources), *sources[0].shape) if stacked else sources[0].shape
    labels, probability = _empty(shape)
    passing = passing_folder(labels)
    tables: list[pd.DataFrame] = []
    proposals, estimates = [], []
    for index, source in enumerate(sources):
        plane = index if stacked else None
        told = _of_plane(progress, index, len(sources)) if stacked else progress
        kept: Kept = TileFiles(Path(passing.name), str(index)) if passing else {}
        found, known = estimate(source, file, settings, told)
        canvases = Canvas([labels], plane), Canvas([probability], plane)
        work = TileWork(source, found, file, settings, classifier, kept, *canvases)
        cells, boxes = _find_cells(work, known, told, first=1 + sum(map(len, tables)))
        tables.append(cells.assign(plane=index) if stacked else cells)
        proposals.append(np.insert(boxes, 0, index, axis=1) if stacked else boxes)
        estimates.append(found)
    return Segmentation(
        labels=labels,
        cells=joined(tables),
        probability=probability,
        proposals=np.concatenate(proposals),
        settings=settings,
        model=file.id,
        classifier=classifier.id if classifier else "",
        classes=class_list(classifier),
        **about(estimates, _notes_on_stack(sources, array.ndim == 3), stacked),
    )


def about(estimates: list[GlobalEstimates], notes: Iterable[str], stacked: bool = False) -> dict[str, Any]:
    """Return what a result says of what was estimated of its planes, and is noted besides."""
    return {
        "cell_diameter": _median(found.cell_diameter for found in estimates),
        "class_diameter": _of_each(estimates) if stacked else estimates[0].class_diameter,
        "field_share": float(np.mean([found.field_share for found in estimates])),
        "backgrounds": tuple(found.background for found in estimates),
        "notes": tuple(dict.fromkeys((*notes, *_notes(estimates)))),
    }


def _find_cells(
    work: TileWork, known: list[TileCells], progress: Progress, first: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Do all tiles of an image, of which some cells may be known, and number the cells; see `finish`."""
    tiles = len(work.tiles)
    windows = by_window(work.tiles, range(tiles), dict(enumerate(known)))
    for _ in find_all(work, here(work), windows, tiles, progress):
        pass
    return finish(work, here(work), progress, first)


def _notes_on_stack(sources: list[PixelSource], grey: bool) -> list[str]:
    """Say what the count of several planes is, and ask whether they show one field."""
    if len(sources) < 2:
        return []
    if is_one_field(map(_small_copy, sources)):
        return [focus_note(len(sources)), *[COLOURS_FIRST] * (grey and len(sources) in (3, 4))]
    return [f"The count is that of all {counted(len(sources), 'plane')} together."]


def _notes(estimates: list[GlobalEstimates]) -> list[str]:
    """Return what is noted of the planes; of some of a stack, with their numbers in front."""
    planes = defaultdict[str, list[str]](list)
    for number, found in enumerate(estimates):
        for note in found.notes:
            planes[note].append(str(number))
    return [
        note if len(of) == len(estimates) else f"Of plane {listed(of)}: {note}" for note, of in planes.items()
    ]


def _of_each(estimates: list[GlobalEstimates]) -> tuple[float, ...] | None:
    """Return the diameter that the classes of each plane are told at, of one without cells that of others."""
    known = [found.class_diameter for found in estimates]
    typical = _median(known)
    return None if typical is None else tuple(one or typical for one in known)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def model_and_settings(
    model: str | Path | ModelFile, settings: SegmentationSettings | None
) -> tuple[ModelFile, SegmentationSettings]:
    """Load a model, and return it with the settings, which must be of its recipe.

    The file of a classifier is named by its whole path in them, so that it is found from any folder.

    Raises
    ------
    ModelError
        If the model does not exist, its file is broken, or it is no network of its recipe.
    SettingsError
        If the settings are of another recipe, or none, or no cell can be found by them.
    """
    if settings is not None:
        SegmentationSettings.require(settings)
    if model == DEFAULT_MODEL and settings is not None and settings.recipe == "classic":
        model = "classic"
    file = load_model(model)
    _check_heads(file)
    if settings is None:
        settings = SegmentationSettings(recipe=file.header.recipe)
    elif settings.recipe != file.header.recipe:
        raise SettingsError(
            f"The model {file.name} was trained for the recipe {file.header.recipe}, and the settings ask "
            f"for {settings.recipe}: choose a model of that recipe, or set recipe to {file.header.recipe}."
        )
    if settings.recipe == "classic" and settings.grey_threshold - settings.dark_cutoff < 2:
        raise SettingsError(
            f"No grey level lies between the dark cutoff, {settings.dark_cutoff}, and the grey threshold, "
            f"{settings.grey_threshold}, so that no cell can be found: lower the one, or raise the other."
        )
    if settings.classes not in (None, BUILT_IN_CLASSIFIER):
        settings = settings.replace(classes=str(user_path(settings.classes).resolve()))
    return file, settings


def _check_heads(model: ModelFile) -> None:
    """Refuse a model that says less than its recipe reads, or is asked in other colours."""
    channels, heads = _READS[model.header.recipe]
    has = {output.name: output.channels for output in model.architecture.outputs}
    if model.architecture.input_channels != channels or any(has.get(name) != n for name, n in heads.items()):
        raise ModelError(
            f"The model {model.name} is no network of the recipe {model.header.recipe}, which takes "
            f"{channels} channels and gives {', '.join(heads)}: train it again, or choose another model."
        )


def _small_copy(source: PixelSource) -> np.ndarray:
    return source.reduced(Box(0, 0, *source.shape), max(1, min(source.shape) // _COMPARED_SIDE))


def _of_plane(progress: Progress, plane: int, count: int) -> Progress:
    """Return a progress that tells of which plane it is."""

    def told(done: int, total: int, stage: str) -> None:
        progress(done, total, f"{stage} (plane {plane} of 0 to {count - 1})")

    return told


def _empty(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return arrays for labels and probability, in memory or a temporary folder."""
    if np.prod(shape, dtype=np.int64) <= _IN_MEMORY:
        return np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    from tempfile import TemporaryDirectory

    import zarr

    from ..images.zarr_store import FolderStore

    folder = TemporaryDirectory(prefix="wbcseg-")
    chunks = (*[1] * (len(shape) - 2), *(min(side, _CHUNK) for side in shape[-2:]))

    def empty(name: str, dtype: type[np.generic]) -> Any:
        store = FolderStore(f"{folder.name}/{name}.zarr")
        store.temporary = folder  # who keeps but the labels of a result keeps their files
        return zarr.create_array(store, shape=shape, chunks=chunks, dtype=dtype, fill_value=0)

    return empty("labels", np.int32), empty("probability", np.float32)


def as_array(image: Any) -> Any:
    """Return an image of any kind, such as lists or a picture of Pillow, as an array, lazy perhaps.

    Raises
    ------
    ImageError
        If it is none.
    """
    if isinstance(image, str | Path):
        raise ImageError(
            f"{str(image)!r} is a file name, not an image: read the file first, "
            "for instance with napari_wbcseg.images.read.read_image."
        )
    if np.ma.is_masked(image):
        raise ImageError("The image has masked pixels: fill them, for instance with image.filled(255).")
    try:
        if hasattr(image, "getbands"):  # of Pillow, which gives NumPy the numbers of a palette
            return array_of(image)
        if all(hasattr(image, name) for name in ("shape", "dtype", "__getitem__")):
            np.dtype(image.dtype)
            if len(image.shape) > 1:
                image[:1, :1]  # which neither a closed file has nor a list of resolutions
            return lazy_array(image)
        array = np.asarray(image)
        if array.dtype.kind in "OUS":  # a group of zarr's gives the names in it
            raise ValueError(f"it is a {type(image).__name__}")
        return array
    except (TypeError, ValueError, RuntimeError, OSError) as error:  # a picture of Pillow is read only now
        raise ImageError(
            f"This is not an image array: {error}. Give an array, of a layer its data, of several "
            "resolutions the first; read a file first."
        ) from None


def _image_or_stack(array: Any) -> tuple[Any, bool]:
    """Return an image or a stack without axes of which there is one, and whether it is a stack."""
    while array.ndim > 3 and array.shape[0] == 1 and (array.ndim > 4 or array.shape[-1] not in (1, 3, 4)):
        array = array[0]  # times or depths of which there is one, as in microscopes' files
    return array, array.ndim == 4 or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4, 5))
