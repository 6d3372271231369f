"""``wbcseg train`` and ``finetune``: a network of one's own, and a model that learns from corrections."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import progress

from ..settings import TrainingSettings
from ..words import counted, duration
from .app import STOPPED, MasksOption, changed
from .console import add_bar, new_console, on_signals, print_table, progress_bars

if TYPE_CHECKING:
    from ..datasets.masks import MaskReading
    from ..datasets.pair import TrainingPair
    from ..network.model_file import ModelFile
    from ..training.train import TrainingResult


def train(
    changes: dict[str, Any],
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders of images with masks or labels, or the SigTuple folder or tar."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The model file to write (.safetensors), or a folder for it."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model; without --out it joins `wbcseg models`.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="Training settings to start from: a JSON file.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Go on from this model (fine-tuning), not from scratch.")
    ] = None,
    without_fold: Annotated[
        int | None, typer.Option(min=0, max=4, help="SigTuple: leave this fold out, to evaluate on it.")
    ] = None,
    outlines: Annotated[
        str | None,
        typer.Option(help="A model that outlines cells of which only a box or the class is known."),
    ] = None,
    without_cells: Annotated[
        list[Path] | None, typer.Option(help="A folder of pictures without a white cell; can be repeated.")
    ] = None,
    masks: MasksOption = "auto",
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where an earlier, interrupted run of this command stopped."),
    ] = False,
) -> None:
    """Train a network on images whose cells are known.

    Ctrl-C ends the training and keeps the best weights so far.
    """
    from ..network.library import load_model, require_free, save_to_library
    from ..network.model_file import ModelFile, clean_name
    from ..network.tensor_file import SUFFIX
    from ..training.checkpoint import Checkpoint, State
    from ..training.folder import shell_training_folder
    from ..training.train import train as train_network

    init = load_model(start) if start is not None else None
    chosen = _training_settings(settings, changes, init)
    if out is None and name is None:
        raise typer.BadParameter(
            "Give the model a place with --out FILE, or a name in your library with --name NAME."
        )
    name = clean_name(name or (out.stem if out is not None and out.suffix else f"my-{chosen.recipe}"))
    if out is None:
        folder = shell_training_folder(name)
    else:
        folder = out.with_name(f"{out.stem}-training") if out.suffix == SUFFIX else out
    checkpoint = Checkpoint(folder)
    if out is not None and not (resume and checkpoint.exists):
        require_free(out if out.suffix == SUFFIX else out / f"{name}{SUFFIX}")
    if not resume:
        checkpoint.refuse_unfinished()
    else:  # before data are read, of which outlines may have to be proposed
        checkpoint.refuse_other(State(settings=chosen.model_dump(), data="", network=""))
    pairs, told = _training_data(data, without_cells or [], masks, outlines, without_fold)
    with _training_view() as view:
        result = train_network(
            pairs, chosen, folder, name=name, init=init, resume=resume, training_data=told, **view
        )
    model = result.model
    if out is None:
        model = save_to_library(model, name)
    elif out.suffix == SUFFIX:
        model = ModelFile.write(out, model.header, model.weights)
    _print_result(result, model)
    typer.echo(f"History, and checkpoint for --resume: {folder}")
    if "stopped" in result.ended:
        typer.echo("The same command with --resume goes on from here.")
        raise typer.Exit(STOPPED)


def finetune(
    changes: dict[str, Any],
    data: Annotated[
        list[Path] | None,
        typer.Argument(help="Your fields with their labels.", show_default="the training set"),
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
    """Fine-tune a model on corrected cells.

    A sample of the original data is mixed in, so that nothing is forgotten. Then the old and the
    new model are scored on the same cells, which neither was tuned on, and the new one is kept only
    if it is wanted.
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
    with _training_view() as view:
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
            typer.echo("Nobody was asked.")
    if keep:
        kept = result.keep(name)
        typer.echo(f"Model {kept.name}: {kept.path}")
    else:
        typer.echo("The new model was not kept; the same command with --resume --keep keeps it still.")
    if "stopped" in result.model.header.training.get("ended", ""):
        raise typer.Exit(STOPPED)


