"""The classes of cells in results that are there, told anew, and all files that say them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..classification.classify import class_list, classify_cells
from ..errors import ImageError
from ..files import user_path
from ..images.read import open_large, read_file
from ..network.classifier import BUILT_IN_CLASSIFIER, ClassifierFile, read_classifier
from ..progress import Progress, silent
from ..results.differential import counted_records
from ..results.load import load_result
from ..results.names import RESULT_SUFFIX
from ..results.origins import ModelRecord
from ..results.records import ResultRecord
from ..segmentation.large.result import LargeResult
from .folder import BatchItem, Outputs, alone_in
from .process import refreshed, write_result
from .run import renew_tables


def classify_results(
    results: str | Path | Sequence[str | Path],
    classes: str = BUILT_IN_CLASSIFIER,
    progress: Progress = silent,
) -> tuple[list[Path], list[str]]:
    """Tell the classes of cells that were segmented before, of large images too; what a person said stays.

    The other files of each result follow, and tables and report of their folders. Of the folder of a run
    those results are taken that `differential_of` counts.

    Parameters
    ----------
    results : path or sequence of path
        Folders, or ``NAME-result.json`` files.
    classes : str
        What tells the classes: ``built-in``, or the file of a classifier.
    progress : Progress
        Called often; raise `Cancelled` in it to stop. Results that are done stay.

    Returns
    -------
    done : list of Path
        The records of the results.
    problems : list of str
        Of the others, whose image is gone, is another one by now, or cannot be read.

    Raises
    ------
    SettingsError
        If there is no result, or one is damaged.
    ModelError
        If the classifier cannot be used.
    BusyError
        If a run is at work in a folder.
    OutputError
        If a file cannot be written.
    """
    classifier = read_classifier(classes)
    source = classes if classes == BUILT_IN_CLASSIFIER else str(user_path(classes).resolve())
    told = ModelRecord.of(classifier.id, source)
    files = counted_records(results)
    begun, done, problems = list[Path](), list[Path](), list[str]()
    for folder in dict.fromkeys(file.parent for file in files):
        with ExitStack() as at_the_end:
            at_the_end.callback(_renew, folder, told, begun, done)  # also where it is stopped
            at_the_end.enter_context(alone_in(folder))
            for file in (one for one in files if one.parent == folder):
                record = ResultRecord.read(file)
                begun.append(file)
                try:
                    _classify(file, record, classifier, source, progress)
                    done.append(file)
                except ImageError as error:
                    problems.append(str(error))
    return done, problems


def _renew(folder: Path, told: ModelRecord | None, begun: Sequence[Path], done: Sequence[Path]) -> None:
    """Write the tables of a folder; its run is one with these classes where all that counts has them."""
    if not any(file.parent == folder for file in begun):
        return
    every = {file.resolve() for file in counted_records(folder)}
    renew_tables(folder, told if every <= {file.resolve() for file in done} else None)


def _classify(
    file: Path, record: ResultRecord, classifier: ClassifierFile, source: str, progress: Progress
) -> None:
    """Tell the classes of the cells of one result, recorded in a file."""
    path = record.image.file(file.parent)
    if path is None:
        raise ImageError(f"The image of {file} is gone: put it back, or segment it anew.")
    if not record.large and not record.image.is_of(path):
        raise ImageError(f"{path} is not the image of {file} any more: segment it anew.")
    base = file.with_name(file.name.removesuffix(RESULT_SUFFIX))
    item = BatchItem(path, record.image.name, base.name)
    model = record.model.source if record.model else ""
    outputs = Outputs(file.parent, formats=(), model_source=model)
    if record.large:
        large = LargeResult.open(file.with_name(record.labels))
        large.classify(open_large(path).full, classifier, source, progress)
        refreshed(item, record, outputs)
        return
    record, _ = refreshed(item, record, outputs)  # another program may have given one number to several cells
    result, image = load_result(file), read_file(path).pixels
    classified = replace(
        result,
        cells=classify_cells(result.labels, result.cells, image, result.class_diameter, classifier, progress),
        settings=result.settings and result.settings.replace(classes=source),
        classifier=classifier.id,
        classes=class_list(classifier).added(*result.classes),
    )
    write_result(item, classified, record.labels, image, record.image, outputs, progress, known=record)
