"""Where the training images of the Train widget come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from os.path import exists  # `Path.exists` raises where a name is too long, or a folder may not be entered
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Labels, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QLineEdit, QWidget

from ...datasets.corrections import corrections_folder, is_corrections
from ...datasets.download import fetch_sigtuple, local_sigtuple
from ...datasets.masks import MaskReading
from ...datasets.pair import TrainingPair
from ...datasets.read import read_pairs
from ...datasets.sigtuple import TRAIN_FOLDER, read_sigtuple
from ...errors import DatasetError
from ...files import user_path
from ...progress import Progress
from ..controls.basic_widgets import (
    Sentence,
    beside,
    button,
    choice,
    fill,
    form,
    stretched,
    together,
    with_tip,
)
from ..controls.layer_picker import LayerPicker
from ..shared.metadata import LayerInfo, is_picture, role_of
from ..shared.pictures import found_in
from ..shared.training_data import checked_pair, reader_of_layers, training_set_in_words

LAYERS, FOLDER, SIGTUPLE, CORRECTIONS = range(4)
_CHOICES = (
    ("Layers in this viewer", "An image layer and the labels layer with its cells."),
    ("Folder or archive", "Images with their masks or labels on this computer."),
    ("SigTuple tiles (public)", "169 hand-outlined images; downloaded the first time, 4 MB."),
    ("My corrections", "The fields that you added to your training set in Review."),
)

_SIGTUPLE = (
    "The public training set of the SigTuple AI Challenge: 169 images of Leishman-stained smears with "
    "outlined white cells. They are downloaded once (4 MB) and checked."
)
_MASKS: tuple[tuple[MaskReading, str, str], ...] = (
    ("auto", "black and white, or numbered cells", "Told apart by their values."),
    (
        "foreground",
        "all but 0 is cell",
        "For masks that tell nucleus and cell body: each connected region is one cell.",
    ),
    ("numbers", "each value is one cell", "For numbered cells that are taken for something else."),
)


@dataclass(frozen=True)
class TrainingSource:
    """Training images that were chosen, not yet read.

    Attributes
    ----------
    read : callable
        Given a `Progress`, returns the pairs; for a worker thread.
    words : str
        What they are, for the model file.
    path : Path or None
        The folder or archive, where a training process can read it for itself.
    """

    read: Callable[[Progress], list[TrainingPair]]
    words: str
    path: Path | None = None


class SourcePanel(QWidget):
    """Chooses between layers, a folder, the SigTuple tiles and the user's corrections.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Whose layers are offered.
    """

    #: Emitted when another source is chosen.
    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.kind = choice((title, title, tip) for title, tip in _CHOICES)
        self.image = LayerPicker(viewer, is_picture, "no image open")
        self.labels = LayerPicker(viewer, _is_labels, "no labels layer")
        self.path = QLineEdit()
        self.path.setPlaceholderText("folder of images and masks")
        self.masks = choice(_MASKS)
        self._about_set = Sentence()
        self._pages = (self._layers_page(), self._folder_page(), Sentence(_SIGTUPLE), self._about_set)
        fill(self, form(("Learn from", self.kind, "Where the training images come from.")), *self._pages)
        self.kind.currentIndexChanged.connect(self.refresh)
        for chosen in (self.image.changed, self.labels.changed):
            chosen.connect(self._on_layer)
        for typed in (self.path.textChanged, self.masks.currentIndexChanged):
            typed.connect(self.changed)
        self.refresh()

    @property
    def folder(self) -> str:
        """The folder or archive; empty when something else is chosen."""
        return self.path.text().strip() if self.kind.currentIndex() == FOLDER else ""

    def choose(self, kind: int) -> None:
        """Choose what kind of source it is."""
        self.kind.setCurrentIndex(kind)

    def source(self) -> TrainingSource:
        """Return what is chosen, so that it can be read in a worker thread.

        Raises
        ------
        WBCSegError
            If there is nothing to train on.
        """
        kind = self.kind.currentIndex()
        if kind == LAYERS:
            image, labels = checked_pair(self.image.value, self.labels.value)
            return TrainingSource(reader_of_layers(image, labels), f"layers of napari ({image.name})")
        if kind == SIGTUPLE:
            return TrainingSource(_read_sigtuple, "SigTuple tiles")
        if kind == CORRECTIONS:
            if not is_corrections(corrections_folder()):
                raise DatasetError(
                    "There are no corrections yet: open Plugins ▸ White blood cells ▸ Review white blood "
                    "cells, correct some cells and press Add to my training set."
                )
            return TrainingSource(partial(_read, corrections_folder(), "auto"), "corrections of the user")
        if not self.folder:
            raise DatasetError("Choose the folder or archive with the training images.")
        folder = user_path(self.folder)
        if not exists(folder):
            raise DatasetError(f"There is nothing at {self.folder}. Choose a folder or archive.")
        masks: MaskReading = self.masks.currentData()
        # The training process reads a folder by the rule; what is read in another way is handed to it.
        return TrainingSource(
            partial(_read, folder, masks), f"images from {folder.name}", folder if masks == "auto" else None
        )

    def _layers_page(self) -> QWidget:
        rows = form(
            ("Image", self.image.native, "The stained smear, or a stack of them."),
            ("Cells", self.labels.native, "The labels layer with every white cell in it."),
        )
        return together(rows)

    def _folder_page(self) -> QWidget:
        with_tip(
            self.path,
            "A SigTuple folder or .tar; NAME.jpg with NAME-mask.jpg; or of folders images and labels.",
        )
        with_tip(stretched(self.masks), "How masks of several values are read.")
        choose = beside(button("Folder …", self._choose_folder), button("Archive …", self._choose_file))
        return together(self.path, choose, beside(QLabel("Masks"), self.masks))

    def _on_layer(self, chosen: Layer | None) -> None:
        """Keep cells with the image that they were found in, where one can be chosen."""
        image, labels = self.image.value, self.labels.value
        if chosen and image and labels and LayerInfo.of(labels).source_id and not _belong(image, labels):
            other = self.labels if chosen is image else self.image
            other.value = next((one for one in other.choices if one and _belong(chosen, one)), other.value)
        self.changed.emit()

    def refresh(self, *_: object) -> None:
        """Show what belongs to the choice, as it is now."""
        kind = self.kind.currentIndex()
        if kind == CORRECTIONS:
            self._tell_corrections()
        for number, page in enumerate(self._pages):
            page.setVisible(number == kind)
        self.changed.emit()

    def _tell_corrections(self) -> None:
        there_are_some, told = training_set_in_words()
        if there_are_some:
            told += (
                " The Models widget fine-tunes on them as well, and compares the new model with the old "
                "before you keep it."
            )
        self._about_set.setText(told)

    def _choose_folder(self) -> None:
        before = self.path.text()
        self.path.setText(QFileDialog.getExistingDirectory(self, "Training images", before) or before)

    def _choose_file(self) -> None:
        before, archives = self.path.text(), "Archives (*.tar *.tar.gz *.tgz)"
        chosen, _ = QFileDialog.getOpenFileName(self, "Training archive", before, archives)
        self.path.setText(chosen or before)


def _read(path: Path, masks: MaskReading, progress: Progress) -> list[TrainingPair]:
    progress(0, 0, "Reading the training images")
    return read_pairs(path, masks)


def _read_sigtuple(progress: Progress) -> list[TrainingPair]:
    folder = local_sigtuple(TRAIN_FOLDER) or fetch_sigtuple([TRAIN_FOLDER], progress=progress)
    progress(0, 0, "Reading the training images")
    return read_sigtuple(folder)


def _belong(one: Layer, other: Layer) -> bool:
    """Say whether one of two layers was found in the other."""
    return found_in(one, other) or found_in(other, one)


def _is_labels(layer: Layer) -> bool:
    return isinstance(layer, Labels) and role_of(layer) in (None, "cells")
