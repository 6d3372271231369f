"""What a training will do, before it starts: what it learns from, what it is validated on, what to expect.

Something is always kept aside to validate on where that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..box import Box, label_boxes
from ..datasets.pair import Pairs, TrainingPair
from ..errors import TrainingError
from ..network.model_file import ModelFile
from ..settings import Recipe, TrainingSettings
from ..words import counted, listed
from .classic import ClassicRecipe
from .duplicates import refuse_duplicates
from .robust import RobustRecipe

#: Each prepares data and trains a network on it in its way. It has the ``architecture`` that it trains from
#: scratch, the ``canonical_diameter`` of a cell in its batches (None where images are taken as they are), and
#: what the ``input`` of the network is, in words, for the model file. It says which pairs are of no use
#: (``left_out``), how many ``tiles`` an epoch has, makes the ``batches`` and the tiles of a ``preview``, and
#: knows the ``loss`` and the ``dice`` that users are shown.
RECIPES: dict[Recipe, ClassicRecipe | RobustRecipe] = {"classic": ClassicRecipe(), "robust": RobustRecipe()}
_FEW_TO_TUNE = (
    20,
    "The model will get used to the colours and light of these images: expect a small gain, and look at "
    "other images before you trust it. 20 cells make a dependable one.",
)
_FEW_TO_BEGIN = (
    100,
    "A new network will learn these by heart and miss others: start from the built-in model instead, or "
    "outline some 100 cells.",
)
_FEW_TO_JUDGE = 10
_PLACES_TRIED = 20


def require_recipe(model: ModelFile, settings: TrainingSettings) -> None:
    """Raise `TrainingError` if a model is of another recipe than the settings."""
    recipe = model.header.recipe
    if recipe != settings.recipe:
        raise TrainingError(
            f"The model {model.name} is of the recipe {recipe}, and the settings say {settings.recipe}: "
            f"choose a model of that recipe, or train with {recipe}."
        )


@dataclass(frozen=True)
class TrainingPlan:
    """What a training learns from.

    Attributes
    ----------
    recipe : str
    training, validation : list of TrainingPair
    left_out : list of tuple of str
        Name of each pair that is not used, and why.
    tiles : int
        Tiles of an epoch.
    notes : list of str
        Sentences on what to expect.
    """

    recipe: str
    training: list[TrainingPair]
    validation: list[TrainingPair]
    left_out: list[tuple[str, str]]
    tiles: int
    notes: list[str]

    @property
    def summary(self) -> str:
        """How much there is, in two or three sentences."""
        cells = count_cells(self.training)
        anew = "" if self.recipe == "classic" else ", composed anew each time"
        text = (
            f"Trains on {counted(cells, 'cell')} in {counted(len(set(self.training)), 'image')}: "
            f"{counted(self.tiles, 'tile')} an epoch{anew}."
        )
        if self.validation:
            names = listed([pair.name for pair in self.validation])
            text += (
                f" Validates on {counted(count_cells(self.validation), 'cell')} in "
                f"{counted(len(self.validation), 'image')} ({names})."
            )
        else:
            text += " Nothing is validated on while it trains."
        return text

    @property
    def left_out_summary(self) -> str:
        """What is left out and why, in a sentence; empty when nothing is."""
        if not self.left_out:
            return ""
        reasons: dict[str, list[str]] = {}
        for name, why in self.left_out:
            reasons.setdefault(why, []).append(name)
        return f"Left out: {'; '.join(f'{listed(names)} ({why})' for why, names in reasons.items())}."


def make_plan(pairs: Pairs, settings: TrainingSettings, fine_tuning: bool = False) -> TrainingPlan:
    """Return what a training with these settings will learn from; it is what `train` follows.

    Parameters
    ----------
    pairs : sequence of TrainingPair
    settings : TrainingSettings
    fine_tuning : bool
        Whether it goes on from a trained model.

    Raises
    ------
    TrainingError
        If nothing is left to train on, or a picture would be on both sides of the split.
    """
    recipe = RECIPES[settings.recipe]
    if not pairs:
        raise TrainingError("There is no training image: give at least one with its labels.")
    if not any((pair.labels > 0).any() for pair in pairs):
        raise TrainingError("None of the training images has a labelled cell: outline some first.")
    reasons = [(pair, recipe.left_out(pair)) for pair in pairs]
    used = [pair for pair, reason in reasons if not reason]
    left_out = [(pair.name, reason) for pair, reason in reasons if reason]
    if not used:
        raise TrainingError(
            "None of the training images shows a whole cell, clear of the image's border: "
            "add images that do, or outline the cells that are missing."
        )
    split = split_validation(used, settings.validation_fraction, settings.seed, recipe.left_out)
    if split.training != split.validation:
        refuse_duplicates(split.training, split.validation)
    notes = [split.note] if split.note else []
    notes += _expectations(count_cells(split.training), count_cells(split.validation), fine_tuning)
    if not split.validation:
        last = settings.keeps_the_last(validated=False)
        kept = "last one" if last else "one with the lowest loss on the training images"
        notes.append(f"The epoch that is kept is therefore the {kept}.")
    tiles = recipe.tiles(split.training, settings)
    return TrainingPlan(settings.recipe, split.training, split.validation, left_out, tiles, notes)


def count_cells(pairs: Pairs) -> int:
    """Return the number of cells in some pairs, of one that is given several times once."""
    return sum(len(np.unique(pair.labels[pair.labels > 0])) for pair in set(pairs))


def _expectations(cells: int, validation_cells: int, fine_tuning: bool) -> list[str]:
    notes = []
    few, advice = _FEW_TO_TUNE if fine_tuning else _FEW_TO_BEGIN
    if cells < few:
        notes.append(f"{counted(cells, 'cell')} {'is' if cells == 1 else 'are'} few. {advice}")
    if 0 < validation_cells < _FEW_TO_JUDGE:
        notes.append(
            f"The validation score rests on {counted(validation_cells, 'cell')}: a few "
            "hundredths up or down mean nothing."
        )
    return notes


LeftOut = Callable[[TrainingPair], str]


class Split(NamedTuple):
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


def split_validation(pairs: Pairs, fraction: float, seed: int, left_out: LeftOut = lambda pair: "") -> Split:
    """Keep pairs aside for validation.

    Whole groups are kept aside where there are several. Pairs of a single group are split
    among themselves; a single image is cut in two between its cells; and of an image
    with one cell, both sides get all of it. The note says so. Pictures without a cell are all
    trained on: nothing could be validated on them alone.

    Parameters
    ----------
    pairs : sequence of TrainingPair
        At least one with a cell.
    fraction : float
        Share of the pairs with cells to reach, at least one of them. At 0 nothing is kept aside.
    seed : int
    left_out : callable
        Why a part of an image is of no use, in words; nothing when it is.

    Returns
    -------
    Split
        Each side in the order given.
    """
    if fraction <= 0:
        return Split(list(pairs), [])
    with_cells = [pair for pair in pairs if pair.labels.any()]
    if len(with_cells) > 1:
        groups, note = [pair.group for pair in with_cells], ""
        if len(set(groups)) == 1:
            groups = [str(i) for i in range(len(with_cells))]
            note = "All images belong together; the validation score says little about other slides."
        kept = _kept_aside(groups, fraction * len(with_cells), seed)
        aside = [pair for pair, group in zip(with_cells, groups, strict=True) if group in kept]
        return Split([pair for pair in pairs if pair not in aside], aside, note)
    halves = cut_in_two(with_cells[0], fraction, left_out)
    if halves is not None:
        note = "Of the one image a part is kept aside; the validation score says little about other slides."
        training = [halves[0] if pair is with_cells[0] else pair for pair in pairs]
        return Split(training, [halves[1]], note)
    note = "There is too little to keep anything aside: the validation score is on the very cells that are "
    return Split(list(pairs), list(pairs), f"{note}trained on.")


def _kept_aside(groups: list[str], wanted: float, seed: int) -> set[str]:
    """Choose groups, whose pairs are about as many as wanted; never all."""
    names = sorted(set(groups))
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
    return kept


def cut_in_two(
    pair: TrainingPair, fraction: float, left_out: LeftOut = lambda pair: ""
) -> tuple[TrainingPair, TrainingPair] | None:
    """Cut an image in two along a row or column, through as few cells as possible.

    Parameters
    ----------
    pair : TrainingPair
    fraction : float
        Share of the cells that the smaller part is to have.
    left_out : callable
        As `split_validation`: both parts must be of use.

    Returns
    -------
    tuple of TrainingPair, or None
        The part with more cells, and the other; each has a cell that the cut leaves
        whole. None where there is no such place.
    """
    height, width = pair.labels.shape
    for axis, place in _places_to_cut(pair.labels, fraction)[:_PLACES_TRIED]:
        end, start = ((place, width), (place, 0)) if axis == 0 else ((height, place), (0, place))
        windows = {"a": Box(0, 0, *end), "b": Box(*start, height, width)}
        parts = [pair.cropped(window, f"{pair.name}-{part}") for part, window in windows.items()]
        if pair.group == pair.name:  # a user's image, whatever it is called
            parts = [replace(part, group=part.name) for part in parts]
        if not any(map(left_out, parts)):
            few, many = sorted(parts, key=lambda part: len(np.unique(part.labels)))
            return many, few
    return None


def _places_to_cut(labels: np.ndarray, fraction: float) -> list[tuple[int, int]]:
    """Return axis and place of the cuts that leave a whole cell on either side, the best ones first."""
    places: list[tuple[float, int, int]] = []
    boxes = np.array([box for _, box in label_boxes(labels)]).reshape(-1, 4)
    for axis in (0, 1):
        starts, stops = boxes[:, axis], boxes[:, axis + 2]
        for place in np.union1d(starts, stops).tolist():
            before, after = int((stops <= place).sum()), int((starts >= place).sum())
            if before and after:
                cut = len(boxes) - before - after
                wrong = abs(min(before, after) / len(boxes) - fraction)
                places.append((cut + wrong, axis, place))
    return [(axis, place) for _, axis, place in sorted(places)]
