"""What output files are called, and how tables call the images."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os.path import isfile  # that of `Path` raises where a name is too long
from pathlib import Path

from ..files import user_path
from ..images.find import IMAGE_SUFFIXES
from ..segmentation.large.folder import is_large_result

LABELS_SUFFIX = "-labels.tif"
MASK_SUFFIX = "-mask.jpg"
OVERLAY_SUFFIX = "-overlay.png"
COUNTS_FILE = "counts.csv"
CELLS_FILE = "cells.csv"
RUN_FILE = "run.json"
RESULT_SUFFIX = "-result.json"
#: Behind the name of a large image, that of the folder that holds its result.
LARGE_SUFFIX = "-cells"
#: In an OME-Zarr, the label image that is ours, and the key of its attributes under which the record lies.
LABELS_NAME = "cells"
RECORD_KEY = "napari_wbcseg"
_LONGEST = 200  # bytes of a name


def output_names(
    paths: Iterable[Path],
    wanted: Mapping[Path, str] | None = None,
    free: Callable[[Path, str], bool] = lambda path, name: True,
) -> dict[Path, str]:
    """Return a name for the output files of each input, all different on every file system.

    The name is the file's own without its ending; where two would be the same, as many
    of its folders go in front as it takes to tell them apart, and if folders cannot, the
    ending goes behind. The order of the inputs does not matter.

    Parameters
    ----------
    paths : iterable of Path
    wanted : mapping of Path to str, optional
        Names to try first.
    free : callable
        Says whether the files of an input may have a name.

    Examples
    --------
    >>> names = output_names([Path("/a/1.png"), Path("/b/1.png"), Path("/b/2.png")])
    >>> list(names.values())
    ['a__1', 'b__1', '2']
    """
    tries = {path: _possible_names(path, (wanted or {}).get(path, "")) for path in paths}
    names = dict.fromkeys(tries, "")
    used: set[str] = set()
    while unnamed := [path for path, name in names.items() if not name]:
        tried = {
            path: next(name for name in tries[path] if same_name(name) not in used and free(path, name))
            for path in unnamed
        }
        times = Counter(same_name(name) for name in tried.values())
        names |= {path: name for path, name in tried.items() if times[same_name(name)] == 1}
        used |= {same_name(name) for name in names.values()}
    return names


def _possible_names(path: Path, wanted: str) -> Iterator[str]:
    """Yield names for the output files of an input without end, the plainest first."""
    stem, folders = stem_of(path), Path(os.path.realpath(path)).parts[1:-1]  # without the root
    # The longest again: an input in more folders gets one more by then, and so another name.
    depths = [*range(len(folders) + 1), len(folders)]
    number = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    for name in itertools.chain(
        [wanted] * bool(wanted),
        ("__".join([*folders[len(folders) - depth :], stem]) for depth in depths),
        [f"{stem}_{path.suffix.lstrip('.')}", f"{stem}-{number}"],
        (f"{stem}-{number}-{again}" for again in itertools.count(2)),
    ):
        yield _short(re.sub(r'[<>:"|?*\x00-\x1f]', "-", name) or "image")


def image_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return how the tables call each input: its path below the folder that all share.

    Examples
    --------
    >>> list(image_names([Path("/a/x/1.png"), Path("/a/y/1.png")]).values())
    ['x/1.png', 'y/1.png']
    """
    whole = {path: Path(os.path.realpath(path)) for path in paths}  # also of a link to itself
    one_drive = len({path.anchor for path in whole.values()}) == 1
    shared = os.path.commonpath([path.parent for path in whole.values()]) if one_drive else ""
    return {path: (real.relative_to(shared) if shared else real).as_posix() for path, real in whole.items()}


def record_beside(path: str | Path) -> Path | None:
    """Return the ``NAME-result.json`` that belongs to a label TIFF, or None.

    Parameters
    ----------
    path : str or Path
        ``NAME-labels.tif`` or ``NAME.tif``.
    """
    path = user_path(path)
    for base in dict.fromkeys((path.name.removesuffix(LABELS_SUFFIX), path.stem)):
        record, labels = (path.with_name(f"{base}{suffix}") for suffix in (RESULT_SUFFIX, LABELS_SUFFIX))
        if isfile(record) and (labels == path or not isfile(labels)):  # else the path may be its image
            return record
    return None


def is_output(path: Path) -> bool:
    """Whether this is a picture that this package wrote, to tell by what lies beside: no input to segment."""
    if path.suffix == ".zarr":
        return is_large_result(path.parent) or is_our_zarr(path)
    name = re.sub(rf"(-plane-\d+)?{re.escape(OVERLAY_SUFFIX)}$", "", path.name)
    beside = LABELS_SUFFIX, RESULT_SUFFIX, *IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES)
    return name != path.name and any(path.with_name(name + ending).exists() for ending in beside)


def is_our_zarr(path: Path) -> bool:
    """Whether this is an OME-Zarr with the record of a result; other programs call labels cells, too."""
    about = path / "labels" / LABELS_NAME / ".zattrs"
    return about.is_file() and f'"{RECORD_KEY}"'.encode() in about.read_bytes()


def same_name(name: str) -> str:
    """Return what names have in common that a file system may take for one, by case or coded accents."""
    return unicodedata.normalize("NFC", name.casefold())


def as_text(path: str | Path) -> str:
    """Return a path as it can be written down: what is no UTF-8 in it is a question mark."""
    return os.fsencode(path).decode("utf-8", "replace")


def no_text(path: str | Path) -> str:
    """Return in a sentence that a path cannot be written down, and what to do; nothing where it can."""
    if "\0" in str(path):
        return f"No file can be called {str(path)!r}: leave out the null character."
    if as_text(path) == str(path):
        return ""
    other = sys.getfilesystemencoding()  # of a locale that is no UTF-8: the name is not to blame
    advice = "rename it" if other == "utf-8" else f"set PYTHONUTF8=1, as Python takes it for {other}"
    return f"The name of {as_text(path)} is no text (UTF-8): {advice}."


def _short(name: str) -> str:
    """Return a name that leaves room for what is put behind it; a disk takes 255 bytes."""
    content = name.encode()
    if len(content) <= _LONGEST:
        return name
    return f"{content[: _LONGEST - 9].decode(errors='ignore')}-{hashlib.sha256(content).hexdigest()[:8]}"


def stem_of(path: Path) -> str:
    """Return a name without its ending: ``a`` for ``a.png`` and for ``a.ome.zarr``."""
    stem = path.stem
    return stem.removesuffix(".ome") if path.suffix.lower() in (".tif", ".tiff", ".zarr") else stem
