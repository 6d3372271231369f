"""Jobs run beside the window, tell how far they are, and end when asked."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QThreadPool, QTimer
from qtpy.QtWidgets import QWidget

from napari_wbcseg.errors import ImageError
from napari_wbcseg.plugin.shared.jobs import Cleanup, Job, clean_up_with, in_background


def forever(progress):
    while True:
        progress(0, 0, "working")
        time.sleep(0.005)


def test_the_result_comes_on_the_gui_thread(qtbot):
    threads = []
    job = Job(lambda progress: threading.get_ident())
    job.done.connect(lambda value: threads.extend([value, threading.get_ident()]))
    with qtbot.waitSignal(job.ended):
        job.start()
    worker, gui = threads
    assert worker != gui == threading.get_ident()


def test_progress_is_told_in_order_but_not_more_often_than_eyes_see(qtbot):
    told = []

    def work(progress):
        for done in range(2000):
            progress(done, 2000, "counting")
            time.sleep(0.0002)

    job = Job(work)
    job.progressed.connect(lambda done, total, stage: told.append(done))
    with qtbot.waitSignal(job.ended, timeout=20_000):
        job.start()
    assert told == sorted(told)
    assert 2 <= len(told) < 200


def test_a_full_disk_is_said_in_a_sentence(qtbot):
    def work(progress):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "slide/labels.zarr/0/0/0")

    job = Job(work)
    with qtbot.waitSignal(job.failed) as said:
        job.start()
    words = f"The disk is full: {Path('slide/labels.zarr/0/0/0')} was not written."
    assert said.args == [f"{words} Make room, or choose another folder."]


def test_cancel_ends_the_work(qtbot):
    job = Job(forever)
    job.start()
    with qtbot.waitSignal(job.cancelled, timeout=1000):
        job.cancel()
    assert not job.running


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImageError("No pixels; save it again."), "No pixels; save it again."),
        (MemoryError(), "not enough memory"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_an_error_becomes_a_sentence(qtbot, error, words):
    def work(progress):
        raise error

    job = Job(work)
    with qtbot.waitSignal(job.failed) as signal:
        job.start()
    assert words in signal.args[0]
    assert "\n" not in signal.args[0]


def test_a_result_that_comes_after_cancel_is_taken_by_nobody(qtbot):
    go, taken = threading.Event(), []

    def work(progress):
        go.wait(5)
        return "open file"

    job = Job(work)
    job.done.connect(taken.append)
    job.start()
    job.cancel()
    with qtbot.waitSignal(job.cancelled):
        go.set()
    assert not taken


def test_a_job_that_rests_leaves_its_thread_to_others_and_wakes_when_cancelled(qtbot):
    pool = QThreadPool.globalInstance()
    threads = pool.maxThreadCount()
    pool.setMaxThreadCount(1)
    try:
        resting = Job(lambda progress: resting.rest(60))
        resting.start()
        other = Job(lambda progress: None)
        with qtbot.waitSignal(other.done, timeout=20_000):
            other.start()
        with qtbot.waitSignal(resting.cancelled, timeout=20_000):
            resting.cancel()
    finally:
        pool.setMaxThreadCount(threads)


def test_what_lasts_goes_on_though_its_widget_and_napari_are_closed_but_not_after_cancel(qtbot):
    begun, go_on, ends = threading.Event(), threading.Event(), []

    def write(progress):
        begun.set()
        go_on.wait(20)
        progress(0, 0, "Writing")
        ends.append("whole")

    job, cleanup = Job(write, lasting=True), Cleanup()
    job.start(cleanup)
    qtbot.waitUntil(begun.is_set, timeout=20_000)
    job._worker.quit()  # as napari asks for when it ends
    cleanup.run()
    go_on.set()
    qtbot.waitUntil(lambda: not job.running, timeout=20_000)
    assert ends == ["whole"]
    go_on.clear()
    cancelled = Job(write, lasting=True)
    cancelled.start()
    cancelled.cancel()
    with qtbot.waitSignal(cancelled.cancelled, timeout=20_000):
        go_on.set()
    assert ends == ["whole"]


def test_a_job_that_waits_for_a_thread_is_not_begun_once_another_is_done_instead(qtbot):
    """Next, pressed five times, read all five pictures before the one that was wanted."""
    go_on, read = threading.Event(), []
    pool = QThreadPool.globalInstance()
    threads = pool.maxThreadCount()
    pool.setMaxThreadCount(1)
    try:
        in_background(lambda progress: go_on.wait(20))
        job = None
        for number in range(5):
            job = in_background(lambda progress, number=number: read.append(number), instead_of=job)
            qtbot.wait(10)
        with qtbot.waitSignal(job.done, timeout=20_000):
            go_on.set()
    finally:
        pool.setMaxThreadCount(threads)
    assert read == [4]


def test_warnings_are_shown_as_before_after_two_jobs_at_once(qtbot):
    """None was, for as long as napari was open."""
    before = warnings.showwarning, list(warnings.filters)
    go_on = [threading.Event(), threading.Event()]
    begun = [threading.Event(), threading.Event()]

    def work(number, progress):
        begun[number].set()
        go_on[number].wait(20)

    jobs = []
    for number in range(2):
        jobs.append(in_background(partial(work, number)))
        qtbot.waitUntil(begun[number].is_set, timeout=20_000)
    for job, event in zip(jobs, go_on, strict=True):
        with qtbot.waitSignal(job.ended, timeout=20_000):
            event.set()
    assert (warnings.showwarning, list(warnings.filters)) == before


def test_an_abandoned_job_says_nothing_more(qtbot):
    said = []
    job = Job(forever)
    for signal in (job.done, job.failed, job.cancelled, job.ended):
        signal.connect(lambda *_: said.append(1))
    job.start()
    job.abandon()
    qtbot.waitUntil(lambda: not job.running, timeout=1000)
    assert not said


@pytest.mark.parametrize("way", ["ended", "abandoned"])
def test_a_job_that_is_kept_holds_nothing_of_those_who_listened(qtbot, way):
    listener = np.zeros(3)  # as the labels of a layer that is gone
    gone = weakref.ref(listener)
    job = in_background(forever if way == "abandoned" else lambda progress: 1, done=partial(print, listener))
    del listener
    if way == "abandoned":
        job.abandon()
    qtbot.waitUntil(lambda: not job.running, timeout=5000)
    gc.collect()
    assert gone() is None


def test_the_window_goes_on_while_a_job_works(qtbot):
    """The event loop comes round often enough while a thread computes in Python."""
    gaps, last = [], [time.perf_counter()]

    def tick():
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    timer = QTimer()
    timer.timeout.connect(tick)
    timer.start(5)

    def work(progress):
        end = time.monotonic() + 1
        while time.monotonic() < end:
            progress(0, 0, str(sum(range(1000))))

    job = Job(work)
    with qtbot.waitSignal(job.ended, timeout=20_000):
        job.start()
    timer.stop()
    print(f"longest gap between two turns of the event loop: {1000 * max(gaps):.0f} ms")
    assert len(gaps) > 10


@pytest.mark.parametrize("way", ["removed", "destroyed"])
def test_what_a_widget_runs_ends_with_it(qtbot, way):
    parent, widget, ended = QWidget(), QWidget(), []
    widget.setParent(parent)
    cleanup = clean_up_with(widget)
    cleanup.add(lambda: ended.append(1))
    if way == "removed":
        widget.setParent(None)
    else:
        parent.deleteLater()
        del widget
    qtbot.waitUntil(lambda: bool(ended), timeout=1000)
    assert cleanup.done
    if way == "removed":
        parent.deleteLater()
        widget.deleteLater()


def test_what_has_ended_is_not_ended_again():
    cleanup, ended = Cleanup(), []
    enders = [lambda number=number: ended.append(number) for number in range(3)]
    for end in enders:
        cleanup.add(end)
    cleanup.remove(enders[1])
    cleanup.run()
    cleanup.run()
    assert ended == [0, 2]


def test_python_ends_once_a_thread_that_is_busy_has_ended():
    """One that was busy for more than five seconds, as with loading a model, aborted the process."""
    script = """
        import time
        from qtpy.QtCore import QCoreApplication
        from napari_wbcseg.plugin.shared.jobs import in_background

        application = QCoreApplication([])
        job = in_background(lambda progress: time.sleep(6))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_temporary_folder_is_there_until_what_lasts_has_read_from_it():
    """Labels of a slide that a script's napari was saving as it was closed were read as empty."""
    script = """
        import os, time
        from napari_wbcseg.plugin.shared.jobs import in_background
        from qtpy.QtCore import QCoreApplication
        from tempfile import TemporaryDirectory

        application, folder = QCoreApplication([]), TemporaryDirectory()

        def work(progress):
            time.sleep(1)
            print(os.path.exists(folder.name))

        job = in_background(work, lasting=True)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.stdout == "True\n"
