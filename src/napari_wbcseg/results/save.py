"""`save`: a result, or a labels layer as it is now, into files of any of the formats.

Widget, napari's Save and the shell call it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import exists, isdir  # a `Path` raises where a name is too long
from pathlib import Path
from typing import Any

import numpy as np

from ..classification.classes import BUILT_IN, ClassList
from ..errors import OutputError, SettingsError
from ..images.pixel_size import PixelSize, unit_symbol
from ..images.tiff_writer import write_tiff
from ..progress import Progress, silent
from ..segmentation.measure import current_cells, known_rows
from ..segmentation.result import Placement, Segmentation, with_unique_labels
from ..settings import SegmentationSettings
from .formats.geojson import write_geojson
from .formats.ome_zarr import write_ome_zarr
from .formats.pictures import draw_overlay, write_image
from .formats.rois import write_rois
from .formats.tables import with_image, with_micrometres, write_table
from .names import (
    IN_METADATA,
    LABELS_SUFFIX,
    MASK_SUFFIX,
    METADATA_KEY,
    OVERLAY_SUFFIX,
    RESULT_SUFFIX,
    is_output,
)
from .records import ResultRecord

#: A labels layer of napari, or what has these of its attributes; napari itself is not imported.
LabelsLayer = Any
_READ_OF_A_LAYER = ("name", "data", "features", "metadata", "scale", "translate")
_MAX_PIXELS = 2**31

#: Takes the path, the result, its image (or None), and progress; returns the files.
Writer = Callable[[Path, Segmentation, Any, Progress], list[Path]]


@dataclass(frozen=True)
class OutputFormat:
    """A kind of file that a result can be saved as.

    Attributes
    ----------
    name : str
        As options name it.
    title : str
        As people read it.
    suffix : str
        What follows the image's name in a file's name.
    endings : tuple of str
        Endings of a path that ask for this format; the first is the usual one.
    needs_image : bool
        Whether it cannot be made without the image.
    in_parts : bool
        Whether it can be made of labels on disk, of which only parts are read.
    """

    name: str
    title: str
    suffix: str
    endings: tuple[str, ...]
    write: Writer
    needs_image: bool = False
    in_parts: bool = False


def save(
    result: Segmentation | LabelsLayer,
    path: str | Path,
    formats: str | Iterable[str] | None = None,
    *,
    image: Any = None,
    image_path: str | Path | None = None,
    pixel_size: PixelSize | None = None,
    name: str | None = None,
    model_source: str = "",
    progress: Progress = silent,
) -> list[Path]:
    """Save a result, or a labels layer of napari, in one format or several.

    Parameters
    ----------
    result : Segmentation or napari labels layer
        Of a layer, the cells are taken as they are now: what was painted since its table
        was made is measured again.
    path : str or Path
        With one format by its ending, such as ``smear.geojson``, the file. With
        ``formats``, the folder and the name that the files begin with: ``out/smear`` gives
        ``out/smear-labels.tif``, ``out/smear.geojson`` and so on.
    formats : str or iterable of str, optional
        Some of `FORMATS`, or their names in one string, separated by commas; by default
        what the path's ending says.
    image : array, optional
        The image, (H, W), (H, W, 3) or a stack of such. The overlay needs it; new cells are
        measured on it, and OME-Zarr holds it too.
    image_path : str or Path, optional
        Its file, so that the result can be had again from the settings JSON.
    pixel_size : PixelSize, optional
        Of a `Segmentation` that does not know it; a layer's scale and units say it.
    name : str, optional
        What the image is called in the files; by default as the layer or its file, else as the files.
    model_source : str
        The name or path that the model was asked for by, where it is not its name.
    progress : Progress
        Called often; raise `Cancelled` in it to stop. Files that are done stay.

    Returns
    -------
    list of Path
        The files and folders written, each whole. A label TIFF comes with its
        ``NAME-result.json``, with which it opens again in napari, table and all.

    Raises
    ------
    OutputError
        If a format cannot hold the result, or a file cannot be written.
    SettingsError
        If there is no such format.
    """
    path = Path(path)
    if image is not None and not hasattr(image, "shape"):
        raise OutputError(f"The image is a {type(image).__name__}: give an array, such as np.asarray(image).")
    chosen = format_names(formats) if formats is not None else (format_of(path),)
    found = result if isinstance(result, Segmentation) else of_layer(result)
    if found.placement == Placement.of_pixels(found.labels.ndim) and pixel_size is not None:
        if (
            not isinstance(pixel_size, PixelSize)
            or not 0 < min(pixel_size[:2]) <= max(pixel_size[:2]) < np.inf
        ):
            raise OutputError(
                f"A pixel of {pixel_size} cannot be: give PixelSize(row, column, unit) with lengths above 0."
            )
        found = replace(found, place=Placement.of_pixels(found.labels.ndim, pixel_size))
    file = found.image_path if image_path is None else Path(image_path)
    given = (base_of(path) if formats is None else path).name
    found = replace(
        with_current_cells(found, image),
        name=name or found.name or (given if file is None else file.stem),
        image_path=file,
        model_source=model_source or found.model_source,
    )
    sides = found.labels.shape
    if image is not None and (image.shape[: len(sides)] != sides or len(image.shape) > len(sides) + 1):
        raise OutputError(
            f"The image is {image.shape} and its labels are {sides}: give the image that the labels lie on."
        )
    for wanted in chosen:
        if FORMATS[wanted].needs_image and image is None:
            raise OutputError(
                f"The {FORMATS[wanted].title} needs the image: open it, or give it with image=..."
            )
    written: list[Path] = []
    for wanted in chosen:
        target = path if formats is None else path.with_name(f"{path.name}{FORMATS[wanted].suffix}")
        if isdir(target) and wanted != "ome-zarr":
            raise OutputError(f"{target} is a folder; give the name of a file.")
        progress(0, 0, f"Saving {target.name}")
        written += FORMATS[wanted].write(target, found, image, progress)
    return list(dict.fromkeys(written))


def format_names(formats: str | Iterable[str]) -> tuple[str, ...]:
    """Return names of formats, each once.

    Raises
    ------
    SettingsError
        If one is none, or none is given.

    Examples
    --------
    >>> format_names("csv, GeoJSON,csv")
    ('csv', 'geojson')
    """
    given = formats.split(",") if isinstance(formats, str) else list(formats)
    names = tuple(dict.fromkeys(name.strip().lower() for name in given if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        what = f"There is no format {unknown[0]!r}" if unknown else "No format was given"
        raise SettingsError(f"{what}: choose from {', '.join(FORMATS)}.")
    return names


def format_of(path: Path) -> str:
    """Return the format that a path's ending asks for.

    Raises
    ------
    SettingsError
        If it asks for none.

    Examples
    --------
    >>> format_of(Path("smear.ome.zarr")), format_of(Path("smear.tif"))
    ('ome-zarr', 'tiff')
    """
    name = path.name.lower()
    formats = {ending: output.name for output in FORMATS.values() for ending in output.endings}
    matches = [ending for ending in formats if name.endswith(ending)]
    if not matches:
        raise SettingsError(
            f"The ending of {path.name} names no format: use one of {', '.join(formats)}, or give formats=..."
        )
    return formats[max(matches, key=len)]


def files_of(path: str | Path, formats: str | Iterable[str]) -> list[Path]:
    """Return the files that `save` writes for a path without ending, those of stacks' planes left out."""
    suffixes = []
    for name in format_names(formats):
        suffixes += [FORMATS[name].suffix, *[RESULT_SUFFIX] * (name == "tiff")]
    return [Path(f"{path}{suffix}") for suffix in dict.fromkeys(suffixes)]


