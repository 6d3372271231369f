"""Fetching the SigTuple set, here from a server on the loopback."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest
from PIL import Image

from napari_wbcseg.datasets import download
from napari_wbcseg.datasets.download import fetch_sigtuple, local_sigtuple, sigtuple_registry
from napari_wbcseg.datasets.sigtuple import is_sigtuple, read_sigtuple
from napari_wbcseg.errors import Cancelled, DownloadError

NAMES = [
    *(f"Train_Data/train-{n}{mask}.jpg" for n in range(4) for mask in ("", "-mask")),
    "Test_Data/F1.jpg",
    "Test_Data/F2.jpg",
]


class Server(ThreadingHTTPServer):
    """Serves a folder, counts requests, and misbehaves on request."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.asked: Counter[str] = Counter()
        self.cut: set[str] = set()
        self.delay = 0.0
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.asked[name] += 1
        time.sleep(self.server.delay)
        if name in self.server.cut:
            data = (Path(self.directory) / name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            return
        super().do_GET()

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    random = np.random.default_rng(5)
    for name in NAMES:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.zeros((128, 128), np.uint8)
        image[30:90, 30:90] = 255
        if "mask" not in name:
            image = random.integers(0, 255, (128, 128, 3)).astype(np.uint8)
        Image.fromarray(image).save(path)
    return tmp_path / "source"


@pytest.fixture
def server(source: Path) -> Iterator[Server]:
    server = Server(source)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch(
    server: Server, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """`fetch_sigtuple` from the server into an empty cache, without a second try."""
    monkeypatch.setattr(download, "_RETRIES", 0)
    registry = {name: "sha256:" + hashlib.sha256((source / name).read_bytes()).hexdigest() for name in NAMES}
    return partial(fetch_sigtuple, base_url=server.url, cache=tmp_path / "cache", registry=registry)


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_whole_set_arrives_and_reads(fetch: Callable[..., Path], source: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    folder = fetch(progress=lambda *call: calls.append(call))
    assert _files(folder) == set(NAMES)
    assert all((folder / name).read_bytes() == (source / name).read_bytes() for name in NAMES)
    assert is_sigtuple(folder)
    assert [pair.name for pair in read_sigtuple(folder)] == [f"train-{n}" for n in range(4)]
    assert [call[0] for call in calls] == list(range(11))
    assert {call[1:] for call in calls} == {(10, "Downloading the SigTuple set")}


def test_what_is_cached_is_not_fetched_again(fetch: Callable[..., Path], server: Server) -> None:
    fetch(["train-1", "Test_Data/F2.jpg"])
    folder = fetch(["Test_Data"])
    assert _files(folder) == {
        "Train_Data/train-1.jpg", "Train_Data/train-1-mask.jpg", "Test_Data/F1.jpg", "Test_Data/F2.jpg"
    }  # fmt: skip
    fetch()
    fetch()
    assert dict(server.asked) == dict.fromkeys(NAMES, 1)


def test_a_damaged_file_in_the_cache_is_replaced(fetch: Callable[..., Path], source: Path) -> None:
    folder = fetch()
    (folder / NAMES[0]).write_bytes(b"half a pictu")
    fetch()
    assert (folder / NAMES[0]).read_bytes() == (source / NAMES[0]).read_bytes()


def test_a_download_goes_on_where_it_was_cut(fetch: Callable[..., Path], server: Server) -> None:
    server.cut.add(NAMES[-1])
    with pytest.raises(DownloadError, match=r"F2\.jpg cannot be reached|F2\.jpg does not match"):
        fetch()
    before = Counter(server.asked)
    folder = Path(fetch.keywords["cache"])  # type: ignore[attr-defined]
    done = _files(folder)
    assert done <= set(NAMES) - {NAMES[-1]}, "no partial file, under no name"
    server.cut.clear()
    fetch()
    assert _files(folder) == set(NAMES)
    assert {name for name in NAMES if server.asked[name] > before[name]} == set(NAMES) - done


def test_one_hiccup_is_tried_again(
    fetch: Callable[..., Path], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    server.cut.add(NAMES[0])
    threading.Timer(0.5, server.cut.clear).start()
    assert _files(fetch([NAMES[0]])) == {NAMES[0]}
    assert server.asked[NAMES[0]] == 2


def test_wrong_hash(fetch: Callable[..., Path], source: Path, tmp_path: Path) -> None:
    (source / NAMES[0]).write_bytes(b"something else")
    with pytest.raises(DownloadError, match=rf"{NAMES[0]} does not match its checksum.*thrown away") as error:
        fetch([NAMES[0]])
    assert "\n" not in str(error.value)
    assert _files(tmp_path / "cache") == set()


def test_file_not_on_the_server(fetch: Callable[..., Path], source: Path) -> None:
    (source / NAMES[3]).unlink()
    with pytest.raises(DownloadError, match=rf"refused .*{NAMES[3]} \(404 Client Error"):
        fetch()


def test_threads_that_find_a_folder_missing_all_go_on(
    fetch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.makedirs

    def slowly(path: str, **options: bool) -> None:
        time.sleep(0.3)  # meanwhile another thread finds it missing too
        make(path, **options)

    monkeypatch.setattr(os, "makedirs", slowly)
    assert _files(fetch()) == set(NAMES)


def test_no_network(fetch: Callable[..., Path]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match="cannot be reached; check the network connection"):
        fetch(base_url=f"http://127.0.0.1:{port}/")


def test_full_disk(fetch: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(self: object, url: str, output: str, store: object, check_only: bool = False) -> None:
        Path(output).write_bytes(b"the first half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", fill)
    with pytest.raises(DownloadError, match=r"The disk is full: .* Make room"):
        fetch()
    assert _files(tmp_path / "cache") == set()


def test_a_cache_that_cannot_be_made(fetch: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch(cache=tmp_path / "file" / "cache")


def test_a_name_that_is_not_in_the_set(fetch: Callable[..., Path]) -> None:
    with pytest.raises(DownloadError, match="no file or image named 'train-999'"):
        fetch(["train-999"])


def test_cancel_stops_soon_and_keeps_only_whole_files(
    fetch: Callable[..., Path], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int, stage: str) -> None:
        if done == 1:
            raise Cancelled("enough")

    monkeypatch.setattr(download, "_CONNECTIONS", 2)
    server.delay = 0.1
    pooch.get_logger().setLevel("INFO")
    with pytest.raises(Cancelled):
        fetch(progress=stop)
    assert _files(tmp_path / "cache") < set(NAMES)
    assert server.asked.total() <= 5
    assert pooch.get_logger().level == logging.INFO


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, which a shell's background jobs are started to ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_does_not_wait_for_a_server_that_says_nothing(
    fetch: Callable[..., Path], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_PATIENCE", 0.1)
    server.delay = 1000  # longer than a test may take
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        fetch()


def test_the_registry_names_the_399_files_of_the_set() -> None:
    registry = sigtuple_registry()
    assert len(registry) == 399
    assert sum(name.startswith("Test_Data/") for name in registry) == 61
    assert sum(name.endswith("-mask.jpg") for name in registry) == 169
    assert all(len(value) == len("sha256:") + 64 for value in registry.values())


def test_the_registry_matches_the_real_set() -> None:
    data = os.environ.get("WBCSEG_DATA")
    if not data or not (Path(data) / "sigtuple").is_dir():
        pytest.skip("the SigTuple set is not here: set WBCSEG_DATA to the folder that holds it")
    folder = Path(data) / "sigtuple"
    found = {
        path.relative_to(folder).as_posix(): "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.jpg")
    }
    assert found == sigtuple_registry()


def test_a_local_set_is_found_by_variable_or_in_a_complete_cache(
    fetch: Callable[..., Path], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "sigtuple_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(download, "sigtuple_registry", lambda: fetch.keywords["registry"])  # type: ignore[attr-defined]
    monkeypatch.delenv("WBCSEG_DATA", raising=False)
    assert local_sigtuple() is None
    fetch(["Test_Data"])
    assert local_sigtuple() is None, "half a set does not count"
    assert local_sigtuple("Test_Data") == tmp_path / "cache", "but where that half is all that is needed"
    folder = fetch()
    assert local_sigtuple() == folder
    source.rename(tmp_path / "sigtuple")
    monkeypatch.setenv("WBCSEG_DATA", str(tmp_path))
    assert local_sigtuple() == tmp_path / "sigtuple"
