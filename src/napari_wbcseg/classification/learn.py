"""Learning from a person: a few named cells of each class teach the classifier this slide's look.

What the network sees in a cell, its embedding, stays as it is; a logistic regression on it is fitted
anew, in a fraction of a second. It has the network's own opinion among its features, so that few cells
change little; and what it says holds for cells like those that were named, see
`napari_wbcseg.network.classifier.ClassifierFile.probabilities`.
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
from .classify import class_list


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
    """

    regularisation: float = 1.0
    opinion: float = 0.03
    kept: float = 1.0


PARAMETERS = LearnParameters()
_NEVER = -100.0  # log-odds
_SAME = 1e-3  # distance of two embeddings over their length, of one cell looked at twice


def teach(
    classifier: ClassifierFile,
    embedding: np.ndarray,
    names: Sequence[str],
    classes: ClassList = BUILT_IN_CLASSES,
) -> ClassifierFile:
    """Return the classifier with what a person said of some cells, besides what was said of others before.

    Parameters
    ----------
    classifier : ClassifierFile
    embedding : ndarray of float32, shape (n, embedding)
        Of the named cells, from `napari_wbcseg.classification.classify.predict_labels`.
    names : sequence of str
        Their classes, new ones too.
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
    if not len(names):
        raise SettingsError("No cell is named: name a few of each class first.")
    untaught, embedding = classifier.untaught, np.asarray(embedding, np.float32)
    header, weights = classifier.header, dict(classifier.weights)
    came = len(header.examples) - header.taught
    known = weights.pop(EXAMPLES, np.zeros((0, header.architecture.embedding), np.float32))
    kept, before = known[:came], known[came:]
    other = ~_among(before, embedding)
    said_of = [*(name for name, one in zip(header.examples[came:], other, strict=True) if one), *names]
    examples = np.concatenate([kept, before[other], embedding])
    truth = [*header.examples[:came], *said_of]
    if len(set(truth)) < 2:
        raise SettingsError(f"All named cells are of the class {truth[0]!r}: name some of another one.")
    came_of, rivals = Counter(header.examples[:came]), _rivals(untaught, examples[came:], said_of, classes)
    weight = [max(PARAMETERS.kept, rivals[name]) / came_of[name] for name in header.examples[:came]]
    weight += [1.0] * len(said_of)
    told, kernel, bias = _fitted(untaught, examples, truth, weight)
    taught = header.model_copy(
        update={
            "architecture": header.architecture.model_copy(update={"classes": told}),
            "examples": tuple(truth),
            "taught": len(said_of),
            "untaught": untaught.header.architecture.classes,
            "class_list": classes.covering(said_of).to_list(),
        }
    )
    weights |= {EXAMPLES: examples, "classes/kernel": kernel, "classes/bias": bias}
    weights |= {f"untaught/{name}": untaught.weights[f"classes/{name}"] for name in ("kernel", "bias")}
    return ClassifierFile.make(taught, weights)


def _rivals(
    untaught: ClassifierFile, embedding: np.ndarray, names: Sequence[str], classes: ClassList
) -> Counter[str]:
    """Return how many cells of new classes were named, by the class that each of these is called otherwise.

    Where blasts are named, what came with the classifier must tell that other lymphocytes are none.
    """
    told = untaught.header.architecture.classes
    called = np.array(told)[untaught.probabilities(embedding).argmax(axis=1)]
    found = Counter[str]()
    for name in set(names) - {*told, *map(classes.wider, told)}:
        of_name = called[np.array(names) == name]
        found[Counter(of_name.tolist()).most_common(1)[0][0]] += len(of_name)
    return found


def _fitted(
    untaught: ClassifierFile, seen: np.ndarray, truth: Sequence[str], weight: Sequence[float]
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Fit the layer that tells the classes of embeddings; return their names, its kernel and its bias."""
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
    intercept = intercept + (bias * opinion) @ of_opinion
    found = fitted.classes_.tolist()
    without = [name for name in untaught.header.architecture.classes if name not in found]
    layer = np.pad(layer, ((0, 0), (0, len(without))))  # classes of which it has no example
    return (*found, *without), layer, np.pad(intercept, (0, len(without)), constant_values=_NEVER)


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

    Each stays what it was: a white cell or none, and the part of a wider class.

    Parameters
    ----------
    classifier : ClassifierFile
    names : mapping of str to str
        Old and new names.
    """
    header, classes = classifier.header, class_list(classifier)
    told = {*header.architecture.classes, *header.untaught, *header.examples}
    known = told.union(classes.names)
    names = {old: new for old, new in names.items() if old in known and new not in told}
    if not names:
        return classifier

    def called(every: Sequence[str]) -> tuple[str, ...]:
        return tuple(names.get(one, one) for one in every)

    for old, new in names.items():
        classes = classes if new in classes.names else classes.changed(old, name=new)
    architecture = header.architecture.model_copy(update={"classes": called(header.architecture.classes)})
    changes = {
        "architecture": architecture,
        "examples": called(header.examples),
        "untaught": called(header.untaught),
        "class_list": classes.to_list(),
    }
    again = header.model_copy(update=changes)
    return ClassifierFile.make(again, classifier.weights)


def _among(embedding: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Say of each cell whether it is one of some others, to within what two runs of the network differ by."""
    from scipy.spatial.distance import cdist

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
