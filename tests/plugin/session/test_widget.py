"""Many pictures: opened one by one, segmented in the background, corrected, saved in place, gone on with."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox

from napari_wbcseg import SegmentationSettings, differential_of, load_result, save
from napari_wbcseg.batch.folder import BatchItem
from napari_wbcseg.box import Box
from napari_wbcseg.plugin.controls.method_form import ClassesEditor
from napari_wbcseg.plugin.controls.panel import open_panel
from napari_wbcseg.plugin.session import files
from napari_wbcseg.plugin.session import widget as session_widget
from napari_wbcseg.plugin.session.files import SESSION_FILE, Session, layers_of, row_and_thumbnail
from napari_wbcseg.plugin.session.panel import Entry
from napari_wbcseg.plugin.session.shown_picture import read_picture
from napari_wbcseg.plugin.shared.counts import counts_of
from napari_wbcseg.plugin.shared.jobs import busy
from napari_wbcseg.plugin.shared.unsaved_copies import unsaved_folder
from napari_wbcseg.plugin.writer import write_tiff
from napari_wbcseg.results.records import ResultRecord, RunRecord
from napari_wbcseg.segmentation.large.result import LargeResult

from ...batch.folders import assert_same_results, write_images
from ...cli.shell import wbcseg
from ...dark_model import spots, write_dark_model

TITLE = "White blood cell session"
SETTINGS = SegmentationSettings(recipe="classic", classes="none")
WAIT = 120_000


@pytest.fixture(autouse=True)
def dark(own_models_folder):
    """Install a model that finds dark discs."""
    own_models_folder.mkdir(parents=True, exist_ok=True)
    return write_dark_model(own_models_folder / "dark.safetensors")


@pytest.fixture
def folder(tmp_path):
    """Write six pictures with 0, 1, 2, 3, 0 and 1 cells."""
    write_images(tmp_path / "smears", 6)
    return tmp_path / "smears"


@pytest.fixture
def out(folder):
    return folder / "counted"


@pytest.fixture
def seen(make_napari_viewer, qtbot):
    """Make a viewer that is on the screen; it is closed once the workers' last signals are delivered."""
    yield make_napari_viewer(show=True)
    qtbot.wait(50)


