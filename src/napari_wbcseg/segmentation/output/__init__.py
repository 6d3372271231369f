"""Files that a run leaves behind, written by the shell and by the plugin alike.

For an image called ``NAME``: ``NAME-labels.tif``, ``NAME-mask.jpg`` (as the SigTuple
set has it) and ``NAME-overlay.png``; for the run ``counts.csv``, ``cells.csv`` and
``run.json``. Every file appears whole under its name or not at all.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ... import __version__
from ...errors import SettingsError, WBCSegError
from ...files import write_atomically
from ...settings import SegmentationSettings, TrainingSettings

if TYPE_CHECKING:
    import pandas as pd

    from ...network.model_file import ModelFile
    from ..result import Segmentation

LABELS_SUFFIX = "-labels.tif"
MASK_SUFFIX = "-mask.jpg"
OVERLAY_SUFFIX = "-overlay.png"
COUNTS_FILE = "counts.csv"
CELLS_FILE = "cells.csv"
RUN_FILE = "run.json"

#: Columns of ``counts.csv``; diameters and sizes in pixels.
COUNT_COLUMNS = (
    "image",
    "count",
    "to_check",
    "cell_diameter",
    "width",
    "height",
    "seconds",
    "status",
    "error",
    "notes",
)

# A light blue and an orange: far from the pinks, purples and yellows of blood stains, and told
# apart by colour-blind eyes. A dark casing makes both stand out on a white ground as well.
CELL_COLOUR = (0, 225, 255)
CHECK_COLOUR = (255, 150, 0)
CASING_COLOUR = (20, 20, 20)
_LEAST_SIDE = 640
_GREATEST_SIDE = 6000


class OutputError(WBCSegError):
    """A result that cannot be written."""


class PixelSize(NamedTuple):
    """Size of one pixel, along the rows and along the columns of the image.

    Attributes
    ----------
    row, column : float
        Distance from one pixel to the next, down and to the right.
    unit : str
        Its unit, such as ``µm``.
    """

    row: float
    column: float
    unit: str = "µm"


# --- one image --------------------------------------------------------------------------------


def write_labels(path: str | Path, labels: np.ndarray, pixel_size: PixelSize | None = None) -> Path:
    """Write a label image as a compressed TIFF.

    Parameters
    ----------
    path : str or Path
    labels : ndarray of int, shape (H, W) or (N, H, W)
        0 is background. Stored as uint16 where the labels fit, else as int32.
    pixel_size : PixelSize, optional
        Kept in the file: as the TIFF resolution, and by name in its description.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    OutputError
        If the labels are no label image, or the file cannot be written.
    """
    import tifffile

    array = np.asarray(labels)
    if array.dtype.kind not in "biu" or array.ndim not in (2, 3):
        raise OutputError(
            f"Labels must be whole numbers of shape (H, W) or (N, H, W), not {array.dtype} {array.shape}."
        )
    top = int(array.max()) if array.size else 0
    stored = array.astype(np.uint16 if top <= np.iinfo(np.uint16).max else np.int32)
    metadata: dict[str, Any] = {"axes": "YX" if array.ndim == 2 else "ZYX"}
    options: dict[str, Any] = {}
    if pixel_size is not None:
        metadata.update(
            PhysicalSizeX=pixel_size.column, PhysicalSizeY=pixel_size.row, PhysicalSizeUnit=pixel_size.unit
        )
        centimetres = _CENTIMETRES.get(pixel_size.unit)
        if centimetres is None:
            options["resolution"] = (1 / pixel_size.column, 1 / pixel_size.row)
            options["resolutionunit"] = "NONE"
        else:
            options["resolution"] = (
                1 / (pixel_size.column * centimetres),
                1 / (pixel_size.row * centimetres),
            )
            options["resolutionunit"] = "CENTIMETER"
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        stored,
        photometric="minisblack",
        compression="zlib",
        metadata=metadata,
        software=f"napari-wbcseg {__version__}",
        **options,
    )
    return _write(path, buffer.getvalue())


def read_pixel_size(path: str | Path) -> PixelSize | None:
    """Return the pixel size that a TIFF states, or None where it states none in a real unit.

    Files of this package, OME-TIFF, ImageJ's and plain TIFF resolutions are understood.
    The dots per inch of photographs and prints are left alone: they say nothing of the slide.
    """
    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            described = (tiff.shaped_metadata or ({},))[0]
            if "PhysicalSizeX" in described:
                return PixelSize(
                    float(described["PhysicalSizeY"]),
                    float(described["PhysicalSizeX"]),
                    str(described.get("PhysicalSizeUnit", "µm")),
                )
            if tiff.ome_metadata:
                return _ome_pixel_size(tiff.ome_metadata)
            unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
            unit = {"micron": "µm", "um": "µm", "μm": "µm"}.get(unit, unit)
            across, down = (_rational(page.tags.get(tag)) for tag in ("XResolution", "YResolution"))
            if not across or not down:
                return None
            if unit in _CENTIMETRES:
                return PixelSize(1 / down, 1 / across, unit)
            if getattr(page.tags.get("ResolutionUnit"), "value", None) == 3:  # per centimetre
                return PixelSize(1e4 / down, 1e4 / across, "µm")
    except (tifffile.TiffFileError, OSError, ValueError, KeyError, TypeError):
        return None  # a damaged file is reported by whoever reads its pixels
    return None


def write_image(path: str | Path, image: np.ndarray) -> Path:
    """Write a picture, in the format of the path's ending.

    Parameters
    ----------
    path : str or Path
    image : ndarray of uint8, shape (H, W) or (H, W, 3)

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    return _write(path, _encode(np.asarray(image), path))


