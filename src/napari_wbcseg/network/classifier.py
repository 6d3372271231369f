"""The network that tells the class of a cell: what it looks like, its file, and how it is run.

It is the contracting half of the U-Net. Averages and largest values of its levels over the picture of a
cell are what the cell is known by, its *embedding*; from that one layer tells the classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel, Field

from ..errors import ModelError
from ..files import user_path
from .architecture import Convolution, convolution_shapes, down_convolutions
from .backend import KerasModel, import_keras
from .device import available_cpus
from .engines import OpenVinoEngine, open_session, openvino_gains
from .onnx_graph import OUTPUT_NAME, Graph
from .tensor_file import SUFFIX, TensorFile, TensorHeader
from .unet import contracted

#: What stands for the classifier that comes with the package.
BUILT_IN_CLASSIFIER = "built-in"
_PACKAGED = Path(__file__).resolve().parent.parent / "models" / f"classes{SUFFIX}"
#: How `napari_wbcseg.classification.crops.alone` makes cells ready: 1 left their stain as it was.
CUT = 2
#: Name of the array with the embeddings of examples.
EXAMPLES = "examples"
#: Mean distances of examples at which a cell looks like a named one by 1/e; see ``benchmarks/classes.py``.
_REACH = 0.25
_BATCH = 16  # cells looked at together: as fast as more, and of fewer sizes, each of which an engine keeps


class ClassifierArchitecture(BaseModel, frozen=True, extra="forbid"):
    """The levels of a classifier, and what it tells.

    Attributes
    ----------
    side : int
        Pixels along the pictures of cells.
    widths : tuple of int
        Features of each level; each halves the resolution.
    pooled : int
        Of the last so many levels averages and largest values over the picture are taken.
    classes : tuple of str
        Names of the classes it tells.
    """

    side: Annotated[int, Field(ge=16, le=512)]
    widths: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=2, max_length=8)]
    pooled: Annotated[int, Field(ge=1, le=8)] = 4
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=64)]

    @property
    def embedding(self) -> int:
        """How many numbers a cell is known by."""
        return 2 * sum(self.widths[-self.pooled :])

    def convolutions(self) -> list[Convolution]:
        """Return every convolution, in the order in which the network runs them."""
        return down_convolutions(3, self.widths, True)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every weight, by its name ``layer/variable``."""
        count = len(self.classes)
        top = {"classes/kernel": (self.embedding, count), "classes/bias": (count,)}
        return {**convolution_shapes(self.convolutions()), **top}


