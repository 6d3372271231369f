"""``wbcseg demo``: a smear drawn by code, and what is found in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import OutputError
from .app import model_and_settings
from .console import print_table, progress_bar, rounded


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")] = Path("wbcseg-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Another number draws another smear.")] = 0,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of a model (see `wbcseg models`) or its file.")
    ] = "wbc",
) -> None:
    """Draw a synthetic smear and count its white cells.

    It needs no file and no network.
    """
    from ..batch.folder import Outputs
    from ..evaluation.metrics import match_instances
    from ..results.formats.pictures import write_image
    from ..results.save import save
    from ..segmentation.pipeline import segment as segment_image
    from ..synthetic.smear import synthetic_smear

    if (out / "smear.png").exists() and not (out / "smear-result.json").exists():
        raise OutputError(f"{out / 'smear.png'} is there, and no demo drew it: give another folder.")
    outputs = Outputs(out)
    if (before := outputs.read("smear")) is not None and outputs.is_corrected(before):
        raise OutputError(f"{out / 'smear-labels.tif'} was corrected by a person: give another folder.")
    file, settings, *_ = model_and_settings(model, None, {})
    with progress_bar("Drawing a smear") as progress:
        smear = synthetic_smear(seed=seed)
        result = segment_image(smear.image, file, settings, progress)
    image = write_image(out / "smear.png", smear.image)
    labels, _, picture, *_ = save(result, out / "smear", "tiff,overlay", image=smear.image, image_path=image)

    height, width = smear.labels.shape
    rows = []
    for cell in result.cells.itertuples():
        place = rounded(cell.row, 0), rounded(cell.col, 0)
        about = rounded(cell.diameter), rounded(cell.certainty, 2), "check" if cell.check else ""
        rows.append((str(cell.label), *place, *about))
    print_table(("cell", "row", "column", "diameter", "certainty", ""), rows, left=0)
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
