"""``wbcseg models``: the models there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import add_command
from .console import print_table

models_app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    help="The models there are, and what is known of them.",
)


@models_app.callback()
def _models(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    from ..network.library import list_models, models_folder
    from ..network.model_card import main_score, use_of

    rows = []
    for info in list_models():
        use, recipe, dice = info.problem, "", ""
        if info.header:
            use, recipe, dice = use_of(info.header), info.header.recipe, main_score(info.header)
        rows.append((info.name, info.origin, use, recipe, dice, f"{info.size / 1e6:.1f} MB"))
    print_table(("name", "origin", "for", "recipe", "Dice", "size"), rows, left=4)
    typer.echo(f"Your models: {models_folder()}. All of one: wbcseg models show NAME")


def show_model(name: Annotated[str, typer.Argument(help="Name of a model, or its file.")]) -> None:
    """Show all that a model file says about itself."""
    from ..network.library import BUILT_IN_MODELS, load_model
    from ..network.model_card import model_card

    model = load_model(name)
    card = model_card(model.header, model.path, "built in" if name in BUILT_IN_MODELS else "")
    print_table(("", ""), card.items(), left=2)


def import_model(
    file: Annotated[
        Path,
        typer.Argument(
            help="A model (.safetensors), or Keras weights of the published network (.hdf5, .weights.h5)."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name to give it.", show_default="its own")] = None,
) -> None:
    """Check a model file and add it to your models. No code in it is run."""
    from ..network.library import import_model_file

    saved = import_model_file(file, name)
    typer.echo(f"Model {saved.name}: {saved.path}")


def export_model(
    name: Annotated[str, typer.Argument(help="Name of a model, or its file.")],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Its ending is the format: .keras, .onnx, .zip (bioimage.io), .safetensors."
        ),
    ],
) -> None:
    """Write a model in a format that other programs read."""
    from ..network.exchange.export import export_model as export
    from ..network.library import load_model, require_free
    from ..network.tensor_file import SUFFIX

    if out.suffix == SUFFIX:  # another model, which may have taken hours
        require_free(out)
    typer.echo(f"Written: {export(load_model(name), out)}")


def remove_model(
    name: Annotated[str, typer.Argument(help="Name of one of your models.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete one of your models."""
    from ..network.library import remove_from_library

    if not yes:
        typer.confirm(f"Delete the model {name}?", abort=True)
    remove_from_library(name)
    typer.echo(f"The model {name} is gone.")


add_command(models_app, show_model, "show")
add_command(models_app, import_model, "import")
add_command(models_app, export_model, "export")
add_command(models_app, remove_model, "remove")
