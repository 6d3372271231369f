"""``wbcseg segment``: the white cells of images and folders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import WBCSegError
from ..words import counted, listed
from .app import FAILED, SettingsOption, model_and_settings
from .console import add_bar, complain, print_table, progress_bars, rounded

if TYPE_CHECKING:
    from distributed import Client

    from ..batch.folder import BatchItem
    from ..batch.run import BatchResult

_TABLE_ROWS = 40
_COUNTED = "white_cells", "erythroblasts", "to_check"


def segment(
    changes: dict[str, Any],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; it is made.")],
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images, folders of images, or patterns such as 'slides/*.tif'; where none is given, those "
            "that the file of --settings records: a run.json alone does that run once more.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Name of a model (see `wbcseg models`) or its file.",
            show_default="that of the recorded --settings, else wbc; classic with --recipe classic",
        ),
    ] = None,
    settings: SettingsOption = None,
    mask: Annotated[bool | None, typer.Option(help="Write NAME-mask.jpg too.", show_default="no")] = None,
    overlay: Annotated[bool | None, typer.Option(help="Write NAME-overlay.png.", show_default="yes")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            help="Write these too, separated by commas: csv, geojson (QuPath), roi (ImageJ, Fiji), ome-zarr.",
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into subfolders too.")] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Do images again that an earlier run has done; what a person corrected stays beside that.",
        ),
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Do the work on the workers of this dask scheduler: its address, or its scheduler file."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Do the work in so many processes on this machine.")
    ] = None,
) -> None:
    """Find, outline and count the white cells of images.

    For each image a label image (NAME-labels.tif), its table and settings
    (NAME-result.json) and a picture of what was found (NAME-overlay.png) are written;
    for the run report.html, counts.csv, cells.csv and run.json. An image that cannot be
    read is reported and skipped; the exit status is then 1. The same command again does
    only what is missing, or all if the model, the classifier, the settings or the version changed.

    Whole slides, zarr, OME-Zarr and TIFF files of more than 12 million pixels are
    not read as a whole; each gets a folder NAME-cells with labels.zarr,
    probability.zarr and cells.csv; what was interrupted goes on where it stopped. Folders
    are searched for them too.
    """
    from ..batch.folder import items_of
    from ..batch.run import collect, segment_files
    from ..results.formats.registry import format_names
    from ..results.records import RunRecord

    wanted: tuple[str, ...] = format_names(",".join(formats)) if formats else ()
    if scheduler is not None and workers is not None:
        raise typer.BadParameter("--workers starts processes here, --scheduler uses those of a cluster.")
    file, chosen, source, record = model_and_settings(model, settings, changes)
    before = record.formats if isinstance(record, RunRecord) and not paths else ("overlay",)
    if paths:
        items = collect(paths, recursive=recursive)
    elif settings is not None and record is not None:
        items = items_of(record, settings.resolve().parent)
    else:
        raise typer.BadParameter("Name at least one image, folder or pattern.")
    flags = {"mask": mask, "overlay": overlay}
    pictures = [name for name in flags if flags[name] or (flags[name] is None and name in (*wanted, *before))]
    others = [name for name in wanted or before if name not in flags]
    with _cluster(scheduler, workers) as client, progress_bars() as bars:

        def report(item: BatchItem, row: dict[str, Any]) -> None:
            if row["error"]:
                bars.console.print(row["error"], style="red")

        result = segment_files(
            items,
            out,
            file,
            chosen,
            source=source,
            formats=(*pictures, *others),
            again=again,
            client=client,
            progress=add_bar(bars, "Images"),
            image_progress=add_bar(bars),
            report=report,
        )
    _print_result(result, out, again)
    if result.failed:
        complain(f"{result.failed} of {counted(len(items), 'input')} failed; see above or counts.csv.")
        raise typer.Exit(FAILED)


def _print_result(result: BatchResult, out: Path, again: bool) -> None:
    from ..batch.report import REPORT_FILE

    _print_counts(result.rows, result.notices)
    typer.echo(f"Results: {out}")
    typer.echo(f"Report:  {out / REPORT_FILE}")
    if result.kept:
        advice = "" if again else " --again does all."  # with it, those are of others than were given
        typer.echo(f"Done before, and not again: {counted(result.kept, 'image')}.{advice}")
    elif result.outdated:
        typer.echo(
            "Model, classifier, settings or version changed since the last run into this folder: "
            f"{counted(result.outdated, 'image')} done anew, and the tables tell of nothing older."
        )
    for sentence in result.notices:
        typer.echo(sentence)


def _cluster(scheduler: str | None, workers: int | None) -> AbstractContextManager[Client | None]:
    if scheduler is None and workers is None:
        return nullcontext()
    try:
        from ..batch.cluster import cluster
    except ImportError as error:
        raise WBCSegError(
            f"Working on a cluster needs dask.distributed ({error}): pip install 'napari-wbcseg[cluster]'."
        ) from None
    return cluster(scheduler=scheduler, workers=workers)


def _print_counts(rows: list[dict[str, Any]], notices: Sequence[str]) -> None:
    good = [row for row in rows if row["status"] == "ok"]
    if not good:
        return
    with_erythroblasts = any(row["erythroblasts"] for row in good)
    beside = ["erythroblasts", "per 100"] if with_erythroblasts else []

    def numbers(rows: list[dict[str, Any]]) -> list[str]:
        white, red, check = (sum(row[name] for row in rows) for name in _COUNTED)
        per_100 = [str(red), rounded(100 * red / white if white else None)] if with_erythroblasts else []
        return [str(white), *per_100, str(check or "")]

    table, total = list[tuple[str, ...]](), tuple[str, ...]()
    for row in good[:_TABLE_ROWS]:
        shown = ["?"] * (2 + len(beside)) if row["white_cells"] is None else numbers([row])
        table.append((row["image"], *shown, rounded(row["cell_diameter"]), rounded(row["seconds"], 2)))
    if len(good) > _TABLE_ROWS:
        table.append((f"... {len(good) - _TABLE_ROWS} more in counts.csv",))
    if len(good) > 1:
        sure = [row for row in good if row["white_cells"] is not None]
        seconds = sum(row["seconds"] or 0 for row in good)
        in_doubt = f", {len(good) - len(sure)} in doubt" if len(sure) < len(good) else ""
        total = counted(len(good), "image") + in_doubt, *numbers(sure), "", rounded(seconds, 2)
    print_table(("image", "white cells", *beside, "to check", "diameter", "seconds"), table, total=total)
    _print_notes(good, notices)


def _print_notes(rows: list[dict[str, Any]], notices: Sequence[str]) -> None:
    """Print the notes of the images without notices of the run, first of those whose count is in doubt."""
    told = defaultdict[str, list[str]](list)
    for row in sorted(rows, key=lambda row: row["white_cells"] is not None):
        notes = row["notes"]
        for sentence in notices:
            notes = notes.replace(sentence, "").strip()
        if notes:
            told[notes].append(row["image"])
    for notes, images in list(told.items())[:_TABLE_ROWS]:
        typer.echo(f"{listed(images)}: {notes}")
    if len(told) > _TABLE_ROWS:
        typer.echo("More notes are in counts.csv.")