@pytest.fixture
def open_session(viewer, qtbot):
    """Return what opens a session in the viewer and waits until its pictures are listed and one is shown."""

    def open_it(*paths, out=None):
        widget = open_panel(viewer, TITLE)
        widget.model, widget.settings = "dark", SETTINGS
        with qtbot.waitSignals([widget.listed, widget.opened], timeout=WAIT):
            widget.open_pictures(paths, out)
        return widget

    return open_it


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    """Write six pictures, and their results as the shell does."""
    folder = tmp_path_factory.mktemp("segmented") / "smears"
    write_images(folder, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WBCSEG_MODELS", str(folder.with_name("models")))
        write_dark_model(folder.with_name("models") / "dark.safetensors")
        shell(folder, "--out", folder / "counted")
    return folder.rename(folder.with_name("moved"))  # what names its pictures leads to copies only


@pytest.fixture
def session(open_session, folder, segmented):
    """Open the folder once all of it is segmented."""
    shutil.copytree(segmented, folder, dirs_exist_ok=True)
    return open_session(folder)


@pytest.fixture
def session_here(open_session, folder, qtbot):
    """Open the folder and segment all of it: no record names a picture that lies elsewhere."""
    widget = open_session(folder)
    segment_all(widget, qtbot)
    return widget


def segment_all(widget, qtbot):
    with qtbot.waitSignals([widget.ended, widget.listed], timeout=WAIT):
        widget.segment_all()


def go_to(widget, row, qtbot):
    with qtbot.waitSignal(widget.opened, timeout=WAIT):
        widget.show_picture(row)


def shell(*arguments):
    wbcseg("segment", *arguments, "-m", "dark", "--classes", "none")


def written(out):
    """Return when each label image was written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*-labels.tif")}


def texts(widget):
    """Return what the list shows: a row a picture."""
    model = widget.panel.pictures.model()
    return [
        tuple(model.data(model.index(row, column)) for column in range(4)) for row in range(model.rowCount())
    ]


def segment_in_panel(viewer, qtbot, **settings):
    segment = open_panel(viewer, "Segment white blood cells")
    segment.model, segment.settings = "dark", SETTINGS.replace(**settings)
    with qtbot.waitSignal(segment.segmented, timeout=WAIT):
        segment.run()


@pytest.fixture
def answer(monkeypatch):
    """Answer the question whether to save; the answers that are left are looked at by the test."""
    answers, asked = [], []

    def question(parent, title, text, *_):
        asked.append(text)
        return getattr(QMessageBox.StandardButton, answers.pop(0))

    monkeypatch.setattr(QMessageBox, "question", question)
    return answers, asked


class TestOpening:
    def test_a_folder_is_a_list_with_its_first_picture_shown(self, viewer, open_session, folder):
        widget = open_session(folder)
        assert texts(widget) == [(f"{number:04}.png", "", "", "") for number in range(6)]
        assert all(entry.picture.width() == 54 for entry in widget.entries), "square, as the pictures are"
        assert [layer.name for layer in viewer.layers] == ["0000.png"]
        assert widget.panel.summary.text() == "6 pictures, 0 segmented."

    def test_some_files_are_a_session_too(self, open_session, folder, tmp_path):
        widget = open_session(folder / "0001.png", folder / "0003.png", out=tmp_path / "two")
        assert [entry.item.image for entry in widget.entries] == ["0001.png", "0003.png"]
        assert widget.session.out == tmp_path / "two"

    def test_a_picture_that_cannot_be_read_is_a_sentence(self, open_session, tmp_path, qtbot):
        write_images(tmp_path / "bad", 3, bad=[1])
        widget = open_session(tmp_path / "bad")
        segment_all(widget, qtbot)
        assert [row[3] for row in texts(widget)] == ["✓", "failed", "✓"]
        assert "0001.png cannot be read" in widget.panel.pictures.topLevelItem(1).toolTip(0)
        assert widget.panel.summary.text().endswith("1 failed.")
        said = texts(widget)
        with qtbot.waitSignal(widget.listed, timeout=WAIT):
            widget.open_pictures([tmp_path / "bad" / "counted"])
        assert texts(widget) == said, "also another day"

    def test_its_pictures_are_known_after_a_run_though_none_could_be_shown(self, viewer, tmp_path, qtbot):
        write_images(tmp_path / "bad", 2, bad=[0, 1])
        widget = open_panel(viewer, TITLE)
        widget.model, widget.settings = "dark", SETTINGS
        with qtbot.waitSignals([widget.listed, widget.failed], timeout=WAIT):
            widget.open_pictures([tmp_path / "bad"])
        assert "0000.png cannot be read" in widget.message.text(), "the one that was to be shown"
        segment_all(widget, qtbot)
        assert widget.session.pictures == (str(tmp_path / "bad"),)

    def test_the_first_picture_that_can_be_read_is_shown(self, open_session, tmp_path):
        """Where the first could not, the canvas was empty."""
        write_images(tmp_path / "bad", 4, bad=[0, 1])
        widget = open_session(tmp_path / "bad")
        assert widget.shown.item.image == "0002.png"
        assert "0000.png cannot be read" in widget.message.text()

    def test_that_a_picture_is_there_twice_is_said(self, open_session, folder, out, qtbot):
        Image.open(folder / "0003.png").save(folder / "0003.jpg", quality=95)
        widget = open_session(folder)
        segment_all(widget, qtbot)
        said = "0003.jpg and 0003.png seem to be one picture, whose cells count twice: leave one of them out."
        assert widget.panel.notices.text() == said
        with qtbot.waitSignal(widget.listed, timeout=WAIT):
            widget.open_pictures([out])
        assert widget.panel.notices.text() == said

    def test_a_folder_that_does_not_say_of_which_pictures_it_is_is_a_sentence(self, viewer, tmp_path, qtbot):
        (tmp_path / SESSION_FILE).write_bytes(b"cut off")
        widget = open_panel(viewer, TITLE)
        with qtbot.waitSignal(widget.failed, timeout=WAIT) as told:
            widget.open_pictures([tmp_path])
        assert "open the folder with the pictures" in told.args[0]

    def test_a_folder_that_moved_with_its_results_is_gone_on_with(self, folder, out):
        """The place where it was stood in the list as a picture that failed."""
        shell(folder, "-o", out)
        Session.open([folder]).remember(folder / "0002.png")
        moved = folder.rename(folder.parent / "moved")
        session = Session.open([moved / out.name])
        assert [item.path for item in session.items()] == sorted(moved.glob("*.png"))
        assert session.shown == str(moved / "0002.png")

    def test_an_empty_folder_is_a_sentence(self, viewer, tmp_path, qtbot):
        (tmp_path / "empty").mkdir()
        widget = open_panel(viewer, TITLE)
        with qtbot.waitSignal(widget.listed, timeout=WAIT):
            widget.open_pictures([tmp_path / "empty"])
        assert [row[3] for row in texts(widget)] == ["failed"]


class TestChoosingTheMethod:
    def test_the_recipe_is_that_of_the_model(self, viewer):
        """A recipe that was chosen beside a model of the other one was passed over without a word."""
        widget = open_panel(viewer, TITLE)
        assert widget.settings.recipe == "robust"
        widget.model = "dark"
        assert widget.settings.recipe == "classic"
        widget.settings = SegmentationSettings(recipe="robust")
        assert widget.model == "wbc"

    def test_classifiers_are_offered_as_in_the_panel_segment(self, viewer):
        widget = open_panel(viewer, TITLE)
        assert isinstance(widget.panel.method.editors["classes"], ClassesEditor)


class TestSegmenting:
    def test_all_are_segmented_into_the_files_of_the_shell(self, session, folder, out, tmp_path):
        shell(folder, "-o", tmp_path / "by-shell")
        assert_same_results(out, tmp_path / "by-shell")
        assert {path.name for path in out.iterdir()} - {SESSION_FILE} == {
            path.name for path in (tmp_path / "by-shell").iterdir()
        }
        assert [row[1:] for row in texts(session)] == [(f"{n % 4}", "", "✓") for n in range(6)]
        assert session.panel.summary.text() == "6 pictures, 6 segmented: 7 white cells, 0 to check."

    def test_a_count_in_doubt_is_a_question(self, open_session, folder, out):
        Image.fromarray(255 - np.asarray(Image.open(folder / "0001.png"))).save(folder / "0009.png")
        shell(folder, "-o", out)
        widget = open_session(out)
        assert texts(widget)[-1] == ("0009.png", "?", "", "")
        assert (
            widget.panel.summary.text() == "7 pictures, 7 segmented: 7 white cells, 0 to check. 1 in doubt."
        )
        assert "Left out, as their counts are in doubt: 1 result." in wbcseg("differential", out).output
        found, _ = differential_of([out])
        assert (found.white_cells, found.in_doubt) == (7, 1)

    def test_of_a_stack_in_doubt_no_plane_is_counted_either(self, viewer, open_session, folder, out, qtbot):
        inverted = 255 - np.asarray(Image.open(folder / "0001.png"))
        tifffile.imwrite(folder / "stack.tif", np.stack([inverted, inverted]), photometric="rgb")
        shell(folder / "stack.tif", "-o", out)
        widget = open_session(out)
        review, segment = widget.review(), open_panel(viewer, "Segment white blood cells")
        qtbot.waitUntil(lambda: review.labels is widget.cells and not review.review.measuring, timeout=WAIT)
        assert widget.cells.ndim == 3
        assert texts(widget) == [("stack.tif", "?", "", "")]
        assert viewer.canvas.overlays.text.text == "count in doubt, see its notes"
        qtbot.waitUntil(lambda: segment.panel.result.text() == "count in doubt", timeout=WAIT)
        assert segment.panel.here.text() == ""
        assert review.panel.count.text() == "count in doubt"
        assert "On this plane" not in review.panel.here.text()
        review.select([(0, 1)])
        review.accept()
        with qtbot.waitSignal(widget.saved, timeout=WAIT):
            widget.save()
        assert "plane 0: " in viewer.canvas.overlays.text.text, "a person looked at them"

    def test_the_picture_that_is_shown_gets_its_cells(self, viewer, open_session, folder, qtbot):
        widget = open_session(folder)
        go_to(widget, 3, qtbot)
        assert widget.cells is None
        segment_all(widget, qtbot)
        qtbot.waitUntil(lambda: widget.cells is not None, timeout=WAIT)
        assert widget.cells.data.max() == 3
        assert not widget.unsaved

    def test_cells_that_are_found_anew_are_shown_in_place_of_those_before(
        self, open_session, folder, out, qtbot
    ):
        widget = open_session(folder)
        shell(folder / "0003.png", "-o", out, "--min-area", 5000)
        go_to(widget, 3, qtbot)
        assert widget.cells.data.max() == 0
        segment_all(widget, qtbot)
        qtbot.waitUntil(lambda: widget.cells.data.max() == 3, timeout=WAIT)
        with qtbot.assertNotEmitted(widget.opened, wait=500):
            segment_all(widget, qtbot)

    def test_a_picture_that_was_clicked_is_shown_though_the_one_before_is_done_while_it_is_read(
        self, open_session, folder, qtbot, monkeypatch
    ):
        """The one that was done came back in place of the one that was clicked."""
        widget, done = open_session(folder), threading.Event()

        def slowly(item, *more):
            done.wait(30)
            return read_picture(item, *more)

        monkeypatch.setattr("napari_wbcseg.plugin.session.widget.read_picture", slowly)
        with qtbot.waitSignals([widget.ended, widget.listed], timeout=WAIT):
            widget.segment_all()
            widget.show_picture(3)
        with qtbot.waitSignal(widget.opened, timeout=WAIT):
            done.set()
        assert widget.shown is widget.entries[3]
        assert widget.cells.data.max() == 3

    def test_cancel_keeps_what_is_done_and_the_shell_does_the_rest(self, open_session, tmp_path, qtbot):
        write_images(tmp_path / "many", 40)
        widget, out = open_session(tmp_path / "many"), tmp_path / "many" / "counted"
        with qtbot.waitSignal(widget.ended, timeout=WAIT):
            widget.segment_all()
            qtbot.waitUntil(lambda: any(entry.segmented for entry in widget.entries), timeout=WAIT)
            widget.cancel()
        done = written(out)
        assert 0 < len(done) < 40
        assert sum(entry.segmented for entry in widget.entries) == len(done)
        assert not RunRecord.read(out / "run.json").finished
        shell(tmp_path / "many", "-o", out)
        assert written(out).items() > done.items(), "none was done twice"
        assert len(pd.read_csv(out / "counts.csv")) == 40

    def test_what_should_be_known_of_the_numbers_is_said_after_cancel_too(
        self, open_session, tmp_path, qtbot
    ):
        write_images(tmp_path / "many", 40)
        Image.open(tmp_path / "many" / "0001.png").save(tmp_path / "many" / "0001.jpg", quality=95)
        widget = open_session(tmp_path / "many")
        with qtbot.waitSignals([widget.ended, widget.listed], timeout=WAIT):
            widget.segment_all()
            qtbot.waitUntil(lambda: sum(entry.segmented for entry in widget.entries) > 3, timeout=WAIT)
            widget.cancel()
        assert "0001.jpg and 0001.png seem to be one picture" in widget.panel.notices.text()

    def test_what_was_not_looked_at_before_a_run_that_is_refused_is_looked_at_after_it(
        self, viewer, tmp_path, qtbot
    ):
        from filelock import FileLock

        write_images(tmp_path / "many", 40)
        shell(tmp_path / "many", "-o", tmp_path / "out")
        widget = open_panel(viewer, TITLE)
        widget.panel.pictures.model().rowsInserted.connect(lambda *_: widget.segment_all())
        with (
            FileLock(tmp_path / "out" / ".wbcseg.lock"),
            qtbot.waitSignals([widget.failed, widget.listed], timeout=WAIT),
        ):
            widget.open_pictures([tmp_path / "out"])
        assert widget.panel.summary.text() == "40 pictures, 40 segmented: 60 white cells, 0 to check."

    def test_what_the_shell_has_begun_is_gone_on_with(self, open_session, folder, out, qtbot):
        shell(
            *(folder / f"000{number}.png" for number in range(3)),
            "-o",
            out,
            "--mask",
            "--cell-diameter",
            "41.7",
        )
        done = written(out)
        widget = open_session(folder)
        assert [entry.segmented for entry in widget.entries] == [True] * 3 + [False] * 3
        segment_all(widget, qtbot)
        assert written(out).items() > done.items(), "with the settings of the shell, so none was done twice"
        assert len(list(out.glob("*-mask.jpg"))) == 6
        assert RunRecord.read(out / "run.json").settings.cell_diameter == 41.7

    def test_the_settings_of_a_later_run_of_the_shell_are_gone_on_with(self, session, folder, out, qtbot):
        shell(folder, "-o", out, "--min-area", 300)
        done = written(out)
        segment_all(session, qtbot)
        assert written(out) == done, "as the shell did, not as this session was opened with"
        assert RunRecord.read(out / "run.json").settings.min_area == 300

    def test_what_was_tried_on_one_picture_is_done_with_all(self, viewer, open_session, folder, out, qtbot):
        session = open_session(folder)
        segment_in_panel(viewer, qtbot, min_area=300)
        assert session.panel.method.settings.min_area == 300
        assert session.message.text() == "Segment all takes the model and settings of this picture for all."
        session._picture.discard()
        segment_all(session, qtbot)
        assert RunRecord.read(out / "run.json").settings.min_area == 300

    def test_after_a_run_it_is_said_that_one_picture_was_done_otherwise(self, viewer, session, qtbot):
        segment_in_panel(viewer, qtbot)
        assert session.message.text() == ""
        segment_in_panel(viewer, qtbot, min_area=300)
        assert "another model or settings" in session.message.text()

    def test_the_cells_of_a_part_are_no_result_of_the_picture(self, viewer, session, out, qtbot):
        """A region that was tried and saved was done for every later run, and counted as the picture."""
        go_to(session, 3, qtbot)
        segment = open_panel(viewer, "Segment white blood cells")
        segment.regions = viewer.add_shapes([[[0, 0], [0, 40], [40, 40], [40, 0]]], name="corner")
        segment_in_panel(viewer, qtbot)
        assert session.cells.data.max() < 3
        assert "in a part of the picture" in session.message.text()
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            session.save()
        segment_all(session, qtbot)
        assert [row[1] for row in texts(session)] == ["0", "1", "2", "3", "0", "1"]
        qtbot.waitUntil(lambda: session.cells.data.max() == 3, timeout=WAIT)

    def test_a_second_run_into_the_folder_is_refused_in_a_sentence(self, session, out, folder, qtbot):
        from filelock import FileLock

        with FileLock(out / ".wbcseg.lock"), qtbot.waitSignal(session.failed, timeout=WAIT) as told:
            session.segment_all()
        assert "Another run is writing" in told.args[0]
        qtbot.waitUntil(lambda: not session.running, timeout=WAIT)

    def test_a_folder_dropped_meanwhile_is_not_passed_over_without_a_word(
        self, viewer, open_session, folder, tmp_path, qtbot
    ):
        from napari.utils.notifications import notification_manager

        session = open_session(folder)
        (tmp_path / "other").mkdir()
        with qtbot.waitSignals([session.ended, session.listed], timeout=WAIT):
            session.segment_all()
            viewer.open(str(tmp_path / "other"), plugin="napari-wbcseg")
            assert "Wait for the end, or press Cancel" in notification_manager.records[-1].message
        assert session.session.out == folder / "counted"

    def test_elsewhere_the_pictures_are_counted_with_another_model(
        self, session, tmp_path, qtbot, monkeypatch
    ):
        pictures = [entry.item.path for entry in session.entries]
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "elsewhere"))
        with qtbot.waitSignal(session.listed, timeout=WAIT):
            session.panel.buttons["keep_elsewhere"].click()
        assert session.session.out == tmp_path / "elsewhere"
        assert [entry.item.path for entry in session.entries] == pictures
        assert not any(entry.segmented for entry in session.entries)
        assert not session.panel.first_run.isHidden(), "model and settings may be chosen"

    @pytest.mark.slow
    @pytest.mark.timeout(1200)
    def test_killed_in_the_middle_of_fifty_nothing_is_lost(
        self, open_session, own_models_folder, tmp_path, qtbot
    ):
        write_images(tmp_path / "fifty", 50)
        out = tmp_path / "fifty" / "counted"
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "fifty")],
            env={**os.environ, "NAPARI_CONFIG": str(tmp_path / "settings.yaml")},
            stdout=subprocess.DEVNULL,
        )
        end = time.monotonic() + 600
        while len(list(out.glob("*-result.json"))) < 8 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was still at work"
        whole = {path.name.removesuffix("-result.json") for path in out.glob("*-result.json")}
        done = {
            name: when for name, when in written(out).items() if name.removesuffix("-labels.tif") in whole
        }
        assert 8 <= len(done) < 50
        widget = open_session(out)
        assert sum(entry.segmented for entry in widget.entries) == len(done)
        assert len(widget.entries) == 50
        segment_all(widget, qtbot)
        assert written(out).items() >= done.items(), "none was done twice"
        assert all(entry.segmented for entry in widget.entries)
        shell(tmp_path / "fifty", "-o", tmp_path / "at-once")
        assert_same_results(out, tmp_path / "at-once")


KILLED = textwrap.dedent(
    """
    import sys
    import napari
    from napari_wbcseg import SegmentationSettings
    from napari_wbcseg.plugin.controls.panel import open_panel

    viewer = napari.Viewer(show=False)
    widget = open_panel(viewer, "White blood cell session")
    widget.model, widget.settings = "dark", SegmentationSettings(recipe="classic", classes="none")
    widget.listed.connect(widget.segment_all)
    widget.open_pictures([sys.argv[1]])
    napari.run(force=True)
    """
)


class TestGoingThrough:
    def test_frames_go_with_their_picture(self, viewer, open_session, folder, qtbot):
        """With the next one, whose pixels have a size, napari warned of units that are inconsistent."""
        pixels = np.asarray(Image.open(folder / "0003.png"))
        tifffile.imwrite(folder / "0003.tif", pixels, photometric="rgb", resolution=(80_000, 80_000))
        widget = open_session(folder / "0002.png", folder / "0003.tif")
        segment_all(widget, qtbot)
        qtbot.waitUntil(lambda: widget.cells is not None, timeout=WAIT)
        widget.review().select([(0, 1)])
        units = []
        widget.opened.connect(lambda _: units.append(viewer.layers.extent.units))
        go_to(widget, 1, qtbot)
        assert "selected cells" not in viewer.layers
        assert units[0] is not None

    def test_keys_go_to_the_next_picture_and_back_wherever_the_focus_is(self, seen, folder, qtbot):
        widget = open_panel(seen, TITLE)
        with qtbot.waitSignals([widget.listed, widget.opened], timeout=WAIT):
            widget.open_pictures([folder])
        window = widget.window()
        window.activateWindow()
        qtbot.waitUntil(window.isActiveWindow)
        for focus in (seen.window._qt_viewer.canvas.native, widget.panel.pictures):
            focus.setFocus()
            for key, name in ((Qt.Key.Key_PageDown, "0001.png"), (Qt.Key.Key_PageUp, "0000.png")):
                with qtbot.waitSignal(widget.opened, timeout=WAIT):
                    qtbot.keyClick(focus, key, Qt.KeyboardModifier.ControlModifier)
                assert [layer.name for layer in seen.layers] == [name]
        widget.previous()
        assert widget.shown.item.image == "0000.png", "there is none before the first"

    def test_a_picture_that_cannot_be_read_is_passed_over(self, open_session, folder, qtbot):
        (folder / "0001.png").write_bytes(b"no picture")
        widget = open_session(folder)
        with qtbot.waitSignal(widget.failed, timeout=WAIT):
            widget.next()
        assert widget.shown.item.image == "0000.png"
        for step, image in (
            (widget.next, "0002.png"),
            (widget.previous, None),
            (widget.previous, "0000.png"),
        ):
            with qtbot.waitSignal(widget.opened if image else widget.failed, timeout=WAIT):
                step()
            assert widget.shown.item.image == (image or "0002.png")

    def test_cells_of_another_picture_that_lay_there_are_not_shown(self, session, folder, qtbot):
        write_images(folder / "others", 4)
        (folder / "others" / "0003.png").replace(folder / "0001.png")
        go_to(session, 1, qtbot)
        assert session.cells is None
        qtbot.waitUntil(lambda: texts(session)[1][1:] == ("", "", ""), timeout=WAIT)
        said = "6 pictures, 5 segmented: 6 white cells, 0 to check."
        qtbot.waitUntil(lambda: session.panel.summary.text() == said, timeout=WAIT)  # a moment later

    @pytest.mark.parametrize("elsewhere", [False, True])
    def test_a_slide_that_was_put_back_has_its_cells(self, folder, out, elsewhere):
        """The copy of a slide has another date, and is known by its pixels."""
        zarr.save_array(str(folder / "slide.zarr"), spots((150, 150), ((40, 40),))[0])
        shell(folder, "-o", out)
        os.utime(folder / "slide.zarr" / "zarr.json", (0, time.time() + 60))
        if elsewhere:
            (folder / "slide.zarr").rename(folder.parent / "slide.zarr")
            shell(folder.parent / "slide.zarr", "-o", out)
        session = Session.open([folder], out)
        (slide,) = (item for item in session.items() if item.large)
        assert (slide.name, row_and_thumbnail(slide, session)[0]["count"]) == ("slide", 1)
        assert [kind for *_, kind in layers_of(slide, session.outputs)] == ["image", "labels"]

    def test_a_small_picture_in_place_of_a_slide_has_its_own_cells(self, folder, out, monkeypatch):
        """It had those of the slide, whose folder is there still."""
        monkeypatch.setattr("napari_wbcseg.images.read.LARGE_PIXELS", 20_000)
        for side in (150, 100):
            tifffile.imwrite(
                folder / "a.tif", spots((side, side), ((40, 40),))[0], tile=(16, 16), photometric="rgb"
            )
            shell(folder / "a.tif", "-o", out)
            session = Session.open([folder / "a.tif"], out)
            ((_, _, image), (labels, _, kind)) = layers_of(*session.items(), session.outputs)
            assert (image, kind, labels.shape) == ("image", "labels", (side, side))
        assert (out / "a-cells").is_dir()

    def test_that_a_picture_is_gone_is_said_beside_its_cells(self, session_here, folder, qtbot):
        (folder / "0003.png").unlink()
        (folder / "counted" / SESSION_FILE).unlink()
        (folder / "counted" / SESSION_FILE).mkdir()  # cannot be written, as where all is protected
        go_to(session_here, 3, qtbot)
        assert np.unique(session_here.cells.data).tolist() == [0, 1, 2, 3]
        assert "0003.png is not there any more" in session_here.message.text()
        assert SESSION_FILE in session_here.message.text()

    def test_cells_of_pictures_that_are_gone_are_listed_as_the_tables_have_them(
        self, session_here, folder, out, qtbot
    ):
        """Results whose drive was not there were *0 segmented*, beside a differential that counted them."""
        said = session_here.panel.summary.text()
        folder.joinpath("0003.png").unlink()
        with qtbot.waitSignal(session_here.listed, timeout=WAIT):
            session_here.look_again()
        assert session_here.panel.summary.text() == said
        segment_all(session_here, qtbot)
        assert session_here.panel.summary.text().endswith("1 failed."), "as in the tables then"

    def test_what_can_be_done_follows_the_layers(self, viewer, session, qtbot):
        go_to(session, 3, qtbot)
        buttons = [session.panel.buttons[name] for name in ("save", "review")]
        assert all(button.isEnabled() for button in buttons)
        cells = session.cells
        viewer.layers.remove(cells)
        assert not any(button.isEnabled() for button in buttons)
        viewer.add_layer(cells)
        assert all(button.isEnabled() for button in buttons)

    def test_a_click_opens_a_picture_with_its_cells_and_takes_the_last_one_away(self, viewer, session, qtbot):
        mine = viewer.add_points([[5, 5]], name="mine")
        view = session.panel.pictures
        with qtbot.waitSignal(session.opened, timeout=WAIT):
            view.clicked.emit(view.model().index(2, 0))
        assert [layer.name for layer in viewer.layers] == ["mine", "0002.png", "2 white cells of 0002.png"]
        assert mine in viewer.layers, "what a user added stays"
        assert viewer.layers.selection.active is session.cells
        assert view.currentIndex().row() == 2


def correct(viewer, widget, row, qtbot):
    """Accept one cell of a picture and reject another, in a review; return the review."""
    go_to(widget, row, qtbot)
    review = widget.review()
    qtbot.waitUntil(lambda: review.labels is widget.cells and not review.review.measuring, timeout=WAIT)
    review.select([(0, 1)])
    review.accept()
    review.select([(0, 2)])
    review.reject()
    return review


class TestCorrecting:
    def test_corrections_are_saved_in_place_and_stand_there_tomorrow(
        self, viewer, session, open_session, out, qtbot
    ):
        correct(viewer, session, 3, qtbot)
        assert session.unsaved
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            session.save()  # at once: before the review has written its decision into the layer
        assert not session.unsaved
        assert texts(session)[3][1] == "2"
        result, record = load_result(out / "0003-result.json"), ResultRecord.read(out / "0003-result.json")
        assert sorted(np.unique(result.labels)) == [0, 1, 3]
        assert result.cells.set_index("label")["decision"].eq("accepted").to_dict() == {1: True, 3: False}
        assert (record.edited, record.image.name, record.count) == (True, "0003.png", 2)
        assert record.pictures, "the report need not draw it again"
        viewer.window.remove_dock_widget("all")
        viewer.layers.clear()
        again = open_session(out)
        assert again.shown.item.image == "0003.png"
        assert again.cells.features["decision"][1] == "accepted"
        assert not again.unsaved
        assert texts(again)[3][1:] == ("2", "", "✓")

    def test_tables_report_and_pictures_follow_at_once(self, viewer, session, folder, out, qtbot):
        correct(viewer, session, 3, qtbot)
        before = (out / "report.html").read_text(), (out / "0003-overlay.png").read_bytes()
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            session.save()
        counts = pd.read_csv(out / "counts.csv").set_index("image")
        assert counts["white_cells"].to_dict() == {f"{n:04}.png": n % 4 - (n == 3) for n in range(6)}
        assert (pd.read_csv(out / "cells.csv")["image"] == "0003.png").sum() == 2
        assert (out / "0003-overlay.png").read_bytes() != before[1]
        assert (out / "report.html").read_text() != before[0]
        when = written(out)
        shell(folder, "-o", out)
        assert written(out) == when, "the shell keeps what was corrected"
        assert pd.read_csv(out / "counts.csv").set_index("image")["white_cells"].equals(counts["white_cells"])

    def test_all_its_files_follow_also_where_the_picture_was_taken_away(
        self, viewer, session, folder, out, qtbot
    ):
        save(load_result(out / "0003-result.json"), out / "0003", "geojson")
        overlay = out / "0003-overlay.png"
        before = overlay.read_bytes()
        review = correct(viewer, session, 3, qtbot)
        viewer.layers.remove("0003.png")
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            session.save()
        assert overlay.read_bytes() != before
        assert len(json.loads((out / "0003.geojson").read_text())["features"]) == 2
        (folder / "0003.png").unlink()
        review.select([(0, 1)])
        review.reject()
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            session.save()
        assert not overlay.exists(), "rather none than one of other cells"

    def test_a_decision_alone_keeps_a_result_from_other_settings(self, viewer, session, folder, out, qtbot):
        go_to(session, 1, qtbot)
        review = session.review()
        qtbot.waitUntil(lambda: review.labels is session.cells and not review.review.measuring, timeout=WAIT)
        review.select([(0, 1)])
        review.name("monocyte")
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            session.save()
        shell(folder, "-o", out, "--min-area", "600")
        result = load_result(out / "0001-result.json")
        assert result.cells["class"].tolist() == ["monocyte"]

    def test_a_result_that_other_settings_set_aside_is_named_and_counts_again_with_its_own(
        self, viewer, session, open_session, folder, out, qtbot
    ):
        correct(viewer, session, 3, qtbot)
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            session.save()
        aside = "but not counted: 0003. Where the image is gone or cannot be read, put it back;"
        for options, count, said in (((), "2", ""), (("--min-area", 600), "3", aside), ((), "2", "")):
            shell(folder, "-o", out, *options)
            viewer.window.remove_dock_widget("all")
            viewer.layers.clear()
            again = open_session(out)
            assert texts(again)[3][1] == count
            named = again.panel.notices.text()
            assert said in named
            assert bool(said) == ("by a person" in named)
            segment_all(again, qtbot)
            assert again.panel.notices.text() == named
            assert texts(again)[3][1] == count

    @pytest.mark.parametrize(
        ("said", "shown", "kept"), [("Save", 0, True), ("Discard", 0, False), ("Cancel", 3, False)]
    )
    def test_going_on_with_something_unsaved_asks(
        self, viewer, session, out, qtbot, answer, said, shown, kept
    ):
        correct(viewer, session, 3, qtbot)
        answers, asked = answer
        answers.append(said)
        session.show_picture(0)
        qtbot.waitUntil(
            lambda: session.shown.item.image == f"000{shown}.png" and not busy(session._saving), timeout=WAIT
        )
        assert asked == ["The cells of 0003.png were found or corrected, and that is not saved."]
        assert (load_result(out / "0003-result.json").count == 2) == kept
        assert session.panel.pictures.currentIndex().row() == shown
        answers.append("Discard")

    def test_of_what_is_asked_for_while_cells_are_saved_the_last_is_done(
        self, viewer, session, folder, out, qtbot, answer
    ):
        """A folder that was opened and a picture that was clicked then ended in an error."""
        correct(viewer, session, 3, qtbot)
        answer[0].append("Save")
        with qtbot.waitSignal(session.opened, timeout=WAIT):
            session.open_pictures([folder])
            session.show_picture(0)
        assert session.shown.item.image == "0000.png"
        assert load_result(out / "0003-result.json").count == 2

    def test_what_was_discarded_is_not_shown_though_the_next_picture_cannot_be_read(
        self, viewer, session, folder, qtbot, answer
    ):
        correct(viewer, session, 3, qtbot)
        (folder / "0004.png").write_bytes(b"damaged")
        (folder / "counted" / "0004-result.json").unlink()
        answer[0].append("Discard")
        with qtbot.waitSignals([session.failed, session.opened], timeout=WAIT):
            session.show_picture(4)
        saved = load_result(session.session.out / "0003-result.json")
        assert session.shown.item.image == "0003.png"
        np.testing.assert_array_equal(session.cells.data, saved.labels)
        assert not session.unsaved
        assert "0004.png is not a JPEG" in session.message.text()
        with qtbot.waitSignal(session.opened, timeout=WAIT):
            session.next()
        assert session.shown.item.image == "0005.png"

    def test_what_someone_else_saved_meanwhile_is_not_replaced_unasked(
        self, viewer, session, out, qtbot, answer
    ):
        correct(viewer, session, 3, qtbot)
        record = out / "0003-result.json"
        other = load_result(record)
        save(
            dataclasses.replace(other, labels=np.where(other.labels > 1, 0, other.labels)),
            out / "0003",
            "tiff",
        )
        answers, asked = answer
        answers += ["No", "Save", "No", "Yes"]
        session.save()
        assert "0003-result.json was written since" in asked[0]
        session.show_picture(0)  # asks whether to save, and then whether to replace
        assert (len(asked), session.shown.item.image) == (3, "0003.png")
        assert load_result(record).count == 1
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            session.save()
        assert load_result(record).count == 2

    def test_what_was_corrected_in_a_picture_before_is_not_replaced_by_one_of_its_name(
        self, viewer, session, folder, out, qtbot, answer
    ):
        """A run would choose another name; *Save* replaced it unasked."""
        correct(viewer, session, 3, qtbot)
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            session.save()
        corrected = (out / "0003-result.json").read_bytes()
        folder.joinpath("0002.png").replace(folder / "0003.png")
        go_to(session, 3, qtbot)
        segment_in_panel(viewer, qtbot)
        answers, asked = answer
        answers += ["No", "Discard"]
        session.save()
        assert "is of another picture" in asked[0]
        go_to(session, 0, qtbot)
        with qtbot.waitSignal(session.listed, timeout=WAIT):
            session.look_again()
        row = [entry.item.image for entry in session.entries].index("0003.png")
        go_to(session, row, qtbot)
        segment_in_panel(viewer, qtbot)
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            session.save()
        assert (out / "0003-result.json").read_bytes() == corrected
        assert load_result(out / "smears__0003-result.json").count == 2
        assert texts(session)[row][1] == "2"
        shell(folder, "-o", out)
        assert (out / "0003-result.json").read_bytes() == corrected
        assert load_result(out / "smears__0003-result.json").image_path == folder / "0003.png"

    @pytest.mark.parametrize("taken_away", [False, True])
    def test_what_is_saved_once_another_picture_took_the_place_is_not_told_of_that(
        self, viewer, session, folder, out, qtbot, taken_away
    ):
        """The result said that its cells were those of the new file, and was drawn on it."""
        correct(viewer, session, 3, qtbot)
        write_images(folder.with_name("others"), 3)
        folder.with_name("others").joinpath("0002.png").replace(folder / "0003.png")
        if taken_away:
            viewer.layers.remove("0003.png")
        before = ResultRecord.read(out / "0003-result.json").image
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            session.save()
        record = ResultRecord.read(out / "0003-result.json")
        assert (record.count, record.image.sha256) == (2, before.sha256)
        assert not record.image.is_of(folder / "0003.png")
        assert "became another picture" in session.message.text()
        go_to(session, 0, qtbot)
        go_to(session, 3, qtbot)
        assert session.cells is None

    def test_what_is_saved_elsewhere_is_not_saved_here(self, viewer, session, tmp_path, qtbot, answer):
        correct(viewer, session, 3, qtbot)
        write_tiff(str(tmp_path / "copy-labels.tif"), [session.cells.as_layer_data_tuple()])
        assert session.unsaved
        answer[0].append("Discard")

    def test_nothing_is_asked_where_nothing_was_done(self, viewer, session, qtbot, answer):
        go_to(session, 3, qtbot)
        session.review()
        qtbot.wait(400)
        go_to(session, 2, qtbot)
        assert answer[1] == []

    @pytest.mark.parametrize(("said", "open_after"), [("Save", False), ("Discard", False), ("Cancel", True)])
    def test_closing_the_window_with_something_unsaved_asks(
        self, seen, folder, out, qtbot, answer, said, open_after
    ):
        shell(folder, "-o", out)
        widget = open_panel(seen, TITLE)
        with qtbot.waitSignals([widget.listed, widget.opened], timeout=WAIT):
            widget.open_pictures([out])
        correct(seen, widget, 3, qtbot)
        window = seen.window._qt_window
        # The fixture closes the viewer again, and napari cannot do that with a window that is deleted.
        window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        answers, asked = answer
        answers.append(said)
        for _ in range(2):
            window.close()  # as Ctrl+W held down
        qtbot.waitUntil(lambda: bool(asked) and window.isVisible() == open_after, timeout=WAIT)
        assert len(asked) == 1
        assert (load_result(out / "0003-result.json").count == 2) == (said == "Save")

    def test_a_picture_that_is_done_while_the_panel_closes_is_told_to_nobody(
        self, viewer, session, folder, qtbot, monkeypatch
    ):
        """A thread that emitted a signal of the deleted panel ended napari by a segmentation fault."""
        told, closed, outcome = threading.Event(), threading.Event(), []
        segment = Session.segment

        def slowly(self, items, model, settings, progress, report):
            def late(item, row):
                told.set()
                closed.wait(WAIT / 1000)
                try:
                    outcome.append(report(item, row))
                except RuntimeError as error:
                    outcome.append(error)

            return segment(self, items, model, settings, progress, late)

        monkeypatch.setattr(Session, "segment", slowly)
        session.segment_all()
        qtbot.waitUntil(told.is_set, timeout=WAIT)
        session.deleteLater()
        QApplication.sendPostedEvents(session, QEvent.Type.DeferredDelete)
        assert not isalive(session)
        closed.set()
        qtbot.waitUntil(lambda: bool(outcome), timeout=WAIT)
        assert outcome[0] is None

    def test_closing_the_panel_with_something_unsaved_asks(self, seen, folder, out, qtbot, answer):
        shell(folder, "-o", out)
        session = open_panel(seen, TITLE)
        with qtbot.waitSignals([session.listed, session.opened], timeout=WAIT):
            session.open_pictures([out])
        correct(seen, session, 3, qtbot)
        answer[0].append("Save")
        dock = session.parentWidget()
        with qtbot.waitSignal(session.saved, timeout=WAIT):
            dock.title.close_button.click()
        assert load_result(out / "0003-result.json").count == 2

    def test_cells_that_are_being_saved_are_saved_though_the_panel_is_closed(
        self, seen, folder, out, qtbot, answer, monkeypatch
    ):
        """That was cancelled half-way."""
        shell(folder, "-o", out)
        session, begun, go_on = open_panel(seen, TITLE), threading.Event(), threading.Event()
        with qtbot.waitSignals([session.listed, session.opened], timeout=WAIT):
            session.open_pictures([out])
        correct(seen, session, 3, qtbot)

        def slowly(*given):
            begun.set()
            go_on.wait(20)
            return files.save_cells(*given)

        monkeypatch.setattr(session_widget, "save_cells", slowly)
        with qtbot.waitSignal(session.saved, timeout=20_000):
            session.save()
            qtbot.waitUntil(begun.is_set, timeout=WAIT)
            session.parentWidget().title.close_button.click()
            qtbot.wait(50)
            go_on.set()
        assert load_result(out / "0003-result.json").count == 2
        assert not session.unsaved
        assert answer[1] == []


class TestTomorrow:
    def test_the_last_session_is_offered_and_goes_on_where_it_stood(self, viewer, session, out, qtbot):
        go_to(session, 2, qtbot)
        viewer.window.remove_dock_widget("all")
        viewer.layers.clear()
        widget = open_panel(viewer, TITLE)
        button = widget.panel.buttons["go_on"]
        assert button.text() == "Go on with smears/counted"
        with qtbot.waitSignals([widget.listed, widget.opened], timeout=WAIT):
            button.click()
        assert widget.shown.item.image == "0002.png"

    def test_a_folder_of_the_shell_is_a_session(self, open_session, folder, tmp_path):
        shell(folder, "-o", tmp_path / "by-shell")
        widget = open_session(tmp_path / "by-shell")
        assert [entry.segmented for entry in widget.entries] == [True] * 6
        assert not widget.panel.first_run.isVisibleTo(widget), "it has its model and settings"

    def test_pictures_that_came_since_are_listed(self, session, folder, out):
        (folder / "0009.png").write_bytes((folder / "0001.png").read_bytes())
        names = [item.image for item in Session.open([], out).items()]
        assert names == [*(f"000{number}.png" for number in range(6)), "0009.png"]

    def test_pictures_that_come_and_go_while_it_is_open_are_listed(self, session_here, folder, out, qtbot):
        go_to(session_here, 3, qtbot)
        session_here.cells.data_setitem((session_here.cells.data == 2).nonzero(), 0)
        (folder / "0009.png").write_bytes((folder / "0001.png").read_bytes())
        (folder / "0003.png").unlink()
        with qtbot.waitSignal(session_here.listed, timeout=WAIT):
            session_here.panel.buttons["look_again"].click()
        names = [row[0] for row in texts(session_here)]
        assert names == ["0000.png", "0001.png", "0002.png", "0004.png", "0005.png", "0009.png", "0003.png"]
        assert session_here.unsaved, "what is shown stays, also without its picture's file"
        assert session_here.panel.pictures.currentItem().text(0) == "0003.png"
        session_here._picture.discard()
        segment_all(session_here, qtbot)
        assert texts(session_here)[5] == ("0009.png", "1", "", "✓")

    def test_segment_all_does_those_that_came_since_it_was_opened(self, session, folder, out, qtbot):
        (folder / "0009.png").write_bytes((folder / "0001.png").read_bytes())
        segment_all(session, qtbot)
        assert texts(session)[-1] == ("0009.png", "1", "", "✓")
        assert (out / "0009-result.json").exists()


class TestTenThousandPictures:
    def test_the_window_lives_while_a_run_of_many_is_opened(self, viewer, folder, out, qtbot, monkeypatch):
        """The record of a run was read on the window's thread, and each picture told of measured the list."""
        shell(folder, "-o", out)
        read, threads = RunRecord.read, []
        monkeypatch.setattr(
            RunRecord, "read", lambda file: threads.append(threading.current_thread()) or read(file)
        )
        widget = open_panel(viewer, TITLE)
        with qtbot.waitSignal(widget.listed, timeout=WAIT):
            widget.open_pictures([folder])
        segment_all(widget, qtbot)
        assert threads
        assert threading.main_thread() not in threads

    def test_what_is_told_of_a_picture_does_not_measure_all_rows(self, viewer, qtbot):
        """With 10,000 pictures the window stood still for minutes."""
        widget = open_panel(viewer, TITLE)
        pictures = widget.panel.pictures
        items = [BatchItem(Path(f"{number}.png"), f"{number}.png") for number in range(10_000)]
        pictures.set_entries([Entry(item) for item in items])
        entry = pictures.entry_of(items[-1])
        entry.row = {"status": "ok", "white_cells": 3, "to_check": 0}
        pictures.tell(entry)
        assert texts(widget)[-1] == ("9999.png", "3", "", "✓")
        assert pictures.header().resizeContentsPrecision() == 0, "Qt's word for: measure the rows in view"


class TestASlideFoundInThePanel:
    """What the panel *Segment* finds in a slide is in a folder that goes with its layer."""

    @pytest.fixture
    def slide(self, viewer, open_session, folder, qtbot, monkeypatch):
        monkeypatch.setattr("napari_wbcseg.images.read.LARGE_PIXELS", 15_000)
        monkeypatch.setattr("napari_wbcseg.plugin.segment.run.IN_MEMORY", 15_000)
        zarr.save_array(str(folder / "slide.zarr"), spots((150, 150), ((40, 40), (110, 110)))[0])
        widget = open_session(folder / "slide.zarr", folder / "0003.png", out=folder / "counted")
        go_to(widget, 1, qtbot)
        segment_in_panel(viewer, qtbot)
        return widget

    def test_it_is_not_lost_with_the_next_picture(self, slide, folder, out, qtbot, answer):
        """Hours of work went without a question, and *Save* could not be pressed."""
        assert slide.unsaved
        answer[0].append("Save")
        go_to(slide, 0, qtbot)
        assert len(LargeResult.open(out / "slide-cells").cells) == 2
        assert texts(slide)[1][1] == "2"
        go_to(slide, 1, qtbot)
        assert np.asarray(slide.cells.data).max() == 2
        assert not slide.unsaved
        segment_all(slide, qtbot)
        with qtbot.waitSignal(slide.listed, timeout=WAIT):
            slide.look_again()
        done = ResultRecord.read(out / "slide-result.json").created
        shell(folder / "slide.zarr", folder / "0003.png", "-o", out)
        assert ResultRecord.read(out / "slide-result.json").created == done, "it is done for the shell, too"

    def test_it_is_recorded_as_by_a_run(self, slide, folder, out, qtbot, answer):
        """Notes were left out, and the overlay of a small picture that had the name stayed beside it."""
        (folder / "small").mkdir()
        (folder / "0001.png").rename(folder / "small" / "slide.png")
        shell(folder / "small" / "slide.png", "-o", out)
        answer[0].append("Yes")
        with qtbot.waitSignal(slide.saved, timeout=WAIT):
            slide.save()
        assert not list(out.glob("slide-*.*g"))
        assert not (out / "slide-labels.tif").exists()
        assert LargeResult.open(out / "slide-cells").image_file == folder / "slide.zarr", (
            "for napari's reader"
        )
        notes = ResultRecord.read(out / "slide-result.json").notes
        shell(folder / "slide.zarr", "-o", folder / "by shell")
        assert notes == ResultRecord.read(folder / "by shell" / "slide-result.json").notes

    @pytest.mark.parametrize("found", [True, False])
    def test_the_size_of_a_pixel_that_is_given_is_kept(self, viewer, slide, folder, out, qtbot, found):
        """It was lost with the next picture, without a question."""
        if not found:  # but opened
            with qtbot.waitSignals([slide.saved, slide.opened], timeout=WAIT):
                slide.save()
            assert not slide.panel.buttons["save"].isEnabled()
        panel = open_panel(viewer, "Segment white blood cells").panel
        qtbot.waitUntil(lambda: panel.cells() is slide.cells, timeout=WAIT)
        panel.pixel_size.set_size(0.25, 0.25)
        assert slide.unsaved
        with qtbot.waitSignals([slide.saved, slide.opened], timeout=WAIT):
            slide.panel.buttons["save"].click()
        assert not slide.unsaved
        assert slide.cells.scale.tolist() == [0.25, 0.25]
        record = ResultRecord.read(out / "slide-result.json")
        assert record.field_mm2 == pytest.approx(record.field_share * (150 / 4 / 1000) ** 2)
        os.utime(folder / "slide.zarr" / "zarr.json", (0, time.time() + 60))
        assert record.is_of(folder / "slide.zarr", out), "a copy"

    @pytest.mark.parametrize("recorded", [True, False])
    def test_it_is_not_written_over_what_a_person_corrected(
        self, viewer, slide, folder, out, qtbot, answer, recorded
    ):
        with qtbot.waitSignals([slide.saved, slide.opened], timeout=WAIT):
            slide.save()
        large = LargeResult.open(out / "slide-cells")
        large.replace_region(Box(0, 0, 70, 70), np.zeros((70, 70), np.int32))
        if not recorded:
            (out / "slide-result.json").unlink()
        go_to(slide, 0, qtbot)
        go_to(slide, 1, qtbot)
        segment_in_panel(viewer, qtbot)
        with qtbot.waitSignal(slide.failed, timeout=WAIT) as told:
            slide.save()
        assert "holds corrections" in told.args[0]
        assert len(LargeResult.open(out / "slide-cells").cells) == 1
        answer[0].append("Discard")
        go_to(slide, 0, qtbot)

    def test_what_is_said_of_its_cells_after_save_was_pressed_is_saved_too(self, slide, out, qtbot, answer):
        """It was shown from where it was saved, as it had been by then, without a question."""
        review = slide.review().review
        qtbot.waitUntil(lambda: len(review.cells) == 2, timeout=WAIT)
        review.name([(0, 1)], "blast")
        with qtbot.waitSignal(slide.saved, timeout=WAIT):
            slide.save()
            review.name([(0, 2)], "monocyte")
        assert slide.unsaved
        answer[0].append("Save")
        go_to(slide, 0, qtbot)
        assert LargeResult.open(out / "slide-cells").cells["class"].tolist() == ["blast", "monocyte"]
        assert answer[0] == [], "asked once"

    @pytest.mark.parametrize("when", ["after", "meanwhile", "at the end"])
    def test_a_part_that_was_taken_before_save_is_put_back_into_what_was_saved(
        self, slide, out, qtbot, monkeypatch, when
    ):
        """It went into the folder that goes with napari, and the corrections were lost without a word."""
        editor, copied = slide.review().large, threading.Event()
        at_the_end = session_widget, "row_and_thumbnail"
        module, name = at_the_end if when == "at the end" else (files, "write_result")
        do = getattr(module, name)

        def slowly(*arguments, **options):
            copied.set()
            time.sleep(2)
            return do(*arguments, **options)

        monkeypatch.setattr(module, name, slowly)
        part = editor.correct_part(Box(0, 0, 70, 70))
        part.data = np.zeros_like(part.data)
        with qtbot.waitSignals([slide.saved, slide.opened], timeout=WAIT):
            slide.save()
            if when != "after":
                qtbot.waitUntil(copied.is_set, timeout=WAIT)
                editor.finish()
        if when == "after":
            editor.finish()
        qtbot.waitUntil(lambda: editor.part is None, timeout=WAIT)
        assert len(LargeResult.open(out / "slide-cells").cells) == 1
        assert counts_of(slide._viewer).words(slide.cells) == "1 white cell"

    def test_a_part_that_is_corrected_does_not_count_in_place_of_the_slide(self, slide, qtbot, monkeypatch):
        """The differential of the folder told the cells of the part for those of all of the slide."""
        review = slide.review()
        monkeypatch.setattr(review.differential, "isVisible", lambda: True)
        slide.differential()
        summary = review.differential.summary
        qtbot.waitUntil(lambda: summary.text() == "2 white cells in 1 picture.", timeout=WAIT)
        review.large.correct_part(Box(0, 0, 70, 70))
        qtbot.waitUntil(lambda: summary.text() == "0 white cells in 0 pictures.", timeout=WAIT)


class TestRegionsOfASlide:
    """Of a slide beyond what cells over all of it take, a region drawn is a picture of its own."""

    @pytest.fixture
    def slide(self, open_session, folder, monkeypatch):
        for name, value in {"_LARGEST": 15_000, "_MARGIN": 10, "_MORE": 10}.items():
            monkeypatch.setattr(f"napari_wbcseg.plugin.segment.layer_part.{name}", value)
        zarr.save_array(str(folder / "slide.zarr"), spots((150, 150), ((40, 40), (110, 110)))[0])
        return open_session(folder / "slide.zarr", folder / "0003.png", out=folder / "counted")

    @pytest.fixture
    def region(self, viewer, slide, qtbot):
        """Find the cell in a region, and return its layer."""
        go_to(slide, 1, qtbot)
        segment = open_panel(viewer, "Segment white blood cells")
        segment.regions = viewer.add_shapes([[[20, 20], [20, 60], [60, 60], [60, 20]]], name="drawn")
        segment_in_panel(viewer, qtbot)
        return segment.panel.cells()

    def test_they_go_with_it_and_are_not_lost(self, viewer, slide, region, qtbot, answer):
        """They stayed in the window over the next picture, *Save* passed them over, and nothing was asked."""
        assert slide.cells is None, "they are no cells of all of the slide"
        answer[0].append("Cancel")
        slide.previous()
        assert "and that is not saved" in answer[1][0]
        with qtbot.waitSignal(slide.saved, timeout=WAIT):
            slide.save()
        assert "slide-region-0-0.ome.zarr" in slide.message.text()
        assert not slide.unsaved
        go_to(slide, 0, qtbot)
        assert [layer.name for layer in viewer.layers] == ["drawn", "0003.png"]
        viewer.layers.clear()
        viewer.open(slide.session.out / "slide-region-0-0.ome.zarr", plugin="napari-wbcseg")
        picture, cells = viewer.layers
        assert np.asarray(picture.data).shape[:2] == cells.data.shape
        assert cells.data.max() == 1
        assert load_result(slide.session.out / "slide-region-0-0.ome.zarr").corner == (0, 0)

    def test_what_was_saved_of_one_on_another_day_is_not_replaced_unasked(
        self, viewer, slide, region, qtbot, answer
    ):
        with qtbot.waitSignals([slide.saved], timeout=WAIT):
            slide.save()
        with qtbot.waitSignals([slide.saved], timeout=WAIT):
            slide.save()
        assert answer[1] == []
        go_to(slide, 0, qtbot)
        go_to(slide, 1, qtbot)
        open_panel(viewer, "Segment white blood cells").image = viewer.layers["slide"]
        segment_in_panel(viewer, qtbot)
        answer[0].extend(["No", "Discard"])
        slide.save()
        assert "slide-region-0-0.ome.zarr is there already" in answer[1][0]
        go_to(slide, 0, qtbot)

    def test_they_count_in_no_folder(self, viewer, slide, region, out, qtbot):
        segment_all(slide, qtbot)
        with qtbot.waitSignal(slide.saved, timeout=WAIT):
            slide.save()
        assert slide.panel.notices.text() == ""
        assert differential_of(out)[0].white_cells == 5
        assert not slide.unsaved
        with qtbot.waitSignal(slide.listed, timeout=WAIT):
            slide.look_again()
        assert len(slide.entries) == 2


KILLED_WHILE_CORRECTING = textwrap.dedent(
    """
    import sys
    import napari
    from napari_wbcseg.plugin.controls.panel import open_panel

    viewer = napari.Viewer(show=False)
    widget = open_panel(viewer, "White blood cell session")

    def correct(entry):
        if entry.item.image == "0003.png":
            widget.cells.data_setitem((widget.cells.data == 2).nonzero(), 0)
        else:
            widget.show_picture(3)

    widget.opened.connect(correct)
    widget.open_pictures([sys.argv[1]])
    napari.run(force=True)
    """
)


class TestKilledWhileCorrecting:
    @pytest.fixture
    def killed(self, folder, out, tmp_path):
        """Reject a cell in a session of another napari, and kill that when it was written down."""
        shell(folder, "-o", out)
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED_WHILE_CORRECTING, str(out)],
            env={**os.environ, "NAPARI_CONFIG": str(tmp_path / "settings.yaml")},
            stdout=subprocess.DEVNULL,
        )
        end = time.monotonic() + 240
        while not list(unsaved_folder().glob("*/cells-result.json")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()

    @pytest.mark.parametrize(("said", "count"), [("Save", 2), ("Discard", 3)])
    def test_the_corrections_are_there_again_and_not_saved(
        self, viewer, open_session, killed, out, qtbot, answer, said, count
    ):
        session = open_session(out)
        assert session.shown.item.image == "0003.png"
        assert np.unique(session.cells.data).tolist() == [0, 1, 3]
        assert "were not saved. Here they are" in session.message.text()
        assert session.unsaved
        assert load_result(out / "0003-result.json").count == 3, "nothing is written without a question"
        answer[0].append(said)
        with qtbot.waitSignal(session.opened, timeout=WAIT):
            session.show_picture(0)
        assert load_result(out / "0003-result.json").count == count
        qtbot.waitUntil(lambda: not list(unsaved_folder().iterdir()), timeout=WAIT)


@contextmanager
def disk_used(folder):
    """Yield a list that fills with what this thread opens and lists in a folder meanwhile."""
    used, own, looking = [], threading.get_ident(), True

    def look(event, arguments):
        if looking and event in ("open", "os.scandir", "os.listdir") and threading.get_ident() == own:
            used.extend(path for path in map(str, arguments[:1]) if path.startswith(str(folder)))

    sys.addaudithook(look)  # for good
    yield used
    looking = False


class TestDifferential:
    def test_it_is_of_all_pictures_this_one_as_it_is_now(self, seen, folder, out, qtbot):
        shell(folder, "-o", out)
        session = open_panel(seen, TITLE)
        with qtbot.waitSignals([session.listed, session.opened], timeout=WAIT):
            session.open_pictures([out])
        review = correct(seen, session, 3, qtbot)
        session.differential()
        QApplication.processEvents()
        panel = review.differential
        qtbot.waitUntil(lambda: panel.summary.text() == "6 white cells in 6 pictures.", timeout=WAIT)
        assert not panel.regions.enabled
        with disk_used(out) as used:
            review.undo()
            assert panel.summary.text() == "7 white cells in 6 pictures."
            review.select([(0, 1)])
            review.name("monocyte")
        assert used == [], "the folder is not read at each change"
        panel.folder.setChecked(False)
        assert panel.summary.text() == "3 white cells."

    def test_cells_found_by_the_segment_panel_are_in_it_before_they_are_saved(self, seen, folder, out, qtbot):
        shell(folder, "-o", out)
        session = open_panel(seen, TITLE)
        with qtbot.waitSignals([session.listed, session.opened], timeout=WAIT):
            session.open_pictures([out])
        go_to(session, 3, qtbot)
        session.differential()
        panel = session.review().differential
        qtbot.waitUntil(lambda: panel.summary.text() == "7 white cells in 6 pictures.", timeout=WAIT)
        segment_in_panel(seen, qtbot, min_area=100_000)
        session.review()
        qtbot.waitUntil(lambda: panel.summary.text() == "4 white cells in 6 pictures.", timeout=WAIT)
        assert session.unsaved

    def test_reading_that_is_cancelled_leaves_the_picture_alone(self, seen, folder, out, qtbot):
        shell(folder / "0003.png", "-o", out)
        session = open_panel(seen, TITLE)
        with qtbot.waitSignals([session.listed, session.opened], timeout=WAIT):
            session.open_pictures([out])
        session.differential()
        panel = session.review().differential
        panel._reading.cancel()  # as a person does in napari's dock
        qtbot.waitUntil(lambda: panel.summary.text() == "3 white cells.", timeout=WAIT)
        assert not panel.folder.isChecked()

    def test_it_is_there_while_a_picture_without_cells_is_shown(self, seen, folder, out, qtbot):
        shell(folder / "0003.png", "-o", out)
        session = open_panel(seen, TITLE)
        with qtbot.waitSignals([session.listed, session.opened], timeout=WAIT):
            session.open_pictures([folder], out)
        assert session.cells is None
        session.panel.buttons["differential"].click()
        QApplication.processEvents()
        panel = open_panel(seen, "Review white blood cells").differential
        qtbot.waitUntil(lambda: panel.summary.text() == "3 white cells in 1 picture.", timeout=WAIT)
        assert panel.isVisible()
        # What the shell writes meanwhile is seen when the tab is opened again.
        Image.fromarray(255 - np.asarray(Image.open(folder / "0001.png"))).save(folder / "0009.png")
        shell(folder / "0009.png", "-o", out)
        said = "3 white cells in 1 picture, 1 in doubt."
        session.differential()
        qtbot.waitUntil(lambda: panel.summary.text() == said, timeout=WAIT)
        shell(folder / "0009.png", "-o", out, "--min-area", 10)
        said = "0 white cells in 0 pictures, 1 in doubt, 1 of another run left out."
        session.differential()
        qtbot.waitUntil(lambda: panel.summary.text() == said, timeout=WAIT)

    def test_it_is_of_the_folder_asked_for_though_cells_of_another_are_reviewed(
        self, seen, folder, out, tmp_path, qtbot
    ):
        """The folder of the cells that happened to be reviewed was counted in place of the session's."""
        (folder / "0006.png").write_bytes((folder / "0003.png").read_bytes())
        (folder / "bad.png").write_bytes(b"nothing")
        given = [folder / one for one in ("0003.png", "0006.png", "bad.png")]
        wbcseg("segment", *given, "-o", out, "-m", "dark", "--classes", "none", status=1)
        shell(folder / "0005.png", "-o", tmp_path / "other")
        seen.open(tmp_path / "other" / "0005-result.json", plugin="napari-wbcseg")
        review = open_panel(seen, "Review white blood cells")
        panel, words = review.differential, lambda said: lambda: panel.summary.text() == said
        qtbot.waitUntil(lambda: review.review is not None and not review.review.measuring, timeout=WAIT)
        session = open_panel(seen, TITLE)
        with qtbot.waitSignals([session.listed, session.opened], timeout=WAIT):
            session.open_pictures([folder], out)
        assert session.cells is None
        session.differential()
        whole = "6 white cells in 2 pictures, 1 without a result, 1 counted twice."
        qtbot.waitUntil(words(whole), timeout=WAIT)
        panel.folder.setChecked(False)
        assert panel.summary.text() == "1 white cell."
        panel.folder.setChecked(True)
        qtbot.waitUntil(words("1 white cell in 1 picture."), timeout=WAIT)
        session.differential()
        qtbot.waitUntil(words(whole), timeout=WAIT)
