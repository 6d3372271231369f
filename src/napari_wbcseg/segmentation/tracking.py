"""Measurements that follow a label image while it is edited: only what changed is measured again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..box import Box
from ..images.pixel_source import PixelSource
from .measure import GAP, measured_again

_TILE = 256
_ALL_OF_IT = 0.9
_A_CELL = 2**13  # pixels that are looked at in the time that measuring one cell takes


@dataclass(frozen=True)
class Change:
    """What became of the cells of one label image.

    Attributes
    ----------
    added, removed : set of int
        Labels.
    swallowed : dict of int to int
        Labels that are gone because most of their pixels went to another one, and to which.
    """

    added: set[int]
    removed: set[int]
    swallowed: dict[int, int]


class TrackedCells:
    """The measurements of one label image, kept in step with it.

    It keeps a copy of the labels, finds what differs from it, and measures those cells anew.

    Parameters
    ----------
    labels : ndarray of int or bool, shape (H, W)
    stain : PixelSource, optional
        The image, whose stain is measured.
        Without one the columns of the stain are NaN, but of cells that are as ``known`` has them.
    known : DataFrame, optional
        What is known of cells besides their measurements, such as ``certainty`` and ``class``, by
        the column ``label``. It stays with them through every edit, see `measured_again`.

    Attributes
    ----------
    table : DataFrame
        A row a label, as `measure_labels` gives it, indexed by label, with the columns of ``known``.
    """

    def __init__(
        self, labels: np.ndarray, stain: PixelSource | None = None, known: pd.DataFrame | None = None
    ) -> None:
        self._labels = np.array(labels)
        self._stain = stain
        self._known = known  # kept whole: an undo brings a label back, and what was known of it
        self._boxes: dict[int, Box] = {}
        self.table: pd.DataFrame
        self._measure(Box(0, 0, *self.shape))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self._labels.shape
        return height, width

    def box_of(self, label: int) -> Box:
        """Return the bounding box of a cell.

        Raises
        ------
        KeyError
            If there is no such label.
        """
        return self._boxes[label]

    def differences(self, labels: np.ndarray, within: Box | None = None) -> list[Box]:
        """Return where the labels are no longer what they were.

        Parameters
        ----------
        labels : ndarray, shape (H, W)
        within : Box, optional
            Look only here.

        Returns
        -------
        list of Box
            Boxes that together hold every change, those far apart in boxes of their own.
        """
        from scipy import ndimage

        box = (within or Box(0, 0, *self.shape)).within(self.shape)
        if not box.area:
            return []
        differ = labels[box.slices] != self._labels[box.slices]
        tiles = differ
        for axis in (1, 0):  # along the rows first, which is ten times as fast
            tiles = np.logical_or.reduceat(tiles, np.arange(0, box.shape[axis], _TILE), axis=axis)
        groups, _ = ndimage.label(tiles, np.ones((3, 3)))
        boxes = []
        for place in ndimage.find_objects(groups):
            top, left = (side.start * _TILE for side in place)
            there = differ[top : place[0].stop * _TILE, left : place[1].stop * _TILE]
            (inside,) = ndimage.find_objects(there.view(np.uint8))
            boxes.append(Box.of(inside).shifted(box.top + top, box.left + left))
        return boxes

    def work(self, boxes: list[Box]) -> int:
        """Return how many pixels would be looked at to bring these boxes up to date, about."""
        work = 0
        for box in boxes:
            near = self._known_in(box)
            work += self._window(box, near).area + _A_CELL * len(near)
        return work

    def update(self, labels: np.ndarray, boxes: list[Box] | None = None) -> Change:
        """Measure anew what changed.

        Parameters
        ----------
        labels : ndarray, shape (H, W)
            The labels as they are now.
        boxes : list of Box, optional
            What `differences` told; asked for when not given.
        """
        before, changed = set(self._boxes), np.zeros((2, 0), np.int64)
        for box in self.differences(labels) if boxes is None else boxes:
            changed = np.concatenate([changed, self._update(labels, box)], axis=1)
        return self._change(before, *changed)

    def changes_since(self, earlier: TrackedCells) -> Change:
        """Return which cells came and went since an earlier measurement of the same image."""
        was_and_is = [np.zeros((2, 0), np.int64)]
        for label in earlier._boxes.keys() - self._boxes.keys():
            here = earlier.box_of(label).slices
            inside = earlier._labels[here] == label
            was_and_is.append(np.stack([earlier._labels[here][inside], self._labels[here][inside]]))
        return self._change(set(earlier._boxes), *np.concatenate(was_and_is, axis=1))

    def _change(self, before: set[int], lost: np.ndarray, won: np.ndarray) -> Change:
        """Return what became of the labels there were; some pixels ``lost`` theirs, and ``won`` others.

        A label that is gone was swallowed by the one that took most of its pixels; but where that consists of
        them, and was not there before, it is the old cell by another number.
        """
        added, removed, taken = self._boxes.keys() - before, before - self._boxes.keys(), dict[int, int]()
        new = self.table.loc[sorted(added), "area"].to_dict()
        for label in removed:
            takers, counts = np.unique(won[lost == label], return_counts=True)
            if not takers.size:
                continue
            taker, pixels = int(takers[counts.argmax()]), int(counts.max())
            if taker > 0 and pixels < _ALL_OF_IT * new.get(taker, np.inf):
                taken[label] = taker
        return Change(added, removed, taken)

    def _update(self, labels: np.ndarray, box: Box) -> np.ndarray:
        """Measure anew what changed in a box, and return the labels lost and won by its pixels, (2, n)."""
        here = box.slices
        new, old = np.asarray(labels[here]), self._labels[here]
        differ = new != old
        changed = np.stack([old[differ], new[differ]])
        self._labels[here] = new
        affected = ({int(label) for label in np.unique(changed)} - {0}) | self._known_in(box)
        window = self._window(box, affected)
        for label in affected:
            self._boxes.pop(label, None)
        self._measure(window, affected, self.table)
        return changed

    def _measure(self, window: Box, only: set[int] | None = None, table: pd.DataFrame | None = None) -> None:
        """Measure cells that lie in a window, all that are there or these of a table."""
        part, corner = self._labels[window.slices], window[:2]
        table, boxes = measured_again(table, self._known, part, only, self._stain, corner, self.shape)
        self.table = table.set_index("label", drop=False).rename_axis(None)
        measured = self.table.index if only is None else self.table.index[self.table.index.isin(list(only))]
        self._boxes.update(zip(measured.tolist(), map(Box._make, boxes.tolist()), strict=True))

    def _known_in(self, box: Box) -> set[int]:
        near = self._labels[box.grown(GAP, self.shape).slices]
        return set(np.unique(near).tolist()) - {0}

    def _window(self, box: Box, labels: set[int]) -> Box:
        """Return what must be looked at to measure these labels, after a change in the box."""
        known = (self._boxes[label] for label in labels if label in self._boxes)
        return Box.around([box, *known]).grown(GAP, self.shape)
