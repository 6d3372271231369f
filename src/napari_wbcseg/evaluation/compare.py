"""Two models on the same images: which is better, and what the new one has forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from ..datasets.pair import Pairs
from ..network.model_file import ModelFile
from ..progress import Progress, silent
from ..words import counted
from .evaluate import Evaluation, evaluate

#: Measures shown to the user, with their words.
MEASURES = {"dice": "Dice", "f1": "F1 of the cells", "count_error": "count error"}


@dataclass(frozen=True)
class ComparisonParameters:
    """What is said of two models.

    Attributes
    ----------
    forgotten : float
        Loss of mean Dice on the original images from which a model is said to have forgotten.
    enough_cells : int
        Below which nothing is said to be better: an interval of so few is not to be trusted.
    confidence : float
        Of the intervals, two-sided.
    """

    forgotten: float = 0.01
    enough_cells: int = 10
    confidence: float = 0.95


PARAMETERS = ComparisonParameters()


@dataclass(frozen=True)
class Comparison:
    """Scores of two models on the same cells.

    Attributes
    ----------
    old, new : Evaluation
        On the user's cells that were kept aside.
    old_original, new_original : Evaluation
        On original images that are never replayed.
    seen : bool
        Whether the new model, or the one it goes on from, was trained on the very cells it is scored on.
    """

    old: Evaluation
    new: Evaluation
    old_original: Evaluation
    new_original: Evaluation
    seen: bool = False

    @property
    def gain(self) -> float:
        """Gain in mean Dice on the user's cells."""
        return self.new.summary["dice"] - self.old.summary["dice"]

    @property
    def loss(self) -> float:
        """Loss in mean Dice on the original images; negative for a gain."""
        return self.old_original.summary["dice"] - self.new_original.summary["dice"]

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval of the gain in Dice a cell, by a paired t-test (Student, 1908)."""
        gains = self.new.cell_dice - self.old.cell_dice
        if len(gains) < 2:
            return -1.0, 1.0
        from scipy import stats

        quantile = stats.t.ppf((1 + PARAMETERS.confidence) / 2, len(gains) - 1)
        half = quantile * gains.std(ddof=1) / len(gains) ** 0.5
        return float(gains.mean() - half), float(gains.mean() + half)

    def table(self) -> list[tuple[str, str, str, str]]:
        """Return rows of measure, images, score of the old and score of the new model, as text."""
        rows = []
        for where, old, new in (
            ("your cells", self.old, self.new),
            ("original images", self.old_original, self.new_original),
        ):
            count = f"{where} ({counted(int(old.summary['cells']), 'cell')})"
            for key, words in MEASURES.items():
                rows.append((count, words, f"{old.summary[key]:.3f}", f"{new.summary[key]:.3f}"))
        return rows

    @property
    def verdict(self) -> str:
        """What the scores say, in a sentence or two."""
        cells = int(self.old.summary["cells"])
        if self.seen:
            text = (
                f"Dice on cells that were trained on went from {self.old.summary['dice']:.3f} to "
                f"{self.new.summary['dice']:.3f}, which says nothing about others: add another field, or "
                "start from a model that has not learnt from yours."
            )
        else:
            text = (
                f"On {counted(cells, 'cell')} of yours that it has not seen Dice was "
                f"{self.old.summary['dice']:.3f} and is {self.new.summary['dice']:.3f} now"
            )
            low, high = self.interval
            if cells < PARAMETERS.enough_cells:
                text += ": too few to say which model is better. Correct more fields to know."
            else:
                better, worse = low > 0 and self.gain > 0, high < 0 and self.gain < 0
                word = "is better" if better else "is worse" if worse else "may be as good as the old one"
                text += f"; a cell gains {low:+.3f} to {high:+.3f} (95 %): the new model {word}."
        if self.loss > PARAMETERS.forgotten:
            text += f" On the original images it lost {self.loss:.3f}: it has forgotten something."
        return text

    @property
    def scores(self) -> dict[str, float]:
        """The scores as a model file keeps them."""
        prefix = "seen" if self.seen else "held_out"
        return {
            f"{where}_{key}{of}": round(float(part.summary[key]), 4)
            for where, of, part in (
                (prefix, "", self.new),
                (prefix, "_of_start", self.old),
                ("original", "", self.new_original),
                ("original", "_of_start", self.old_original),
            )
            for key in ("dice", "f1")
        }


def compare_models(
    old: ModelFile,
    new: ModelFile,
    own: Pairs,
    original: Pairs,
    seen: bool = False,
    progress: Progress = silent,
) -> Comparison:
    """Score two models of one recipe on the same images.

    Parameters
    ----------
    old, new : ModelFile
    own, original : sequence of TrainingPair
        The user's images and others, each with at least one.
    seen : bool
        Whether ``new``, or what it goes on from, was trained on ``own``.
    progress : Progress

    Raises
    ------
    DatasetError
        If there is no image.
    """
    images = 2 * (len(own) + len(original))

    def score(model: ModelFile, pairs: Pairs, before: int) -> Evaluation:
        def step(done: int, total: int, stage: str) -> None:
            progress(before + done, images, "Scoring both models")

        return evaluate(model, pairs, progress=step)

    return Comparison(
        old=score(old, own, 0),
        new=score(new, own, len(own)),
        old_original=score(old, original, 2 * len(own)),
        new_original=score(new, original, 2 * len(own) + len(original)),
        seen=seen,
    )
