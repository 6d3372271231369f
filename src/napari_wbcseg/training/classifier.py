"""Training of the classifier: one command, about an hour on two cores, and it can be resumed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..classification.crops import PARAMETERS as CROPS
from ..classification.crops import alone
from ..errors import TrainingError
from ..network.backend import KerasModel, import_keras
from ..network.classifier import (
    CUT,
    EXAMPLES,
    ClassifierArchitecture,
    ClassifierFile,
    ClassifierHeader,
    build_classifier,
)
from ..network.device import dtype_policy
from ..network.library import require_free
from ..network.model_file import ModelFile
from ..network.tensor_file import hash_of
from ..network.unet import set_weights, weights_of
from ..progress import Progress, silent
from ..segmentation.outlining import outliner
from ..words import counted
from .batches import Feeder, as_dataset
from .checkpoint import Checkpoint, State
from .class_cells import CLASSES, USUAL, ClassCells, class_table, cut_cells, discs, drawn_cells, joined
from .class_views import SIDE, view


@dataclass(frozen=True)
class ClassifierTraining:
    """How the classifier is trained: usual values, none of them searched for.

    Attributes
    ----------
    epochs, steps, batch : int
        Epochs of so many steps of so many views.
    learning_rate, weight_decay : float
        Of AdamW at its highest, after an epoch of warming up; it falls along a cosine.
    smoothing : float
        Share of the truth that is spread over all classes (label smoothing, Szegedy et al., CVPR 2016).
    dropout : float
    average : float
        The weights are a running mean with this momentum (Polyak & Juditsky, SIAM J. Control 30, 1992).
    fields, discs : int
        So many fields are drawn for their cells, and so many discs that are of no class.
    drawn, nothing : float
        Their shares of the views. Of the rest each data set has one by the square root of its cells, so that
        the look of a small one counts.
    validation : int
        One cell in so many of a class of the data is kept aside, for the temperature.
    elsewhere : float
        What logits are divided by beyond that temperature, since cells of another laboratory differ more than
        views do: of one never seen the calibration error is 0.11 with 1, and 0.05 with this, as at home.
    usual : float
        How far the classes are expected to be as frequent as in ordinary blood, where 0 expects all alike.
        An eosinophil of another laboratory may look like a neutrophil, and is a twentieth as likely.
    examples : int
        Cells of each class that are kept with the classifier, for people to add theirs to.
    seed : int
    """

    epochs: int = 200
    steps: int = 60
    batch: int = 48
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    smoothing: float = 0.05
    dropout: float = 0.3
    average: float = 0.998
    fields: int = 700
    discs: int = 300
    drawn: float = 0.12
    nothing: float = 0.04
    validation: int = 10
    elsewhere: float = 1.4
    usual: float = 0.5
    examples: int = 16
    seed: int = 0


def train_classifier(
    data: Sequence[Path],
    out: Path,
    outline: ModelFile,
    start: ClassifierFile | None = None,
    settings: ClassifierTraining | None = None,
    progress: Progress = silent,
) -> ClassifierFile:
    """Train the classifier, or go on where an earlier run with this output stopped.

    Parameters
    ----------
    data : sequence of Path
        Data sets with classes, see `cut_cells`.
    out : Path
        The ``.safetensors`` file; what is needed to go on lies in a folder beside it until the end.
    outline : ModelFile
        Cuts the cells out; its contracting levels are what the classifier starts from.
    start : ClassifierFile, optional
        To go on from an earlier one instead.
    settings : ClassifierTraining, optional
    progress : Progress

    Raises
    ------
    DatasetError
        If a data set cannot be used.
    TrainingError
        If a class has too few cells to keep any aside, or what there is to go on with began otherwise.
    ModelError
        If the file is there already, or its name ends otherwise.
    """
    require_free(out)
    settings = settings or ClassifierTraining()
    folder, first = out.with_suffix(".training"), outline if start is None else start
    prints = [_data_fingerprint(path, outline) for path in data]
    state = State(settings=asdict(settings), data=" ".join(prints), network=first.hash)
    checkpoint = Checkpoint(folder)
    with checkpoint.locked():
        checkpoint.refuse_other(state)
        parts = _cells_of(data, [folder / f"cells-{of}.npz" for of in prints], outline, progress)
        cells = joined(parts)
        kinds = cells.truth.argmax(axis=1)
        aside = _kept_aside(kinds, settings.validation)
        looked_at, shares = _cells_and_shares(parts, aside, settings)
        architecture = ClassifierArchitecture(
            side=CROPS.side, widths=outline.header.architecture.widths, classes=CLASSES
        )
        model = _compile(architecture, first.weights, settings)
        weights = _fit(model, looked_at, shares, settings, checkpoint, state, progress)
        header = ClassifierHeader(
            name=out.stem,
            architecture=architecture,
            diameter=CROPS.diameter,
            cut=CUT,
            training_data=", ".join(Path(path).name for path in data) + f" ({counted(len(cells), 'cell')})",
            training={**asdict(settings), "start": first.id},
        )
        validation, chosen = np.flatnonzero(aside), _examples(kinds, np.flatnonzero(~aside), settings)
        uncalibrated = ClassifierFile.make(header, weights)
        temperature = settings.elsewhere * _temperature(uncalibrated, cells, validation, settings.seed)
        weights["classes/kernel"] /= temperature
        weights["classes/bias"] /= temperature
        weights["classes/bias"] += settings.usual * np.log(np.array(USUAL, np.float32) / max(USUAL))
        plain = ClassifierFile.make(header, weights)
        probabilities, _ = plain.predict(unchanged_views(cells, validation))
        _, embedding = plain.predict(unchanged_views(cells, chosen))
        right = float((probabilities.argmax(axis=1) == kinds[validation]).mean())
        header = header.model_copy(
            update={
                "scores": {"validation accuracy": round(right, 4), "temperature": round(temperature, 3)},
                "examples": tuple(CLASSES[kinds[index]] for index in chosen),
            }
        )
        file = ClassifierFile.write(out, header, {**weights, EXAMPLES: embedding})
    shutil.rmtree(folder, ignore_errors=True)
    return file


def _data_fingerprint(data: Path, outline: ModelFile) -> str:
    """Return what the cells of a data set are known by: its classes, size and last change of its pictures."""
    table = class_table(data)
    found = [file.stat() for name in table["image"].unique() if (file := data / name).is_file()]
    states = [(state.st_size, state.st_mtime_ns) for state in found]
    return hash_of(f"{data.resolve()} {table.to_csv()}{states} {outline.hash}".encode())


def _kept_aside(kinds: np.ndarray, every: int) -> np.ndarray:
    """Return which cells are kept aside: one in so many of each class."""
    counts = np.bincount(kinds, minlength=len(CLASSES)).tolist()
    if (fewest := min(counts)) < every:
        raise TrainingError(
            f"Of the class {CLASSES[counts.index(fewest)]} there {'is' if fewest == 1 else 'are'} "
            f"{counted(fewest, 'cell')} to train on: give at least {every} of each class."
        )
    return np.asarray(pd.Series(kinds).groupby(kinds).cumcount() % every == every - 1)


def _cells_and_shares(
    parts: Sequence[ClassCells], aside: np.ndarray, settings: ClassifierTraining
) -> tuple[ClassCells, np.ndarray]:
    """Return all cells and discs, and how often each is looked at; those kept aside never."""
    drawn, nothing = drawn_cells(settings.fields, settings.seed), discs(settings.discs, settings.seed)
    sizes = np.sqrt([len(part) for part in parts])
    real = np.concatenate([size * _shares(part) for size, part in zip(sizes, parts, strict=True)])
    rest = (1 - settings.drawn - settings.nothing) / sizes.sum()
    beside = settings.drawn * _shares(drawn), settings.nothing * _shares(nothing)
    shares = np.concatenate([rest * real * ~aside, *beside])
    return joined([*parts, drawn, nothing]), shares / shares.sum()


def _cells_of(
    data: Sequence[Path], files: Sequence[Path], outline: ModelFile, progress: Progress
) -> list[ClassCells]:
    """Cut the cells of each data set out, or take them from where an earlier run left them."""
    for path, file in zip(data, files, strict=True):
        if not file.is_file():
            cut_cells(path, outliner(outline, flips=False), progress).save(file)
    return [ClassCells.load(file) for file in files]


def _fit(
    model: KerasModel,
    cells: ClassCells,
    shares: np.ndarray,
    settings: ClassifierTraining,
    checkpoint: Checkpoint,
    state: State,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Fit the network on views of cells, drawn as often as their shares say; return its weights."""
    keras, total = import_keras(), settings.steps * settings.epochs
    state = checkpoint.restore(model, state)

    def draw(epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((settings.seed, epoch, index))
        drawn = rng.choice(len(cells), settings.batch, p=shares)
        others = rng.permutation(drawn)
        pairs = zip(drawn, others, strict=True)
        views = [view(*cells.cell(one), rng, cells.cell(other)) for one, other in pairs]
        return np.stack(views), cells.truth[drawn]

    def begin_epoch(epoch: int, logs: Any = None) -> None:
        dataset.epoch = epoch
        keras.utils.set_random_seed((settings.seed + epoch) % 2**32)  # dropout draws from it on torch

    def tell(batch: int, logs: Any = None) -> None:
        progress(dataset.epoch * settings.steps + batch, total, "Training the classifier")

    def end_epoch(epoch: int, logs: Any = None) -> None:
        state.history.append({"epoch": epoch + 1})
        checkpoint.save(following.model, state)

    with contextlib.closing(Feeder(draw, settings.steps, settings.epochs)) as feeder:
        dataset = as_dataset(feeder.get, settings.steps)
        dataset.epoch = len(state.history)
        following = keras.callbacks.LambdaCallback(
            on_epoch_begin=begin_epoch, on_train_batch_end=tell, on_epoch_end=end_epoch
        )
        model.fit(
            dataset,
            epochs=settings.epochs,
            initial_epoch=len(state.history),
            shuffle=False,  # the batches are, so that it can be repeated
            callbacks=[following],
            verbose=0,
        )
    return weights_of(model)


def _compile(
    architecture: ClassifierArchitecture, start: Mapping[str, np.ndarray], settings: ClassifierTraining
) -> KerasModel:
    """Build the network, from the weights of another as far as they fit, with its optimiser and loss."""
    keras = import_keras()
    keras.utils.set_random_seed(settings.seed)
    model = build_classifier(architecture, settings.dropout, dtype_policy("auto"))
    fresh = weights_of(model)
    fitting = {
        name: start[name] for name in fresh if name in start and start[name].shape == fresh[name].shape
    }
    set_weights(model, {**fresh, **fitting})
    highest, total = settings.learning_rate, settings.steps * settings.epochs
    rate = keras.optimizers.schedules.CosineDecay(
        highest / 100, total, alpha=0.01, warmup_target=highest, warmup_steps=settings.steps
    )
    model.compile(
        keras.optimizers.AdamW(
            rate, weight_decay=settings.weight_decay, use_ema=True, ema_momentum=settings.average
        ),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.smoothing),
    )
    model.optimizer.build(model.trainable_variables)  # or TensorFlow traces the step twice, see `train`
    return model