def formats_there(path: str | Path) -> list[str]:
    """Return the formats whose files are all there, for a path without ending; an OME-Zarr of cells only."""
    there = [name for name in FORMATS if all(map(exists, files_of(path, name)))]
    return [name for name in there if name != "ome-zarr" or is_output(files_of(path, name)[0])]


def base_of(path: Path) -> Path:
    """Return a file's path without the ending that names its format; a date in the name has dots, too."""
    name = path.name
    suffixes = [output.suffix for output in FORMATS.values()]
    for ending in (*suffixes, *(ending for output in FORMATS.values() for ending in output.endings)):
        if name.lower().endswith(ending) and name.lower() != ending:
            return path.with_name(name[: -len(ending)])
    return path


# What is saved -----------------------------------------------------------------------------------------


def with_current_cells(found: Segmentation, image: Any = None, measure: bool = True) -> Segmentation:
    """Return a result with the cells that are in its labels now: ``replace(result, labels=corrected)``.

    Parameters
    ----------
    found : Segmentation
        Its labels may be of any integers or booleans, lazy, and those of a stack the same on several planes.
    image : array, optional
        What new cells are measured on.
    measure : bool
        Whether cells that were drawn or changed are measured now; whoever loads the result does it too.

    Raises
    ------
    OutputError
        If it is no label image of two or three dimensions.
    """
    labels, table = _label_array(found.labels), found.cells
    cells, edited = current_cells(labels, table, image) if measure else (known_rows(table), False)
    if labels.ndim == 3:
        labels, cells = with_unique_labels(labels, cells)
    return replace(found, labels=labels, cells=cells, edited=found.edited or edited)


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
        name=str(about.get("source") or layer.name),
        classes=ClassList.from_list(about["classes"]) if about.get("classes") else BUILT_IN,
        **{name: about[name] for name in IN_METADATA if name in about},
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


