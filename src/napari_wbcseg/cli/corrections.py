"""``wbcseg corrections``: the training set of corrected fields."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..words import counted
from .app import MasksOption, add_command
from .console import print_table

corrections_app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="Your training set of corrected fields. It is a plain folder of TIFF pairs.",
)
FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Another training set than your own.", show_default="your own")
]


@corrections_app.callback()
def _corrections(context: typer.Context, folder: FolderOption = None) -> None:
    if folder is not None:  # as the default of what follows
        context.default_map = {command: {"folder": folder} for command in ("add", "remove")}
    if context.invoked_subcommand is not None:
        return
    from ..datasets.corrections import corrections_folder, read_record

    place = corrections_folder(folder)
    fields = read_record(place)
    if fields:
        rows = [
            (one.name, str(one.cells), one.source, one.model, one.decided_by, one.decided_at)
            for one in fields
        ]
        print_table(("field", "cells", "from", "model", "decided by", "at"), rows)
    cells = sum(field.cells for field in fields)
    typer.echo(f"{counted(cells, 'cell')} in {counted(len(fields), 'field')}: {place}")


def add(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    labels: Annotated[Path, typer.Argument(help="Its label image, or black-and-white mask.")],
    folder: FolderOption = None,
    name: Annotated[
        str | None, typer.Option(help="What to call it.", show_default="that of the picture")
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1000,
            help="Size of a pixel in micrometres.",
            show_default="what the picture's file says",
        ),
    ] = None,
    masks: MasksOption = "auto",
    by: Annotated[str | None, typer.Option(help="Who decided.", show_default="your login name")] = None,
) -> None:
    """Add a corrected field. The same field again replaces what was there."""
    from ..datasets.corrections import add_correction
    from ..datasets.masks import read_labels
    from ..images.pixel_size import PixelSize
    from ..images.read import read_image, read_pixel_size
    from ..results.names import record_beside
    from ..results.records import ResultRecord

    size = PixelSize(pixel_size, pixel_size, "µm") if pixel_size else read_pixel_size(image)
    about: dict[str, Any] = {"scale": size[:2], "unit": size.unit} if size else {}
    beside = record_beside(labels)
    record = None if beside is None else ResultRecord.read(beside)
    if record is not None:
        about["model"] = record.model.id if record.model else ""
        masks = "numbers" if masks == "auto" else masks
    added = add_correction(
        read_image(image),
        read_labels(labels, masks)[0],
        name or image.stem,
        folder,
        source=str(image.resolve()),
        **(about if by is None else {**about, "decided_by": by}),
    )
    typer.echo(f"Field {added.name}: {counted(added.cells, 'cell')}.")
    if record is not None and record.image.sha256 and not record.image.is_of(image):
        typer.echo(
            f"{labels} was made for {record.image.name}, of which {image} is no copy: if its cells do not "
            f"lie on it, take {added.name} out again, with wbcseg corrections remove."
        )


def remove(
    name: Annotated[str, typer.Argument(help="Name of the field.")], folder: FolderOption = None
) -> None:
    """Take a field out of the training set. Its two files are deleted."""
    from ..datasets.corrections import remove_correction

    remove_correction(name, folder)
    typer.echo(f"Field {name} was taken out.")


add_command(corrections_app, add)
add_command(corrections_app, remove)
