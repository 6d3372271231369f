"""The widget *White blood cell session*: a folder of them, segmented, reviewed and counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import call
from pathlib import Path
from typing import Any

import napari
from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog

from ...batch.folder import BatchItem
from ...batch.notices import notices
from ...errors import WBCSegError
from ...progress import Progress
from ...settings import SegmentationSettings
from ...words import listed, of_part
from ..controls.basic_widgets import confirmed, there
from ..controls.panel import Panel, held_by_part, open_review_on
from ..controls.window import WindowGuard
from ..shared.counts import counts_of
from ..shared.jobs import Job, busy, timer
from ..shared.metadata import LayerInfo, note
from ..shared.saving import LayerSnapshot
from ..shared.viewer import own_viewer
from .files import Session, kept_in_place, last_session, replaced, row_and_thumbnail, save_cells
from .panel import KEYS, LOOKING, OTHERWISE, START, Entry, SessionPanel, ask_to_save, thumbnail
from .shown_picture import Contents, ShownPicture, copy_left, read_picture

_SUM_DELAY = 100  # ms between two sums over all pictures
_BECAME_ANOTHER = (
    "became another picture since it was opened: these cells are kept as those of the one before."
)
_OF_REGIONS = "Regions open with their pixels, and do not count with the pictures:"


class SessionWidget(Panel):
    """Shows pictures one after the other, segments all of them, and keeps their cells in result files.

    The same from a script: call `open_pictures`, `segment_all`, `show_picture`, `next`, `previous`, `save`;
    ``look_again``; read ``session``, ``entries``, ``shown``, ``cells`` and ``unsaved``.

    Parameters
    ----------
    napari_viewer : napari.Viewer

    Attributes
    ----------
    session : Session or None
        None until its pictures are listed.
    panel : SessionPanel
        What is seen of it.
    """

    #: Emitted with the entry whose picture was opened.
    opened = Signal(object)
    #: Emitted when everything is known of the pictures that were listed.
    listed = Signal()
    #: Emitted when *Segment all* ended, whatever it came to.
    ended = Signal()
    #: Emitted with the entry whose cells were saved.
    saved = Signal(object)

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = own_viewer(napari_viewer)
        self.session: Session | None = None
        self._picture = ShownPicture(self._viewer)
        self._asked: Entry | None = None  # the picture that was to be shown last; it may be damaged
        self._looking: Job | None = None
        self._reading: Job | None = None
        self._running: Job | None = None
        self._saving: Job | None = None
        self._wanted: Callable[[], object] | None = None  # once that is done
        self._summing = timer(_SUM_DELAY, self._show_summary, self)
        self.panel = SessionPanel(self, self._act)
        for chosen in (self.panel.pictures.clicked, self.panel.pictures.activated):
            chosen.connect(lambda index: self._act("show_picture", index.row()))
        self.panel.method.models.replaced.connect(self._on_model_replaced)
        keys = {key: partial(self._act, name) for key, name in KEYS.items()}
        self._guard = WindowGuard(self, keys, lambda: self.unsaved, self._after_saving)
        self.cleanup.add(self._guard.leave)
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            self.cleanup.connect(event, self._refresh)
        self.cleanup.connect(counts_of(self._viewer).changed, self._on_counted)
        self._refresh()

    # What is open ----------------------------------------------------------------------------------------

    entries: list[Entry] = held_by_part("panel.pictures.entries", "The pictures of the session.")
    model: str = held_by_part(
        "panel.method.models.name",
        "Name of the model of the first run; later runs into the folder go on with it.",
        settable=True,
    )

    @property
    def settings(self) -> SegmentationSettings:
        """The settings of the first run."""
        return self.panel.method.settings

    @settings.setter
    def settings(self, settings: SegmentationSettings) -> None:
        self.panel.method.set_values(settings)

    @property
    def running(self) -> bool:
        """Whether pictures are being segmented."""
        return busy(self._running)

    shown: Entry | None = held_by_part("_picture.entry", "The picture in the viewer.")
    cells: Labels | None = held_by_part(
        "_picture.cells", "The layer with the cells of the picture shown, read from its files or found since."
    )
    unsaved: bool = held_by_part(
        "_picture.unsaved", "Whether the cells shown differ from those in the files."
    )

    def open_pictures(self, paths: Sequence[str | Path], out: str | Path | None = None) -> None:
        """Open files and folders of pictures, or a folder of results; see `Session.open`.

        The picture that was shown last is shown again. While pictures are segmented it only says so.
        """
        if self.running:  # a folder was dropped on the window
            show_info("Pictures are being segmented. Wait for the end, or press Cancel, then open others.")
        else:
            self._after_saving(lambda: self._open(paths, out))

    def look_again(self) -> None:
        """List the pictures that came since, and no more those that went; what is shown stays.

        Does nothing while pictures are segmented: that has looked again, and does at its end.
        """
        if not self.running:
            for entry in self.entries:
                entry.known = False
            self._list_again()

    def _open(self, paths: Sequence[str | Path], out: str | Path | None) -> None:
        if self._reading is not None:
            self._reading.abandon()
        self._picture.take_away()
        self.panel.pictures.set_entries([])
        self.session = self._asked = None
        self.panel.notices.setText("")
        self._list(lambda: Session.open(paths, out).now())
        self._refresh()

    def _list_again(self) -> None:
        if self.session is not None:
            self._list(self.session.now)

    def _list(self, find: Callable[[], tuple[Session, list[BatchItem]]]) -> None:
        """List the pictures that there are by now, look at those that are not known, and show one."""

        def found(now: tuple[Session, list[BatchItem]]) -> None:
            self._take(*now)
            if self._asked is None:
                paths = [str(entry.item.path) for entry in self.entries]
                self.show_picture(paths.index(now[0].shown) if now[0].shown in paths else 0)
            self._look()

        self._looking = self.in_background(
            lambda _: find(), done=found, instead_of=self._looking, ended=self._refresh
        )

    def _take(self, session: Session, items: list[BatchItem]) -> None:
        """List these pictures; what is known of them stays."""
        entries = [self.panel.pictures.entry_of(item) or Entry(item) for item in items]
        for entry, item in zip(entries, items, strict=True):
            entry.item = item
        self.session = session
        self.panel.pictures.set_entries(entries)
        self._refresh()

    def _look(self) -> None:
        """Find out, in the background, what is not known yet of the pictures, and of the numbers over all."""
        session, entries = self.session, list(self.entries)
        assert session is not None

        def look(progress: Progress, tell: Callable[[Any], None]) -> tuple[str, ...]:
            rows = {entry: entry.row for entry in entries}
            for number, entry in enumerate(entries):
                if not entry.known:
                    rows[entry], jpeg = row_and_thumbnail(entry.item, session)
                    progress(number, len(entries), "Looking at the pictures")
                    tell(partial(self._on_told, entry.item, rows[entry], jpeg))
            done = [entry.item for entry, row in rows.items() if row is not None and row["status"] == "ok"]
            return notices(done, session.outputs)

        self._looking = self.in_background(look, done=self._on_listed, instead_of=self._looking, yielded=call)

    def _show_summary(self) -> None:
        self.panel.summary.setText(self.panel.pictures.summary())

    def _on_listed(self, sentences: tuple[str, ...]) -> None:
        self.panel.notices.setText("\n".join(sentences))
        self._show_summary()
        self.listed.emit()

    def _on_told(self, item: BatchItem, row: dict[str, Any] | None, jpeg: bytes) -> None:
        """Show what came to be known of a picture: its row of ``counts.csv`` or None, and how it looks."""
        entry = self.panel.pictures.entry_of(item)
        if entry is None or self.session is None:
            return
        entry.item, entry.row, entry.known = item, row, True
        entry.picture = thumbnail(jpeg) if jpeg else entry.picture
        self.panel.pictures.tell(entry)
        if not self._summing.isActive():  # it goes through all of them
            self._summing.start()
        found_anew = entry is self.shown and self._picture.written != self.session.written(entry.item)
        leaving = busy(self._reading) and self._asked is not entry  # another was clicked, and is being read
        if found_anew and entry.segmented and not self.unsaved and not leaving:
            self._read(entry)

    # One picture -----------------------------------------------------------------------------------------

    def show_picture(self, row: int) -> None:
        """Show a picture and its cells; asks first where others are not saved."""
        entry = self.entries[row]
        self._after_saving(lambda: self._read(entry))

    def next(self, step: int = 1) -> None:
        """Show the next picture, after one that cannot be read the one behind it."""
        row = (self.entries.index(self._asked) if self._asked in self.entries else -1) + step
        if 0 <= row < len(self.entries):
            self.show_picture(row)

    def previous(self) -> None:
        """Show the picture before this one."""
        self.next(-1)

    def review(self) -> Any:
        """Open the Review widget on the cells shown, and return it."""
        return open_review_on(self._viewer, self.cells)

    def differential(self) -> None:
        """Open the differential over all pictures, a tab of the Review widget."""
        if self.session is not None:
            self.review().show_differential(self.session.out)

    def _read(self, entry: Entry, words: str = "") -> None:
        """Read a picture and its cells in the background, and show them and perhaps a sentence."""
        session, item = self.session, entry.item
        assert session is not None
        self._asked, left = entry, copy_left(item, session)

        def show(contents: Contents) -> None:
            # Cells may have been edited meanwhile.
            self._after_saving(lambda: self._show(entry, contents, words or contents.words))

        def failed(why: str) -> None:
            why = words or why
            behind = self.entries[self.entries.index(entry) + 1 :] if entry in self.entries else []
            if self.shown is None and behind:  # rather one that can be read than an empty canvas
                self._read(behind[0], why)
                return
            self.fail(why)
            if self._picture.discarded and entry is not self.shown:  # then what is shown is not so any more
                self._read(there(self.shown), why)
                self._asked = entry

        self._reading = self.in_background(
            lambda progress: read_picture(item, session, left),
            done=show,
            failed=failed,
            instead_of=self._reading,
        )

    def _show(self, entry: Entry, contents: Contents, words: str) -> None:
        assert self.session is not None
        self._picture.show(entry, contents)
        if self.cells is not None:
            self.cells.events.scale.connect(self._refresh)  # of a slide it is then to be saved
        try:
            self.session.remember(entry.item.path)
        except WBCSegError as error:
            words = f"{words} {error}".strip()
        self.say(words)
        if entry.known and entry.segmented != (self.cells is not None):  # its files are others by now
            entry.known = False
            self._look()
        self._refresh()
        self.opened.emit(entry)

    # Segmenting and saving -------------------------------------------------------------------------------

    def segment_all(self) -> None:
        """Segment the pictures that are not done, in the background; `ended` is emitted at the end."""
        session = self.session
        if session is None or self.running:
            return
        model, settings = self.model, self.settings

        def work(progress: Progress, tell: Callable[[Any], None]) -> Any:
            now, items = session.now()
            if session.run is None:  # what the panel shows holds, though another run was first by now
                now = replace(now, run=None)
            tell(partial(self._take, now, items))

            def report(item: BatchItem, row: dict[str, Any]) -> None:
                tell(partial(self._on_told, item, row, row_and_thumbnail(item, now)[1]))

            return now.segment(items, model, settings, progress, report)

        self._running = self.in_background(
            work,
            "Segmenting all pictures",
            done=lambda _: self.say(""),
            instead_of=self._looking,
            progressed=self._on_progress,
            yielded=call,
            cancelled=lambda: self.say("Cancelled. What is done is kept."),
            ended=self._on_ended,
        )
        self._refresh()

    def _on_model_replaced(self, words: str) -> None:
        if self.session is not None and self.session.run is None:  # a run has its own
            self.say(words)

    def _on_progress(self, done: int, total: int, image: str) -> None:
        self.panel.bar.setRange(0, total)
        self.panel.bar.setValue(done)
        self.say(f"{done} of {total} done. {image}")

    def cancel(self) -> None:
        """Stop segmenting; what is done is kept."""
        if busy(self._running):
            self._running.cancel()
            self.say("Cancelling …")

    def _on_ended(self) -> None:
        self._refresh()
        self._list_again()
        self.ended.emit()

    def save(self) -> None:
        """Write the cells shown into the result files of their picture, in the background.

        Those of regions of a slide get a file each beside them. Asks first where a run or another person
        wrote these files since they were read, or they are of another picture, whose place this one took
        since the pictures were listed.
        """
        entry, session, own, to_save = self.shown, self.session, self.cells, self._picture.to_save
        if not to_save or entry is None or session is None or busy(self._saving):
            return
        snapshots = {cells: LayerSnapshot.of_layer(cells, self._viewer) for cells in to_save}
        regions = {
            cells: session.region_file(entry.item, snapshot.found.corner)
            for cells, snapshot in snapshots.items()
            if cells is not own
        }
        question = self._question(entry.item, session, own in snapshots, regions)
        if question and not confirmed(self._guard.window or self, "Replace what was saved?", question):
            return

        def work(progress: Progress, tell: Callable[[Any], None]) -> Any:
            for cells, snapshot in snapshots.items():
                with kept_in_place(snapshot, entry.item, session):
                    files = save_cells(snapshot, entry.item, session, regions.get(cells), progress)
                    written = session.written(entry.item)
                    tell(partial(self._picture.on_saved, cells, snapshot, files, written))
            other = replaced(entry.item, session.outputs) is not None
            return other, *row_and_thumbnail(entry.item, session)

        def done(outcome: Any) -> None:
            if not isalive(self):
                return
            other, row, jpeg = outcome
            words = f"{entry.item.path} {_BECAME_ANOTHER}" if other else ""
            names = listed([file.name for file in regions.values()])
            self.say(f"{_OF_REGIONS} {names}." if regions else words)
            self._on_told(entry.item, row, jpeg)
            self.saved.emit(entry)

        self._saving = self.in_background(
            work,
            "Saving cells",
            lasting=True,
            cleanup=None,  # where the panel is closed meanwhile they are saved, too
            done=done,
            yielded=call,
            ended=self._refresh,
        )
        self._refresh()

    def _question(self, item: BatchItem, session: Session, own: bool, regions: Mapping[Labels, Path]) -> str:
        """Return what is to be asked before cells are saved; nothing where they replace none of others."""
        written = session.written(item)
        if own and written not in (None, self._picture.written):
            return (
                f"{written[0].name} was written since these cells were opened, by a run or by someone else, "
                "or it is of another picture. Replace it?"
            )
        unread = [file for cells, file in regions.items() if not self._picture.was_saved(cells)]
        there_are = [file.name for file in unread if file.exists()]
        return f"{listed(there_are)} is there already, from before. Replace it?" if there_are else ""

    def _after_saving(self, go_on: Callable[[], object]) -> None:
        """Go on; where something is not saved, ask first."""
        if not busy(self._saving) and self.shown is not None and self.unsaved:
            answer = ask_to_save(self._guard.window or self, self.shown.item.image)
            self._refresh()
            if answer is None:
                return
            if answer:
                self.save()
                if not busy(self._saving):
                    return  # rather not
            else:
                self._picture.discard()
        if not busy(self._saving):
            self._wanted = None  # it holds the window, where that was to be closed
            go_on()
            return
        self._wanted = go_on

        def then(_: object) -> None:
            if isalive(self) and self._wanted is go_on:  # nothing else was asked for since
                self._after_saving(go_on)

        self._saving.done.connect(then)

    def _on_counted(self, layer: Labels) -> None:
        """Note of cells found anew where they will be saved: a differential counts them in place of those."""
        entry = self.shown if layer is self.cells and layer in self._picture.to_save else None
        if self.session is None or entry is None:
            return
        record = str(self.session.outputs.record_file(entry.item.name))
        if LayerInfo.of(layer).record != record:
            note(layer, record=record)
            layer.events.metadata()
            self._take_method(LayerInfo.of(layer))
            self._refresh()  # cells of a slide were there while they were being found

    def _take_method(self, info: LayerInfo) -> None:
        """Let *Segment all* do as the Segment panel did with this picture, unless a run was before."""
        run, name = there(self.session).run, info.model.partition("@")[0]
        if info.settings is None or name not in self.panel.method.models.infos:
            return
        try:
            settings = SegmentationSettings(**info.settings)
        except WBCSegError:  # opened from a file of another version
            return
        if run is None and (name, settings) != (self.model, self.settings):
            self.model, self.settings = name, settings
            self.say("Segment all takes the model and settings of this picture for all.")
        elif of_part(info.notes) or (run and (info.model, settings) != (run.model.id, run.settings)):
            self.say(OTHERWISE)

    # By button and key -----------------------------------------------------------------------------------

    def _act(self, name: str, *arguments: Any) -> None:
        """Do what a button or key asks for, given by the name of a function of the widget."""
        self.by_hand(getattr(self, name), *arguments)

    def open_folder(self) -> None:
        """Ask for a folder, and open it."""
        folder = QFileDialog.getExistingDirectory(self, "Open a folder of pictures, or of results")
        if folder:
            self.open_pictures([folder])

    def open_files(self) -> None:
        """Ask for pictures, and open them."""
        files, _ = QFileDialog.getOpenFileNames(self, "Open pictures")
        if files:
            self.open_pictures(files)

    def go_on(self) -> None:
        """Open the session that was open last."""
        folder = last_session()
        if folder is not None:
            self.open_pictures([folder])

    def keep_elsewhere(self) -> None:
        """Ask for another folder for the results; the pictures may be counted otherwise there."""
        folder = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if folder and self.session is not None:
            pictures = self.session.pictures or [entry.item.path for entry in self.entries]
            self.open_pictures(pictures, folder)

    def _refresh(self, event: Any = None) -> None:
        """Offer what can be done; cells may have come, by another panel perhaps, or gone."""
        if self.cleanup.done:
            return
        session, panel, running = self.session, self.panel, self.running
        last = last_session() if session is None and not busy(self._looking) else None
        start = LOOKING if busy(self._looking) else START
        panel.where.setText(start if session is None else f"Results in {session.out}")
        self._show_summary()
        panel.first_run.setVisible(session is not None and session.run is None)
        panel.bar.setVisible(running)
        buttons = panel.buttons
        buttons["go_on"].setText("" if last is None else f"Go on with {'/'.join(last.parts[-2:])}")
        buttons["go_on"].setVisible(last is not None)
        for name in ("look_again", "keep_elsewhere"):
            buttons[name].setVisible(session is not None)
        buttons["cancel"].setVisible(running)
        possible = {
            **dict.fromkeys(("open_folder", "open_files", "go_on"), not running),
            **dict.fromkeys(("look_again", "keep_elsewhere"), not running),
            "segment_all": bool(self.entries) and not running,
            **dict.fromkeys(("previous", "next"), len(self.entries) > 1),
            "save": bool(self._picture.to_save) and not busy(self._saving),
            "review": self.cells is not None,
            "differential": bool(self.entries),
        }
        for name, can_be_done in possible.items():
            buttons[name].setEnabled(can_be_done)
        if self.shown in self.entries:
            panel.pictures.setCurrentItem(panel.pictures.topLevelItem(self.entries.index(self.shown)))
