"""What should be known of the numbers of a run: which pictures count twice, which results do not count."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from ..results.differential import not_in_tables
from ..results.names import RESULT_SUFFIX, stem_of
from ..results.records import Picture, ResultRecord
from ..words import listed
from .earlier import set_aside
from .folder import BatchItem, Outputs

#: Correlation of the brightness of two thumbnails from which they show one picture. In five public sets other
#: pictures have up to 0.89 (round fields of one eyepiece), and those saved anew as JPEG 0.99.
_SAME = 0.95


def notices(items: Iterable[BatchItem], outputs: Outputs) -> tuple[str, ...]:
    """Return what should be known of the numbers in a folder of results, in sentences.

    Which images seem to be one picture; which results a person corrected that do not
    count, as a run with other settings set them aside; and which others in the folder do not.

    Parameters
    ----------
    items : iterable of BatchItem
        Images that are done.
    outputs : Outputs
    """
    known = {item: record.image.sha256 for item in items if (record := outputs.read(item.name)) is not None}
    return (*counted_twice(known, outputs), *not_counted(outputs))


def counted_twice(items: Mapping[BatchItem, str | None], outputs: Outputs) -> dict[str, list[BatchItem]]:
    """Find images that are done whose files have one content, or one name and look alike in the report.

    Parameters
    ----------
    items : mapping of BatchItem to str or None
        The SHA-256 of each, where that is known.
    outputs : Outputs

    Returns
    -------
    dict of str to list of BatchItem
        Images that are one, by the sentence that names them.
    """
    of_a_name = defaultdict[Path, list[BatchItem]](list)
    of_a_content = defaultdict[str, list[BatchItem]](list)
    for item, sha256 in items.items():
        of_a_name[item.path.with_name(stem_of(item.path))].append(item)
        of_a_content[sha256 or str(item.path)].append(item)
    groups = [group for group in of_a_content.values() if len(group) > 1]
    for one, other in (pair for group in of_a_name.values() for pair in combinations(group, 2)):
        if not any(one in group and other in group for group in groups):
            groups += [[one, other]] if _alike(outputs.read(one.name), outputs.read(other.name)) else []
    return {_said(group): group for group in groups}


def not_counted(outputs: Outputs) -> Iterator[str]:
    """Yield which results in a folder its tables do not tell of, in sentences."""
    corrected = sorted(set_aside(outputs))
    names = [file.name.removesuffix(RESULT_SUFFIX) for file in not_in_tables(outputs.folder)]
    if corrected:
        yield (
            f"Corrected by a person, so kept, but not counted: {listed(corrected)}. Where the image is gone "
            "or cannot be read, put it back; where it was done in another way since, correct the new "
            f"results, or go back to the settings in {outputs.record_file(corrected[0])}."
        )
    if others := sorted({*names} - {*corrected}):
        yield (
            "In the folder from earlier runs, but not counted, as their images are gone or changed, or were "
            f"done in another way: {listed(others)}."
        )


def _said(group: list[BatchItem]) -> str:
    images = listed([item.image for item in group], between=" and ")
    times = "twice: leave one" if len(group) == 2 else f"{len(group)} times: leave all but one"
    return f"{images} seem to be one picture, whose cells count {times} of them out."


def _alike(one: ResultRecord | None, other: ResultRecord | None) -> bool:
    values = [_brightness(record.pictures[0]) for record in (one, other) if record and record.pictures]
    if len(values) < 2 or len(values[0]) != len(values[1]) or min(map(np.ptp, values)) == 0:
        return False  # one of a single brightness is like none
    return bool(np.corrcoef(values)[0, 1] > _SAME)


def _brightness(picture: Picture) -> np.ndarray:
    """Return the brightness of all pixels."""
    return np.asarray(Image.open(BytesIO(base64.b64decode(picture.jpeg))).convert("L")).ravel()
