"""The result of a large image on disk: opened again, and corrected region by region."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from os.path import exists  # `Path.exists` raises where a folder may not be entered
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...box import Box
from ...classification.classes import (
    BUILT_IN_CLASSES,
    CLASS,
    CLASS_BY,
    CLASS_PROBABILITY,
    ClassList,
    probability_columns,
)
from ...classification.classify import class_list, classify_cells, parts_of
from ...classification.differential import differential
from ...errors import BusyError, ImageError, OutputError, reading
from ...files import FileState, locked, user_path, write_atomically
from ...images.pixel_size import PixelSize
from ...images.pixel_source import PixelSource
from ...images.prepare import rgb_pixels
from ...images.read import read_pixel_size
from ...images.samples import image_digest
from ...network.classifier import ClassifierFile
from ...progress import Progress, silent
from ...settings import SegmentationSettings
from ...words import listed
from ..global_estimates import GlobalEstimates
from ..measure import COLUMNS, FLAG_COLUMNS, GAP, find_regions, fitting_rows, measured_again, touching
from ..result import ABOUT_IN_WORDS, summary_of
from .files import read_table, table_file, write_table
from .folder import LABELS_FOLDER, PLAN_FILE, RESULT_FILE
from .pyramid import Pyramid, Stamps

_ADVICE = "put back what was changed, or segment again: in the shell with --again, else to another folder"
_LEAST_MARGIN = 64
_MOST_MARGIN = 512  # from which on cells that are longer still are measured part by part
_MOST_AT_ONCE = 2**24  # pixels about all pieces of a cell; what is spread wider is to check
_PATIENCE = 60.0  # seconds in which another has written what was corrected
#: Columns of what is said of a cell, besides its probabilities.
_SAID = CLASS, CLASS_PROBABILITY, CLASS_BY, "check"
#: Columns that a table has in any case, also one that another program wrote.
_NEEDED = {"label": np.int64, **dict.fromkeys(("row", "col", "diameter", "certainty"), float), "check": bool}


def _table_state(folder: Path) -> FileState | None:
    """Return what the table of a result is like now; None where it is gone."""
    with suppress(OSError, ValueError):
        return FileState.of(table_file(folder))
    return None


@dataclass(eq=False)
class LargeResult:
    """What `segment_large` left in a folder.

    Attributes
    ----------
    folder : Path
    image_file : Path or None
        The image that it was found in; None where that came from no file, or is gone.
    labels : Pyramid
    cells : DataFrame
    settings : SegmentationSettings
    model, classifier : str
        What the cells were found by, and what told their classes, ``name@hash``.
    cell_diameter, class_diameter, field_share, backgrounds
        As of a `Segmentation`.
    notes : tuple of str
    edited : bool
        Whether a person changed cells, or said of some what they are.
    classes : ClassList
        What the classes of the cells are.
    stamps : dict
        What the labels that were measured are known again by; empty in a result of an earlier version.
    in_table : bool
        Whether the table on disk has the same cells, and not those before another program changed labels.
    table_state : FileState or None
        What the table on disk was like when it was read or written here.
    """

    folder: Path
    image_file: Path | None
    labels: Pyramid
    cells: pd.DataFrame
    settings: SegmentationSettings
    model: str
    cell_diameter: float | None
    notes: tuple[str, ...]
    classifier: str = ""
    edited: bool = False
    classes: ClassList = BUILT_IN_CLASSES
    class_diameter: float | None = None
    field_share: float | None = None
    backgrounds: tuple[tuple[float, float, float], ...] = ()
    stamps: Stamps = field(default_factory=dict)
    in_table: bool = True
    table_state: FileState | None = None

    @classmethod
    def open(cls, folder: str | Path) -> LargeResult:
        """Open the result in a folder, with its cells as they are in the labels now.

        Raises
        ------
        ImageError
            If there is none, or it is damaged.
        """
        folder = user_path(folder)
        with reading(f"The result of a large image in {folder}", ImageError, _ADVICE):
            plan = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
            record = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
            record.setdefault("class_diameter", record.get("cell_diameter"))  # of an earlier version
            record["notes"] = tuple(record["notes"])
            record["backgrounds"] = tuple(map(tuple, record.get("backgrounds", ())))
            table_state = _table_state(folder)  # before it is read
            cells = _completed(read_table(table_file(folder)).astype(_NEEDED))
            relative = plan.get("relative")
            places = plan.get("image"), relative and (folder / relative).resolve()
            result = cls(
                folder=folder,
                image_file=next((Path(place) for place in places if place and exists(place)), None),
                labels=Pyramid.open(folder / LABELS_FOLDER),
                cells=cells,
                settings=SegmentationSettings(**plan["settings"]),
                classes=ClassList.from_list(record["classes"]) if "classes" in record else BUILT_IN_CLASSES,
                **{name: record[name] for name in ABOUT_IN_WORDS if name in record},
                stamps={name: tuple(stamp) for name, stamp in record.get("stamps", {}).items()},
                table_state=table_state,
            )
        result._follow_labels(tuple(plan["shape"]))
        return result

    def _follow_labels(self, shape: tuple[int, ...]) -> None:
        """Measure what another program changed in the labels since they were measured."""
        if not self.stamps:  # a result of an earlier version
            return
        labels = self.labels.arrays[0]
        with reading(f"{self.labels.path}, changed by another program,", ImageError, _ADVICE):
            now = self.labels.stamps(self.stamps)
            parts, before = self.labels.changed(self.stamps, now), len(self.cells)
            if not parts:
                self.stamps = now
                return
            if labels.shape != shape or labels.dtype.kind not in "iu":
                raise ValueError(f"{labels.dtype} of shape {labels.shape}")
            known = self.cells
            self._measure((box, others) for box in parts if len(others := self._others_than_known(box)))
            if self.cells is not known:
                self.edited, self.in_table = True, False
            if not self.in_table and (gone := sorted(self.stamps.keys() - now.keys())):
                self.notes += (note_of_gone(gone, self.labels.path, before, len(self.cells)),)
            self.stamps = now

    def _others_than_known(self, box: Box) -> np.ndarray:
        """Return the labels of the cells of a part that are others than in the table, or gone."""
        known = self.cells[["label", "row", "col", "area"]]
        there, near = np.unique(self.region(box)), box.grown(self._reach // 2, self.labels.arrays[0].shape)
        close = known["row"].between(near.top, near.bottom) & known["col"].between(near.left, near.right)
        known = known[close | known["label"].isin(there)]
        touched = np.setdiff1d(np.union1d(known["label"], there), [0])
        part, labels = self._around(box, touched)
        fits = fitting_rows(known, *find_regions(labels, touched), part[:2])
        return np.setdiff1d(touched, fits["label"])

    def __repr__(self) -> str:
        return f"<LargeResult: {self.summary}; {self.folder}>"  # not all that is in it

    @property
    def white_cells(self) -> int:
        """Number of white cells."""
        return differential(self.cells, self.classes).white_cells

    @property
    def summary(self) -> str:
        """The count in words; see `summary_of`."""
        return summary_of(self.cells, self.classes)

    def keep(self) -> None:
        """Write the table where it has other cells than there are now; see `in_table`.

        Raises
        ------
        ImageError, OutputError
            As `replace_region`.
        """
        if not self.in_table:
            with self._alone():
                self.write_table()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from changing the result while the context lasts; begin with what they made of it."""
        busy = BusyError(f"{self.folder} is being changed or saved: try again when that is done.")
        with locked(self.folder.parent / f".{self.folder.name}.lock", busy, _PATIENCE):
            if _table_state(self.folder) != self.table_state:
                vars(self).update(vars(LargeResult.open(self.folder)))
            yield

    @property
    def pixel_size(self) -> PixelSize | None:
        """The size of a pixel, where the image told it."""
        return read_pixel_size(self.labels.path)

    def region(self, window: Box) -> np.ndarray:
        """Return the labels of a part of the image."""
        return np.asarray(self.labels.arrays[0][window.slices])

    def replace_region(
        self,
        window: Box,
        labels: np.ndarray,
        image: Any = None,
        said: pd.DataFrame | None = None,
        known: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Put corrected labels in place of those of a part, on disk, and measure what changed.

        A label that was not in the part before is a new cell, and gets a number that no other cell
        has.

        Parameters
        ----------
        window : Box
        labels : ndarray of int, shape (row1 - row0, col1 - col0)
        image : array, optional
            The whole image, lazy perhaps, for the stain of cells that changed.
        said : DataFrame, optional
            What was said of cells of the part, by their labels in it; see `keep_said`.
        known : DataFrame, optional
            The cells of the image that the part was taken from.

        Returns
        -------
        DataFrame
            The table of all cells as it is now.

        Raises
        ------
        ImageError
            If the labels have another shape than the part, the result is damaged, or other cells than those
            that were known were found since.
        OutputError
            If the result cannot be written, or another program does not come to an end with it.
        """
        with self._alone():
            if known is not None:
                self._require_same(known)
            self._follow_labels(self.labels.arrays[0].shape)
            before = self.region(window)
            if labels.shape != before.shape:
                raise ImageError(
                    f"The corrected part is {labels.shape}, and was {before.shape}: load it again."
                )
            labels = np.maximum(labels, 0)  # below 0 are lines between cells, of others
            numbers = self._numbers(labels, before)
            corrected = labels.astype(np.int32)
            for old, new in numbers.items():
                corrected[labels == old] = new
            differ, table = corrected != before, self.cells
            touched = np.setdiff1d(np.union1d(before[differ], corrected[differ]), [0])
            try:
                if len(touched):
                    self.labels.replace(window, corrected)
                    self._measure([(window, touched)], image)
                    self.stamps = self.labels.stamps(self.stamps)
                if said is not None:
                    self.cells = with_said(self.cells, said.assign(label=said["label"].replace(numbers)))
                if not self.cells.equals(table):
                    self.write_table()
            except OSError as error:
                raise OutputError(f"{self.folder} cannot be written: {error.strerror or error}.") from error
            return self.cells

    def keep_said(self, cells: pd.DataFrame, classes: ClassList | None = None) -> None:
        """Write what was said of cells, their classes and whether they are to check, into the table on disk.

        Parameters
        ----------
        cells : DataFrame
            Rows of others are left out.
        classes : ClassList, optional
            What the classes are, where they became others.

        Raises
        ------
        ImageError
            If other cells were found since, which have their numbers.
        OutputError
            As `replace_region`.
        """
        with self._alone():
            self._require_same(cells)
            self.cells, self.classes = with_said(self.cells, cells), classes or self.classes
            self.write_table()

    def _require_same(self, cells: pd.DataFrame) -> None:
        """Raise `ImageError` if the numbers of cells are those of others by now."""
        then = cells.reindex(columns=["label", "row", "col", "diameter"])
        both = self.cells.merge(then, on="label", suffixes=("", "_then"))
        moved = both[["row", "col"]].to_numpy() - both[["row_then", "col_then"]].to_numpy()
        wide = both[["diameter", "diameter_then"]].max(axis=1)
        if (np.abs(moved).max(axis=1, initial=0) > wide).any():
            raise ImageError(f"The cells in {self.folder} were found anew since then: open them again.")

    def classify(
        self, image: Any, classifier: ClassifierFile, source: str, progress: Progress = silent
    ) -> None:
        """Tell the classes of the cells anew, on disk; those that a person named keep theirs.

        Parameters
        ----------
        image : array
            That the cells were found in, lazy perhaps.
        classifier : ClassifierFile
        source : str
            The name or path that it was asked for by.
        progress : Progress

        Raises
        ------
        ImageError
            If the result is of an earlier version, or of another image.
        OutputError
            If the result cannot be written.
        """
        with self._alone():
            plan, estimates = self.plan_of(image)

            def light(pixels: np.ndarray, window: Box) -> np.ndarray:
                return estimates.transmittance(rgb_pixels(pixels, estimates.value_range), window)

            labels, diameter = self.labels.arrays[0], estimates.class_diameter
            self.cells = classify_cells(labels, self.cells, image, diameter, classifier, progress, light)
            self.settings = self.settings.replace(classes=source)
            plan["settings"] = self.settings.model_dump(mode="json")
            self.classifier = plan["classifier"] = classifier.id
            self.classes = class_list(classifier).added(*self.classes)
            self.write_table(edited=self.edited)
            write_atomically(self.folder / PLAN_FILE, json.dumps(plan, indent=2).encode(), OutputError)

    def plan_of(self, image: Any) -> tuple[dict[str, Any], GlobalEstimates]:
        """Return what the cells of an image, lazy perhaps, were found by, and the light of it.

        Raises
        ------
        ImageError
            If they were found in another image, or the result is of an earlier version.
        """
        with reading(f"The light of the image of {self.folder}", ImageError, "segment it anew"):
            plan, estimates = _plan_in(self.folder)
        if not _is_image(image, self.folder, plan, estimates):
            raise ImageError(f"The image of {self.folder} has changed since: put it back, or segment anew.")
        return plan, estimates

    def write_table(self, edited: bool = True) -> None:
        """Write the table and the record as they are, for whoever keeps others out; see `keep`."""
        file, self.edited = self.folder / RESULT_FILE, edited
        record = json.loads(file.read_text(encoding="utf-8"))
        if edited and not record.get("edited"):  # first: a table that fits its labels tells of no corrections
            record["edited"] = True
            write_atomically(file, json.dumps(record).encode(), OutputError)
        write_table(table_file(self.folder), self.cells)
        self.table_state = _table_state(self.folder)
        record |= {"classifier": self.classifier, "classes": self.classes.to_list()}
        record |= {"edited": edited, "count": len(self.cells), "stamps": self.stamps, "notes": self.notes}
        write_atomically(file, json.dumps(record).encode(), OutputError)
        self.in_table = True

    def _numbers(self, labels: np.ndarray, before: np.ndarray) -> dict[int, int]:
        """Return numbers that no other cell has for the new labels of a part."""
        new = np.setdiff1d(labels, np.append(before, 0)).tolist()
        highest = max(int(self.cells["label"].max()) if len(self.cells) else 0, int(before.max(initial=0)))
        return dict(zip(new, range(highest + 1, highest + 1 + len(new)), strict=True))

    @property
    def _reach(self) -> int:
        """How far a cell may reach out of a part, if it is no longer than those in the table."""
        return max(_LEAST_MARGIN, int(2 * self.cells["diameter"].max()) if len(self.cells) else 0)

    def _around(self, window: Box, touched: np.ndarray) -> tuple[Box, np.ndarray]:
        """Return a part about a window in which cells that were touched are whole, and its labels."""
        shape, reach = self.labels.arrays[0].shape, self._reach
        while True:
            part = window.grown(reach, shape)
            labels = self.region(part)
            if reach >= _MOST_MARGIN or not part.cuts(np.isin(labels, touched), shape):
                return part, labels
            reach *= 2

    def _measure(self, changes: Iterable[tuple[Box, np.ndarray]], image: Any = None) -> None:
        """Measure cells that were touched in some windows, and put their rows in place of those they had."""
        source = None if image is None else self._source(image)
        places, elsewhere = defaultdict[int, list[Box]](list), [self.cells.iloc[:0]]
        for window, touched in changes:
            before = self.cells[self.cells["label"].isin(touched)]
            part = self._measure_in(window, touched, source, places)
            held = before["row"].between(part.top, part.bottom) & before["col"].between(part.left, part.right)
            elsewhere.append(before[~held])
        # A number that was given to something far away is that of both.
        for label, box in self._still_there(pd.concat(elsewhere)):
            places[label].append(box)
        for label, boxes in list(places.items()):
            whole = Box.around(boxes)
            if whole.area > _MOST_AT_ONCE:
                self.cells = self.cells.assign(check=self.cells["check"] | (self.cells["label"] == label))
            elif {*boxes} != {whole}:  # it was measured in parts
                self._measure_in(whole, np.array([label]), source, places)

    def _measure_in(
        self, window: Box, touched: np.ndarray, source: PixelSource | None, places: dict[int, list[Box]]
    ) -> Box:
        """Measure cells about a window; return what was looked at, and add where the cells lie."""
        part, labels = self._around(window, touched)
        shape = self.labels.arrays[0].shape
        cells, boxes = measured_again(self.cells, self.cells, labels, touched, source, part[:2], shape)
        seen = np.intersect1d(labels, touched[touched > 0]).tolist()
        for label, box in zip(seen, boxes.tolist(), strict=True):
            places[label].append(Box(*box))
        near = cells["label"].isin(_seen_whole(labels, part, shape))  # neighbours of the cells, too
        cells["touching"] = cells["touching"].mask(near, cells["label"].isin(touching(labels)))
        self.cells = _filled(cells)
        return part

    def _still_there(self, cells: pd.DataFrame) -> Iterator[tuple[int, Box]]:
        """Yield label and surroundings of those cells whose number still shows where they lie."""
        labels, cells = self.labels.arrays[0], cells[["label", "row", "col", "diameter"]]
        for part, rows in parts_of(labels, cells, np.arange(len(cells))):
            there = self.region(part)
            for label, row, col, diameter in cells.iloc[rows].itertuples(index=False):
                box = Box.square(row, col, round(diameter)).within(labels.shape)
                if (there[box.relative_to(part).slices] == label).any():
                    yield label, box

    def _source(self, image: Any) -> PixelSource:
        """Return the image in the light that all cells were measured in."""
        try:
            _, estimates = _plan_in(self.folder)
        except (OSError, ValueError, KeyError):  # a result of an earlier version
            source = PixelSource(image)
            source.field_of_view = None
        else:
            source = PixelSource(image, estimates.value_range, estimates.background)
            source.field_of_view = estimates.field_of_view
        return source


def with_said(cells: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Return a table of cells with what another says of some of them; see `LargeResult.keep_said`."""
    said = [name for name in (*_SAID, *probability_columns(others)) if name in others]
    new = others.drop_duplicates("label").set_index("label")[said]
    known = cells.set_index("label").reindex(columns=said)
    values = pd.concat([new, known.drop(index=new.index, errors="ignore")])
    return _filled(cells.drop(columns=said, errors="ignore").join(values, on="label"))


def is_edited(folder: Path) -> bool:
    """Whether a folder holds cells that a person changed, or said of what they are.

    Raises
    ------
    ImageError
        If they are damaged.
    """
    return (folder / RESULT_FILE).exists() and LargeResult.open(folder).edited


def is_of_another(folder: Path, image: Any) -> bool:
    """Whether the cells in a folder were found in another image than this, lazy perhaps.

    Raises
    ------
    ImageError
        If the image cannot be read.
    """
    try:
        plan, estimates = _plan_in(folder)
    except (OSError, KeyError, ValueError):  # an earlier version did not note it
        return False
    return not _is_image(image, folder, plan, estimates)


def _plan_in(folder: Path) -> tuple[dict[str, Any], GlobalEstimates]:
    """Return what the cells in a folder were found by, and the light of their image."""
    plan = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
    return plan, GlobalEstimates.model_validate(plan["estimates"])


def _is_image(image: Any, folder: Path, plan: dict[str, Any], estimates: GlobalEstimates) -> bool:
    """Whether the cells in a folder, found by this plan, were found in an image."""
    with reading(f"The image of {folder}", ImageError, "put it back, or segment it anew"):
        digest: str = image_digest(PixelSource(image, estimates.value_range))
        return digest.startswith(plan["digest"])


def note_of_gone(files: Sequence[str], path: Path, before: int, now: int) -> str:
    """Say that cells went with files of a zarr, which reads what is missing as empty."""
    # Some programs remove the file of a part in which they erased all cells.
    return (
        f"The files {listed(files)} of {path} are gone, and cells with them "
        f"({before} before, {now} now): unless somebody erased them, put it back."
    )


def _seen_whole(labels: np.ndarray, part: Box, shape: tuple[int, ...]) -> np.ndarray:
    """Return the labels in a part of an image that do not come near its border, but for that of the image."""
    top, left = (GAP * (start > 0) for start in part[:2])
    bottom, right = (GAP * (stop < side) for stop, side in zip(part[2:], shape, strict=True))
    near_border = labels.copy()
    near_border[top : labels.shape[0] - bottom, left : labels.shape[1] - right] = 0
    return np.setdiff1d(labels, near_border)


def _completed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table, of another program perhaps, with all columns, and nothing told in those it lacked."""
    lacking = [name for name in COLUMNS if name not in table]
    table = table.assign(**dict.fromkeys(lacking, np.nan))
    flags = {name: table[name].eq(True) for name in FLAG_COLUMNS if name in lacking}
    return _filled(table.assign(**flags))


def _filled(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with nothing said of new cells, rather than what is unknown."""
    words = {name: table[name].fillna("").astype("str") for name in (CLASS, CLASS_BY)}
    return table.assign(check=table["check"].eq(True), **words)
