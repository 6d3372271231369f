"""Large images on the command line: whole slides, zarr, and what is too large to be read at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import Cancelled, WBCSegError
from .console import complain, new_table, print_table, progress_bar, rounded

if TYPE_CHECKING:
    from ..network.model_file import ModelFile
    from ..segmentation.batch import BatchItem
    from ..settings import SegmentationSettings


def split_zarr(paths: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Return the zarr folders among paths, and the other paths."""
    from ..data.large_images import is_zarr

    given = list(paths)
    found = [Path(path) for path in given if is_zarr(path)]
    return found, [path for path in given if not is_zarr(path)]


def split_large(items: list[BatchItem]) -> tuple[list[Path], list[BatchItem]]:
    """Return the large files among items, and the other items."""
    from ..data.large_images import is_large_file

    large = [item for item in items if not item.problem and is_large_file(item.path)]
    return [item.path for item in large], [item for item in items if item not in large]


def result_folder(out: Path, slide: Path) -> Path:
    """Return where the result of a large image goes."""
    name = slide.name
    for ending in (".ome.zarr", ".ome.tif", ".ome.tiff"):
        if name.lower().endswith(ending):
            return out / f"{name[: -len(ending)]}-cells"
    return out / f"{slide.stem}-cells"


def segment_slides(
    slides: list[Path], out: Path, model: ModelFile, settings: SegmentationSettings, again: bool
) -> int:
    """Segment large images one after the other, and print what was found.

    A run that was interrupted goes on where it stopped.

    Returns
    -------
    int
        How many failed; each was reported in a sentence.
    """
    import shutil
    import time

    from ..segmentation.large import segment_large

    table = new_table("image", "white cells", "to check", "diameter", "seconds")
    failed = 0
    for slide in slides:
        folder = result_folder(out, slide)
        start = time.perf_counter()
        if again and (folder / "plan.json").exists():
            shutil.rmtree(folder)
        try:
            with progress_bar(slide.name) as progress:
                result = segment_large(slide, folder, model, settings, progress)
        except Cancelled:
            raise
        except WBCSegError as error:
            failed += 1
            text = str(error)
            complain(text if slide.name in text else f"{slide}: {text}")
            continue
        table.add_row(
            slide.name,
            str(result.count),
            str(result.to_check or ""),
            rounded(result.cell_diameter),
            rounded(time.perf_counter() - start, 2),
        )
        for note in result.notes:
            typer.echo(f"{slide.name}: {note}")
    if failed < len(slides):
        print_table(table)
        typer.echo(f"Results: {result_folder(out, slides[0]) if len(slides) == 1 else out}")
    return failed
