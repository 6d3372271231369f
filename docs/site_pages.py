"""Pages of the site that are made from the code: the Python API from docstrings, the shell from its help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer.main
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

import napari_wbcseg
from napari_wbcseg.cli import app

ROOT = Path(__file__).parents[1]
#: What lies beside the documents and is a page, or a file to download, of the site.
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/*.md", "examples/*")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file of the documents holds; MkDocs calls this hook."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, text in (("index.md", readme), ("python.md", _python()), ("shell.md", _shell())):
        files.append(File.generated(config, name, content=text))
    for path in sorted(path for pattern in BESIDE for path in ROOT.glob(pattern)):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links between the documents and what lies beside them to their places in the site."""
    return markdown.replace("](../", "](").replace("](docs/", "](")


def _python() -> str:
    public = sorted(set(napari_wbcseg.__all__) - {"__version__"}, key=str.lower)
    parts = [f"::: {getattr(napari_wbcseg, name).__module__}.{name}" for name in public]
    parts += ["::: napari_wbcseg.images.read.read_image", "::: napari_wbcseg.images.read.open_large"]
    head = (
        "# Python\n\nAll of these are imported from `napari_wbcseg`, apart from the last two, which read "
        "images. Only the first use of one loads what it needs."
    )
    return "\n\n".join([head, *parts]) + "\n"


def _shell() -> str:
    command = typer.main.get_command(app)
    _say_whole(command)
    context = typer.Context(command, info_name="wbcseg")
    return get_docs_for_click(obj=command, ctx=context, name="wbcseg", title="Shell")


def _say_whole(command: Any) -> None:
    """Let the list of a command's parts hold their whole first sentence, which Click would cut."""
    for part in getattr(command, "commands", {}).values():
        part.short_help = part.help.split("\n\n")[0].replace("\n", " ")
        _say_whole(part)
