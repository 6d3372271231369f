"""The widget *White blood cell models*: what models there are, where they come from, and go to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import wait
from html import escape
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QGroupBox,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from ...network.library import ModelInfo, import_model_file, list_models, remove_from_library
from ...network.model_card import main_score, model_card
from ...network.model_file import ModelFile
from ...progress import Progress
from ..controls.basic_widgets import (
    Folded,
    Sentence,
    beside,
    button,
    confirmed,
    file_to_write,
    there,
    together,
)
from ..controls.panel import Panel, scrolled_column
from ..shared.events import events
from .finetune_panel import FineTunePanel

_COLUMNS = ("name", "recipe", "Dice", "size", "origin")
#: Headings of the card that are shown at once; the others are folded away, so that fine-tuning is in view.
_FIRST = ("name", "origin", "for", "scores")
_FIRST_OF_YOURS = (*_FIRST, "notes")
_LONG = 300  # letters of notes, as those of the built-in models and of copies of these are
_FILTERS = {
    "bioimage.io package (*.zip)": ".zip",
    "ONNX (*.onnx)": ".onnx",
    "Keras (*.keras)": ".keras",
    "This package's own (*.safetensors)": ".safetensors",
}


class ModelsWidget(Panel):
    """Lists the models, shows the card of one, imports, exports, removes and fine-tunes."""

    #: Emitted with the name of a model that was imported.
    imported = Signal(str)
    #: Emitted with the path of a file that was exported.
    exported = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._infos: dict[str, ModelInfo] = {}
        #: Fine-tunes on the training set.
        self.fine_tuning = FineTunePanel(self.cleanup)
        self._build()
        events.models_changed.connect(self.refresh)
        self.refresh("wbc")

    # For scripts -----------------------------------------------------------------------------------------

    @property
    def chosen(self) -> str:
        """Name of the chosen model; empty while there is none."""
        item = self._list.currentItem()
        return item.text(0) if item is not None else ""

    @chosen.setter
    def chosen(self, name: str) -> None:
        found = self._list.findItems(name, Qt.MatchFlag.MatchExactly)
        if not found:
            raise ValueError(f"There is no model named {name!r}.")
        self._list.setCurrentItem(found[0])

    def refresh(self, chosen: str = "") -> None:
        """Read the library again, keeping the choice, or choosing ``chosen`` if it is there."""
        wanted = chosen or self.chosen
        self._infos = {info.name: info for info in list_models()}
        self._list.clear()
        for info in self._infos.values():
            item = QTreeWidgetItem(_row(info))
            item.setToolTip(0, info.problem or str(info.path))
            self._list.addTopLevelItem(item)
        # As high as its rows, up to eight.
        row = self._list.sizeHintForRow(0) if self._infos else 20
        self._list.setFixedHeight(min(len(self._infos) + 2, 9) * max(row, 18) + 8)
        if self._infos:
            self.chosen = wanted if wanted in self._infos else next(iter(self._infos))
        self._show_card()

    def import_file(self, path: str | Path) -> None:
        """Check a model file and add it to the library; `imported` or `failed` follows."""
        title = f"Importing {Path(path).name}"
        self._run(lambda progress: import_model_file(path).name, title, self._on_imported)

    def export_file(self, path: str | Path, name: str = "") -> None:
        """Write a model, by default the chosen one, to a file; `exported` or `failed` follows.

        The ending of the file is the format.
        """
        source, target = self._infos[name or self.chosen].path, Path(path)

        def work(progress: Progress) -> str:
            from ...network.exchange.export import export_model

            model = ModelFile.read(source)
            if target.suffix.lower() == ".keras":
                return str(_export_elsewhere(model, target, progress))
            return str(export_model(model, target))

        self._run(work, f"Writing {target.name}", self._on_exported)

    def remove(self, name: str = "") -> None:
        """Delete a model, by default the chosen one."""

        def remove() -> None:
            remove_from_library(name or self.chosen)
            self.say("Removed.")
            events.models_changed.emit("")

        self.by_hand(remove)

    # Parts -----------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._list = QTreeWidget()
        self._list.setHeaderLabels(_COLUMNS)
        self._list.setRootIsDecorated(False)
        there(self._list.header()).setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self._list.currentItemChanged.connect(lambda *_: self._show_card())
        self._card, self._details = Sentence(), Sentence()
        self._import = button(
            "Import …",
            self._ask_import,
            "A model of this package (.safetensors), or weights of the published network that Keras saved "
            "(.hdf5, .weights.h5, .keras). The file is checked; no code in it is run.",
        )
        tip = "As bioimage.io package, ONNX or Keras file, for other programs."
        self._export = button("Export …", self._ask_export, tip)
        self._remove = button("Remove", self._ask_remove, "Deletes one of your own models.")

        column = scrolled_column(self, "Models")
        column.addWidget(self._list)
        self._doors = together(beside(self._import, self._export, self._remove))
        column.addWidget(self._doors)
        column.addWidget(self.message)
        column.addWidget(self._card)
        column.addWidget(Folded("Network, input and training", self._details))
        part = QGroupBox("Fine-tune on my training set")
        QVBoxLayout(part).addWidget(self.fine_tuning)
        column.addWidget(part)
        column.addStretch()

    def _show_card(self) -> None:
        info = self._infos.get(self.chosen)
        usable = info is not None and info.header is not None
        self._export.setEnabled(usable)
        self._remove.setEnabled(info is not None and not info.built_in)
        if info is None or info.header is None:
            self._card.setText(f"<p>{escape(info.problem)}</p>" if info is not None else "")
            self._details.setText("")
            return
        card = model_card(info.header, info.path, info.origin)
        folded = info.built_in or len(info.header.notes) > _LONG
        first = _FIRST if folded else _FIRST_OF_YOURS
        for label, headings in ((self._card, first), (self._details, [*card])):
            shown = [heading for heading in headings if heading in card]
            label.setText("<br>".join(f"<b>{escape(key)}</b> {escape(card.pop(key))}" for key in shown))

    def _ask_import(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Import a model", "", "Models (*.safetensors *.h5 *.hdf5 *.keras)"
        )
        if path:
            self.import_file(path)

    def _ask_export(self) -> None:
        name = self.chosen  # before the answer a training may end, whose model is chosen then
        path = file_to_write(self, "Export the model", f"{name}.zip", _FILTERS)
        if path is not None:
            self.export_file(path, name)

    def _ask_remove(self) -> None:
        name = self.chosen
        if confirmed(self, "Remove a model", f"Delete the model {name}?"):
            self.remove(name)

    # Running ---------------------------------------------------------------------------------------------

    def _run(self, work: Callable[[Progress], str], title: str, then: Callable[[str], object]) -> None:
        if not self._doors.isEnabled():
            return
        self.say(f"{title} …")
        self._doors.setEnabled(False)
        self.in_background(
            work,
            title,
            lasting=True,
            done=then,
            cancelled=lambda: self.say("Cancelled."),
            ended=lambda: self._doors.setEnabled(True),
        )

    def _on_imported(self, name: str) -> None:
        self.say(f"{name} was checked and added. Evaluate it on pictures you know before use.")
        events.models_changed.emit(name)
        self.imported.emit(name)

    def _on_exported(self, path: str) -> None:
        self.say(f"Written: {path}")
        self.exported.emit(path)


def _row(info: ModelInfo) -> list[str]:
    header = info.header
    if header is None:
        return [info.name, "", "", f"{info.size / 1e6:.1f} MB", "cannot be used"]
    return [info.name, header.recipe, main_score(header), f"{info.size / 1e6:.1f} MB", info.origin]


def _export_elsewhere(model: ModelFile, target: Path, progress: Progress) -> Path:
    """Write a Keras file in a process of its own: TensorFlow and napari's window do not share one."""
    from loky import ProcessPoolExecutor

    from ...network.exchange.export import export_model

    process = ProcessPoolExecutor(1)
    try:
        written = process.submit(export_model, model, target)
        while not written.done():
            progress(0, 0, f"Writing {target.name}")
            wait([written], timeout=0.1)
        return Path(written.result())
    finally:
        process.shutdown(kill_workers=True)
