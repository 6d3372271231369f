"""Images with their truth, read from folders of images and masks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..images.find import IMAGE_SUFFIXES, image_stem, inside, is_mask_name, natural_key
from ..images.read import orientation_of, read_rgb8, turned
from ..words import counted, listed
from .masks import PARAMETERS, MaskReading, read_labels
from .pair import TrainingPair

_LABEL_FOLDERS = ("labels", "masks")
_TURNED = 1.2  # contrast of cells to the rest, turned over stored


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
        images, masks = (
            _by_image(_some_files(folder, deep=True), folder) for folder in (images_folder, truths[0])
        )
    else:
        images, masks = split_masks(_some_files(path), path)
    return read_matching(images, masks, str(path), reading)


def image_files(folder: Path, deep: bool = False) -> list[Path]:
    """Return the image files in a folder, and with ``deep`` in the folders in it, in natural order."""
    return sorted((file for file in inside(folder, deep) if is_image_name(file.name)), key=natural_key)


def is_image_name(name: str) -> bool:
    """Say whether a file name is that of an image."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def _some_files(folder: Path, deep: bool = False) -> list[Path]:
    files = [file for file in image_files(folder, deep) if not _is_drawn(file)]
    if not files:
        where = "" if deep else " (folders in it were not searched)"
        endings = ", ".join(IMAGE_SUFFIXES)
        raise DatasetError(f"The folder {folder} holds no image{where}; images end in {endings}.")
    return files


def _is_drawn(file: Path) -> bool:
    """Say whether this is the picture with outlines that was saved with the labels of an image."""
    name = file.name.removesuffix("-overlay.png")
    return name != file.name and file.with_name(f"{name}-labels.tif").is_file()


def split_masks(files: list[Path], folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Tell images and masks in a folder apart by their names; return each by the name of the image."""
    masks = [file for file in files if is_mask_name(file)]
    return _by_image([file for file in files if not is_mask_name(file)], folder), _by_image(masks, folder)


def read_matching(
    by_image: dict[str, Path], by_mask: dict[str, Path], where: str, reading: MaskReading = "auto"
) -> list[TrainingPair]:
    """Read images with the masks of the same names.

    Parameters
    ----------
    by_image, by_mask : dict of str to Path
        The files, by the name of the image.
    where : str
        The folder, for messages.
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
    if not by_mask:
        raise DatasetError(
            f"{where} holds {counted(len(by_image), 'image')} but no masks; "
            "save the mask of NAME.jpg as NAME-mask.png beside it."
        )
    if lonely := [by_image[name] for name in by_image if name not in by_mask]:
        raise DatasetError(
            f"{_some(lonely)} without a mask; add a file named {lonely[0].stem}-mask, or move the image "
            "elsewhere."
        )
    if lonely := [by_mask[name] for name in by_mask if name not in by_image]:
        raise DatasetError(f"{_some(lonely)} without an image; add the image, or move the mask elsewhere.")
    pairs = [_read_pair(name, by_image[name], by_mask[name], reading) for name in by_image]
    if not any(pair.labels.any() for pair in pairs):
        raise DatasetError(
            f"None of the {len(pairs)} masks in {where} has a cell in it; "
            f"cells must be brighter than {PARAMETERS.threshold}, or numbered from 1."
        )
    return pairs


def _by_image(files: Iterable[Path], folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        stem = image_stem(file.relative_to(folder).with_suffix("").as_posix())
        name = normalize("NFC", stem)  # a Mac codes accents otherwise
        if name in found:
            raise DatasetError(f"{found[name]} and {file} are for the same image {name}; remove one of them.")
        found[name] = file
    return found


def _some(files: list[Path]) -> str:
    return listed([*map(str, files)]) + (" are" if len(files) > 1 else " is")


def _read_pair(name: str, image_file: Path, mask_file: Path, reading: MaskReading) -> TrainingPair:
    image = read_rgb8(image_file)
    labels, mask = read_labels(mask_file, reading)
    if labels.shape != image.shape[:2]:
        raise DatasetError(
            f"{mask_file} is {labels.shape[1]} × {labels.shape[0]} pixels but its image "
            f"{image_file} is {image.shape[1]} × {image.shape[0]}; make them the same size."
        )
    orientation = orientation_of(image_file)
    noted = orientation != 1 and orientation_of(mask_file) == 1
    if noted and _drawn_turned(image, labels, orientation):
        raise DatasetError(
            f"{mask_file} was drawn on {image_file} as it looks when turned as its camera "
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
