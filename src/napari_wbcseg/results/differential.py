"""The differential over saved results: which of them count, and what is said of their cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..classification.classes import CLASS, CLASS_BY, PERSON, ClassList, class_of
from ..classification.differential import Differential, pooled
from ..errors import SettingsError
from ..files import user_path
from .load import record_now
from .names import RESULT_SUFFIX, RUN_FILE
from .records import ResultRecord, RunRecord


class ResultClasses(NamedTuple):
    """What is said of the cells of a result.

    Attributes
    ----------
    cells : DataFrame
        The class of each cell.
    classes : ClassList
        What the classes are.
    in_doubt : bool
        Whether a note asks what the count depends on, and nobody has corrected the cells since.
    told_by : set of str
        ``name@hash`` of a classifier, ``a person``, or both.
    picture : str
        What the image is known by: the SHA-256 of its file or, of a large one, its place.
    """

    cells: pd.DataFrame
    classes: ClassList
    in_doubt: bool
    told_by: AbstractSet[str] = frozenset()
    picture: str = ""


def classes_in(path: str | Path) -> ResultClasses:
    """Return what is said of the cells of a recorded result.

    Parameters
    ----------
    path : str or Path
        A ``NAME-result.json``, of a large image too.

    Raises
    ------
    SettingsError
        If it is no such record.
    ImageError
        If the folder of a large image is gone or damaged.
    """
    path = user_path(path)
    record, cells = record_now(ResultRecord.read(path), path.parent)
    told_by = {record.classifier.id} if record.classifier else set()
    if CLASS_BY in cells and cells[CLASS_BY].eq(PERSON).any():
        told_by.add("a person")
    picture = record.image.sha256 or record.image.path or ""
    return ResultClasses(
        class_of(cells).to_frame(CLASS), record.class_list, record.in_doubt, told_by, picture
    )


def differential_of(results: str | Path | Iterable[str | Path]) -> tuple[Differential, list[str]]:
    """Count the cells of results by class, all together but those whose count is in doubt.

    Of the folder of a run those count that its tables tell of; others do where they are given as files.

    Parameters
    ----------
    results : path or iterable of path
        Folders, or ``NAME-result.json`` files.

    Returns
    -------
    differential : Differential
    told_by : list of str
        ``name@hash`` of classifiers, and ``a person``.

    Raises
    ------
    SettingsError, ImageError
        As `classes_in`, and where there is no result.
    """
    paths = _paths(results)
    files, outdated = counted_records(paths)
    every = [classes_in(file) for file in files]
    told_by = sorted(set().union(*(one.told_by for one in every)))
    pictures = [one.picture for one in every if one.picture and not one.in_doubt]
    twice = len(pictures) - len({*pictures})
    return replace(pooled_results(every), outdated=outdated, missing=_not_done(paths), twice=twice), told_by


def pooled_results(results: Sequence[ResultClasses]) -> Differential:
    """Count the cells of results by class, all together but those whose count is in doubt."""
    sure = [(one.cells, one.classes) for one in results if not one.in_doubt]
    return pooled(sure, len(results) - len(sure))


def counted_records(results: str | Path | Iterable[str | Path]) -> tuple[list[Path], int]:
    """Return the records of results that count, and how many of their folders do not.

    Results are given as records or as folders of them, in the order of names; one given twice is one.

    Raises
    ------
    SettingsError
        If there is none.
    """
    paths, found = _paths(results), list[Path]()
    for path in paths:
        found += sorted(path.glob(f"*{RESULT_SUFFIX}")) if path.is_dir() else [path]
    if not found:
        where = ", ".join(map(str, paths)) or "an empty list"
        raise SettingsError(f"There is no NAME{RESULT_SUFFIX} in {where}.")
    named, every = {path.resolve() for path in paths}, {file.resolve(): file for file in found}
    outdated = {file for path in named if path.is_dir() for file in not_in_tables(path)} - named
    return [file for whole, file in every.items() if whole not in outdated], len(outdated)


def _paths(results: str | Path | Iterable[str | Path]) -> list[Path]:
    return list(map(user_path, [results] if isinstance(results, str | Path) else results))


def _not_done(results: Iterable[Path]) -> int:
    """Return how many images the runs into folders of results have no result of."""
    missing = 0
    for folder in dict.fromkeys(path.resolve() for path in results):
        with suppress(SettingsError):  # no run wrote into it, or it is a file
            run = RunRecord.read(folder / RUN_FILE)
            done = (folder / f"{one.name}{RESULT_SUFFIX}" for one in run.inputs if run.counts(one, folder))
            missing += len(run.inputs) - sum(file.is_file() for file in done)
    return missing


def not_in_tables(folder: Path) -> list[Path]:
    """Return the results in a folder that the tables of its last run do not tell of."""
    try:
        run = RunRecord.read(folder / RUN_FILE)
    except SettingsError:  # no run wrote into it
        return []
    told = {f"{one.name}{RESULT_SUFFIX}" for one in run.inputs if run.counts(one, folder)}
    return [file for file in folder.glob(f"*{RESULT_SUFFIX}") if file.name not in told]
