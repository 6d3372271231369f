"""What a run has done so far, so that the next one does only what is missing.

One line of JSON is added for each image as soon as its files are written. A run that is
killed loses at most the images it was at; a line cut short by that is passed over.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError
from ..results.records import file_sha256
from ..version import __version__
from .file import BatchItem, Outcome, Outputs, file_stamp
from .thumbnails import Picture

if TYPE_CHECKING:
    import pandas as pd

    from ..network.model_file import ModelFile
    from ..settings import SegmentationSettings

JOURNAL_FILE = "journal.jsonl"
_FORMAT = "napari-wbcseg journal 1"


def fingerprint(settings: SegmentationSettings, model: ModelFile) -> str:
    """Return a hash of all that a result depends on besides its image: settings, model, program."""
    decides = {"settings": settings.model_dump(mode="json"), "model": model.hash, "version": __version__}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


class Journal:
    """The journal of a folder of results.

    Parameters
    ----------
    folder : Path
        Of the results.
    key : str
        See `fingerprint`; the journal of a run with another key is begun anew.
    again : bool
        Begin anew in any case.

    Attributes
    ----------
    outdated : int
        Images that an earlier run did with other settings or another model.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path, key: str, *, again: bool = False) -> None:
        self.path = folder / JOURNAL_FILE
        self.outdated = 0
        self._places: dict[str, int] = {}
        header: dict[str, Any] = {}
        try:
            if self.path.exists() and not again:
                header = self._index()
            if header.get("format") != _FORMAT or header.get("key") != key:
                self.outdated = len(self._places)
                self._places = {}
                folder.mkdir(parents=True, exist_ok=True)
                self.path.write_text(json.dumps({"format": _FORMAT, "key": key}) + "\n", encoding="utf-8")
            self._file = self.path.open("a+b")
            self._end_cut_line()
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}.") from None

    def _index(self) -> dict[str, Any]:
        """Remember where the last line of each name begins, and return the first line."""
        header: dict[str, Any] = {}
        place = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                try:
                    entry = json.loads(line)
                    if number == 0:
                        header = entry
                    else:
                        self._places[entry["name"]] = place
                except (ValueError, KeyError, TypeError):
                    pass  # cut short when the run was killed
                place += len(line)
        return header

    def _end_cut_line(self) -> None:
        size = self._file.seek(0, 2)
        if size:
            self._file.seek(size - 1)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def add(self, item: BatchItem, outcome: Outcome) -> None:
        """Write down what a file came to.

        Raises
        ------
        OutputError
            If the disk is full, for instance.
        """
        name = item.name or item.image
        entry = {
            "name": name,
            "path": str(item.path.resolve()),
            "sha256": outcome.sha256,
            "size": outcome.size,
            "modified": outcome.modified,
            "flat": outcome.flat,
            "large": outcome.large,
            "row": outcome.row,
            "cells": _columns(outcome.cells),
            "pictures": [(p.caption, base64.b64encode(p.jpeg).decode()) for p in outcome.pictures],
        }
        try:
            place = self._file.seek(0, 2)
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}.") from None
        self._places[name] = place

    def outcome(self, item: BatchItem) -> Outcome | None:
        """Return what was last written down of a file, or None."""
        entry = self._entry(item.name or item.image)
        if entry is None or entry["path"] != str(item.path.resolve()):
            return None
        return Outcome(
            {**entry["row"], "image": item.image},
            _table(entry["cells"]),
            entry["sha256"],
            entry["size"],
            entry["modified"],
            entry["flat"],
            entry.get("large", False),
            tuple(Picture(caption, base64.b64decode(jpeg)) for caption, jpeg in entry["pictures"]),
        )

    def done(self, items: Iterable[BatchItem], outputs: Outputs) -> dict[int, Outcome]:
        """Return the results that need not be had again, by the position of their item.

        A result counts when all its files are there and its image has not changed since.
        """
        found = {}
        for index, item in enumerate(items):
            outcome = self.outcome(item)
            if outcome is None or not outcome.good or not _unchanged(item, outcome):
                continue
            if all(
                path.exists() for path in outputs.files(item.name, flat=outcome.flat, large=outcome.large)
            ):
                found[index] = outcome
        return found

    def _entry(self, name: str) -> dict[str, Any] | None:
        if name not in self._places:
            return None
        self._file.seek(self._places[name])
        entry: dict[str, Any] = json.loads(self._file.readline())
        return entry


def _unchanged(item: BatchItem, outcome: Outcome) -> bool:
    if item.sha256 is not None and item.sha256 != outcome.sha256:
        return False
    try:
        size, modified = file_stamp(item.path)
        if (size, modified) == (outcome.size, outcome.modified):
            return True
        # Copied or touched, perhaps, with the same content; a large image finds out when it goes on.
        if size != outcome.size or outcome.sha256 is None:
            return False
        return file_sha256(item.path) == outcome.sha256
    except OSError:
        return False


def _columns(table: pd.DataFrame | None) -> dict[str, Any] | None:
    if table is None:
        return None
    return {str(name): [str(values.dtype), values.tolist()] for name, values in table.items()}


def _table(columns: dict[str, Any] | None) -> pd.DataFrame | None:
    if columns is None:
        return None
    import pandas as pd

    return pd.DataFrame({name: pd.Series(values, dtype=kind) for name, (kind, values) in columns.items()})
