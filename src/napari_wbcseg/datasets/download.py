"""Fetch the public copy of the SigTuple set, verifying every file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from importlib import resources
from multiprocessing.pool import AsyncResult, ThreadPool
from pathlib import Path

from ..errors import DownloadError
from ..files import user_path, write_problem
from ..images.find import image_stem
from ..progress import Progress, silent
from .sigtuple import is_sigtuple

#: Public copy of the SigTuple AI Challenge set, at one commit.
PUBLIC_URL = (
    "https://raw.githubusercontent.com/bsrinivas8687/WBC_Segmentaion/"
    "503284b76b32e47b134733244ce30f6ffc480e41/SigTuple_data/"
)

#: Environment variable with a folder that holds the set as ``sigtuple``.
DATA_VARIABLE = "WBCSEG_DATA"

_REGISTRY_FILE = "sigtuple_registry.txt"
_STAGE = "Downloading the SigTuple set"
_RETRIES = 1
_TIMEOUT = 10, 30  # seconds until a connection stands, and without an answer
_CONNECTIONS = 6
_PATIENCE = 2.0  # seconds for files that are under way when it is stopped


def sigtuple_registry() -> dict[str, str]:
    """Return the path of each of the 399 files in the set, with its ``sha256:`` hash."""
    text = resources.files(__package__).joinpath(_REGISTRY_FILE).read_text(encoding="utf-8")
    return dict(line.split() for line in text.splitlines() if line)


def sigtuple_cache() -> Path:
    """Return the folder that downloads of the set go to unless told otherwise."""
    import pooch

    return Path(pooch.os_cache("napari-wbcseg")) / "SigTuple_data"


def local_sigtuple(part: str = "") -> Path | None:
    """Return a SigTuple folder that is on this computer already, or none.

    That is ``sigtuple`` in the folder named by the environment variable ``WBCSEG_DATA``, or else
    the download cache when every file is in it.

    Parameters
    ----------
    part : str
        ``Train_Data`` or ``Test_Data``, where only that is needed.
    """
    given = os.environ.get(DATA_VARIABLE)
    if given and is_sigtuple(folder := user_path(given) / "sigtuple"):
        return folder
    cache = sigtuple_cache()
    # A file only ever comes to its name after it was verified, so being there is enough.
    needed = (name for name in sigtuple_registry() if name.startswith(part))
    return cache if all((cache / name).is_file() for name in needed) else None


def fetch_sigtuple(
    names: Iterable[str] | None = None,
    *,
    base_url: str = PUBLIC_URL,
    cache: str | Path | None = None,
    registry: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Path:
    """Download the SigTuple set, or some of it, and return its folder.

    Every file is checked against its sha256 before it gets its name, so a download
    that was interrupted goes on where it stopped, and files in the cache are not
    fetched again.

    Parameters
    ----------
    names : iterable of str, optional
        What to fetch: paths in the set such as ``Test_Data/1468054105.jpg``, folders
        (``Test_Data``), or image names (``train-0``, with its mask). By default everything, 9.7 MB.
    base_url : str
        Where ``Train_Data`` and ``Test_Data`` are.
    cache : str or Path, optional
        Folder to download to; by default `sigtuple_cache`.
    registry : mapping of str to str, optional
        Path and hash of each file; by default `sigtuple_registry`.
    progress : Progress
        Called after each file; whatever it raises ends the download.

    Returns
    -------
    Path
        A folder in the SigTuple layout, for `read_sigtuple`.

    Raises
    ------
    DownloadError
        If a name is not in the set, there is no connection, the server refuses, a file
        does not match its hash, or it cannot be written.
    """
    import pooch

    registry = dict(sigtuple_registry() if registry is None else registry)
    folder = sigtuple_cache() if cache is None else user_path(cache)
    wanted = list(registry) if names is None else _select(names, registry)
    store = pooch.create(folder, base_url.rstrip("/") + "/", registry=registry, retry_if_failed=_RETRIES)

    def fetch(name: str) -> None:
        if stopped.is_set():
            return
        try:
            # Two threads that find a folder missing both make it, and Pooch takes the second for a fault.
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            store.fetch(name, downloader=pooch.HTTPDownloader(timeout=_TIMEOUT))
        except (OSError, ValueError) as error:
            raise _explain(error, name, store.base_url, folder) from error

    # Python waits at its end for the threads of an executor, and one may wait for a server that says nothing.
    stopped, files = threading.Event(), list[AsyncResult[None]]()
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # one line a file otherwise
    with ThreadPool(_CONNECTIONS) as workers:
        try:
            progress(0, len(wanted), _STAGE)
            files = [workers.apply_async(fetch, (name,)) for name in wanted]
            for done, file in enumerate(files, start=1):
                file.get()
                progress(done, len(wanted), _STAGE)
        finally:
            stopped.set()
            until = time.monotonic() + _PATIENCE
            for file in files:
                file.wait(max(0.0, until - time.monotonic()))
            logger.setLevel(level)
    return folder


def _select(names: Iterable[str], registry: Mapping[str, str]) -> list[str]:
    wanted: list[str] = []
    for name in names:
        # A file, a folder of them, or an image, which its mask goes with.
        chosen = [
            path for path in registry if name in (path, path.split("/")[0], image_stem(Path(path).stem))
        ]
        if not chosen:
            raise DownloadError(f"The SigTuple set has no file or image named {name!r}.")
        wanted += chosen
    return list(dict.fromkeys(wanted))


def _explain(error: Exception, name: str, base_url: str, folder: Path) -> DownloadError:
    import requests

    if isinstance(error, requests.HTTPError):
        why = f"The server refused {base_url}{name} ({error}); try later, or give another base_url."
    elif isinstance(error, requests.RequestException):
        why = f"{base_url}{name} cannot be reached; check the network connection."
    elif isinstance(error, OSError):
        why = write_problem(folder / name, error)
    else:
        why = (
            f"{base_url}{name} does not match its checksum, so it was damaged on the way or changed, and was "
            "thrown away; try again."
        )
    return DownloadError(f"{why} Files already fetched are kept; start again to go on.")