def write_mask(path: str | Path, labels: np.ndarray) -> Path:
    """Write the foreground as the SigTuple set does: an 8-bit grey JPEG, cells 255 and the rest 0.

    Parameters
    ----------
    path : str or Path
        Ends in ``.jpg``; another ending that Pillow knows gives its format.
    labels : ndarray of int or bool, shape (H, W)

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    return _write(path, _encode(np.where(np.asarray(labels) != 0, 255, 0).astype(np.uint8), path))


def write_overlay(
    path: str | Path, image: np.ndarray, labels: np.ndarray, cells: pd.DataFrame | None = None
) -> Path:
    """Write a picture of the image with the cells outlined and numbered; see `draw_overlay`.

    Raises
    ------
    OutputError
        If the sizes differ, or the file cannot be written.
    """
    return _write(path, _encode(draw_overlay(image, labels, cells), path))


def draw_overlay(image: np.ndarray, labels: np.ndarray, cells: pd.DataFrame | None = None) -> np.ndarray:
    """Draw the outline and the number of each cell over the image.

    Cells to check are drawn in another colour and their number carries a question mark.
    Small images are enlarged so that the numbers can be read, very large ones reduced.

    Parameters
    ----------
    image : ndarray, shape (H, W, 3) or (H, W)
        Any image that `segment` takes.
    labels : ndarray of int, shape (H, W)
    cells : DataFrame, optional
        Columns ``label`` and ``check``; without it no cell is marked.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)

    Raises
    ------
    OutputError
        If image and labels differ in size.
    """
    import cv2
    from scipy import ndimage

    picture = _as_rgb8(image)
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    if labels.shape != picture.shape[:2]:
        raise OutputError(
            f"The overlay was not drawn: the image is {picture.shape[:2]} and its labels are {labels.shape}."
        )
    marked = _marked(cells)
    zoom = _zoom(labels.shape)
    if zoom != 1:
        size = (max(1, round(labels.shape[1] * zoom)), max(1, round(labels.shape[0] * zoom)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA)
    else:
        picture = picture.copy()  # the user's own pixels stay as they are
    picture = np.ascontiguousarray(picture)
    height, width = picture.shape[:2]
    # Outlines and numbers keep one apparent size on pictures of any size.
    unit = max(1.0, min(height, width) / 800)
    line = max(1, round(1.6 * unit))

    drawn: list[tuple[int, list[np.ndarray], tuple[slice, ...]]] = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        # The rim of one pixel closes the outline of a cell at the image's edge.
        mask = np.pad((labels[box] == label).astype(np.uint8), 1)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        origin = np.array([box[1].start - 1, box[0].start - 1])
        drawn.append((label, [_at(outline + origin, zoom) for outline in outlines], box))
    for colour, thickness in ((CASING_COLOUR, line + 2), (None, line)):
        for label, outlines, _ in drawn:
            own = CHECK_COLOUR if label in marked else CELL_COLOUR
            cv2.polylines(picture, outlines, True, colour or own, thickness, cv2.LINE_AA, shift=_SHIFT)

    taken = cv2.resize((labels != 0).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    for label, _, box in drawn:
        text = f"{label}?" if label in marked else str(label)
        scaled = [(s.start * zoom, s.stop * zoom) for s in box]
        _write_number(picture, taken, text, scaled, unit, CHECK_COLOUR if label in marked else CELL_COLOUR)
    return picture


# --- one run ----------------------------------------------------------------------------------


class InputRecord(BaseModel):
    """One input of a run, and what became of it.

    Attributes
    ----------
    path : str
        Absolute path at the time of the run.
    relative : str
        The same from the folder of the results, in case both are moved.
    image : str
        How ``counts.csv`` and ``cells.csv`` call it.
    name : str
        What its output files begin with.
    sha256 : str or None
        Of the file's content; None if it could not be read.
    status : {"ok", "failed", "pending"}
    count : int or None
    error : str
    """

    model_config = ConfigDict(extra="forbid")

    path: str
    relative: str = ""
    image: str
    name: str
    sha256: str | None = None
    status: Literal["ok", "failed", "pending"] = "ok"
    count: int | None = None
    error: str = ""


class ModelRecord(BaseModel):
    """The model of a run: its name, the hash of its content, and the name or path it was asked for by."""

    model_config = ConfigDict(extra="forbid")

    name: str
    hash: str
    source: str


class RunRecord(BaseModel):
    """What a run did, from which the same run can be repeated (``run.json``).

    Attributes
    ----------
    created : str
        Date and time, ISO 8601 in UTC.
    settings : SegmentationSettings
    model : ModelRecord
    versions : dict of str
        Of Python, this package and the libraries that the result depends on.
    platform : str
    device : str
        What the network ran on.
    mask, overlay : bool
        Which of the optional files were written.
    inputs : list of InputRecord
    finished : bool
        False when the run was stopped before its end.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["napari-wbcseg run 1"] = "napari-wbcseg run 1"
    created: str
    settings: SegmentationSettings
    model: ModelRecord
    versions: dict[str, str]
    platform: str = ""
    device: str = ""
    mask: bool = False
    overlay: bool = True
    inputs: list[InputRecord] = []
    finished: bool = True

    @classmethod
    def start(
        cls, settings: SegmentationSettings, model: ModelFile, source: str | None = None, **values: Any
    ) -> RunRecord:
        """Begin the record of a run: time, model, versions and platform are filled in."""
        import platform

        if source is None or Path(source).exists():
            source = str(model.path.resolve()) if model.path else model.name
        record = ModelRecord(name=model.name, hash=model.hash, source=source)
        return cls(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            settings=settings,
            model=record,
            versions=library_versions(),
            platform=platform.platform(),
            **values,
        )

    def write(self, path: str | Path) -> Path:
        """Write the record as JSON."""
        return _write(path, (self.model_dump_json(indent=2) + "\n").encode())

    @classmethod
    def read(cls, path: str | Path) -> RunRecord:
        """Read a ``run.json``.

        Raises
        ------
        SettingsError
            If the file cannot be read or is no record of a run.
        """
        path = Path(path)
        try:
            return cls.model_validate_json(_read_text(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise SettingsError(
                f"{path} is not the record of a run of napari-wbcseg ({where}: {first['msg'].lower()}). "
                f"Give the {RUN_FILE} that `wbcseg segment` wrote."
            ) from None


def read_settings(path: str | Path) -> SegmentationSettings:
    """Read segmentation settings from a settings file or from the ``run.json`` of a run.

    Raises
    ------
    SettingsError
        If the file cannot be read or holds no such settings.
    """
    import json

    path = Path(path)
    text = _read_text(path)
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"The settings in {path} are not valid JSON: {error}.") from None
    if isinstance(values, dict) and str(values.get("format", "")).startswith("napari-wbcseg run"):
        return RunRecord.read(path).settings
    try:
        return SegmentationSettings.from_json(text)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def read_training_settings(path: str | Path) -> TrainingSettings:
    """Read training settings from a JSON file.

    Raises
    ------
    SettingsError
        If the file cannot be read or holds no such settings.
    """
    path = Path(path)
    try:
        return TrainingSettings.from_json(_read_text(path))
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def write_counts(path: str | Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write ``counts.csv``: a row an image, with the columns `COUNT_COLUMNS`.

    A value that a row lacks is left empty.
    """
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(COUNT_COLUMNS))
    for name in ("count", "to_check", "width", "height"):
        table[name] = table[name].astype("Int64")  # whole numbers, though some rows have none
    return write_table(path, table)


def write_cells(path: str | Path, tables: Sequence[tuple[str, pd.DataFrame]]) -> Path:
    """Write ``cells.csv``: a row a cell, its image in the first column.

    Parameters
    ----------
    path : str or Path
    tables : sequence of (str, DataFrame)
        The image's name and its cells.
    """
    import pandas as pd

    named = [_with_image(name, table) for name, table in tables]
    # An empty table has columns of no type, which would turn those of the others into objects.
    filled = [table for table in named if len(table)] or named[:1]
    return write_table(path, pd.concat(filled, ignore_index=True) if filled else pd.DataFrame({"image": []}))


def write_table(path: str | Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV, UTF-8, numbers to six digits."""
    return _write(path, table.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode("utf-8"))


def count_row(image: str, result: Segmentation, seconds: float, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the row of ``counts.csv`` of an image that was segmented.

    Parameters
    ----------
    image : str
        How the tables call it.
    result : Segmentation
    seconds : float
        Time that reading, segmenting and writing took.
    notes : sequence of str
        Sentences besides those of the result.
    """
    return {
        "image": image,
        "count": result.count,
        "to_check": result.to_check,
        "cell_diameter": result.cell_diameter,
        "width": result.labels.shape[-1],
        "height": result.labels.shape[-2],
        "seconds": round(seconds, 3),
        "status": "ok",
        "error": "",
        "notes": " ".join(dict.fromkeys((*notes, *result.notes))),
    }


def failed_row(image: str, error: str, seconds: float) -> dict[str, Any]:
    """Return the row of ``counts.csv`` of an image that could not be segmented."""
    return {"image": image, "seconds": round(seconds, 3), "status": "failed", "error": error}


def output_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return a name for the output files of each input, all different on every file system.

    The name is the file's own without its ending; where two would be the same, as many
    of its folders go in front as it takes to tell them apart, and if folders cannot, the
    ending goes behind. The order of the inputs does not matter.

    Parameters
    ----------
    paths : sequence of Path

    Returns
    -------
    dict of Path to str
    """
    whole = {path: path.resolve() for path in dict.fromkeys(paths)}
    names = {path: path.stem for path in whole}
    depth = max((len(path.parts) for path in whole.values()), default=0)
    for folders in range(1, depth):
        for path in _ambiguous(names):
            parts = whole[path].parts[1:-1]  # without the root
            names[path] = "__".join([*parts[max(0, len(parts) - folders) :], path.stem])
    for path in _ambiguous(names):
        names[path] = f"{path.stem}_{path.suffix.lstrip('.')}"
    # What is left is a file that happens to be called what another became.
    used: set[str] = set()
    for path in sorted(names, key=lambda p: (whole[p].as_posix(), p.as_posix())):
        name, number = re.sub(r'[<>:"|?*\x00-\x1f]', "-", names[path]) or "image", 2
        final = name
        while final.casefold() in used:
            final, number = f"{name}-{number}", number + 1
        used.add(final.casefold())
        names[path] = final
    return names


def image_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return how the tables call each input: its path below the folder that all share."""
    whole = {path: path.resolve() for path in paths}
    if not whole:
        return {}
    shared = (
        os.path.commonpath([path.parent for path in whole.values()]) if _one_drive(whole.values()) else ""
    )
    return {
        path: absolute.relative_to(shared).as_posix() if shared else absolute.as_posix()
        for path, absolute in whole.items()
    }


def is_output(path: Path) -> bool:
    """Whether a file bears a name that this module gives to pictures: not an input to segment."""
    return path.name.endswith((LABELS_SUFFIX, MASK_SUFFIX, OVERLAY_SUFFIX))


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def library_versions() -> dict[str, str]:
    """Return the versions of Python, this package and what its results depend on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version(), "napari-wbcseg": __version__}
    for name in ("numpy", "scipy", "scikit-image", "opencv-python-headless", "onnxruntime", "keras"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


# --- parts ------------------------------------------------------------------------------------

_SHIFT = 4  # bits behind the point in coordinates given to OpenCV
_CENTIMETRES = {"nm": 1e-7, "µm": 1e-4, "mm": 0.1, "cm": 1.0, "inch": 2.54}


def _write(path: str | Path, content: bytes) -> Path:
    path = Path(path)
    write_atomically(path, content, OutputError)
    return path


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as text: {error}.") from None


def _encode(array: np.ndarray, path: str | Path) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    suffix = Path(path).suffix.lower()
    kind = Image.registered_extensions().get(suffix)
    if kind is None:
        raise OutputError(f"{path} cannot be written: {suffix or 'no ending'} is not a kind of picture.")
    options: dict[str, Any] = {"quality": 95} if kind == "JPEG" else {"optimize": False, "compress_level": 4}
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def _as_rgb8(image: np.ndarray) -> np.ndarray:
    from ...data.images import prepare_image

    array = np.asarray(image)
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return array
    return np.rint(prepare_image(array).pixels).astype(np.uint8)


def _marked(cells: pd.DataFrame | None) -> frozenset[int]:
    if cells is None or not len(cells) or "check" not in cells:
        return frozenset()
    return frozenset(int(label) for label in cells.loc[cells["check"].astype(bool), "label"])


def _zoom(shape: tuple[int, ...]) -> float:
    short, long = min(shape), max(shape)
    if long > _GREATEST_SIDE:
        return _GREATEST_SIDE / long
    return (
        float(min(-(-_LEAST_SIDE // short), max(1, _GREATEST_SIDE // long))) if short < _LEAST_SIDE else 1.0
    )


def _at(outline: np.ndarray, zoom: float) -> np.ndarray:
    """Return pixel positions in the enlarged picture, in OpenCV's fixed-point numbers."""
    return np.rint(((outline + 0.5) * zoom - 0.5) * (1 << _SHIFT)).astype(np.int32)


def _write_number(
    picture: np.ndarray,
    taken: np.ndarray,
    text: str,
    box: Sequence[tuple[float, float]],
    unit: float,
    colour: tuple[int, int, int],
) -> None:
    """Write a number beside a cell, where it covers least of the cells and numbers already there."""
    import cv2

    height, width = picture.shape[:2]
    font, size, bold = cv2.FONT_HERSHEY_SIMPLEX, 0.8 * unit, max(2, round(2 * unit))
    (w, h), drop = cv2.getTextSize(text, font, size, bold)
    h += drop
    gap = round(4 * unit)
    (top, bottom), (left, right) = box
    middle_row, middle_column = (top + bottom - h) / 2, (left + right - w) / 2
    places = [
        (top - h - gap, middle_column),
        (middle_row, right + gap),
        (bottom + gap, middle_column),
        (middle_row, left - w - gap),
        (top - h - gap, right),
        (bottom + gap, right),
        (top - h - gap, left - w),
        (bottom + gap, left - w),
        (middle_row, middle_column),
    ]

    def clamped(place: tuple[float, float]) -> tuple[int, int]:
        return (
            int(np.clip(place[0], 0, max(0, height - h))),
            int(np.clip(place[1], 0, max(0, width - w))),
        )

    # Other numbers weigh more than cells: a number over a cell can still be read.
    row, column = min(
        map(clamped, places), key=lambda p: float(taken[p[0] : p[0] + h, p[1] : p[1] + w].sum())
    )
    taken[row : row + h, column : column + w] = 4
    start = (column, row + h - drop)
    cv2.putText(
        picture, text, start, font, size, CASING_COLOUR, bold + max(2, round(2.4 * unit)), cv2.LINE_AA
    )
    cv2.putText(picture, text, start, font, size, colour, bold, cv2.LINE_AA)


def _with_image(name: str, table: pd.DataFrame) -> pd.DataFrame:
    table = table.drop(columns="image", errors="ignore")
    table.insert(0, "image", name)
    return table


def _ambiguous(names: dict[Path, str]) -> list[Path]:
    groups = defaultdict(list)
    for path, name in names.items():
        groups[name.casefold()].append(path)
    return [path for group in groups.values() if len(group) > 1 for path in group]


def _one_drive(paths: Iterable[Path]) -> bool:
    return len({path.anchor for path in paths}) == 1


def _rational(tag: Any) -> float:
    if tag is None:
        return 0.0
    over, under = tag.value
    return over / under if under else 0.0


def _ome_pixel_size(xml: str) -> PixelSize | None:
    # The first image's; a full parser of XML would open external entities.
    found = {
        key: re.search(rf'<Pixels[^>]*\bPhysicalSize{key}="([^"]+)"', xml) for key in ("X", "Y", "XUnit")
    }
    across, down, unit = found["X"], found["Y"], found["XUnit"]
    if across is None or down is None:
        return None
    return PixelSize(float(down[1]), float(across[1]), unit[1] if unit else "µm")
