"""What the README and the guides show works as it stands there."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import napari_wbcseg
from napari_wbcseg.cli import app
from napari_wbcseg.settings import SegmentationSettings, settings_of

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [
    README,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]


PAGES_WITH_LABELS = ("user_guide", "folders", "training", "differential", "large_images")
NAPARIS_LABELS = ("Open File(s)", "Open Folder", "paint brush", "eraser", "bucket")


def blocks(document: Path, language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S)


def commands(document: Path) -> list[list[str]]:
    """Return the words of the commands that a document's blocks show, in order."""
    lines = [line for block in blocks(document, "sh") for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("wbcseg ")]


def commands_in_text(document: Path) -> list[list[str]]:
    """Return the words of the commands in a document's sentences."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [code.split()[1:] for code in re.findall(r"`(wbcseg\s[^`]*)`", text)]


def understood(words: list[str], given: bool = True) -> None:
    """Check that a command has these options, and these take such arguments; all it needs too."""
    command = typer.main.get_command(app)
    words = list(words)
    while hasattr(command, "commands") and words:
        command = command.commands[words.pop(0)]
    try:
        command.make_context(command.name, words, resilient_parsing=False)
    except Exception as error:  # Typer has a Click of its own, whose errors are not Click's
        if given or type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
            raise


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_shown_is_understood(document):
    for words in commands(document):
        understood(words)
    for words in commands_in_text(document):
        if words != ["--help"]:
            understood(words, given=False)  # a sentence may name a command alone


def test_every_label_that_is_named_is_on_the_screen():
    """Words in italics are those of menus, panels and messages, here or in napari."""
    source = ROOT / "src" / "napari_wbcseg"
    nodes = [node for path in source.rglob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    shown = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    shown += [setting.title for setting in settings_of(SegmentationSettings).values()]
    words = "\n".join([*shown, (source / "napari.yaml").read_text("utf-8"), *NAPARIS_LABELS]).lower()
    for name in ("README", *(f"docs/{page}" for page in PAGES_WITH_LABELS)):
        text = re.sub(
            r"^(```.*?^```|\*A .*?\*$)", "", (ROOT / f"{name}.md").read_text("utf-8"), flags=re.M | re.S
        )
        for path in re.findall(r"(?<![*\w])\*([^*]+)\*(?!\*)", text):
            for label in path.replace("\n", " ").split(" ▸ "):
                assert label.removesuffix(" …").lower() in words, f"{name} names {label}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_of_the_project_that_is_named_is_there(document):
    text = document.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w/])(?:benchmarks|docs|examples|scripts|tests)/[\w/.]+\w", text):
        assert (ROOT / name).exists(), f"{document.name} names {name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if not target.startswith(("http", "#")):
            assert (document.parent / target.split("#")[0]).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_place_of_one_machine_is_named(document):
    assert not re.search(r"(?<![\w.])/(home|root|work|Users|mnt)/", document.read_text(encoding="utf-8"))


def test_the_site_is_built_without_a_warning(tmp_path):
    """Links, anchors and names in docstrings lead somewhere; the pages made from the code are whole."""
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    shell, python = ((tmp_path / page / "index.html").read_text("utf-8") for page in ("shell", "python"))
    for name in typer.main.get_command(app).commands:
        assert f'id="wbcseg-{name}"' in shell
    for name in set(napari_wbcseg.__all__) - {"__version__"}:
        assert f'id="{getattr(napari_wbcseg, name).__module__}.{name}"' in python


def test_the_readme_counts_cells_in_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = next(block for block in blocks(README, "python") if "napari.Viewer" not in block)
    names: dict = {}
    exec(compile(code, str(README), "exec"), names)
    assert names["result"].white_cells > 0
    assert capsys.readouterr().out.startswith(f"{names['result'].white_cells}\n")
    assert napari_wbcseg.replay("saved/smear-result.json", names["image"]).count == names["result"].count


def test_the_readme_counts_cells_in_napari(make_napari_viewer, monkeypatch):
    viewer = make_napari_viewer()
    monkeypatch.setattr("napari.Viewer", lambda: viewer)
    monkeypatch.setattr("napari.run", lambda: None)
    code = next(block for block in blocks(README, "python") if "napari.Viewer" in block)
    exec(compile(code, str(README), "exec"), {})
    (cells,) = [layer for layer in viewer.layers if " white cells of " in layer.name]
    assert cells.data.max() > 0
