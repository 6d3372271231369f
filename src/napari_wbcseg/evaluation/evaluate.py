"""How good a model is on images whose cells are known."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..datasets.pair import Pairs, TrainingPair
from ..datasets.read import pairs_of, require_outlines
from ..datasets.sigtuple import cut_tiles, is_sigtuple
from ..errors import DatasetError
from ..network.classic import classic_arrays, classic_target
from ..network.engines import create_engine
from ..network.library import load_model
from ..network.model_file import ModelFile
from ..progress import Progress, silent
from ..segmentation.pipeline import segment
from ..settings import SegmentationSettings
from .metrics import SMOOTHING, Counts, dice, iou, match_instances, soft_dice

_STAGE = "Evaluating"


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model.

    Attributes
    ----------
    rows : DataFrame
        One row an image: ``image``, ``group``, ``dice``, ``iou``, ``cells`` (true number),
        ``found``, ``count_error`` (found minus true), ``true_positive``, ``false_positive``,
        ``false_negative``, ``average_precision``, ``regions`` (whether the truth does not
        tell touching cells apart), ``seconds``.
    summary : dict of float
        ``images``, ``cells``, ``found``; ``dice`` and ``iou``, the means over images;
        ``soft_dice``, over the probabilities of all pixels together; ``network_dice``, for
        the classic recipe, the same of the network alone on every tile as it was published;
        ``average_precision``, ``f1``, ``precision`` and ``recall`` over all cells together at
        an IoU of 0.5; ``count_error``, the mean of its absolute values; ``count_right``, the
        share of images with the right count; ``seconds`` an image.
    model : str
        Name and hash, ``name@hash``.
    settings : SegmentationSettings
        The settings used.
    cell_dice : ndarray of float64, shape (cells,)
        Dice of each true cell and the one it is matched with, 0 where it has none; the same cells in the
        same order for every model.
    """

    rows: pd.DataFrame
    summary: dict[str, float]
    model: str
    settings: SegmentationSettings
    cell_dice: np.ndarray


def evaluate(
    model: str | Path | ModelFile,
    data: str | Path | Pairs,
    settings: SegmentationSettings | None = None,
    progress: Progress = silent,
    *,
    tiles: bool | None = None,
) -> Evaluation:
    """Segment images whose cells are known, and compare.

    A black-and-white truth does not tell touching cells apart. It is compared as what it
    is: each connected region of the truth with each connected region of what was found.

    Parameters
    ----------
    model : str, Path or ModelFile
        As `load_model` takes it.
    data : str, Path or sequence of TrainingPair
        A set that `read_pairs` reads, or its pairs.
    settings : SegmentationSettings, optional
        By default those of the model's recipe.
    progress : Progress
        Called before each image and at the end.
    tiles : bool, optional
        Cut images larger than 128 pixels into tiles, as the published scores were taken.
        By default so for a path to the SigTuple set, and not otherwise.

    Raises
    ------
    DatasetError, ImageError
        If the data cannot be used, or there is none.
    ModelError
        If the model cannot be used.
    SettingsError
        If the settings do not fit the model.

    References
    ----------
    Dice and soft Dice as in Milletari, Navab, Ahmadi, *V-Net*, 3DV 2016; average precision as
    in `napari_wbcseg.evaluation.metrics.match_instances`.
    """
    file = load_model(model)
    settings = settings or SegmentationSettings(recipe=file.header.recipe)
    if isinstance(data, str | Path):
        require_outlines(data)
    pairs = pairs_of(data)
    if tiles or (tiles is None and isinstance(data, str | Path) and is_sigtuple(data)):
        pairs = cut_tiles(pairs)
    if not pairs:
        raise DatasetError("There is no image to evaluate on; give images with masks or labels.")
    rows, of_cells = [], []
    overlap = total = 0.0
    for done, pair in enumerate(pairs):
        progress(done, len(pairs), _STAGE)
        start = time.perf_counter()
        result = segment(pair.image, file, settings)
        seconds = time.perf_counter() - start
        labels, probability = map(np.asarray, (result.labels, result.probability))  # on disk, if large
        truth = classic_target(pair).astype(np.float32) / 255
        overlap += float((truth * probability).sum(dtype=np.float64))
        total += float(truth.sum(dtype=np.float64) + probability.sum(dtype=np.float64))
        row = compare(pair, labels)
        of_cells.append(row.pop("cell_dice"))
        rows.append({**row, "seconds": seconds})
    progress(len(pairs), len(pairs), _STAGE)
    table = pd.DataFrame(rows)
    summary = _summary(table)
    # The formula of `soft_dice`, whose sums need not be held in memory at once.
    summary["soft_dice"] = (2 * overlap + SMOOTHING) / (total + SMOOTHING)
    if file.header.recipe == "classic":
        summary["network_dice"] = network_dice(file, pairs, settings)
    return Evaluation(table, summary, file.id, settings, np.concatenate(of_cells))


def compare(pair: TrainingPair, labels: np.ndarray) -> dict[str, Any]:
    """Return the row of `Evaluation.rows` of one image, without its time, and ``cell_dice`` of its cells.

    Parameters
    ----------
    pair : TrainingPair
        The truth.
    labels : ndarray of int, shape (H, W)
        The cells found.
    """
    from skimage.measure import label

    regions = pair.mask is not None
    true, found = (label(each > 0) if regions else each for each in (pair.labels, labels))
    matches = match_instances(true, found)
    cells = matches.true_positive + matches.false_negative
    number = matches.true_positive + matches.false_positive
    cell_dice = np.zeros(cells)
    place = np.searchsorted(np.unique(true[true > 0]), matches.pairs[:, 0])
    cell_dice[place] = 2 * matches.ious / (1 + matches.ious)
    return {
        "image": pair.name,
        "group": pair.group,
        "dice": dice(pair.labels, labels),
        "iou": iou(pair.labels, labels),
        "cells": cells,
        "found": number,
        "count_error": number - cells,
        **{field.name: getattr(matches, field.name) for field in fields(Counts)},
        "average_precision": matches.average_precision,
        "regions": regions,
        "cell_dice": cell_dice,
    }


def network_dice(model: ModelFile, pairs: Pairs, settings: SegmentationSettings) -> float:
    """Return the soft Dice coefficient of a classic network alone, over all tiles, as published.

    Every tile goes through the network, whether something was proposed in it or not, and the
    probabilities are compared with the masks as stored.

    Returns
    -------
    float
        NaN where no tile holds a cell.
    """
    images, targets = classic_arrays(pairs)
    if not len(images):
        return float("nan")
    engine = create_engine(model, settings.engine, settings.device)
    size = settings.batch_size
    batches = [
        engine.predict(images[start : start + size].astype(np.float32) / 255)
        for start in range(0, len(images), size)
    ]
    return soft_dice(targets.astype(np.float32) / 255, np.concatenate(batches))


def _summary(rows: pd.DataFrame) -> dict[str, float]:
    counts = Counts(*(int(rows[field.name].sum()) for field in fields(Counts)))
    scores = {name: getattr(counts, name) for name in ("average_precision", "f1", "precision", "recall")}
    return {
        "images": len(rows),
        "cells": int(rows["cells"].sum()),
        "found": int(rows["found"].sum()),
        "dice": float(rows["dice"].mean()),
        "iou": float(rows["iou"].mean()),
        **scores,
        "count_error": float(rows["count_error"].abs().mean()),
        "count_right": float((rows["count_error"] == 0).mean()),
        "seconds": float(rows["seconds"].mean()),
    }
