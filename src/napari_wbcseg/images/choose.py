"""Which of the images in one file is the image."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from ..words import counted, listed

_ASIDE = re.compile(r"\b(macro|label|thumbnail|overview|map|barcode|probability)\b", re.IGNORECASE)


class Candidate(NamedTuple):
    """An image in a file of several.

    Attributes
    ----------
    height, width : int
        Pixels.
    form : hashable
        What fields must have in common to be a stack: size, colours, type.
    name : str
        What the file calls it.
    reduced : bool
        Whether the file says that it is a smaller copy of another.
    """

    height: int
    width: int
    form: Hashable = None
    name: str = ""
    reduced: bool = False


def main_images(found: Sequence[Candidate]) -> tuple[list[int], tuple[str, ...]]:
    """Choose the largest real image, with all that are of its form: the fields of a file of fields.

    Labels, thumbnails and overviews of a slide, and reduced copies, are chosen only where there is
    nothing else.

    Parameters
    ----------
    found : sequence of Candidate
        At least one.

    Returns
    -------
    chosen : list of int
        Which they are, in the order of the file.
    notes : tuple of str
        What was left out, in a sentence.
    """
    everything = range(len(found))
    real = [i for i in everything if not found[i].reduced and not _ASIDE.search(found[i].name)]
    largest = max(real or everything, key=lambda i: found[i].height * found[i].width)
    chosen = [i for i in (real or everything) if found[i].form == found[largest].form]
    left = [found[i] for i in everything if i not in chosen]
    if not left:
        return chosen, ()
    sizes = [f"{image.width} × {image.height}" for image in left]
    names = [image.name.strip()[:40] for image in left]
    shown = [f"{name} ({size})" if name else size for name, size in zip(names, sizes, strict=True)]
    main = f"{found[largest].width} × {found[largest].height}"
    return chosen, (
        f"Of the images in the file the largest ({main} pixels) was taken; left out: {listed(shown, 4)}. "
        "Save what is to be counted too as a file of its own.",
    )


def focus_note(count: int) -> str:
    """Return what is asked about a stack whose planes show one field."""
    return (
        f"The {counted(count, 'plane')} seem to be one field at several depths of focus, or times: are they? "
        "Each plane was counted by itself, so that one cell counts up to that many times. Count one plane "
        "instead."
    )