def _training_data(
    data: list[Path],
    without_cells: list[Path],
    masks: MaskReading,
    outlines: str | None,
    without_fold: int | None,
) -> tuple[list[TrainingPair], str]:
    """Return what is trained on, and what that is in words."""
    from ..datasets.read import read_pairs
    from ..datasets.sigtuple import fold_of
    from ..datasets.single_cells import read_without_cells
    from ..segmentation.outlining import outliner

    outline = None if outlines is None else outliner(outlines)
    pairs = [pair for path in data for pair in read_pairs(path, masks, outline)]
    pairs += [pair for path in without_cells for pair in read_without_cells(path, outline)]
    where = " and ".join(path.resolve().name for path in [*data, *without_cells])
    if without_fold is not None:
        pairs = [pair for pair in pairs if fold_of(pair.name) != without_fold]
        where += f", without fold {without_fold}"
    return pairs, f"{counted(len(pairs), 'image')} from {where}"


def _print_result(result: TrainingResult, model: ModelFile) -> None:
    epochs = counted(len(result.history), "epoch")
    typer.echo(f"Trained for {epochs} in {duration(result.seconds)}: {result.ended}.")
    scores = ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in model.header.scores.items())
    if scores:
        typer.echo(f"Kept is epoch {model.header.training.get('best_epoch')}: {scores}.")
    typer.echo(f"Model {model.name}: {model.path}")


def _training_settings(
    file: Path | None, changes: dict[str, Any], init: ModelFile | None
) -> TrainingSettings:
    if file is not None:
        return changed(TrainingSettings.from_json(file), changes)
    if init is not None:
        return changed(TrainingSettings.for_recipe(init.header.recipe, fine_tuning=True), changes)
    recipe = changes.get("recipe", TrainingSettings.model_fields["recipe"].default)
    return changed(TrainingSettings.for_recipe(recipe), changes)


@contextlib.contextmanager
def _training_view() -> Iterator[dict[str, Any]]:
    """Show bars, a line an epoch, and let the first Ctrl-C keep the best weights; the second acts at once.

    Yields
    ------
    dict
        ``progress``, ``on_event`` and ``should_stop``, as `napari_wbcseg.train` takes them.
    """
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        new_console().print("Stopping after this step; the best weights are kept. Once more to give up.")

    with (
        progress_bars(progress.TextColumn("{task.fields[scores]}", markup=False)) as bars,
        on_signals(ask, "SIGINT", "SIGTERM"),
    ):
        show = add_bar(bars, "Starting", scores="")

        def tell(event: dict[str, Any]) -> None:
            kind = event["event"]
            if kind == "start":
                bars.console.print(_start_line(event))
            elif kind == "note":
                bars.console.print(event["text"])
            elif kind == "step":
                bars.update(bars.task_ids[0], scores=_scores(event))
            elif kind == "epoch":
                bars.console.print(_epoch_line(event))

        yield {"progress": show, "on_event": tell, "should_stop": lambda: asked}


def _start_line(event: dict[str, Any]) -> str:
    resumed = f", resumed after epoch {len(event['history'])}" if event["history"] else ""
    helpers = f" Processes that prepare batches: {event['processes']}." if event["processes"] else ""
    return (
        f"Training {event['name']} ({event['recipe']}){resumed}. {event['plan']}\n"
        f"Device: {event['device']}. Arithmetic: {event['precision']}.{helpers}"
    )


def _epoch_line(event: dict[str, Any]) -> str:
    best = "  best so far" if event["best"] else ""
    pace = f"{event['images_per_second']:.1f} images/s, {duration(event['seconds_left'])} left"
    epoch = f"epoch {event['epoch']:>3} of {event['epochs']}"
    return f"{epoch}  {_scores(event)}  lr {event['lr']:.2g}  {pace}{best}"


def _scores(event: dict[str, Any]) -> str:
    names = {"loss": "loss", "dice": "dice", "val_loss": "val loss", "val_dice": "val dice"}
    return "  ".join(f"{shown} {event[key]:.4f}" for key, shown in names.items() if key in event)
