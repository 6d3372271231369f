"""What is handed out comes back as it is done, and images wait until there is room for them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
from PIL import Image

from napari_wbcseg.errors import Cancelled
from napari_wbcseg.executors import Capacity, completed, in_threads
from napari_wbcseg.progress import Progress, silent


class TestRoom:
    def test_images_that_do_not_fit_together_take_turns(self) -> None:
        capacity = Capacity(100)
        inside, most = 0, 0
        lock = threading.Lock()

        def work() -> None:
            nonlocal inside, most
            with capacity.take(40):
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.005)
                with lock:
                    inside -= 1

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert most == 2
        with capacity.take(1000):
            pass  # all was given back, and more than there is waits for all of it

    def test_it_is_asked_for_by_the_header_alone(self, tmp_path: Path) -> None:
        import numpy as np
        import tifffile

        from napari_wbcseg.images.read import size_of_file

        Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg")
        tifffile.imwrite(tmp_path / "b.tif", np.zeros((5, 20, 30, 3), np.uint8), photometric="rgb")
        tifffile.imwrite(tmp_path / "c.tif", np.zeros((20, 30), np.uint16))
        (tmp_path / "d.png").write_text("no image")
        assert [size_of_file(path)[0] for path in sorted(tmp_path.iterdir())] == [600, 3000, 600, 0]


class TestThreads:
    def test_each_item_comes_with_its_result_and_is_asked_for_when_there_is_a_thread(self) -> None:
        asked: list[int] = []
        items = (asked.append(item) or item for item in range(20))
        for done, (item, square) in enumerate(in_threads(lambda item, _: item * item, items, 3, silent), 1):
            assert square == item * item
            assert len(asked) <= done + 3
        assert sorted(asked) == list(range(20))

    def test_one_item_is_done_by_the_caller(self) -> None:
        def thread(item: int, progress: Progress) -> threading.Thread:
            return threading.current_thread()

        ((_, alone),) = in_threads(thread, [1], 3, silent)
        assert alone is threading.current_thread()
        assert threading.current_thread() not in dict(in_threads(thread, range(5), 3, silent)).values()

    @pytest.mark.parametrize("by", ["progress", "error", "close"])
    def test_the_others_are_stopped_and_told_in_the_thread_of_the_caller(self, by: str) -> None:
        ended: list[str] = []

        def work(item: int, progress: Progress) -> None:
            if item == 0:
                if by == "error":
                    raise ValueError("It failed.")
                return
            try:
                while True:
                    progress(item, 2, "Working")
                    time.sleep(0.005)
            except Cancelled as error:
                ended.append(str(error))
                raise

        def stop(done: int, total: int, stage: str) -> None:
            assert threading.current_thread() is threading.main_thread()
            if by == "progress":
                raise Cancelled("Enough.")

        found = in_threads(work, range(5), 3, stop)
        if by == "close":
            next(found)
            found.close()
        else:
            with pytest.raises(ValueError if by == "error" else Cancelled):
                list(found)
        assert len(ended) >= 1
        assert {*ended} == {"Stopped."}


def test_what_is_done_first_comes_first() -> None:
    futures: list[Future[str]] = [Future() for _ in range(3)]
    waiting = dict(zip(futures, "abc", strict=True))
    futures[1].set_result("second")
    found = completed(waiting)
    item, future = next(found)
    assert (item, future.result(), list(waiting.values())) == ("b", "second", ["a", "c"])
    futures[2].set_exception(ValueError())
    futures[0].set_result("first")
    assert [item for item, _ in found] == ["c", "a"]
