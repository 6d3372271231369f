"""Pages of the site that are made from the code: the Python API from docstrings, the shell from its help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer.main
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

import napari_wbcseg
from napari_wbcseg.cli import app

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file holds; MkDocs calls this hook."""
    for name, text in (("python.md", _python()), ("shell.md", _shell())):
        files.append(File.generated(config, name, content=text))
    for page in sorted(BENCHMARKS.glob("*.md")):
        files.append(File.generated(config, f"benchmarks/{page.name}", abs_src_path=str(page)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to the benchmarks, which lie beside the documents, to their pages."""
    return markdown.replace("](../benchmarks/", "](benchmarks/")


def _python() -> str:
    public = sorted(napari_wbcseg._PUBLIC.items(), key=lambda item: item[0].lower())
    parts = [f"::: napari_wbcseg.{module}.{name}" for name, module in public]
    parts += ["::: napari_wbcseg.images.read.read_image", "::: napari_wbcseg.images.lazy.open_large"]
    head = (
        "# Python\n\nAll of these are imported from `napari_wbcseg`, apart from the last two, which read "
        "images. Only the first use of one loads what it needs."
    )
    return "\n\n".join([head, *parts]) + "\n"


def _shell() -> str:
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="wbcseg")
    return get_docs_for_click(obj=command, ctx=context, name="wbcseg", title="Shell")
