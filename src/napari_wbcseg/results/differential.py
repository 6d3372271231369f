"""The differential over saved results: which of them count, and what is said of their cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..classification.classes import CLASS, CLASS_BY, PERSON, ClassList, class_of
from ..classification.differential import Differential, pooled
from ..errors import SettingsError, WBCSegError
from ..files import user_path
from ..progress import Progress, silent
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
        What the image is known by: the SHA-256 of its file or, of a large one, its place; of one in no file,
        such as a region of a slide, that of its labels.
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
    labels = record.cells_sha256 if record.count else ""  # without cells those of many are alike
    picture = record.image.sha256 or record.image.path or labels
    return ResultClasses(
        class_of(cells).to_frame(CLASS), record.class_list, record.in_doubt, told_by, picture
    )


class Results(NamedTuple):
    """What results tell of their cells, for a differential over them.

    Attributes
    ----------
    told : dict of Path to ResultClasses or WBCSegError
        By the record of each result that counts; or why it cannot be read.
    outdated : set of Path
        The whole paths of the records that the tables beside them do not tell of.
    missing : set of Path
        Those of the records that there would be, had the runs come to all their images, and failed at none.
    """

    told: Mapping[Path, ResultClasses | WBCSegError]
    outdated: AbstractSet[Path]
    missing: AbstractSet[Path]

    @property
    def readable(self) -> list[ResultClasses]:
        """What is told by those that can be read."""
        return [one for one in self.told.values() if not isinstance(one, WBCSegError)]

    @property
    def differential(self) -> Differential:
        """The cells of all results together, but of those that cannot be read or whose count is in doubt."""
        pictures = [one.picture for one in self.readable if one.picture and not one.in_doubt]
        return replace(
            pooled_results(self.readable),
            outdated=len(self.outdated),
            missing=len(self.missing - {file.resolve() for file in self.told}),
            twice=len(pictures) - len({*pictures}),
        )


def read_results(results: str | Path | Iterable[str | Path], progress: Progress = silent) -> Results:
    """Read what results tell of their cells; see `differential_of`."""
    told = dict[Path, ResultClasses | WBCSegError]()
    files, outdated, missing = _records(_paths(results))
    for number, file in enumerate(files):
        progress(number, len(files), "Reading the results")
        try:
            told[file] = classes_in(file)
        except WBCSegError as error:
            told[file] = error
    return Results(told, outdated, missing)


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
    read = read_results(paths)
    if not read.told and not read.outdated:
        raise _none_in(paths)
    for one in read.told.values():
        if isinstance(one, WBCSegError):
            raise one
    return read.differential, sorted(set().union(*(one.told_by for one in read.readable)))


def pooled_results(results: Sequence[ResultClasses]) -> Differential:
    """Count the cells of results by class, all together but those whose count is in doubt."""
    sure = [(one.cells, one.classes) for one in results if not one.in_doubt]
    return pooled(sure, len(results) - len(sure))


def counted_records(results: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return the records of results that count.

    Results are given as records or as folders of them, in the order of names; one given twice is one.

    Raises
    ------
    SettingsError
        If there is none, not even one that does not count.
    """
    paths = _paths(results)
    files, outdated, _ = _records(paths)
    if not files and not outdated:
        raise _none_in(paths)
    return files


def _none_in(paths: Sequence[Path]) -> SettingsError:
    where = ", ".join(map(str, paths)) or "an empty list"
    return SettingsError(f"There is no NAME{RESULT_SUFFIX} in {where}.")


def _records(paths: Sequence[Path]) -> tuple[list[Path], set[Path], set[Path]]:
    """Return the records of results that count, and the whole paths of those that do not, or are missing."""
    found = list[Path]()
    for path in paths:
        found += _results_in(path) if path.is_dir() else [path]
    named, every = {path.resolve() for path in paths}, {file.resolve(): file for file in found}
    runs = {folder: _counting(folder) for folder in named}  # looked through once, as images are hashed for it
    outdated = {file for folder, run in runs.items() for file in _untold(folder, run)} - named
    inputs = [one for run in runs.values() for one in (run or {}).items()]
    missing = {file for file, counts in inputs if not (counts and file.is_file())}
    return [file for whole, file in every.items() if whole not in outdated], outdated, missing


def _paths(results: str | Path | Iterable[str | Path]) -> list[Path]:
    try:
        return list(map(user_path, [results] if isinstance(results, str | Path) else results))
    except TypeError:
        raise SettingsError(
            f"Give folders or NAME{RESULT_SUFFIX} files; a result that is not saved has its own differential."
        ) from None


def not_in_tables(folder: Path) -> list[Path]:
    """Return the results in a folder that the tables of its last run do not tell of."""
    return _untold(folder, _counting(folder))


def _results_in(folder: Path) -> list[Path]:
    """Return the records of a folder, without the hidden files that a Mac puts beside them."""
    return sorted(folder.glob(f"[!.]*{RESULT_SUFFIX}"))


def _untold(folder: Path, run: Mapping[Path, bool] | None) -> list[Path]:
    return [] if run is None else [file for file in _results_in(folder) if not run.get(file)]


def _counting(folder: Path) -> dict[Path, bool] | None:
    """Say of the record of each input of the last run into a folder whether it counts; None without a run."""
    try:
        run = RunRecord.read(folder / RUN_FILE)
    except SettingsError:  # no run wrote into it, or it is a file
        return None
    return {folder / f"{one.name}{RESULT_SUFFIX}": run.counts(one, folder) for one in run.inputs}
