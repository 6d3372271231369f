"""The report of a run: one HTML file that shows what was found in each image, and what to check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import nsmallest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..classification.differential import Differential
from ..errors import OutputError
from ..files import written_whole
from ..results.records import CellPicture, RunRecord
from .thumbnails import MOST_OF_A_CLASS

#: The cells of a folder by class, the least sure of each first, each with the name of its image.
Gallery = dict[str, list[tuple[str, "CellPicture"]]]

REPORT_FILE = "report.html"
#: Cells of a class that are shown: 36 of each of ten are one megabyte.
_OF_A_CLASS = 36
_TEMPLATE = Path(__file__).with_name("report.html")


def write_report(
    path: Path,
    record: RunRecord,
    entries: Iterable[Mapping[str, Any]],
    differential: Differential,
    gallery: Gallery,
) -> None:
    """Write the report as one HTML file, which needs no other file and no network.

    The entries are taken one by one, so that the pictures of a large folder are never in
    memory together.

    Parameters
    ----------
    path : Path
    record : RunRecord
        Of the run, with what became of each input.
    entries : iterable of mapping
        Of each image its ``row`` of ``counts.csv``, its ``pictures`` as captions with JPEG in base64 (the
        image with its outlines, then the cells to check), and the name of its ``overlay``, or nothing.
    differential : Differential
        Over all images whose counts are not in doubt.
    gallery : Gallery
        Of the same images.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent),
        autoescape=True,  # a file may be called <script>
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["link"] = quote
    pieces = environment.get_template(_TEMPLATE.name).generate(
        record=record,
        totals=Counter(one.status for one in record.inputs),
        settings=_settings(record),
        entries=entries,
        differential=differential,
        gallery=[(name, gallery[name]) for name in differential.colours if name in gallery],
        of_a_class=_OF_A_CLASS,
        of_an_image=MOST_OF_A_CLASS,
    )
    with written_whole(path, OutputError) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(pieces)


def add_to_gallery(gallery: Gallery, image: str, cells: Iterable[CellPicture]) -> None:
    """Put cells of an image into the gallery of its folder, which keeps so many of a class."""
    for cell in cells:
        gallery.setdefault(cell.name, []).append((image, cell))
    for name, shown in gallery.items():
        gallery[name] = nsmallest(_OF_A_CLASS, shown, key=lambda one: one[1].probability)


def _settings(record: RunRecord) -> list[tuple[str, str]]:
    """Return the settings that are not as they come, with their recipe; the classifier is told as such."""
    usual = type(record.settings)().model_dump()
    return [
        (name.replace("_", " "), str(value))
        for name, value in record.settings.model_dump().items()
        if name == "recipe" or (value != usual[name] and name != "classes")
    ]
