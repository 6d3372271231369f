"""``wbcseg evaluate``: what a model finds, against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import MasksOption, SettingsOption, csv_file, model_and_settings
from .console import print_table, progress_bar, rounded

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluation


def evaluate(
    changes: dict[str, Any],
    model: Annotated[str, typer.Argument(help="Name of a model, or its file.")],
    data: Annotated[
        Path, typer.Argument(help="A folder of images with masks or labels, or the SigTuple set.")
    ],
    settings: SettingsOption = None,
    fold: Annotated[
        int | None, typer.Option(min=0, max=4, help="SigTuple: only this fold; 2 is tiles 66 to 98.")
    ] = None,
    tiles: Annotated[
        bool | None,
        typer.Option(
            "--tiles/--whole",
            help="Cut large images into tiles of 128 pixels, as the published scores were taken.",
            show_default="tiles for SigTuple, else whole",
        ),
    ] = None,
    masks: MasksOption = "auto",
    csv: Annotated[
        Path | None, typer.Option(callback=csv_file, help="Write the scores of each image to this file.")
    ] = None,
) -> None:
    """Compare what a model finds with the truth."""
    from ..datasets.read import read_pairs, require_outlines
    from ..datasets.sigtuple import fold_of, is_sigtuple
    from ..evaluation.evaluate import evaluate as evaluate_model
    from ..results.formats.tables import write_table

    file, chosen, *_ = model_and_settings(model, settings, changes)
    require_outlines(data)
    pairs = read_pairs(data, masks)
    if fold is not None:
        pairs = [pair for pair in pairs if fold_of(pair.name) == fold]
    cut = is_sigtuple(data) if tiles is None else tiles
    with progress_bar("Evaluating") as progress:
        result = evaluate_model(file, pairs, chosen, progress, tiles=cut)
    which = f", fold {fold}" if fold is not None else ""
    _print_evaluation(result, f"{result.model} on {data.resolve().name}{which}")
    if csv is not None:
        typer.echo(f"Scores of each image: {write_table(csv, result.rows)}")


def _print_evaluation(result: Evaluation, title: str) -> None:
    scores = result.summary
    published = {}
    if "network_dice" in scores:
        published["soft Dice of the network alone, as published"] = rounded(scores["network_dice"], 4)
    measures = {
        "images": f"{scores['images']:.0f}",
        "cells: true, found": f"{scores['cells']:.0f}, {scores['found']:.0f}",
        "Dice, mean of images": rounded(scores["dice"], 4),
        "soft Dice, all pixels": rounded(scores["soft_dice"], 4),
        **published,
        "IoU, mean of images": rounded(scores["iou"], 4),
        "average precision at IoU 0.5": rounded(scores["average_precision"], 4),
        "F1 at IoU 0.5": rounded(scores["f1"], 4),
        "count error, mean": rounded(scores["count_error"], 3),
        "count right": f"{scores['count_right']:.1%}",
        "seconds an image": rounded(scores["seconds"], 3),
    }
    print_table(("measure", "value"), measures.items(), title=title)
