"""The shell: ``wbcseg demo | segment | train | evaluate | models | download``.

Results go to standard output; progress, notes and errors to standard error. The exit
status is 0 when all went well, 1 when something failed, 2 for a command that cannot be
understood, and 130 when it was stopped.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from . import __version__
from .cli_options import disguise, with_settings
from .errors import Cancelled, SettingsError, WBCSegError
from .progress import Progress
from .settings import SegmentationSettings, TrainingSettings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from .data.pairs import TrainingPair
    from .network.model_file import ModelFile
    from .network.training import TrainingResult
    from .segmentation.evaluation import Evaluation

Function = TypeVar("Function", bound=Callable[..., Any])

_FAILED, _USAGE, _STOPPED = 1, 2, 130
_TABLE_ROWS = 40

app = typer.Typer(
    name="wbcseg",
    help="Find, outline and count white blood cells in stained blood smears.",
    no_args_is_help=True,
    add_completion=False,
    # Rich panels cut long option names short on a terminal of 80 columns.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="The models there are, and what is known of them.",
)
app.add_typer(models_app, name="models")


def main() -> None:
    """Run the command line."""
    # Names of files and the sign µ must not fail on a terminal of few characters.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="wbcseg")


# --- what every command shares ----------------------------------------------------------------


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    # Made anew each time, so that it writes to the stream of the moment.
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def _complain(message: str) -> None:
    _console(stderr=True).print(message, style="red")


def _command(parent: typer.Typer, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
    """Register a command that ends in one red sentence, and no traceback, where a user can mend it."""

    def decorate(function: Function) -> Function:
        hints = get_type_hints(function, include_extras=True)
        parameters = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(function).parameters.values()
        ]
        debug_option = Annotated[bool, typer.Option("--debug", help="Show where an error arose.")]
        debug_parameter = inspect.Parameter(
            "debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=debug_option
        )

        def command(debug: bool = False, **values: Any) -> Any:
            if "debug" in hints:
                values["debug"] = debug
            try:
                return function(**values)
            except (KeyboardInterrupt, Cancelled):
                _complain("Stopped.")
                raise typer.Exit(_STOPPED) from None
            except WBCSegError as error:
                if debug:
                    raise
                _complain(str(error))
                raise typer.Exit(_FAILED) from None

        own = [parameter for parameter in parameters if parameter.name != "debug"]
        parent.command(name, **options)(disguise(command, function, [*own, debug_parameter]))
        return function

    return decorate


@contextlib.contextmanager
def _progress_bar(title: str) -> Iterator[Progress]:
    """Show a bar on standard error while it is a terminal, and nothing otherwise."""
    with _bars() as bars:
        task = bars.add_task(title, total=None)

        def show(done: int, total: int, stage: str) -> None:
            bars.update(task, completed=done, total=total or None, description=stage or title)

        yield show


def _bars(*columns: Any) -> Any:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    console = _console(stderr=True)
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _table(*headings: str, title: str | None = None, left: int = 1) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < left else "right", overflow="fold")
    return table


def _print_table(table: Table) -> None:
    from rich.console import Console

    # Names in square brackets are names, so no markup; a pipe gets wide lines instead of folded ones.
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def _number(value: Any, digits: int = 1) -> str:
    return "" if value is None or value != value else f"{value:.{digits}f}"


def _usage(message: str) -> typer.BadParameter:
    return typer.BadParameter(message)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wbcseg {__version__}")
        raise typer.Exit


@app.callback()
def _wbcseg(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    pass


# Parameters that several commands have.
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Name of a model (see `wbcseg models`) or its file.",
        show_default="wbc; classic with --recipe classic",
    ),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="Settings to start from: a settings file, or the run.json of a run."),
]


def _model_and_settings(
    name: str | None, file: Path | None, changes: dict[str, Any]
) -> tuple[ModelFile, SegmentationSettings, str]:
    """Return the model, the settings for it, and what the model was asked for by."""
    from .network.models import load_model
    from .segmentation.output import read_settings

    settings = read_settings(file) if file is not None else SegmentationSettings()
    settings = _changed(settings, changes)
    says_recipe = file is not None or "recipe" in changes
    if name is None:
        name = "classic" if settings.recipe == "classic" else "wbc"
    model = load_model(name)
    if not says_recipe:  # then the model decides
        settings = settings.replace(recipe=model.header.recipe)
    return model, settings, name


def _changed(settings: Any, changes: dict[str, Any]) -> Any:
    """Return settings with the options given; a value out of range is an error of usage."""
    if not changes:
        return settings
    try:
        return settings.replace(**changes)
    except SettingsError as error:
        raise _usage(str(error)) from None


# --- demo -------------------------------------------------------------------------------------


@_command(app)
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")] = Path("wbcseg-demo"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another number draws another smear.")] = 0,
    model: ModelOption = None,
) -> None:
    """Draw a synthetic smear, count its white cells, and show what was found.

    It needs no file and no network.
    """
    from .data.synthetic import synthetic_smear
    from .segmentation.metrics import match_instances
    from .segmentation.output import LABELS_SUFFIX, OVERLAY_SUFFIX, write_image, write_labels, write_overlay
    from .segmentation.pipeline import segment as segment_image

    file, settings, _ = _model_and_settings(model, None, {})
    with _progress_bar("Drawing a smear") as progress:
        progress(0, 0, "Drawing a smear")
        smear = synthetic_smear(seed=seed)
        result = segment_image(smear.image, file, settings, progress)
    image = write_image(out / "smear.png", smear.image)
    labels = write_labels(out / f"smear{LABELS_SUFFIX}", result.labels)
    picture = write_overlay(out / f"smear{OVERLAY_SUFFIX}", smear.image, result.labels, result.cells)

    height, width = smear.labels.shape
    table = _table("cell", "row", "column", "diameter", "certainty", "", left=0)
    for cell in result.cells.itertuples():
        note = "check" if cell.check else ""
        table.add_row(
            str(cell.label),
            _number(cell.row, 0),
            _number(cell.col, 0),
            _number(cell.diameter),
            _number(cell.certainty, 2),
            note,
        )
    _print_table(table)
    matches = match_instances(smear.labels, result.labels)
    typer.echo(
        f"Found {result.summary} in a synthetic smear of {width} x {height} pixels (model {file.name})."
    )
    typer.echo(
        f"Truth: {smear.count}. {matches.true_positive} of them found, "
        f"{matches.false_negative} missed, {matches.false_positive} extra."
    )
    typer.echo(f"Picture: {picture}")
    typer.echo(f"Image:   {image}")
    typer.echo(f"Labels:  {labels}")


# --- segment ----------------------------------------------------------------------------------


@_command(app)
@with_settings(SegmentationSettings)
def segment(
    changes: dict[str, Any],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; it is made.")],
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...", help="Images, folders of images, or patterns such as 'slides/*.tif'."
        ),
    ] = None,
    model: ModelOption = None,
    settings: SettingsOption = None,
    mask: Annotated[
        bool | None, typer.Option("--mask/--no-mask", help="Write NAME-mask.jpg too.", show_default="no")
    ] = None,
    overlay: Annotated[
        bool | None,
        typer.Option("--overlay/--no-overlay", help="Write NAME-overlay.png.", show_default="yes"),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into subfolders too.")] = False,
    repeat: Annotated[
        Path | None,
        typer.Option(
            "--repeat", help="Do again the run recorded in this run.json: its images, model, settings."
        ),
    ] = None,
    debug: bool = False,
) -> None:
    """Find, outline and count the white cells of images.

    For each image a label image (NAME-labels.tif) and a picture of what was found
    (NAME-overlay.png) are written; for the run counts.csv, cells.csv and run.json.
    An image that cannot be read is reported and skipped; the exit status is then 1.
    """
    from .segmentation.batch import collect, items_of, model_of, segment_files
    from .segmentation.output import RunRecord

    if repeat is not None:
        if paths or changes or model is not None or settings is not None:
            raise _usage("--repeat takes the images, the model and all settings from the recorded run.")
        record = RunRecord.read(repeat)
        items, file, chosen = items_of(record, repeat.resolve().parent), model_of(record), record.settings
        source = record.model.source
        mask = record.mask if mask is None else mask
        overlay = record.overlay if overlay is None else overlay
    else:
        if not paths:
            raise _usage("Name at least one image, folder or pattern.")
        file, chosen, source = _model_and_settings(model, settings, changes)
        items = collect(paths, recursive=recursive)

    def unexpected(error: Exception) -> None:
        if debug:
            import traceback

            _console(stderr=True).print("".join(traceback.format_exception(error)))

    with _bars() as bars:
        images = bars.add_task("Images", total=len(items))
        inside = bars.add_task("", total=None)

        def show(done: int, total: int, stage: str) -> None:
            bars.update(images, completed=done, total=total, description=stage or "Images")

        def show_inside(done: int, total: int, stage: str) -> None:
            bars.update(inside, completed=done, total=total or None, description=f"  {stage}")

        def report(row: dict[str, Any]) -> None:
            if row["status"] != "ok":
                bars.console.print(row["error"], style="red")

        result = segment_files(
            items,
            out,
            file,
            chosen,
            source=source,
            mask=bool(mask),
            overlay=overlay is not False,
            progress=show,
            image_progress=show_inside,
            report=report,
            unexpected=unexpected,
        )
    _print_counts(result.rows)
    typer.echo(f"Results: {out}")
    if result.failed:
        _complain(
            f"{result.failed} of {len(items)} {_plural('input', len(items))} failed; see above or counts.csv."
        )
        raise typer.Exit(_FAILED)


def _print_counts(rows: list[dict[str, Any]]) -> None:
    good = [row for row in rows if row["status"] == "ok"]
    if not good:
        return
    table = _table("image", "white cells", "to check", "diameter", "seconds")
    for row in good[:_TABLE_ROWS]:
        table.add_row(
            row["image"],
            str(row["count"]),
            str(row["to_check"] or ""),
            _number(row["cell_diameter"]),
            _number(row["seconds"], 2),
        )
    if len(good) > _TABLE_ROWS:
        table.add_row(f"... {len(good) - _TABLE_ROWS} more in counts.csv", "", "", "", "")
    if len(good) > 1:
        table.add_section()
        table.add_row(
            f"{len(good)} images",
            str(sum(row["count"] for row in good)),
            str(sum(row["to_check"] for row in good) or ""),
            "",
            _number(sum(row["seconds"] for row in good), 2),
        )
    _print_table(table)


def _plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"


# --- train ------------------------------------------------------------------------------------


@_command(app)
@with_settings(
    TrainingSettings,
    defaults={"robust": TrainingSettings.for_recipe("robust").model_dump(exclude={"recipe"})},
)
def train(
    changes: dict[str, Any],
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA...",
            help="Folders of images with masks or labels, or the SigTuple folder or tar.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The model file to write (.safetensors), or a folder for it."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the model; without --out it joins `wbcseg models`.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="Training settings to start from: a JSON file.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="Go on from this model (fine-tuning), not from scratch.")
    ] = None,
    without_fold: Annotated[
        int | None,
        typer.Option(
            "--without-fold", min=0, max=4, help="SigTuple: leave this fold out, to evaluate on it."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where an earlier, interrupted run of this command stopped."),
    ] = False,
) -> None:
    """Train a network on images whose cells are known.

    Ctrl-C ends the training and keeps the best weights so far.
    """
    from .network.models import clean_name, load_model, models_folder, save_to_library
    from .network.training import train as train_network

    # Before anything imports TensorFlow: it reports on libraries that nobody asked for.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    init = load_model(start) if start is not None else None
    chosen = _training_settings(settings, changes, init)
    if out is None and name is None:
        raise _usage("Give the model a place with --out FILE, or a name in your library with --name NAME.")
    name = clean_name(name or (out.stem if out is not None and out.suffix else f"my-{chosen.recipe}"))
    if out is None:
        folder = models_folder() / "training" / name
    elif out.suffix == ".safetensors":
        folder = out.with_name(f"{out.stem}-training")
    else:
        folder = out
    pairs, described = _training_pairs(data, without_fold)
    result = _train_visibly(train_network, pairs, chosen, folder, name, init, resume, described)
    model = result.model
    if out is None:
        # A name that is taken gets a number, unless this run goes on where the taken one ended.
        model = save_to_library(model, name, overwrite=resume)
    elif out.suffix == ".safetensors":
        from .network.model_file import write_model

        model = write_model(out, model.header, model.weights)
    epochs = f"{len(result.history)} {_plural('epoch', len(result.history))}"
    typer.echo(f"Trained for {epochs} in {_duration(result.seconds)}: {result.ended}.")
    scores = ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in model.header.scores.items())
    if scores:
        typer.echo(f"Best epoch {model.header.training.get('best_epoch')}: {scores}.")
    typer.echo(f"Model {model.name}: {model.path}")
    typer.echo(f"History, and checkpoint for --resume: {folder}")
    if "stopped" in result.ended:
        typer.echo("The same command with --resume goes on from here.")
        raise typer.Exit(_STOPPED)


def _training_settings(
    file: Path | None, changes: dict[str, Any], init: ModelFile | None
) -> TrainingSettings:
    from .segmentation.output import read_training_settings

    if file is not None:
        return _changed(read_training_settings(file), changes)  # type: ignore[no-any-return]
    default = init.header.recipe if init is not None else TrainingSettings.model_fields["recipe"].default
    return _changed(TrainingSettings.for_recipe(changes.get("recipe", default)), changes)  # type: ignore[no-any-return]


def _training_pairs(data: list[Path], without_fold: int | None) -> tuple[list[TrainingPair], str]:
    from .data.pairs import read_pairs
    from .data.sigtuple import fold_of

    pairs = [pair for path in data for pair in read_pairs(path)]
    where = " and ".join(path.resolve().name for path in data)
    if without_fold is None:
        return pairs, f"{len(pairs)} images from {where}"
    pairs = [pair for pair in pairs if fold_of(pair.name) != without_fold]
    return pairs, f"{len(pairs)} images from {where}, without fold {without_fold}"


def _train_visibly(
    train_network: Callable[..., TrainingResult],
    pairs: list[TrainingPair],
    settings: TrainingSettings,
    folder: Path,
    name: str,
    init: ModelFile | None,
    resume: bool,
    described: str,
) -> TrainingResult:
    from rich.progress import TextColumn

    with (
        _bars(TextColumn("{task.fields[scores]}", markup=False)) as bars,
        _polite_interrupt() as asked_to_stop,
    ):
        task = bars.add_task("Starting", total=None, scores="")

        def show(done: int, total: int, stage: str) -> None:
            bars.update(task, completed=done, total=total or None, description=stage)

        def tell(event: dict[str, Any]) -> None:
            kind = event["event"]
            if kind == "start":
                bars.console.print(_start_line(event))
            elif kind == "note":
                bars.console.print(event["text"])
            elif kind == "step":
                bars.update(task, scores=_scores(event))
            elif kind == "epoch":
                best = "  best so far" if event["best"] else ""
                pace = f"{event['images_per_second']:.1f} images/s"
                bars.console.print(
                    f"epoch {event['epoch']:>3} of {event['epochs']}  {_scores(event)}  "
                    f"lr {event['lr']:.2g}  {pace}, {_duration(event['seconds_left'])} left{best}"
                )

        return train_network(
            pairs,
            settings,
            folder,
            name=name,
            init=init,
            resume=resume,
            progress=show,
            on_event=tell,
            should_stop=asked_to_stop,
            training_data=described,
        )


def _start_line(event: dict[str, Any]) -> str:
    images = f"{event['images']} images"
    if event["validation_images"]:
        images += f", {event['validation_images']} more to validate on"
    resumed = f", resumed after epoch {event['resumed_from']}" if event["resumed_from"] else ""
    return (
        f"Training {event['name']} ({event['recipe']}) on {images}{resumed}.\n"
        f"Device: {event['device']}. Arithmetic: {event['precision']}."
    )


def _scores(event: dict[str, Any]) -> str:
    names = {"loss": "loss", "dice": "dice", "val_loss": "val loss", "val_dice": "val dice"}
    return "  ".join(f"{shown} {event[key]:.4f}" for key, shown in names.items() if key in event)


@contextlib.contextmanager
def _polite_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or termination) into a request to stop; the second acts at once."""
    import signal

    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        _console(stderr=True).print(
            "Stopping after this step; the best weights are kept. Once more to give up."
        )

    kinds = [signal.SIGINT, signal.SIGTERM]
    before = {kind: signal.signal(kind, ask) for kind in kinds}
    try:
        yield lambda: asked
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _duration(seconds: float) -> str:
    seconds = max(0, round(seconds))
    hours, minutes = divmod(seconds // 60, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds % 60:02} s" if minutes else f"{seconds} s"


# --- evaluate ---------------------------------------------------------------------------------


@_command(app)
@with_settings(SegmentationSettings)
def evaluate(
    changes: dict[str, Any],
    model: Annotated[str, typer.Argument(help="Name of a model, or its file.")],
    data: Annotated[
        Path, typer.Argument(help="A folder of images with masks or labels, or the SigTuple set.")
    ],
    settings: SettingsOption = None,
    fold: Annotated[
        int | None,
        typer.Option("--fold", min=0, max=4, help="SigTuple: only this fold; 2 is tiles 66 to 98."),
    ] = None,
    tiles: Annotated[
        bool | None,
        typer.Option(
            "--tiles/--whole",
            help="Cut large images into tiles of 128 pixels, as the published scores were taken.",
            show_default="tiles for SigTuple, else whole",
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write the scores of each image to this file.")
    ] = None,
) -> None:
    """Compare what a model finds with the truth."""
    from .data.pairs import read_pairs
    from .data.sigtuple import fold_of, is_sigtuple
    from .segmentation.evaluation import evaluate as evaluate_model
    from .segmentation.output import write_table

    file, chosen, _ = _model_and_settings(model, settings, changes)
    pairs = read_pairs(data)
    if fold is not None:
        pairs = [pair for pair in pairs if fold_of(pair.name) == fold]
    cut = is_sigtuple(data) if tiles is None else tiles
    with _progress_bar("Evaluating") as progress:
        result = evaluate_model(file, pairs, chosen, progress, tiles=cut)
    which = f", fold {fold}" if fold is not None else ""
    _print_evaluation(result, f"{result.model} on {data.resolve().name}{which}")
    if csv is not None:
        typer.echo(f"Scores of each image: {write_table(csv, result.rows)}")


def _print_evaluation(result: Evaluation, title: str) -> None:
    scores = result.summary
    table = _table("measure", "value", title=title)
    table.add_row("images", f"{scores['images']:.0f}")
    table.add_row("white cells: true, found", f"{scores['cells']:.0f}, {scores['found']:.0f}")
    table.add_row("Dice, mean of images", _number(scores["dice"], 4))
    table.add_row("soft Dice, all pixels", _number(scores["soft_dice"], 4))
    if "network_dice" in scores:
        table.add_row("soft Dice of the network alone, as published", _number(scores["network_dice"], 4))
    table.add_row("IoU, mean of images", _number(scores["iou"], 4))
    table.add_row("average precision at IoU 0.5", _number(scores["average_precision"], 4))
    table.add_row("F1 at IoU 0.5", _number(scores["f1"], 4))
    table.add_row("count error, mean", _number(scores["count_error"], 3))
    table.add_row("count right", f"{scores['count_right']:.1%}")
    table.add_row("seconds an image", _number(scores["seconds"], 3))
    _print_table(table)


# --- models -----------------------------------------------------------------------------------


@models_app.callback()
def _models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        _list_models()


def _list_models() -> None:
    from .network.models import list_models, models_folder

    table = _table("name", "recipe", "size", "origin", "scores", "path", left=6)
    found = list_models()
    for info in found:
        header = info.model.header if info.model is not None else None
        table.add_row(
            info.name,
            header.recipe if header else "",
            f"{info.path.stat().st_size / 1e6:.1f} MB",
            "built in" if info.built_in else "yours",
            info.problem or _short_scores(header.scores if header else {}),
            str(info.path),
        )
    if found:
        _print_table(table)
    else:
        typer.echo("There is no model yet; train one with `wbcseg train DATA --name NAME`.")
    typer.echo(f"Your models: {models_folder()}")


def _short_scores(scores: dict[str, float]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in scores.items())


@_command(models_app, "show")
def show_model(name: Annotated[str, typer.Argument(help="Name of a model, or its file.")]) -> None:
    """Show all that a model file says about itself."""
    from .network.models import load_model

    model = load_model(name)
    header = model.header
    table = _table("", "", left=2)
    table.show_header = False
    weights = sum(value.size for value in model.weights.values())
    architecture = header.architecture
    rows: dict[str, Any] = {
        "name": header.name,
        "hash": model.hash,
        "file": model.path,
        "recipe": header.recipe,
        "network": f"U-Net {'-'.join(map(str, architecture.widths))}, {weights:,} weights",
        "input": header.input,
        "cell diameter": f"{header.canonical_diameter:g} pixels"
        if header.canonical_diameter
        else "as it comes",
        "trained on": header.training_data,
        "training": ", ".join(f"{key} {value}" for key, value in header.training.items()),
        "scores": _short_scores(header.scores),
        "written by": f"napari-wbcseg {header.created_with}",
        "notes": header.notes,
    }
    for key, value in rows.items():
        if value:
            table.add_row(key, str(value))
    _print_table(table)


@_command(models_app, "import")
def import_model(
    file: Annotated[Path, typer.Argument(help="A model file (.safetensors).")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name to give it.", show_default="its own")
    ] = None,
) -> None:
    """Check a model file from elsewhere and add it to your models; no code in it is run."""
    from .network.model_file import read_model
    from .network.models import save_to_library

    saved = save_to_library(read_model(file), name)
    typer.echo(f"Model {saved.name}: {saved.path}")


# --- download ---------------------------------------------------------------------------------


@_command(app)
def download(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Only these: Train_Data, Test_Data, or names of images."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to put it in.", show_default="the cache")
    ] = None,
) -> None:
    """Download the public SigTuple set (9.7 MB), each file checked; done files are kept."""
    from .data.download import fetch_sigtuple

    with _progress_bar("Downloading") as progress:
        folder = fetch_sigtuple(names or None, cache=out, progress=progress)
    typer.echo(f"SigTuple set: {folder}")


if __name__ == "__main__":
    main()
