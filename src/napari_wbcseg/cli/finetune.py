"""``wbcseg finetune``: a model that learns from corrections."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..settings import TrainingSettings
from ..words import duration
from .app import STOPPED
from .console import new_console, print_table
from .options import MasksOption, changed
from .training_view import training_view


def finetune(
    changes: dict[str, Any],
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DATA]...", help="Your fields with their labels.", show_default="the training set"
        ),
    ] = None,
    start: Annotated[str, typer.Option(help="The model to go on from.")] = "wbc",
    name: Annotated[
        str | None, typer.Option(help="Name of the new model.", show_default="START-tuned")
    ] = None,
    original: Annotated[
        Path | None,
        typer.Option(
            help="What the model was trained on, to replay a sample of it.",
            show_default="the SigTuple set, if it is here",
        ),
    ] = None,
    masks: MasksOption = "auto",
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--discard", help="Keep the new model, or not, without asking.", show_default="ask"
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier, interrupted run stopped.")
    ] = False,
) -> None:
    """Fine-tune a model on corrected cells, and keep it only if it is wanted.

    A sample of the original data is mixed in, so that nothing is forgotten. Then the old and the
    new model are scored on the same cells, which neither was tuned on.
    """
    from ..datasets.read import read_pairs
    from ..network.library import load_model
    from ..network.model_file import clean_name
    from ..training.checkpoint import Checkpoint
    from ..training.fine_tune import fine_tune
    from ..training.folder import shell_training_folder

    model = load_model(start)
    settings = changed(TrainingSettings.for_recipe(model.header.recipe, fine_tuning=True), changes)
    name = clean_name(name or f"{model.name}-tuned")
    folder = shell_training_folder(name)
    if not resume:
        Checkpoint(folder).refuse_unfinished()
    own = [pair for path in data for pair in read_pairs(path, masks)] if data else None
    with training_view() as view:
        result = fine_tune(
            own,
            model,
            original=original,
            settings=settings,
            out=folder,
            name=name,
            resume=resume,
            on_plan=lambda plan: new_console().print("\n".join([plan.summary, *plan.notes])),
            **view,
        )
    print_table(("scored on", "measure", model.name, name), result.comparison.table(), left=2)
    typer.echo(result.comparison.verdict)
    typer.echo(f"Trained for {duration(result.seconds)}.")
    if keep is None:
        keep = sys.stdin.isatty() and typer.confirm("Keep the new model?")
        if not sys.stdin.isatty():
            typer.echo("Nobody was asked: give --keep to keep the new model.")
    if keep:
        kept = result.keep(name)
        typer.echo(f"Model {kept.name}: {kept.path}")
    else:
        typer.echo("The new model was not kept.")
    if "stopped" in result.model.header.training.get("ended", ""):
        raise typer.Exit(STOPPED)
