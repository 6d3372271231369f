"""Learning from a person: a few named cells of each class teach the classifier this slide's look.

What the network sees in a cell, its embedding, stays as it is; a logistic regression on it is fitted
anew, in a fraction of a second. It has the network's own opinion among its features, so that few cells
change little. What all cells of a slide have in common is no class, so of the classes that nobody named
there it has the cells that the network is sure of (self-training, Lee, ICML workshop 2013).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import SettingsError
from ..network.classifier import EXAMPLES, ClassifierFile
from .classes import BUILT_IN_CLASSES, CLASS_BY, CLASS_PROBABILITY, PERSON, ClassList


@dataclass(frozen=True)
class LearnParameters:
    """How strongly a person's cells count; see ``benchmarks/classes.py``.

    Attributes
    ----------
    regularisation : float
        Inverse strength, as scikit-learn has it.
    opinion : float
        Weight of the network's own opinion among the features.
    kept : float
        Weight of all the examples of a class that came with the classifier, in cells.
    sure : float
        Probability from which a cell that nobody named is an example of its class.
    most : int
        So many of these of a class are enough.
    """

    regularisation: float = 1.0
    opinion: float = 0.03
    kept: float = 1.0
    sure: float = 0.95
    most: int = 30


PARAMETERS = LearnParameters()
_SAME = 1e-3  # distance of two embeddings over their length, of one cell looked at twice


def teach(
    classifier: ClassifierFile,
    embedding: np.ndarray,
    names: Sequence[str | None],
    classes: ClassList = BUILT_IN_CLASSES,
) -> ClassifierFile:
    """Return the classifier with what a person said of some cells, besides what was said of others before.

    Parameters
    ----------
    classifier : ClassifierFile
    embedding : ndarray of float32, shape (n, embedding)
        Of the cells of a slide, from `napari_wbcseg.classification.classify.predict_labels`.
    names : sequence of str or None
        Their classes, new ones too; None for those that nobody named, which tell what the slide looks like.
    classes : ClassList
        Is saved with the classifier.

    Returns
    -------
    ClassifierFile
        In memory; `ClassifierFile.write` keeps it, and it is read and used as any other.

    Raises
    ------
    SettingsError
        If there is no cell, or all that is known is of one class.
    """
    embedding = np.asarray(embedding, np.float32)
    is_named = np.array([name is not None for name in names], bool)
    if not is_named.any():
        raise SettingsError("No cell is named: name a few of each class first.")
    untaught = classifier.untaught
    sure, sure_names = _sure(untaught, embedding, names, classes)
    embedding, said_here = embedding[is_named], [name for name in names if name is not None]
    header, weights = classifier.header, dict(classifier.weights)
    came = len(header.examples) - header.taught
    known = weights.pop(EXAMPLES, np.zeros((0, header.architecture.embedding), np.float32))
    kept, before = known[:came], known[came:]
    other = ~_among(before, embedding)
    said_of = [*(name for name, one in zip(header.examples[came:], other, strict=True) if one), *said_here]
    examples = np.concatenate([kept, before[other], embedding])
    truth = [*header.examples[:came], *said_of]
    found = np.unique([*truth, *sure_names])
    if len(found) < 2:
        raise SettingsError(f"All named cells are of the class {found[0]!r}: name some of another one.")
    # A class that the network is sure of counts like one that was named, and one that came with it little.
    a_class = len(said_here) / len(set(said_here))
    came_of, sure_of = Counter(header.examples[:came]), Counter(sure_names)
    weight = [PARAMETERS.kept / came_of[name] for name in header.examples[:came]] + [1.0] * len(said_of)
    weight += [min(1.0, a_class / sure_of[name]) for name in sure_names]
    kernel, bias = _fitted(untaught, np.concatenate([examples, sure]), [*truth, *sure_names], weight)
    taught = header.model_copy(
        update={
            "architecture": header.architecture.model_copy(update={"classes": tuple(found.tolist())}),
            "examples": tuple(truth),
            "taught": len(said_of),
            "untaught": untaught.header.architecture.classes,
            "class_list": classes.covering(said_of).to_list(),
        }
    )
    weights |= {EXAMPLES: examples, "classes/kernel": kernel, "classes/bias": bias}
    weights |= {f"untaught/{name}": untaught.weights[f"classes/{name}"] for name in ("kernel", "bias")}
    return ClassifierFile.make(taught, weights)


def _fitted(
    untaught: ClassifierFile, seen: np.ndarray, truth: Sequence[str], weight: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the layer that tells the classes of embeddings, ascending by name; return its kernel and bias."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    kernel, bias = untaught.weights["classes/kernel"], untaught.weights["classes/bias"]
    # To one spread, the network's opinion with them: all of it is linear, so it is one layer again.
    own, opinion = _spread(seen), PARAMETERS.opinion / _spread(seen @ kernel + bias)
    features = np.concatenate([seen * own, (seen @ kernel + bias) * opinion], axis=1)
    regression = LogisticRegression(C=PARAMETERS.regularisation, max_iter=100, tol=1e-3)
    with threadpool_limits(1):  # so small a problem waits for threads, seconds where others compute too
        fitted = regression.fit(features, truth, np.array(weight))
    coefficients, intercept = fitted.coef_, fitted.intercept_
    if len(intercept) == 1:  # of two classes scikit-learn gives the second alone
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    of_cells, of_opinion = coefficients[:, : len(kernel)].T, coefficients[:, len(kernel) :].T
    layer = own[:, None] * of_cells + kernel @ (opinion[:, None] * of_opinion)
    return layer, intercept + (bias * opinion) @ of_opinion


def forget(classifier: ClassifierFile, embedding: np.ndarray) -> ClassifierFile:
    """Return the classifier without what a person said of some cells, given by their embedding."""
    header, untaught = classifier.header, classifier.untaught
    came = len(untaught.header.examples)
    said = classifier.weights[EXAMPLES][came:] if header.taught else embedding[:0]
    left = ~_among(said, embedding)
    if left.all():
        return classifier
    names = [name for name, one in zip(header.examples[came:], left, strict=True) if one]
    return teach(untaught, said[left], names, ClassList.from_list(header.class_list)) if names else untaught


def renamed(classifier: ClassifierFile, names: Mapping[str, str]) -> ClassifierFile:
    """Return the classifier with classes called otherwise, where it does not tell one of the new name yet.

    Parameters
    ----------
    classifier : ClassifierFile
    names : mapping of str to str
        Old and new names.
    """
    header = classifier.header
    told = {*header.architecture.classes, *header.untaught, *header.examples}
    names = {old: new for old, new in names.items() if old in told and new not in told}
    if not names:
        return classifier

    def called(every: Sequence[str]) -> tuple[str, ...]:
        return tuple(names.get(one, one) for one in every)

    architecture = header.architecture.model_copy(update={"classes": called(header.architecture.classes)})
    changes = {"examples": called(header.examples), "untaught": called(header.untaught)}
    again = header.model_copy(update={"architecture": architecture, **changes})
    return ClassifierFile.make(again, classifier.weights)


def _sure(
    untaught: ClassifierFile, embedding: np.ndarray, names: Sequence[str | None], classes: ClassList
) -> tuple[np.ndarray, list[str]]:
    """Return the cells that a classifier that nobody taught is sure of, and their classes.

    One that was taught is sure of less, and would unlearn all that nobody names on this slide. Classes that
    a person named are left out, and what the classifier called most of the cells of such a class: a person
    may have named it anew.
    """
    probabilities = untaught.probabilities(embedding)
    told = np.array(untaught.header.architecture.classes)[probabilities.argmax(axis=1)].tolist()
    called: dict[str, Counter[str]] = {name: Counter() for name in names if name}
    for name, kind in zip(names, told, strict=True):
        if name:
            called[name][kind] += 1
    renamed = [kinds.most_common(1)[0][0] for kinds in called.values()]
    settled = {classes.wider(name) for name in (*called, *renamed)}
    of_class: dict[str, list[int]] = {}
    for row in np.flatnonzero(probabilities.max(axis=1) >= PARAMETERS.sure).tolist():
        if names[row] is None and classes.wider(told[row]) not in settled:
            of_class.setdefault(told[row], []).append(row)
    rows = [row for every in of_class.values() for row in every[:: -(-len(every) // PARAMETERS.most)]]
    return embedding[rows], [told[row] for row in rows]


def _among(embedding: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Say of each cell whether it is one of some others, to within what two runs of the network differ by."""
    from scipy.spatial.distance import cdist

    if not len(embedding) or not len(others):
        return np.zeros(len(embedding), bool)
    return np.asarray(cdist(embedding, others).min(axis=1) <= _SAME * np.linalg.norm(embedding, axis=1))


def _spread(values: np.ndarray) -> np.ndarray:
    """Return what columns are multiplied by, so that their squares add up to about 1."""
    return np.asarray(1 / (np.maximum(values.std(axis=0), 1e-3) * np.sqrt(values.shape[1])))


def probabilities_of(classifier: ClassifierFile, embedding: np.ndarray) -> pd.DataFrame:
    """Return the probabilities of cells that were looked at already, a column a class."""
    names = list(classifier.header.architecture.classes)
    return pd.DataFrame(classifier.probabilities(embedding), columns=names)


def least_sure(cells: pd.DataFrame) -> list[int]:
    """Return the rows of the cells that it helps most to name next, the least sure first."""
    probability = cells[CLASS_PROBABILITY].to_numpy(float)
    others = (cells[CLASS_BY] != PERSON).to_numpy() & np.isfinite(probability)
    order = np.argsort(probability, kind="stable")
    return [int(row) for row in order[others[order]]]
