"""What a training will do, before it starts: what it learns from, and what to expect of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TrainingError
from ..settings import TrainingSettings
from ..words import counted, listed
from .recipes import get_recipe
from .splitting import split_validation

if TYPE_CHECKING:
    from ..datasets.pair import TrainingPair

_FEW_TO_TUNE, _FEW_TO_BEGIN = 20, 100
_FEW_TO_JUDGE = 10


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
            f"Trains on {counted(cells, 'white cell')} in {counted(len(self.training), 'image')}: "
            f"{counted(self.tiles, 'tile')} an epoch{anew}."
        )
        if self.validation:
            names = listed([pair.name for pair in self.validation])
            text += (
                f" Validates on {counted(count_cells(self.validation), 'white cell')} in "
                f"{counted(len(self.validation), 'image')} ({names})."
            )
        else:
            text += " Nothing is kept aside to validate on."
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


def make_plan(
    pairs: Sequence[TrainingPair], settings: TrainingSettings, fine_tuning: bool = False
) -> TrainingPlan:
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
    from ..datasets.duplicates import refuse_duplicates

    recipe = get_recipe(settings.recipe)
    if not pairs:
        raise TrainingError("There is no training image: give at least one with its labels.")
    if not any((pair.labels > 0).any() for pair in pairs):
        raise TrainingError("None of the training images has a labelled cell: outline some first.")
    reasons = [recipe.left_out(pair) for pair in pairs]
    used = [pair for pair, reason in zip(pairs, reasons, strict=True) if not reason]
    left_out = [(pair.name, reason) for pair, reason in zip(pairs, reasons, strict=True) if reason]
    if not used:
        raise TrainingError(
            "None of the training images shows a whole cell, clear of the image's border: "
            "add images that do, or outline the cells that are missing."
        )
    split = split_validation(
        used, settings.validation_fraction, settings.seed, lambda pair: not recipe.left_out(pair)
    )
    if split.training != split.validation:
        refuse_duplicates(split.training, split.validation)
    cells = count_cells(split.training)
    notes = [split.note] if split.note else []
    notes += _expectations(cells, count_cells(split.validation), fine_tuning)
    if not split.validation:
        notes.append(
            "As nothing is kept aside, the best epoch is the one with the lowest loss on the training images."
        )
    return TrainingPlan(
        settings.recipe,
        split.training,
        split.validation,
        left_out,
        recipe.tiles(split.training, settings),
        notes,
    )


def pairs_of(data: str | Path | Sequence[TrainingPair]) -> list[TrainingPair]:
    """Return training pairs; what is a path is read."""
    from ..datasets.read import read_pairs

    return read_pairs(data) if isinstance(data, str | Path) else list(data)


def count_cells(pairs: Sequence[TrainingPair]) -> int:
    """Return the number of cells in some pairs."""
    return sum(len(np.unique(pair.labels[pair.labels > 0])) for pair in pairs)


def _expectations(cells: int, validation_cells: int, fine_tuning: bool) -> list[str]:
    few = _FEW_TO_TUNE if fine_tuning else _FEW_TO_BEGIN
    notes = []
    if cells < few:
        text = f"{counted(cells, 'white cell')} {'is' if cells == 1 else 'are'} few. "
        if fine_tuning:
            text += (
                "The model will get used to the colours and light of these images: expect a small gain, and "
                f"look at other images before you trust it. {few} white cells make a dependable one."
            )
        else:
            text += (
                "A new network will learn these by heart and miss others: start from the built-in model "
                f"instead, or outline some {few} white cells."
            )
        notes.append(text)
    if 0 < validation_cells < _FEW_TO_JUDGE:
        notes.append(
            f"The validation score rests on {counted(validation_cells, 'white cell')}: a few "
            "hundredths up or down mean nothing."
        )
    return notes
