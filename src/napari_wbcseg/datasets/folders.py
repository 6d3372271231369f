"""Images with their truth, read from folders of images and masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import DatasetError
from ..images.find import IMAGE_SUFFIXES, image_stem, natural_key
from ..images.read import decode_image, image_head, orientation_of, read_rgb8, turned
from ..words import counted, listed
from .pair import TrainingPair

if TYPE_CHECKING:
    from numpy.typing import NDArray

MASK_THRESHOLD = 127
"""A pixel of a black-and-white mask is a cell above this value."""

MaskReading = Literal["auto", "foreground", "numbers"]
"""How masks of several values are read; see `read_pairs`."""

_LABEL_FOLDERS = ("labels", "masks")
# What a mask of parts of cells is known by: few values, one enclosed by others, or wide areas of grey.
_MOST_PARTS, _ENCLOSED, _PART_SHARE = 4, 0.9, 0.2
# The threshold may drop edges and specks, but no region of so many pixels and this much of a usual cell.
_LOST_PIXELS, _LOST_SHARE = 16, 0.05
_JPEG_NOISE = 32  # grey levels that compression leaves beside what is white
_TURNED = 1.2  # contrast of cells to the rest, turned over stored


@dataclass(frozen=True)
class Entry:
    """An image file in a folder, or in memory, that may become part of a pair."""

    source: Path | bytes
    shown: str

    @property
    def stem(self) -> str:
        """The file's name without folder and suffix."""
        return PurePath(self.shown).stem


def read_folder(path: Path, reading: MaskReading = "auto") -> list[TrainingPair]:
    """Read every pair of a folder; `napari_wbcseg.datasets.read.read_pairs` states the layouts and rules."""
    return pair_entries(*_find_entries(path), where=str(path), reading=reading)


def _find_entries(path: Path) -> tuple[list[Entry], list[Entry]]:
    images_folder = path / "images"
    if images_folder.is_dir():
        truths = [path / name for name in _LABEL_FOLDERS if (path / name).is_dir()]
        if not truths:
            raise DatasetError(f"{path} has a folder images but no folder labels or masks beside it.")
        if len(truths) > 1:
            raise DatasetError(
                f"{path} has both labels and masks; keep the one to train on, or move the other."
            )
        return _entries(images_folder), _entries(truths[0])
    return split_masks(_entries(path))


def _entries(folder: Path) -> list[Entry]:
    files = sorted(folder.iterdir(), key=natural_key)
    entries = [
        Entry(file, str(file))
        for file in files
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    ]
    if not entries:
        raise DatasetError(f"The folder {folder} holds no image; images end in {', '.join(IMAGE_SUFFIXES)}.")
    return entries


