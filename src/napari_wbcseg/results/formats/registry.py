"""All formats that a result is saved in, by name: what their files are called, and what writes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count, takewhile
from os.path import exists, isdir, isfile  # a `Path` raises where a name is too long
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SettingsError
from ...images.tiff_writer import write_tiff
from ...progress import Progress
from ...segmentation.result import Segmentation
from ..names import LABELS_SUFFIX, MASK_SUFFIX, OVERLAY_SUFFIX, RESULT_SUFFIX, is_our_zarr, record_beside
from ..records import ResultRecord
from .geojson import write_geojson
from .ome_zarr import check_ome_zarr, write_ome_zarr
from .pictures import draw_overlay, write_image
from .rois import FARTHEST, check_rois, write_rois
from .tables import with_image, with_micrometres, write_table

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
    most_side : float
        Pixels of the longer side of an image beyond which it ends.
    check : callable
        Raises `OutputError` where it cannot hold a result, or not be written at a path.
    """

    name: str
    title: str
    suffix: str
    endings: tuple[str, ...]
    write: Writer
    needs_image: bool = False
    in_parts: bool = False
    most_side: float = math.inf
    check: Callable[[Path, Segmentation], None] = lambda path, result: None


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
    labels = labels_beside(base_of(path))
    return [ResultRecord.of(result, path.parent, labels.name if labels else "").write(path)]


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
    base, digits = base_of(path), len(str(len(result.labels) - 1))
    rest = path.name.removeprefix(base.name)
    return {plane: Path(f"{_of_plane(base, plane, digits)}{rest}") for plane in range(len(result.labels))}


def _of_plane(base: str | Path, plane: int, digits: int) -> str:
    return f"{base}-plane-{plane:0{digits}d}"


#: All formats, by name.
FORMATS: dict[str, OutputFormat] = {
    output.name: output
    for output in (
        OutputFormat("csv", "table of the cells (CSV)", "-cells.csv", (".csv",), _csv),
        OutputFormat("tiff", "label image (TIFF)", LABELS_SUFFIX, (".tif", ".tiff"), _tiff),
        OutputFormat(
            "ome-zarr", "OME-Zarr", ".ome.zarr", (".ome.zarr", ".zarr"), write_ome_zarr, check=check_ome_zarr
        ),
        OutputFormat(
            "roi",
            "ImageJ/Fiji regions (ROI zip)",
            "-rois.zip",
            (".zip",),
            write_rois,
            in_parts=True,
            most_side=FARTHEST,
            check=check_rois,
        ),
        OutputFormat(
            "geojson", "QuPath objects (GeoJSON)", ".geojson", (".geojson",), write_geojson, in_parts=True
        ),
        OutputFormat("overlay", "picture with outlines (PNG)", OVERLAY_SUFFIX, (".png",), _overlay, True),
        OutputFormat("mask", "mask, white on black (JPEG)", MASK_SUFFIX, (".jpg",), _mask),
        OutputFormat("json", "settings and table (JSON)", RESULT_SUFFIX, (".json",), _json),
    )
}


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


def labels_of(base: Path) -> Path | None:
    """Return the labels that the record of a name is of, if they are there; they may be called NAME.tif."""
    (_, record) = files_of(base, "tiff")
    with suppress(SettingsError):
        found = ResultRecord.read(record)
        labels = record.parent / found.labels
        # Of a file it may be the record of a copy; of a large image the labels are a folder.
        there = isdir(labels) if found.large else isfile(labels) and record_beside(labels) == record
        return labels if there else None
    return None


def labels_beside(base: Path) -> Path | None:
    """Return the labels that a record of this name tells of, or would."""
    (labels, _) = files_of(base, "tiff")
    return labels_of(base) or (labels if isfile(labels) else None)


def formats_there(path: str | Path) -> list[str]:
    """Return the formats whose files are all there, for a path without ending; an OME-Zarr of cells only."""
    there = [name for name in FORMATS if all(map(exists, files_of(path, name))) or planes_there(path, name)]
    return [name for name in there if name != "ome-zarr" or is_our_zarr(files_of(path, name)[0])]


def planes_there(path: str | Path, name: str) -> list[Path]:
    """Return the pictures of a format that are there of a stack's planes, for a path without ending.

    One that has a record is of an image of that name.
    """
    suffix = FORMATS[name].suffix

    def is_there(plane: str) -> bool:
        return exists(f"{plane}{suffix}") and not exists(f"{plane}{RESULT_SUFFIX}")

    for digits in range(1, 6) if name in ("overlay", "mask") else ():
        planes = (_of_plane(path, plane, digits) for plane in count())
        if there := list(takewhile(is_there, planes)):
            return [Path(f"{plane}{suffix}") for plane in there]
    return []


def write_anew(
    name: str, path: str | Path, result: Segmentation, image: Any, progress: Progress
) -> list[Path]:
    """Write a result in a format for a path without ending, and return the files.

    Pictures of cells that were there before go, where they are not written anew: of planes that are gone,
    and where the image is None that they need.
    """
    (target, *_), before = files_of(path, name), planes_there(path, name)
    written = []
    if image is not None or not FORMATS[name].needs_image:
        written = FORMATS[name].write(target, result, image, progress)
    for file in {target, *before}.difference(written):
        file.unlink(missing_ok=True)
    return written


def followers(base: Path) -> list[str]:
    """Return the formats beside labels that were saved before; files of others stay as they are."""
    _, record = files_of(base, "tiff")
    return formats_there(base) if exists(record) else []


def base_of(path: Path) -> Path:
    """Return a file's path without the ending that names its format; a date in the name has dots, too."""
    name = path.name
    formats = FORMATS.values()
    for ending in chain((output.suffix for output in formats), *(output.endings for output in formats)):
        if name.lower().endswith(ending) and name.lower() != ending:
            return path.with_name(name[: -len(ending)])
    return path
