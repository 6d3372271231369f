"""Which training images are kept aside to validate on: never none, where any were asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..datasets.pair import TrainingPair


_PLACES_TRIED = 20


@dataclass(frozen=True)
class Split:
    """Training and validation.

    Attributes
    ----------
    training, validation : list of TrainingPair
    note : str
        What a reader of the validation score should know; empty where the two sides are
        of different images that do not belong together.
    """

    training: list[TrainingPair]
    validation: list[TrainingPair]
    note: str = ""


def split_validation(
    pairs: Sequence[TrainingPair],
    fraction: float,
    seed: int,
    usable: Callable[[TrainingPair], bool] = lambda pair: True,
) -> Split:
    """Keep pairs aside for validation.

    Whole groups are kept aside where there are several. Pairs of a single group are split
    among themselves; a single image is cut in two between its cells; and of an image
    with one cell, both sides get all of it. The note says so.

    Parameters
    ----------
    pairs : sequence of TrainingPair
        At least one.
    fraction : float
        Share of the pairs to reach, at least one of them. At 0 nothing is kept aside.
    seed : int
    usable : callable
        Whether a part of an image can be trained on.

    Returns
    -------
    Split
        Each side in the order given.
    """
    if fraction <= 0:
        return Split(list(pairs), [])
    if len({pair.group for pair in pairs}) > 1:
        return _by(pairs, [pair.group for pair in pairs], fraction, seed)
    if len(pairs) > 1:
        split = _by(pairs, [str(i) for i in range(len(pairs))], fraction, seed)
        return replace(
            split,
            note="All images belong together; the validation score says little about other slides.",
        )
    halves = cut_in_two(pairs[0], fraction, usable)
    if halves is not None:
        return Split(
            [halves[0]],
            [halves[1]],
            "Of the one image a part is kept aside; the validation score says little about other slides.",
        )
    return Split(
        list(pairs),
        list(pairs),
        "There is too little to keep anything aside: the validation score is on the very cells that are "
        "trained on.",
    )


def _by(pairs: Sequence[TrainingPair], groups: list[str], fraction: float, seed: int) -> Split:
    names, wanted = sorted(set(groups)), fraction * len(pairs)
    kept: set[str] = set()
    count = 0
    for i in np.random.default_rng((seed, 0x5EED)).permutation(len(names))[:-1]:
        size = groups.count(names[i])
        # One group too many may be further from the wanted share than one too few.
        if kept and abs(count + size - wanted) > abs(count - wanted):
            continue
        kept.add(names[i])
        count += size
        if count >= wanted:
            break
    training, validation = (
        [pair for pair, group in zip(pairs, groups, strict=True) if (group in kept) == aside]
        for aside in (False, True)
    )
    return Split(training, validation)


def cut_in_two(
    pair: TrainingPair, fraction: float, usable: Callable[[TrainingPair], bool] = lambda pair: True
) -> tuple[TrainingPair, TrainingPair] | None:
    """Cut an image in two along a row or column, through as few cells as possible.

    Parameters
    ----------
    pair : TrainingPair
    fraction : float
        Share of the cells that the smaller part is to have.
    usable : callable
        What both parts must be.

    Returns
    -------
    tuple of TrainingPair, or None
        The part with more cells, and the other; each has a cell that the cut leaves
        whole. None where there is no such place.
    """
    from scipy import ndimage

    places: list[tuple[float, int, int]] = []
    for axis in (0, 1):
        spans = [window[axis] for window in ndimage.find_objects(pair.labels) if window is not None]
        for place in sorted({span.stop for span in spans} | {span.start for span in spans}):
            before = sum(span.stop <= place for span in spans)
            after = sum(span.start >= place for span in spans)
            if before and after:
                cut = len(spans) - before - after
                wrong = abs(min(before, after) / len(spans) - fraction)
                places.append((cut + wrong, axis, place))
    for _, axis, place in sorted(places)[:_PLACES_TRIED]:
        parts = [_part(pair, axis, slice(None, place), "a"), _part(pair, axis, slice(place, None), "b")]
        if all(usable(part) for part in parts):
            few, many = sorted(parts, key=lambda part: len(np.unique(part.labels)))
            return many, few
    return None


def _part(pair: TrainingPair, axis: int, kept: slice, name: str) -> TrainingPair:
    window = (kept, slice(None)) if axis == 0 else (slice(None), kept)
    return replace(
        pair,
        name=f"{pair.name}-{name}",
        image=np.ascontiguousarray(pair.image[window]),
        labels=np.ascontiguousarray(pair.labels[window]),
        mask=None if pair.mask is None else np.ascontiguousarray(pair.mask[window]),
        # What is known to be no cell is only of use in training, and lies on one side or the other.
        red_cells=(),
        platelets=(),
    )
