"""The report of a run: one HTML file that shows what was found in each image, and what to check."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import OutputError
from .thumbnails import Picture

if TYPE_CHECKING:
    from ..results.records import RunRecord

REPORT_FILE = "report.html"
_TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class ReportEntry:
    """What the report shows of one image.

    Attributes
    ----------
    row : dict
        Its row of ``counts.csv``.
    pictures : tuple of Picture
        The image with its outlines, then the cells to check.
    overlay : str
        Name of its overlay in the report's folder, or nothing.
    """

    row: dict[str, Any]
    pictures: tuple[Picture, ...] = ()
    overlay: str = ""


def write_report(path: str | Path, record: RunRecord, entries: Iterable[ReportEntry]) -> Path:
    """Write the report as one HTML file, which needs no other file and no network.

    The entries are taken one by one, so that the pictures of a large folder are never in
    memory together.

    Parameters
    ----------
    path : str or Path
    record : RunRecord
        Of the run, with what became of each input.
    entries : iterable of ReportEntry

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    path = Path(path)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent),
        autoescape=True,  # a file may be called <script>
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["link"] = quote
    pieces = environment.get_template(_TEMPLATE.name).generate(
        record=record,
        totals=_totals(record),
        settings=_settings(record),
        entries=entries,
    )
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.writelines(pieces)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path


def _totals(record: RunRecord) -> dict[str, int]:
    states = [entry.status for entry in record.inputs]
    return {
        "images": len(states),
        "done": states.count("ok"),
        "failed": states.count("failed"),
        "pending": states.count("pending"),
        "cells": sum(entry.count or 0 for entry in record.inputs),
    }


def _settings(record: RunRecord) -> list[tuple[str, str]]:
    """Return the settings that are not as they come, with their recipe."""
    usual = type(record.settings)().model_dump()
    return [
        (name.replace("_", " "), str(value))
        for name, value in record.settings.model_dump().items()
        if name == "recipe" or value != usual[name]
    ]


def _data_uri(picture: Picture) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture.jpeg).decode()
