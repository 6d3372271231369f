"""``wbcseg download``: the public SigTuple set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import progress_bar


def download(
    names: Annotated[
        list[str] | None, typer.Argument(help="Only these: Train_Data, Test_Data, or names of images.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to put it in.", show_default="the cache")
    ] = None,
) -> None:
    """Download the public SigTuple set (9.7 MB). Each file is checked; done files are kept."""
    from ..datasets.download import fetch_sigtuple

    with progress_bar("Downloading") as progress:
        folder = fetch_sigtuple(names or None, cache=out, progress=progress)
    typer.echo(f"SigTuple set: {folder}")