def split_masks(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Tell images and masks apart by their names."""
    images: list[Entry] = []
    masks: list[Entry] = []
    for entry in entries:
        (masks if image_stem(entry.stem) != entry.stem else images).append(entry)
    return images, masks


def pair_entries(
    images: list[Entry], masks: list[Entry], where: str, reading: MaskReading = "auto"
) -> list[TrainingPair]:
    """Match images with masks by name, and read them.

    Parameters
    ----------
    images, masks : list of Entry
        The files.
    where : str
        The folder or archive, for messages.
    reading : {"auto", "foreground", "numbers"}
        How masks of several values are read; see `read_pairs`.

    Returns
    -------
    list of TrainingPair
        In the order of the images; each image is its own group.

    Raises
    ------
    DatasetError
        As `read_pairs`.
    """
    by_image = _unique({}, ((entry.stem, entry) for entry in images))
    by_mask = _unique({}, ((image_stem(entry.stem), entry) for entry in masks))
    if not by_mask:
        raise DatasetError(
            f"{where} holds {counted(len(images), 'image')} but no masks; "
            "save the mask of NAME.jpg as NAME-mask.png beside it."
        )
    lonely = [by_image[name].shown for name in by_image if name not in by_mask]
    if lonely:
        raise DatasetError(
            f"{_some(lonely)} without a mask; add a file named {image_stem(PurePath(lonely[0]).stem)}-mask, "
            "or move the image elsewhere."
        )
    lonely = [by_mask[name].shown for name in by_mask if name not in by_image]
    if lonely:
        raise DatasetError(f"{_some(lonely)} without an image; add the image, or move the mask elsewhere.")
    pairs = [_read_pair(name, by_image[name], by_mask[name], reading) for name in by_image]
    if not any(pair.labels.any() for pair in pairs):
        raise DatasetError(
            f"None of the {len(pairs)} masks in {where} has a cell in it; "
            f"cells must be brighter than {MASK_THRESHOLD}, or numbered from 1."
        )
    return pairs


def _unique(found: dict[str, Entry], items: Iterable[tuple[str, Entry]]) -> dict[str, Entry]:
    for name, entry in items:
        if name in found:
            raise DatasetError(
                f"{found[name].shown} and {entry.shown} are for the same image {name}; remove one of them."
            )
        found[name] = entry
    return found


def _some(names: list[str]) -> str:
    return listed(names) + (" are" if len(names) > 1 else " is")


def _read_pair(name: str, image_entry: Entry, mask_entry: Entry, reading: MaskReading) -> TrainingPair:
    image = read_rgb8(image_entry.source, image_entry.shown)
    labels, mask = read_labels(mask_entry.source, mask_entry.shown, reading)
    if labels.shape != image.shape[:2]:
        raise DatasetError(
            f"{mask_entry.shown} is {labels.shape[1]} × {labels.shape[0]} pixels but its image "
            f"{image_entry.shown} is {image.shape[1]} × {image.shape[0]}; make them the same size."
        )
    _refuse_turned(image_entry, image, labels, mask_entry)
    return TrainingPair(name, image, labels, name, mask)


def _refuse_turned(
    image_entry: Entry, image: NDArray[np.uint8], labels: NDArray[np.int32], mask_entry: Entry
) -> None:
    """Refuse a mask that was drawn on the picture as a camera noted it, turned: it would teach background."""
    orientation = orientation_of(image_entry.source)
    if orientation == 1 or orientation_of(mask_entry.source) != 1 or not labels.any() or labels.all():
        return
    seen = turned(image, orientation)

    def contrast(green: NDArray[Any]) -> float:
        return abs(float(green[labels > 0].mean()) - float(green[labels == 0].mean()))

    # Stain absorbs green.
    if seen.shape == image.shape and contrast(seen[..., 1]) > _TURNED * contrast(image[..., 1]):
        raise DatasetError(
            f"{mask_entry.shown} was drawn on {image_entry.shown} as it looks when turned as its camera "
            f"noted (orientation {orientation}), but its pixels are stored otherwise. Open the picture, save "
            "it turned, without that note, and try again."
        )


# Masks ---------------------------------------------------------------------------------------------


def read_labels(
    source: Path | bytes, shown: str, reading: MaskReading = "auto"
) -> tuple[NDArray[np.int32], NDArray[np.uint8] | None]:
    """Read a mask file as a label image; `read_pairs` states the rule.

    Parameters
    ----------
    source : Path or bytes
        The file, or its content.
    shown : str
        What messages call it.
    reading : {"auto", "foreground", "numbers"}
        How a mask of several values is read; see `read_pairs`.

    Returns
    -------
    labels : ndarray of int32, shape (H, W)
        0 is background, cells are 1, 2, ...
    mask : ndarray of uint8, shape (H, W), or None
        The black-and-white mask before the threshold; none where cells were numbered.

    Raises
    ------
    DatasetError
        If the mask is coloured, a stack, has values that number nothing or stand for parts of
        cells, or is inverted.
    ImageError
        If the file cannot be read.
    """
    values, lossy = _read_values(source, shown)
    if values.ndim != 2:
        raise DatasetError(f"{shown} has shape {values.shape}; a mask is one grey image.")
    if not lossy and reading == "foreground":
        mask = np.where(values != 0, np.uint8(255), np.uint8(0))
        return _instances(mask, shown), mask
    if not lossy and reading == "auto":
        _refuse_parts(values, shown)
    if lossy or (reading == "auto" and _is_black_and_white(values)):
        mask = _as_black_and_white(values)
        if values.dtype.kind != "f":  # a probability below one half is no cell
            _refuse_lost(mask, lossy, shown)
        return _instances(mask, shown), mask
    if (
        values.min() < 0
        or values.max() > np.iinfo(np.int32).max
        or not np.array_equal(values, np.rint(values))
    ):
        raise DatasetError(f"{shown} has values that are neither black and white nor cell numbers 1, 2, ...")
    return values.astype(np.int32), None


def _refuse_parts(values: NDArray[Any], shown: str) -> None:
    """Refuse a mask whose few values stand for parts of cells, such as nucleus and cell body.

    One value lies inside the other; or a level that the threshold would drop is as wide as a cell.
    """
    from scipy import ndimage

    levels, counts = np.unique(values, return_counts=True)
    counts, levels = counts[levels != 0], levels[levels != 0]
    if not 2 <= len(levels) <= _MOST_PARTS or values.dtype.kind not in "iu" or levels[0] < 0:
        return
    inside = [level for level in levels if _lies_within(values, level, ndimage)]
    dropped = levels[(levels <= MASK_THRESHOLD) & (counts > _PART_SHARE * counts.sum())]
    grey = levels[-1] == 255 and values.dtype == np.uint8
    if inside if not grey else len(dropped):
        shown_levels = f"{', '.join(str(level) for level in levels[:-1])} and {levels[-1]}"
        raise DatasetError(
            f"{shown} has the values {shown_levels}, which seem to be parts of cells, such as nucleus and "
            "cell body, and no cell numbers. Say how to read it: --masks foreground takes all but 0 as cell, "
            "--masks numbers takes each value as one cell (Masks in the panel Train WBC model, "
            "read_pairs(..., masks=...) in Python)."
        )


def _refuse_lost(mask: NDArray[np.uint8], lossy: bool, shown: str) -> None:
    """Refuse a mask that is no black and white: the threshold would drop whole regions of it.

    Cell numbers that were stretched to 8 bits look so, or numbers of which one is 255.
    """
    from scipy import ndimage

    regions, count = ndimage.label(mask > (_JPEG_NOISE if lossy else 0))
    if not count:
        return
    areas = np.bincount(regions.ravel())[1:]
    kept = ndimage.maximum(mask, regions, np.arange(1, count + 1)) > MASK_THRESHOLD
    usual = float(np.median(areas[kept])) if kept.any() else 0.0
    lost = int((~kept & (areas >= max(_LOST_PIXELS, _LOST_SHARE * usual))).sum())
    if not lossy:
        # A cell that touches a brighter one is an even area; the grey edge of a drawing is not.
        dark = (mask > 0) & (mask <= MASK_THRESHOLD) & kept.take(regions - 1, mode="clip")
        even = dark & (ndimage.minimum_filter(mask, 3) == ndimage.maximum_filter(mask, 3))
        lost += ndimage.label(even)[1]
    if lost:
        raise DatasetError(
            f"{shown} reaches 255, as black and white does, but has {counted(lost, 'region')} darker than "
            f"{MASK_THRESHOLD + 1}, which would be lost. Say how to read it: --masks numbers takes each "
            "value as one cell, --masks foreground takes all but 0 as cell (Masks in the panel Train WBC "
            "model, read_pairs(..., masks=...) in Python). Save a JPEG as PNG first."
        )


def _lies_within(values: NDArray[Any], level: Any, ndimage: Any) -> bool:
    """Whether nearly all that surrounds a value is another value, and not background."""
    area = values == level
    rim = ndimage.binary_dilation(area) & ~area
    return bool(rim.any() and (values[rim] != 0).mean() > _ENCLOSED)


def _read_values(source: Path | bytes, shown: str) -> tuple[NDArray[Any], bool]:
    head = image_head(source)[:4]
    lossy = head[:2] == b"\xff\xd8"
    if head == b"\x89PNG":
        indices = _palette_indices(source)
        if indices is not None:
            return indices, False
    values = decode_image(source, shown)
    if values.ndim == 3 and values.shape[2] == 3:
        if lossy:
            values = np.rint(values.mean(axis=2)).astype(np.uint8)
        elif (values == values[..., :1]).all():
            values = values[..., 0]
        else:
            raise DatasetError(f"{shown} is coloured; save the mask in black and white, or as cell numbers.")
    return values, lossy


def _palette_indices(source: Path | bytes) -> NDArray[Any] | None:
    """Return the numbers behind the colours of a palette PNG, where they are coloured."""
    from io import BytesIO

    from PIL import Image

    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.mode != "P" or image.palette is None:
                return None
            colours = np.asarray(image.convert("RGB"))
            return None if (colours == colours[..., :1]).all() else np.asarray(image)
    except OSError:
        return None  # decode_image says what is wrong with it


def _is_black_and_white(values: NDArray[Any]) -> bool:
    levels, counts = np.unique(values, return_counts=True)
    counts, levels = counts[levels != 0], levels[levels != 0]
    if len(levels) < 2:
        return True
    if values.dtype.kind == "f":
        return bool(levels[0] > 0 and levels[-1] <= 1)
    if values.dtype != np.uint8 or levels[-1] != 255:
        return False
    # 255 numbered cells, of which the last is as small as any, or grey edges between black and white?
    return not (len(levels) >= 128 and counts[-1] < 0.1 * counts.sum())


def _as_black_and_white(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8 and len(np.unique(values[values != 0])) > 1:
        return values
    if values.dtype == np.uint8 and values.max() == 255:
        return values
    if values.dtype.kind == "f" and values.max() <= 1:
        return np.rint(values * 255).astype(np.uint8)
    return np.where(values != 0, 255, 0).astype(np.uint8)


def _instances(mask: NDArray[np.uint8], shown: str) -> NDArray[np.int32]:
    from skimage.measure import label

    cells = mask > MASK_THRESHOLD
    borders = (cells[0], cells[-1], cells[:, 0], cells[:, -1])
    if cells.mean() > 0.5 and all(border.mean() > 0.5 for border in borders):
        raise DatasetError(
            f"{shown} seems inverted: {cells.mean():.0%} of it is white, along all its borders; "
            "cells must be white and the background black."
        )
    return np.asarray(label(cells), dtype=np.int32)
