"""``wbcseg classify``, ``differential`` and ``train-classifier``: what the cells are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..words import counted
from .app import FAILED, csv_file
from .console import complain, new_console, print_table, progress_bar, rounded

_Results = Annotated[list[Path], typer.Argument(help="Folders, or NAME-result.json files.")]


def classify(
    results: _Results,
    classes: Annotated[
        str, typer.Option(help="What tells the classes: built-in, or the file of a classifier.")
    ] = "built-in",
) -> None:
    """Tell the classes of cells that were segmented before. What a person said stays."""
    from ..batch.classify import classify_results

    with progress_bar("Looking at cells") as progress:
        done, problems = classify_results(results, classes, progress)
    new_console().print(f"{counted(len(done), 'result')} classified.")
    differential(results)
    if problems:
        complain("\n".join(problems))
        raise typer.Exit(FAILED)


def differential(
    results: _Results,
    csv: Annotated[
        Path | None, typer.Option(callback=csv_file, help="Write the table to this file too.")
    ] = None,
) -> None:
    """Count the white cells of results by class. In per cent, with the 95 % interval."""
    from ..results.differential import differential_of
    from ..results.formats.tables import write_table

    found, told_by = differential_of(results)
    rows = []
    for share in found.shares:
        if share.count or not share.part_of:
            name = f"  {share.name}" if share.part_of else share.name
            interval = f"{rounded(share.low)} to {rounded(share.high)}" if found.white_cells else ""
            more = str(share.more_to_halve or "")
            rows.append((name, str(share.count), rounded(share.percent), interval, more))
    print_table(("class", "cells", "%", "95 % interval", "more to halve it"), rows)
    others = ", ".join(f"{name} {count}" for name, count in found.others.items() if count)
    typer.echo(found.summary + (f" ({others}: no white cells)" if others else "") + ".")
    if found.unusual:
        typer.echo(found.unusual)
    for number, what, sentence in (
        (found.in_doubt, "result", "Left out, as their counts are in doubt: {}."),
        (found.outdated, "result", "Left out, as the tables beside them are of another run: {}."),
        (found.missing, "image", "Not in it, as a run failed at them or did not come to them: {}."),
        (
            found.twice,
            "result",
            "Counted, though another one is of the same picture: {}. Leave one of each out.",
        ),
    ):
        if number:
            typer.echo(sentence.format(counted(number, what)))
    if told_by:
        typer.echo(f"Classes told by {', '.join(told_by)}.")
    if csv is not None:
        write_table(csv, found.table())


def train_classifier(
    data: Annotated[list[Path], typer.Argument(help="Folders with images and a classes.csv.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The classifier's file to write (.safetensors).")],
    start: Annotated[
        Path | None, typer.Option(help="Go on from this classifier, not from the outlining model.")
    ] = None,
    outlines: Annotated[str, typer.Option(help="The model that cuts the cells out.")] = "wbc",
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs.")] = None,
) -> None:
    """Train a classifier of cells. The same command again goes on where it stopped."""
    from ..network.classifier import read_classifier
    from ..network.library import load_model
    from ..network.model_card import short_scores
    from ..training.classifier import ClassifierTraining
    from ..training.classifier import train_classifier as train

    settings = ClassifierTraining() if epochs is None else ClassifierTraining(epochs=epochs)
    first = None if start is None else read_classifier(start)
    with progress_bar("Training") as progress:
        file = train(data, out, load_model(outlines), first, settings, progress)
    typer.echo(f"{out}: {file.id}, {short_scores(file.header.scores)}")