class ClassifierHeader(TensorHeader, frozen=True):
    """What a classifier's file says of its weights, besides `TensorHeader`.

    Attributes
    ----------
    diameter : float
        Pixels across a typical white cell in the pictures that it takes.
    examples : tuple of str
        The classes of cells whose embeddings are kept in the file, so that people can add theirs.
    taught : int
        How many of these, the last ones, a person named.
    untaught : tuple of str
        The classes that it told before a person taught it, whose layer is kept too; empty where nobody did.
    class_list : list of dict
        Names and colours of the classes, as a `ClassList` is written; empty for those built in.
    cut : int
        How cells are made ready for it, see `CUT`.
    """

    key: ClassVar[str] = "napari_wbcseg_classifier"
    kind: ClassVar[str] = "classifier"

    architecture: ClassifierArchitecture
    diameter: Annotated[float, Field(gt=0, le=2000)]
    examples: tuple[str, ...] = ()
    taught: Annotated[int, Field(ge=0)] = 0
    untaught: tuple[str, ...] = ()
    class_list: list[dict[str, Any]] = Field(default_factory=list)
    cut: int = 1

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every array of the file."""
        embedding, before = self.architecture.embedding, len(self.untaught)
        examples = {EXAMPLES: (len(self.examples), embedding)} if self.examples else {}
        untaught = {"untaught/kernel": (embedding, before), "untaught/bias": (before,)} if before else {}
        return {**self.architecture.tensor_shapes(), **examples, **untaught}


@dataclass(frozen=True, eq=False, repr=False)
class ClassifierFile(TensorFile[ClassifierHeader]):
    """A classifier, see `TensorFile`."""

    header_type: ClassVar[type[ClassifierHeader]] = ClassifierHeader

    @classmethod
    def _decoded(cls, content: bytes, path: Path | None) -> Self:
        found = super()._decoded(content, path)
        if found.header.cut != CUT:
            raise ModelError(
                f"The classifier {path or found.name} was made for cells as another version of napari-wbcseg "
                "shows them: name cells and save it anew, or train it again."
            )
        return found

    @cached_property
    def _run(self) -> Callable[[np.ndarray], np.ndarray]:
        """The network on the processor, by the engine that is faster there."""
        graph = embedding_onnx(self.header.architecture, self.weights)
        if openvino_gains():
            return OpenVinoEngine(graph, self.name).predict
        session = open_session(graph, available_cpus())
        return lambda batch: np.asarray(session.run(None, {"image": batch})[0])

    def predict(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look at cells, in four quarter turns each, since a cell has no up.

        Parameters
        ----------
        pictures : ndarray of float32, shape (n, side, side, 3)
            As `napari_wbcseg.classification.crops.alone` makes them.

        Returns
        -------
        probabilities : ndarray of float32, shape (n, classes)
        embedding : ndarray of float32, shape (n, embedding)
        """
        parts = [np.zeros((0, self.header.architecture.embedding), np.float32)]
        for start in range(0, len(pictures), _BATCH):
            part = np.asarray(pictures[start : start + _BATCH], np.float32)
            turned = (np.ascontiguousarray(np.rot90(part, turn, (1, 2))) for turn in range(4))
            parts.append(np.mean([self._run(view) for view in turned], axis=0))
        embedding = np.concatenate(parts)
        return self.probabilities(embedding), embedding

    def probabilities(self, embedding: np.ndarray) -> np.ndarray:
        """Return the probabilities of cells by their embedding, shape (n, classes).

        What a person taught holds of cells that before were called as the named ones were, and of others as
        far as they look like a named one; else the word holds that was said before. So classes of which
        nobody named a cell, rare ones as a rule, are not taken for those that were named.
        """
        said = self._of_layer("classes", embedding)
        if not self.header.untaught:
            return said
        before = self._of_layer("untaught", embedding)
        trusted = before @ self._named_before
        trusted += (1 - trusted) * np.exp(-self._away(embedding) / _REACH)
        columns = [self.header.architecture.classes.index(name) for name in self.header.untaught]
        said *= trusted[:, None]
        said[:, columns] += (1 - trusted[:, None]) * before
        return said

    def _of_layer(self, layer: str, embedding: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        logits = embedding @ self.weights[f"{layer}/kernel"] + self.weights[f"{layer}/bias"]
        return np.asarray(softmax(logits, axis=1), np.float32)

    @cached_property
    def _named(self) -> np.ndarray:
        """The embeddings of the cells that a person named."""
        return self.weights[EXAMPLES][len(self.header.examples) - self.header.taught :]

    @cached_property
    def _named_before(self) -> np.ndarray:
        """Of each class that was told before, 0 to 1, how far the cells of one name were called so."""
        names = np.array(self.header.examples[-self.header.taught :])
        before = self._of_layer("untaught", self._named)
        means = np.stack([before[names == name].mean(axis=0) for name in dict.fromkeys(names.tolist())])
        return np.asarray((means / means.max(axis=1, keepdims=True)).max(axis=0))

    def _away(self, embedding: np.ndarray) -> np.ndarray:
        """Return how far cells look from the nearest named one, over the mean distance of all examples."""
        examples = _directions(self.weights[EXAMPLES])
        usual = 1 - np.square(examples.mean(axis=0)).sum()  # the mean cosine distance of two of them
        nearest = (_directions(embedding) @ _directions(self._named).T).max(axis=1)
        return np.asarray((1 - nearest) / usual, np.float32)

    @property
    def untaught(self) -> Self:
        """The classifier as it was before a person taught it.

        One that an earlier version taught keeps its layer, which that had written over.
        """
        header = self.header
        if not header.taught:
            return self
        layer = "untaught" if header.untaught else "classes"
        names = header.untaught or header.architecture.classes
        shipped = header.examples[: len(header.examples) - header.taught]
        architecture = header.architecture.model_copy(update={"classes": names})
        changes = {"architecture": architecture, "examples": shipped, "taught": 0, "untaught": ()}
        before = header.model_copy(update=changes)
        layers = {f"classes/{part}": self.weights[f"{layer}/{part}"] for part in ("kernel", "bias")}
        weights = {**self.weights, **layers, EXAMPLES: self.weights[EXAMPLES][: len(shipped)]}
        return type(self).make(before, {name: weights[name] for name in before.tensor_shapes()})


def _directions(embedding: np.ndarray) -> np.ndarray:
    """Return embeddings with a length of 1."""
    lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
    return np.asarray(embedding / np.maximum(lengths, np.finfo(np.float32).tiny))


def read_classifier(name_or_path: str | Path | ClassifierFile = BUILT_IN_CLASSIFIER) -> ClassifierFile:
    """Read and check a classifier; no code in its file is run.

    Parameters
    ----------
    name_or_path : str, Path or ClassifierFile
        ``built-in``, or the path of a ``.safetensors`` file.

    Raises
    ------
    ModelError
        If the file is missing, truncated, of another kind, or its tensors are not those of its header.
    """
    if isinstance(name_or_path, ClassifierFile):
        return name_or_path
    path = _PACKAGED if name_or_path == BUILT_IN_CLASSIFIER else user_path(name_or_path)
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _read(path, stamp)


@lru_cache(maxsize=1)
def _read(path: Path, stamp: int) -> ClassifierFile:
    return ClassifierFile.read(path)


def embedding_onnx(architecture: ClassifierArchitecture, weights: Mapping[str, np.ndarray]) -> bytes:
    """Return the serialised graph: ``image`` (N, side, side, 3) to the embedding."""
    graph = Graph(architecture.convolutions(), weights)
    levels = graph.down(len(architecture.widths))
    pooled = [
        graph.add(f"Global{kind}Pool", [level], f"{kind.lower()}{number}")
        for number, level in enumerate(levels[-architecture.pooled :])
        for kind in ("Average", "Max")
    ]
    graph.add("Flatten", [graph.add("Concat", pooled, "pooled", axis=1)], OUTPUT_NAME)
    side = architecture.side
    return graph.finish("classifier", ["N", side, side, 3], ["N", architecture.embedding], {})


def build_classifier(
    architecture: ClassifierArchitecture, dropout: float = 0.0, dtype: str = "float32"
) -> KerasModel:
    """Build the Keras model, with fresh random weights.

    Parameters
    ----------
    architecture : ClassifierArchitecture
    dropout : float
        Fraction of the embedding dropped in training.
    dtype : str
        Keras dtype policy of the convolutions.

    Returns
    -------
    KerasModel
        (N, side, side, 3) to float32 logits (N, classes).
    """
    keras = import_keras()
    layers = keras.layers
    image = layers.Input((architecture.side, architecture.side, 3), name="image")
    levels = contracted(image, architecture.widths, True, dtype)
    pooled = [
        pool(dtype="float32")(one)
        for one in levels[-architecture.pooled :]
        for pool in (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    ]
    x = layers.Dropout(dropout)(layers.Concatenate(dtype="float32")(pooled))
    return keras.Model(image, layers.Dense(len(architecture.classes), dtype="float32", name="classes")(x))