# The formats ------------------------------------------------------------------------------------------


def _csv(path: Path, result: Segmentation, image: Any, progress: Progress) -> list[Path]:
    cells = with_micrometres(result.cells, result.placement.pixel_size)
    first = [name for name in ("plane", "label") if name in cells]
    cells = cells[[*first, *(name for name in cells if name not in first)]]
    return [write_table(path, with_image(cells, result.name))]


def _tiff(path: Path, result: Segmentation, image: Any, progress: Progress) -> list[Path]:
    labels = write_tiff(path, result.labels, result.placement.pixel_size)
    (_, record) = files_of(base_of(path), "tiff")
    return [labels, ResultRecord.of(result, path.parent, labels.name).write(record)]


def _json(path: Path, result: Segmentation, image: Any, progress: Progress) -> list[Path]:
    (labels, _) = files_of(base_of(path), "tiff")
    return [ResultRecord.of(result, path.parent, labels.name if labels.exists() else "").write(path)]


def _overlay(path: Path, result: Segmentation, image: Any, progress: Progress) -> list[Path]:
    cells, files = result.cells, _plane_files(path, result)
    for plane, target in files.items():
        progress(0 if plane is ... else plane, len(files), "Drawing")
        rows = cells[cells["plane"] == plane] if result.stacked else cells
        write_image(target, draw_overlay(image[plane], result.labels[plane], rows, result.classes))
    return list(files.values())


def _mask(path: Path, result: Segmentation, image: Any, progress: Progress) -> list[Path]:
    # As in the SigTuple set: 8 bits, cells 255 and the rest 0.
    pixels = (result.labels != 0) * np.uint8(255)
    return [write_image(target, pixels[plane]) for plane, target in _plane_files(path, result).items()]


def _plane_files(path: Path, result: Segmentation) -> dict[Any, Path]:
    """Return the picture of each plane: ``smear-plane-00-overlay.png``; the path, for an image (``...``)."""
    if not result.stacked:
        return {...: path}
    base, digits = base_of(path).name, len(str(len(result.labels) - 1))
    rest = path.name.removeprefix(base)
    return {
        plane: path.with_name(f"{base}-plane-{plane:0{digits}d}{rest}") for plane in range(len(result.labels))
    }


#: All formats, by name.
FORMATS: dict[str, OutputFormat] = {
    output.name: output
    for output in (
        OutputFormat("csv", "table of the cells (CSV)", "-cells.csv", (".csv",), _csv),
        OutputFormat("tiff", "label image (TIFF)", LABELS_SUFFIX, (".tif", ".tiff"), _tiff),
        OutputFormat("ome-zarr", "OME-Zarr", ".ome.zarr", (".ome.zarr", ".zarr"), write_ome_zarr),
        OutputFormat(
            "roi", "ImageJ/Fiji regions (ROI zip)", "-rois.zip", (".zip",), write_rois, in_parts=True
        ),
        OutputFormat(
            "geojson", "QuPath objects (GeoJSON)", ".geojson", (".geojson",), write_geojson, in_parts=True
        ),
        OutputFormat("overlay", "picture with outlines (PNG)", OVERLAY_SUFFIX, (".png",), _overlay, True),
        OutputFormat("mask", "mask, white on black (JPEG)", MASK_SUFFIX, (".jpg",), _mask),
        OutputFormat("json", "settings and table (JSON)", RESULT_SUFFIX, (".json",), _json),
    )
}
