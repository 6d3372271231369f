"""What output files are called, and how tables call the images."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..segmentation.large.files import PLAN_FILE

LABELS_SUFFIX = "-labels.tif"
MASK_SUFFIX = "-mask.jpg"
OVERLAY_SUFFIX = "-overlay.png"
COUNTS_FILE = "counts.csv"
CELLS_FILE = "cells.csv"
RUN_FILE = "run.json"
RESULT_SUFFIX = "-result.json"
#: Behind the name of a large image, that of the folder that holds its result.
LARGE_SUFFIX = "-cells"
_LONGEST = 200  # bytes of a name


def output_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return a name for the output files of each input, all different on every file system.

    The name is the file's own without its ending; where two would be the same, as many
    of its folders go in front as it takes to tell them apart, and if folders cannot, the
    ending goes behind. The order of the inputs does not matter.

    Examples
    --------
    >>> names = output_names([Path("/a/1.png"), Path("/b/1.png"), Path("/b/2.png")])
    >>> list(names.values())
    ['a__1', 'b__1', '2']
    """
    whole = {path: path.resolve() for path in dict.fromkeys(paths)}
    names = {path: _stem(path) for path in whole}
    depth = max((len(path.parts) for path in whole.values()), default=0)
    for folders in range(1, depth):
        for path in _ambiguous(names):
            parts = whole[path].parts[1:-1]  # without the root
            names[path] = "__".join([*parts[max(0, len(parts) - folders) :], _stem(path)])
    for path in _ambiguous(names):
        names[path] = f"{_stem(path)}_{path.suffix.lstrip('.')}"
    # What is left is a file that happens to be called what another became.
    used: set[str] = set()
    for path in sorted(names, key=lambda p: (whole[p].as_posix(), p.as_posix())):
        name, number = _short(re.sub(r'[<>:"|?*\x00-\x1f]', "-", names[path]) or "image"), 2
        final = name
        while final.casefold() in used:
            final, number = _short(f"{name}-{number}"), number + 1
        used.add(final.casefold())
        names[path] = final
    return names


def other_names(path: Path, name: str) -> Iterator[str]:
    """Yield names for the output files of one input, until one is free: with more folders, then numbered."""
    yield name
    folders = path.resolve().parts[1:-1]
    for depth in range(1, len(folders) + 1):
        yield _short("__".join([*folders[-depth:], name]))
    yield from (_short(f"{name}-{number}") for number in itertools.count(2))


def image_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return how the tables call each input: its path below the folder that all share.

    Examples
    --------
    >>> list(image_names([Path("/a/x/1.png"), Path("/a/y/1.png")]).values())
    ['x/1.png', 'y/1.png']
    """
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
    """Whether this is a picture that this package wrote, or seems to be by its name: no input to segment."""
    if path.name.endswith((LABELS_SUFFIX, MASK_SUFFIX, OVERLAY_SUFFIX)):
        return True
    if path.suffix != ".zarr":
        return False
    return (path.parent / PLAN_FILE).is_file() or (path / "labels" / "cells").is_dir()


def _short(name: str) -> str:
    """Return a name that leaves room for what is put behind it; a disk takes 255 bytes."""
    content = name.encode()
    if len(content) <= _LONGEST:
        return name
    return f"{content[: _LONGEST - 9].decode(errors='ignore')}-{hashlib.sha256(content).hexdigest()[:8]}"


def _stem(path: Path) -> str:
    """Return a name without its ending: ``a`` for ``a.png`` and for ``a.ome.zarr``."""
    stem = path.stem
    return stem.removesuffix(".ome") if path.suffix.lower() in (".tif", ".tiff", ".zarr") else stem


def _ambiguous(names: dict[Path, str]) -> list[Path]:
    groups = defaultdict(list)
    for path, name in names.items():
        groups[name.casefold()].append(path)
    return [path for group in groups.values() if len(group) > 1 for path in group]


def _one_drive(paths: Iterable[Path]) -> bool:
    return len({path.anchor for path in paths}) == 1
