"""Keeping fields aside that a model is never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .pairs import TrainingPair

#: Least side, in pixels, of a part that a field is cut into.
_LEAST_SIDE = 48


@dataclass(frozen=True)
class HoldOut:
    """Pairs to train on, pairs kept aside, and how they were told apart.

    Attributes
    ----------
    training, held_out : list of TrainingPair
        In the order given. ``held_out`` is empty where nothing can be kept aside.
    how : str
        What was done, in a sentence for the user.
    """

    training: list[TrainingPair]
    held_out: list[TrainingPair]
    how: str


def hold_out(pairs: Sequence[TrainingPair], fraction: float, seed: int = 0) -> HoldOut:
    """Keep a share of a few fields aside, as independent as so few allow.

    Whole groups (slides) are kept aside where there are two or more; else single fields of
    the one slide; else one part of the one field, cut where no cell is cut.

    Parameters
    ----------
    pairs : sequence of TrainingPair
    fraction : float
        Share of the fields to keep aside, in (0, 1). At least one is kept, and at least one
        is left to train on.
    seed : int
        Decides which.

    Returns
    -------
    HoldOut
        With at least one cell on each side, unless all pairs together have no two cells
        that can be told apart.
    """
    if len({pair.group for pair in pairs}) > 1:
        split = _split(pairs, [pair.group for pair in pairs], fraction, seed)
        if split is not None:
            return HoldOut(*split, f"{_fields(len(split[1]))} of other slides kept aside.")
    if len(pairs) > 1:
        split = _split(pairs, [str(number) for number in range(len(pairs))], fraction, seed)
        if split is not None:
            return HoldOut(
                *split,
                f"{_fields(len(split[1]))} kept aside, of the same slide: another slide may score less.",
            )
    for index, pair in sorted(enumerate(pairs), key=lambda item: -int(item[1].labels.max(initial=0))):
        parts = cut_in_two(pair)
        if parts is not None:
            others = [other for number, other in enumerate(pairs) if number != index]
            return HoldOut(
                [*others, parts[0]],
                [parts[1]],
                f"One part of {pair.name} kept aside, for there is no second field with cells: "
                "expect less on another slide.",
            )
    return HoldOut(
        list(pairs),
        [],
        "Nothing could be kept aside, for there is one cell or one group of touching cells: "
        "add a second field to see how the model does on cells it has not seen.",
    )


def cut_in_two(pair: TrainingPair) -> tuple[TrainingPair, TrainingPair] | None:
    """Cut a field along a line that meets no cell, the larger share of cells first.

    Returns
    -------
    tuple of TrainingPair, or None
        None where no line along a row or column leaves a cell on both sides and parts of
        48 pixels or more.
    """
    best: tuple[float, int, int] | None = None
    for axis in (0, 1):
        occupied = (pair.labels > 0).any(axis=1 - axis)
        where = [np.flatnonzero((pair.labels == index).any(axis=1 - axis)) for index in _numbers(pair.labels)]
        starts = np.array([rows[0] for rows in where])
        for line in range(_LEAST_SIDE, len(occupied) - _LEAST_SIDE + 1):
            if occupied[line - 1] and occupied[line]:
                continue
            before = int((starts < line).sum())
            if not 0 < before < len(starts):
                continue
            # A third aside, as near as the cells allow.
            score = abs(min(before, len(starts) - before) / len(starts) - 1 / 3)
            if best is None or score < best[0]:
                best = score, axis, line
    if best is None:
        return None
    _, axis, line = best
    parts = [_part(pair, axis, slice(0, line), "a"), _part(pair, axis, slice(line, None), "b")]
    parts.sort(key=lambda part: -int(part.labels.max()))
    return parts[0], parts[1]


def _part(pair: TrainingPair, axis: int, span: slice, letter: str) -> TrainingPair:
    window = (span, slice(None)) if axis == 0 else (slice(None), span)
    labels = pair.labels[window]
    numbers = np.unique(np.append(labels, 0), return_inverse=True)[1][:-1].reshape(labels.shape)
    return replace(
        pair,
        name=f"{pair.name}@{letter}",
        image=np.ascontiguousarray(pair.image[window]),
        labels=numbers.astype(np.int32),
        mask=None if pair.mask is None else np.ascontiguousarray(pair.mask[window]),
        distractors=(),
    )


def _split(
    pairs: Sequence[TrainingPair], groups: list[str], fraction: float, seed: int
) -> tuple[list[TrainingPair], list[TrainingPair]] | None:
    """Draw groups until the share is reached; none where one side would have no cell."""
    sizes = {group: groups.count(group) for group in groups}
    names = sorted(sizes)
    with_cells = {group for group, pair in zip(groups, pairs, strict=True) if pair.labels.any()}
    if len(with_cells) < 2:
        return None
    order = [names[i] for i in np.random.default_rng((seed, 0xA51DE)).permutation(len(names))]
    # A group with cells first, so that there is something to score, and another stays to train on.
    order.sort(key=lambda group: group not in with_cells)
    wanted = max(1.0, fraction * len(pairs))
    kept: set[str] = set()
    count = 0
    for group in order:
        if kept and abs(count + sizes[group] - wanted) >= abs(count - wanted):
            continue
        if not with_cells - kept - {group}:
            continue
        kept.add(group)
        count += sizes[group]
        if count >= wanted:
            break
    if not kept & with_cells:
        return None
    sides: tuple[list[TrainingPair], list[TrainingPair]] = [], []
    for group, pair in zip(groups, pairs, strict=True):
        sides[group in kept].append(pair)
    return sides


def _numbers(labels: np.ndarray) -> list[int]:
    return [int(index) for index in np.unique(labels) if index]


def _fields(number: int) -> str:
    return f"{number} field{'s' * (number > 1)}"
