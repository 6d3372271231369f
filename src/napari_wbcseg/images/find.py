"""Find the image files that files, folders and patterns stand for."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import ImageError
from ..files import user_path
from .zarr_files import is_zarr

PHONE_SUFFIXES = (".heic", ".heif", ".avif")
"""What names pictures as phones save them, which napari does not read by itself."""

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2"),
    *PHONE_SUFFIXES,
)
"""Endings of the image files that are read as a whole, in lower case."""

TIFF_SUFFIXES = (".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif", ".btf")
"""What names a TIFF, also of whole slides."""

OPENSLIDE_ONLY = (".mrxs", ".czi", ".vms", ".svslide")
"""What names slides that are no TIFF inside: MIRAX, Zeiss, Hamamatsu's older ones, Sakura."""

SLIDE_SUFFIXES = (*(suffix for suffix in TIFF_SUFFIXES if suffix not in IMAGE_SUFFIXES), *OPENSLIDE_ONLY)
"""What names a whole slide."""

_OTHER_SUFFIXES = (".jxl", ".dcm")
"""Of pictures that are no images here by their endings: found too, so that what cannot be read is said."""

MASK_ENDINGS = ("_cp_masks", "-masks", "_masks", "-mask", "_mask", "-labels", "_labels")
"""What follows an image's name in the name of its mask, before the suffix."""


def natural_key(text: str | Path) -> list[tuple[int, int, str]]:
    """Return a sort key by which ``train-2`` comes before ``train-10``.

    Examples
    --------
    >>> sorted(["train-10", "train-2"], key=natural_key)
    ['train-2', 'train-10']
    """
    parts = re.split(r"(\d+)", str(text).casefold())
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def image_stem(stem: str) -> str:
    """Return the name of the image that a mask belongs to; of an image its own name.

    Examples
    --------
    >>> image_stem("smear_masks"), image_stem("smear")
    ('smear', 'smear')
    """
    for ending in MASK_ENDINGS:
        if stem.casefold().endswith(ending):
            return stem[: -len(ending)]
    return stem


def is_mask_name(path: str | Path) -> bool:
    """Say whether a file name is that of a mask, such as ``NAME-mask.jpg`` or ``NAME_labels.tif``.

    Examples
    --------
    >>> is_mask_name("smear-mask.png"), is_mask_name("smear.png")
    (True, False)
    """
    stem = Path(path).stem
    return image_stem(stem) != stem


def find_images(
    given: str | Path, recursive: bool = False, unreadable: Callable[[OSError], None] | None = None
) -> list[Path]:
    """List the images that a file, a folder or a glob pattern stands for.

    Parameters
    ----------
    given : str or Path
        A file is taken as given, even when missing, so that it can be reported on its own; a folder
        stands for the images in it, whole slides and zarr folders among them; a pattern such as
        ``slides/*.tif`` (``**`` for any depth) for the images that match.
    recursive : bool
        Look into the folders of a folder too.
    unreadable : callable, optional
        Called with the error of a folder that cannot be looked into.

    Returns
    -------
    list of Path
        In no particular order. Masks (``NAME-mask.*``, ``NAME_labels.*`` and the like), hidden files and
        what is in hidden folders are left out.

    Raises
    ------
    ImageError
        If a folder holds no image, a pattern matches none, or the file is a mask.
    """
    if not str(given).strip():
        raise ImageError("An empty name stands for no image: is a variable of the shell not set?")
    path = user_path(given)
    if is_zarr(path):
        return [path]
    if path.is_dir():
        found: Iterable[Path] = inside(path, recursive, unreadable)
        none = f"The folder {path} holds no image{'' if recursive else ' (its subfolders were not searched)'}"
    elif glob.has_magic(str(path)) and not path.exists():
        found = map(Path, glob.glob(_pattern(path), recursive=True))
        none = f"No image matches {path}"
    elif is_mask_name(path):
        raise ImageError(f"{given}: only masks were given; name the images themselves.")
    else:
        return [path]
    images = [file for file in found if _is_image_file(file)]
    if not images:
        endings = f"{', '.join(IMAGE_SUFFIXES[:-1])} or {IMAGE_SUFFIXES[-1]}"
        raise ImageError(f"{none}; images end in {endings}.")
    return images


def _pattern(path: Path) -> str:
    """Return a pattern in which folders that are there, such as ``slides [2]``, mean themselves."""
    there = next((folder for folder in path.parents if folder.exists()), Path())
    return os.path.join(glob.escape(str(there)), path.relative_to(there))


def inside(
    folder: Path, recursive: bool = False, unreadable: Callable[[OSError], None] | None = None
) -> Iterator[Path]:
    """Yield what a folder holds, and where links lead; hidden folders and zarrs are not looked into."""
    seen = {os.path.realpath(folder)}  # a link may lead back

    def is_new(path: Path) -> bool:
        if path.name.startswith(".") or is_zarr(path) or (real := os.path.realpath(path)) in seen:
            return False
        seen.add(real)
        return True

    for here, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        yield from (Path(here, name) for name in (*files, *folders))
        folders[:] = [name for name in folders if recursive and is_new(Path(here, name))]


def _is_image_file(path: Path) -> bool:
    if path.name.startswith(".") or is_mask_name(path):
        return False
    is_image = path.suffix.lower() in (*IMAGE_SUFFIXES, *SLIDE_SUFFIXES, *_OTHER_SUFFIXES)
    return is_zarr(path) or (is_image and not path.is_dir())  # that a link leads nowhere is said on reading