def _shares(cells: ClassCells) -> np.ndarray:
    """Return how often each cell is looked at, 1 in all: classes by the square root of their number."""
    kinds = cells.truth.argmax(axis=1)
    often = 1 / np.sqrt(np.bincount(kinds))[kinds]
    return np.asarray(often / often.sum())


def unchanged_views(cells: ClassCells, chosen: np.ndarray) -> np.ndarray:
    """Return what the classifier takes of cells, unchanged."""
    edge = (SIDE - CROPS.side) // 2
    middle = slice(edge, edge + CROPS.side)
    whole = [cells.cell(index) for index in chosen.tolist()]
    return np.stack([alone(crop[middle, middle], mask[middle, middle]) for crop, mask in whole])


def _temperature(file: ClassifierFile, cells: ClassCells, chosen: np.ndarray, seed: int) -> float:
    """Return what logits are divided by for probabilities that are true (Guo et al., ICML 2017).

    They are to be true elsewhere too: each cell is looked at as it is and as another laboratory shows it.
    """
    from scipy.optimize import minimize_scalar

    rng = np.random.default_rng(seed)
    elsewhere = np.stack([view(*cells.cell(index), rng) for index in chosen.tolist()])
    pictures = np.concatenate([unchanged_views(cells, chosen), elsewhere])
    probabilities, _ = file.predict(pictures)
    logits = np.log(np.maximum(probabilities, 1e-9)).astype(float)
    truth = np.tile(cells.truth[chosen], (2, 1))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float((np.logaddexp.reduce(scaled, axis=1) - (truth * scaled).sum(axis=1)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x))


def _examples(kinds: np.ndarray, chosen: np.ndarray, settings: ClassifierTraining) -> np.ndarray:
    """Choose cells of each class, evenly over those there are."""
    parts = []
    for kind in range(len(CLASSES)):
        members = chosen[kinds[chosen] == kind]
        parts.append(members[:: max(len(members) // settings.examples, 1)][: settings.examples])
    return np.concatenate(parts)
