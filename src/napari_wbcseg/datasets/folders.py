"""Images with their truth, read from folders of images and masks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..images.find import IMAGE_SUFFIXES, image_stem, is_mask_name, natural_key
from ..images.read import orientation_of, read_rgb8, turned
from ..words import counted, listed
from .masks import PARAMETERS, MaskReading, read_labels
from .pair import TrainingPair

_LABEL_FOLDERS = ("labels", "masks")
_TURNED = 1.2  # contrast of cells to the rest, turned over stored


class Entry(NamedTuple):
    """An image file in a folder, or in memory, that may become part of a pair.

    Attributes
    ----------
    source : Path or bytes
    shown : str
        What messages call it.
    name : str
        Without the suffix; of a file in a folder of the folder, with that before it.
    """

    source: Path | bytes
    shown: str
    name: str


def read_folder(path: Path, reading: MaskReading) -> list[TrainingPair]:
    """Read every pair of a folder; `napari_wbcseg.datasets.read.read_pairs` states the layouts and rules."""
    images_folder = path / "images"
    if images_folder.is_dir():
        truths = [path / name for name in _LABEL_FOLDERS if (path / name).is_dir()]
        if not truths:
            raise DatasetError(f"{path} has a folder images but no folder labels or masks beside it.")
        if len(truths) > 1:
            raise DatasetError(
                f"{path} has both labels and masks; keep the one to train on, or move the other."
            )
        images, masks = (_some_entries(folder, deep=True) for folder in (images_folder, truths[0]))
    else:
        images, masks = split_masks(_some_entries(path))
    return pair_entries(images, masks, str(path), reading)


def image_entries(folder: Path, deep: bool = False) -> list[Entry]:
    """Return the image files in a folder, and with ``deep`` in the folders in it, in natural order."""
    entries = []
    for file in sorted(folder.rglob("*") if deep else folder.iterdir(), key=natural_key):
        inside = file.relative_to(folder)
        if is_image_name(file.name) and not any(part.startswith(".") for part in inside.parts):
            entries.append(Entry(file, str(file), inside.with_suffix("").as_posix()))
    return entries


def is_image_name(name: str) -> bool:
    """Say whether a file name is that of an image."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def _some_entries(folder: Path, deep: bool = False) -> list[Entry]:
    entries = image_entries(folder, deep)
    if not entries:
        raise DatasetError(f"The folder {folder} holds no image; images end in {', '.join(IMAGE_SUFFIXES)}.")
    return entries


def split_masks(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Tell images and masks apart by their names."""
    found: tuple[list[Entry], list[Entry]] = [], []
    for entry in entries:
        found[is_mask_name(entry.shown)].append(entry)
    return found


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
    by_image, by_mask = _by_image(images), _by_image(masks)
    if not by_mask:
        raise DatasetError(
            f"{where} holds {counted(len(images), 'image')} but no masks; "
            "save the mask of NAME.jpg as NAME-mask.png beside it."
        )
    if lonely := [by_image[name].shown for name in by_image if name not in by_mask]:
        stem = PurePath(lonely[0]).stem
        raise DatasetError(
            f"{_some(lonely)} without a mask; add a file named {stem}-mask, or move the image elsewhere."
        )
    if lonely := [by_mask[name].shown for name in by_mask if name not in by_image]:
        raise DatasetError(f"{_some(lonely)} without an image; add the image, or move the mask elsewhere.")
    pairs = [_read_pair(name, by_image[name], by_mask[name], reading) for name in by_image]
    if not any(pair.labels.any() for pair in pairs):
        raise DatasetError(
            f"None of the {len(pairs)} masks in {where} has a cell in it; "
            f"cells must be brighter than {PARAMETERS.threshold}, or numbered from 1."
        )
    return pairs


def _by_image(entries: list[Entry]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        name = image_stem(entry.name)
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
    orientation = orientation_of(image_entry.source)
    noted = orientation != 1 and orientation_of(mask_entry.source) == 1
    if noted and _drawn_turned(image, labels, orientation):
        raise DatasetError(
            f"{mask_entry.shown} was drawn on {image_entry.shown} as it looks when turned as its camera "
            f"noted (orientation {orientation}), but its pixels are stored otherwise. Open the picture, save "
            "it turned, without that note, and try again."
        )
    return TrainingPair(name, image, labels, name, mask)


def _drawn_turned(image: NDArray[np.uint8], labels: NDArray[np.int32], orientation: int) -> bool:
    """Say whether cells were outlined on the picture as a camera noted it: they would teach background."""
    seen = turned(image, orientation)
    if seen.shape != image.shape or not labels.any() or labels.all():
        return False
    # Stain absorbs green.
    stored, shown = (
        abs(float(green[labels > 0].mean()) - float(green[labels == 0].mean()))
        for green in (image[..., 1], seen[..., 1])
    )
    return shown > _TURNED * stored
