"""The part of a panel that saves cells: formats to tick, and a button."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from os.path import exists  # a `Path` raises where a name is too long
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.history import get_save_history
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGridLayout

from ...results.formats.registry import base_of, files_of, followers
from ...results.names import stem_of
from ..controls.basic_widgets import button, confirmed, fill
from ..controls.panel import Panel
from ..shared.jobs import Job, busy
from ..shared.pictures import path_of, source_image
from ..shared.preferences import preference
from ..shared.saving import LayerSnapshot, save_snapshot
from ..shared.unsaved import keep_unsaved

#: Formats offered, with the words beside the box.
OFFERED = {
    "tiff": "Labels (TIFF)",
    "csv": "Table (CSV)",
    "overlay": "Picture (PNG)",
    "geojson": "QuPath (GeoJSON)",
    "roi": "ImageJ/Fiji (ROI zip)",
    "ome-zarr": "OME-Zarr",
}
_TIPS = {
    "tiff": "NAME-labels.tif with its scale, and NAME-result.json: opened in napari, the table comes along.",
    "csv": "NAME-cells.csv: a row a cell, in pixels and, where the layer has units, in µm.",
    "overlay": "NAME-overlay.png: the image with outlines and numbers.",
    "geojson": "NAME.geojson: drag it onto the image in QuPath.",
    "roi": "NAME-rois.zip: open it in the ROI Manager of ImageJ or Fiji.",
    "ome-zarr": "NAME.ome.zarr: the labels, and the image below them, in several resolutions.",
}

_NO_FILE = (
    "The picture is in no file, so the cells open without it: save it too, under its name, or tick OME-Zarr."
)


class SaveForm(Panel):
    """Saves a labels layer off the window's thread.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the image of the cells is looked for.
    cells : callable
        Returns the labels layer to save, or None while there is none.
    """

    #: Emitted with the list of files when they are written.
    saved = Signal(object)

    def __init__(self, viewer: ViewerModel, cells: Callable[[], Labels | None]) -> None:
        super().__init__()
        self._viewer, self._cells = viewer, cells
        self._job: Job | None = None
        grid = QGridLayout()
        self._boxes: dict[str, QCheckBox] = {}
        for number, (name, words) in enumerate(OFFERED.items()):
            box = self._boxes[name] = QCheckBox(words)
            box.setToolTip(_TIPS[name])
            box.toggled.connect(self.refresh)
            grid.addWidget(box, number // 2, number % 2)
        self.button = button("Save …", self._ask)
        fill(self, grid, self.button, self.message)
        self.formats = map(str.strip, str(preference("save_formats")).split(","))
        self.refresh()

    @property
    def formats(self) -> list[str]:
        """Names of the formats that are ticked."""
        return [name for name, box in self._boxes.items() if box.isChecked()]

    @formats.setter
    def formats(self, names: Iterable[str]) -> None:
        wanted = set(names)
        for name, box in self._boxes.items():
            box.setChecked(name in wanted)

    @property
    def running(self) -> bool:
        """Whether files are being written."""
        return busy(self._job)

    def refresh(self) -> None:
        """Look again whether there is something to save. Call it when the layer may have changed."""
        reason = ""
        if self._cells() is None:
            reason = "There are no cells to save yet."
        elif not self.formats:
            reason = "Tick what to save."
        self.button.setEnabled(not reason and not self.running)
        self.button.setToolTip(reason or "Choose a folder and a name; what is ticked is written there.")

    def save(self, path: str | Path) -> None:
        """Write what is ticked under this name, such as ``counted/smear``; returns at once.

        Other files of that name follow the labels. `saved` or `failed` is emitted when it is done, neither
        where it was cancelled.
        """
        if (layer := self._cells()) is not None:
            self._save(layer, path)

    def _save(self, layer: Labels, path: str | Path) -> None:
        if self.running or not self.formats:
            return
        snapshot = LayerSnapshot.of_layer(layer, self._viewer)
        self.say("Saving …")
        self._job = self.in_background(
            partial(save_snapshot, snapshot, path, self.formats),
            "Saving cells",
            lasting=True,
            done=lambda files: self._on_saved(layer, snapshot, files),
            cancelled=lambda: self.say("Cancelled; files that were done are whole."),
            ended=self.refresh,
        )
        self.refresh()

    def _ask(self) -> None:
        layer = self._cells()
        if layer is None:
            return
        chosen, _ = QFileDialog.getSaveFileName(
            self,
            "Save cells: folder and name",
            str(_suggested(layer, self._viewer)),
            "All files (*)",
            # It is a beginning of names; what exists is asked for below.
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if not chosen:
            return
        base = base_of(Path(chosen))
        # The other files of labels that are saved anew follow; see `save_snapshot`.
        written = [*self.formats, *(followers(base) if "tiff" in self.formats else [])]
        there = [file.name for file in files_of(base, written) if exists(file)]
        question = f"{', '.join(there)} is there already. Replace?"
        if not there or confirmed(self, "Replace?", question):
            self._save(layer, base)  # a run may have put others in their place meanwhile

    def _on_saved(self, layer: Labels, snapshot: LayerSnapshot, files: list[Path]) -> None:
        keep_unsaved(self._viewer).saved_in(layer, snapshot, files)
        names = ", ".join(file.name for file in files)
        words = f"Saved in {files[0].parent}: {names}."
        in_no_file = snapshot.image is not None and snapshot.found.image_path is None
        if in_no_file and "tiff" in self.formats and "ome-zarr" not in self.formats:
            words += f" {_NO_FILE}"
        self.say(words)
        self.saved.emit(files)


def _suggested(layer: Labels, viewer: ViewerModel) -> Path:
    """Return the image's own folder and name, or the last folder that napari saved to."""
    image = source_image(viewer, layer)
    path = None if image is None else path_of(image)
    if path is not None and path.parent.is_dir():
        return path.with_name(stem_of(path))
    name = "cells" if image is None else image.name
    return Path(get_save_history()[0]) / "".join("-" if sign in '<>:"/\\|?*' else sign for sign in name)
