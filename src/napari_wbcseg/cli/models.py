"""``wbcseg models``: the models there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import add_command
from .console import new_table, print_table

models_app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="The models there are, and what is known of them.",
)


@models_app.callback()
def _models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        _list_models()


def _list_models() -> None:
    from ..network.models import list_models, models_folder

    table = new_table("name", "recipe", "size", "origin", "scores", "path", left=6)
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
        print_table(table)
    else:
        typer.echo("There is no model yet; train one with `wbcseg train DATA --name NAME`.")
    typer.echo(f"Your models: {models_folder()}")


def _short_scores(scores: dict[str, float]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in scores.items())


def show_model(name: Annotated[str, typer.Argument(help="Name of a model, or its file.")]) -> None:
    """Show all that a model file says about itself."""
    from ..network.models import load_model

    model = load_model(name)
    header = model.header
    table = new_table("", "", left=2)
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
    print_table(table)


def import_model(
    file: Annotated[Path, typer.Argument(help="A model file (.safetensors).")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name to give it.", show_default="its own")
    ] = None,
) -> None:
    """Check a model file from elsewhere and add it to your models; no code in it is run."""
    from ..network.model_file import read_model
    from ..network.models import save_to_library

    saved = save_to_library(read_model(file), name)
    typer.echo(f"Model {saved.name}: {saved.path}")


add_command(models_app, show_model, "show")
add_command(models_app, import_model, "import")
