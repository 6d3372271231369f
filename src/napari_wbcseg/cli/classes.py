"""``wbcseg classify``, ``differential`` and ``train-classifier``: what the cells are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..errors import SettingsError
from ..words import counted
from .console import new_console, new_table, print_table, progress_bar, rounded

#: Formats whose files, where there are any, say the classes too.
_WITH_CLASSES = ("csv", "geojson", "roi", "ome-zarr", "overlay")


def classify(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS...", help="Folders, or NAME-result.json files."),
    ],
    classes: Annotated[
        str,
        typer.Option(
            "--classes", "--classifier", help="What tells the classes: built-in, or the file of a classifier."
        ),
    ] = "built-in",
) -> None:
    """Tell the classes of cells that were segmented before; what a person said stays."""
    from ..batch.run import renew_tables
    from ..classification.classify import class_list, classify_cells
    from ..images.read import read_image
    from ..network.classifier import BUILT_IN, read_classifier
    from ..results.formats.tables import table_to_columns
    from ..results.load import load_result
    from ..results.names import RESULT_SUFFIX
    from ..results.origins import ModelRecord
    from ..results.records import ResultRecord
    from ..results.save import files_of, save

    classifier = read_classifier(classes)
    source = classes if classes == BUILT_IN else str(Path(classes).expanduser().resolve())
    files = _records(results)
    with progress_bar("Looking at cells") as progress:
        for file in files:
            result, record = load_result(file), ResultRecord.read(file)
            if result.image_path is None:
                raise SettingsError(f"The image of {file} is gone: put it back, or segment it anew.")
            image = read_image(result.image_path)
            diameter = result.cell_diameter
            cells = classify_cells(result.labels, result.cells, image, diameter, classifier, progress)
            told = replace(
                result,
                cells=cells,
                settings=result.settings and result.settings.replace(classes=source),
                classifier=classifier.id,
                classes=class_list(classifier).added(*result.classes),
            )
            base = file.with_name(file.name.removesuffix(RESULT_SUFFIX))
            there = [name for name in _WITH_CLASSES if all(path.exists() for path in files_of(base, name))]
            if there:
                save(told, base, there, image=image)
            change = {
                "settings": told.settings,
                "classifier": ModelRecord.of(classifier.id, source),
                "cells": table_to_columns(cells),
                "classes": told.classes.to_list(),
                "pictures": [],
                "gallery": [],
            }
            record.model_copy(update=change).write(file)
        for folder in {file.parent for file in files}:
            renew_tables(folder)
    new_console(stderr=True).print(f"{counted(len(files), 'result')} classified.")
    differential(results)


def differential(
    results: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders, or NAME-result.json files.")
    ],
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the table to this file too.")] = None,
) -> None:
    """Count the white cells of results by class, in per cent with the 95 % interval."""
    from ..classification.differential import pooled
    from ..results.formats.tables import write_table
    from ..results.load import classes_in

    tables, lists, told_by = zip(*map(classes_in, _records(results)), strict=True)
    found = pooled(tables, lists)
    named_by = sorted(set().union(*told_by))
    table = new_table("class", "cells", "%", "95 % interval", "more to halve it")
    for share in found.shares:
        if share.count or not share.part_of:
            name = f"  {share.name}" if share.part_of else share.name
            interval = f"{rounded(share.low)} to {rounded(share.high)}" if found.white_cells else ""
            table.add_row(
                name, str(share.count), rounded(share.percent), interval, str(share.more_to_halve or "")
            )
    print_table(table)
    others = ", ".join(f"{name} {count}" for name, count in found.others.items() if count)
    typer.echo(found.summary + (f" ({others}: no white cells)" if others else "") + ".")
    if named_by:
        typer.echo(f"Classes told by {', '.join(named_by)}.")
    if csv is not None:
        write_table(csv, found.table())


def train_classifier(
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA...", help="Folders with images and a classes.csv."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The classifier's file to write (.safetensors).")],
    start: Annotated[
        Path | None, typer.Option("--start", help="Go on from this classifier, not from the outlining model.")
    ] = None,
    outlines: Annotated[str, typer.Option("--outlines", help="The model that cuts the cells out.")] = "wbc",
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs.")] = None,
) -> None:
    """Train a classifier of cells; the same command again goes on where it stopped."""
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


def _records(results: list[Path]) -> list[Path]:
    """Return the records of results, those of folders by name."""
    from ..results.names import RESULT_SUFFIX

    found = []
    for path in results:
        found += sorted(path.glob(f"*{RESULT_SUFFIX}")) if path.is_dir() else [path]
    if not found:
        raise SettingsError(f"There is no NAME{RESULT_SUFFIX} in {', '.join(map(str, results))}.")
    return found
