"""Writing a file or a folder so that it is either whole or not there, by one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import secrets
import shutil
import stat
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .errors import OutputError, SettingsError, WBCSegError

#: Seconds after which nobody writes on a small file any more.
ABANDONED = 3600.0
#: Seconds between tries at what Windows refuses while another has the file open, a viewer or a virus scanner.
PAUSES = (0.01, 0.03, 0.1, 0.3, 1.0)
_FULL = errno.ENOSPC, getattr(errno, "EDQUOT", -1)
_MOST_TEXT = 2**30  # bytes; records of a million cells have a quarter
#: What is named so was being written, or replaced, by a process that was killed.
_LEFTOVER = re.compile(r"\.(.*)\.[0-9a-f]{12}\.(part|old)")


class FileState(NamedTuple):
    """What tells a file that was read from another that took its place since.

    Attributes
    ----------
    size, modified : int
        Bytes, and the time of the last change in nanoseconds; of a folder, of all files in it.
    sha256 : str or None
        Of its content; None where nobody computed it.
    """

    size: int
    modified: int
    sha256: str | None = None

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Return the state of a file as it is now, without reading it."""
        stats = [*stats_in(path)] if path.is_dir() else [path.stat()]
        return cls(sum(one.st_size for one in stats), max((one.st_mtime_ns for one in stats), default=0))


def stats_in(folder: Path) -> Iterator[os.stat_result]:
    """Yield what the system says of each file in a folder and those in it, of which a slide has very many."""
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # gone meanwhile, or a link that leads nowhere
                yield os.stat(os.path.join(root, name))


def check_ordinary(path: Path, most: int | None = None) -> None:
    """Check that a file can be read to its end: a pipe or a device has none.

    Parameters
    ----------
    path : Path
    most : int, optional
        Bytes that a file of this kind has at most.

    Raises
    ------
    OSError
        If it cannot, with the reason in ``strerror``.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    if most is not None and status.st_size > most:
        size = f"{status.st_size / 1e9:.1f} GB"
        raise OSError(errno.EFBIG, f"its {size} are more than any such file has", str(path))


def read_text(path: Path) -> str:
    """Read a text file that a user named.

    Raises
    ------
    SettingsError
        If it is not there or is no text.
    """
    path = user_path(path)
    try:
        check_ordinary(path, _MOST_TEXT)
        return path.read_text(encoding="utf-8-sig")  # editors on Windows put a mark in front
    except FileNotFoundError:
        raise SettingsError(f"There is no file {path}.") from None
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{path} cannot be read as text: {reason}.") from None


def write_atomically(path: str | Path, content: bytes, error: type[WBCSegError] = OutputError) -> Path:
    """Write a file under a temporary name beside its place, then move it there, and return its path.

    A reader, or a process killed half-way, sees the old file or the new one, never a part.

    Raises
    ------
    error
        With a sentence, when the disk is full, or the folder cannot be made or written.
    """
    path = user_path(path)
    with written_whole(path, error, len(content)) as temporary:
        temporary.write_bytes(content)
    return path


@contextlib.contextmanager
def written_whole(
    path: Path, error: type[WBCSegError] = OutputError, size: int | None = None
) -> Iterator[Path]:
    """Give a place beside ``path`` to write a file or a folder to, and move it there at the end.

    Nothing is left of it where the block is left by an exception. A folder that is there is kept until
    the new one stands.

    Parameters
    ----------
    path : Path
    error : type of WBCSegError
    size : int, optional
        Bytes, for the sentence.

    Raises
    ------
    error
        With a sentence and the cause, when the disk is full, or the folder cannot be made or written.
    """
    temporary = _beside(path, path.name[:50], "part")  # the name may be as long as the disk allows
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_dir():
            _replace_folder(temporary, path)
        else:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            _move(temporary, path)
    except OSError as problem:
        raise error(write_problem(path, problem, size)) from problem
    finally:
        remove(temporary)


def remove_leftovers(folder: Path, age: float = 0.0) -> None:
    """Remove what killed processes left half-written in a folder.

    A folder that was to be replaced is put back where its place is empty: the process was killed in between.

    Parameters
    ----------
    folder : Path
    age : float
        Only what was not touched for so many seconds, a folder anywhere in it: another process may be writing
        there.
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if not (leftover := _LEFTOVER.fullmatch(path.name)):
                continue
            touched = max(one.stat().st_mtime for one in (path, *path.rglob("*")))
            if time.time() - touched < age:
                continue
            name, kind = leftover.groups()
            if kind == "old" and not (folder / name).exists():
                _move(path, folder / name)
            else:
                remove(path)


@contextlib.contextmanager
def locked(file: Path, busy: WBCSegError, patience: float = 0.0, keep: bool = False) -> Iterator[None]:
    """Keep other processes out while the context lasts.

    The lock is the system's, so it is gone when this process is, however it ended. Where there are no
    locks, nothing is kept out.

    Parameters
    ----------
    file : Path
        Which is locked; it is made.
    busy : WBCSegError
        Raised if another process has it.
    patience : float
        Seconds to wait for it.
    keep : bool
        Leave the file there afterwards.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise busy from None
    except (OSError, NotImplementedError):
        yield  # of a folder that cannot be written, the first file will tell
        return
    try:
        yield
    finally:
        if not keep:
            with contextlib.suppress(OSError):
                file.unlink()
        lock.release()


def relative_path(path: str | Path, folder: Path) -> str:
    """Return a path from a folder, with slashes; empty where it is on another drive of Windows."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return ""


def safe_name(wanted: str, prefix: str) -> str:
    """Return a name that files may have on every system; empty where nothing is left of it.

    Parameters
    ----------
    wanted : str
    prefix : str
        What is put before names that Windows keeps for devices.

    Examples
    --------
    >>> safe_name("My stain, 2nd try", "model"), safe_name("con", "model")
    ('My-stain-2nd-try', 'model-con')
    """
    wanted = unicodedata.normalize("NFC", wanted)  # a Mac codes accents as signs of their own
    name = re.sub(r"[^\w.-]+", "-", wanted.strip()).strip("-.")[:80].rstrip("-.")
    kept = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
    return f"{prefix}-{name}" if kept else name


def numbered(name: str) -> Iterator[str]:
    """Yield a name, then the name with 2, 3, ... behind it, for the first that is free to be taken.

    Examples
    --------
    >>> list(itertools.islice(numbered("smear"), 3))
    ['smear', 'smear-2', 'smear-3']
    """
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))


def user_path(path: str | Path) -> Path:
    """Return a path that a user gave, in which ``~`` is the home folder and ``~unknown`` a name."""
    return Path(os.path.expanduser(path))


def user_folder(name: str, variable: str) -> Path:
    """Return a folder of the user's data, which an environment variable moves."""
    chosen = os.environ.get(variable)
    if chosen:
        return user_path(chosen)
    from platformdirs import user_data_path

    return user_data_path("napari-wbcseg", appauthor=False) / name


def _beside(path: Path, name: str, ending: str) -> Path:
    return path.with_name(f".{name}.{secrets.token_hex(6)}.{ending}")


def _replace_folder(folder: Path, path: Path) -> None:
    if not path.exists():
        _move(folder, path)
        return
    # It goes back under its name if this process is killed. Some disks keep 143 bytes, of which 18 are added.
    old = _beside(path, path.name.encode(errors="ignore")[:125].decode(errors="ignore"), "old")
    _move(path, old)
    try:
        _move(folder, path)
    except OSError:
        _move(old, path)
        raise
    remove(old)


def _move(source: Path, target: Path) -> None:
    """Move a file or a folder, and try again where it is refused; see `PAUSES`."""
    for pause in PAUSES:
        with contextlib.suppress(PermissionError):
            os.replace(source, target)
            return
        time.sleep(pause)
    os.replace(source, target)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and may go."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def system_problem(problem: OSError) -> str:
    """Return what the system refused to do with the file that it names, and what to do, in a sentence."""
    if problem.errno in _FULL:
        return write_problem(Path(problem.filename), problem)
    return f"{problem.filename} cannot be used ({problem.strerror}). Check the name and who may use it."


def write_problem(path: Path, problem: OSError, size: int | None = None) -> str:
    """Return why a file of so many bytes was not written, and what to do, in a sentence."""
    if problem.errno in _FULL:
        how_much = "" if size is None else f" ({size / 1e6:.1f} MB)"
        return f"The disk is full: {path}{how_much} was not written. Make room, or choose another folder."
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        why = "the folder or the file is protected, or it is open in another program"  # as Excel on Windows
        return f"{path} cannot be written: {why}. Close it there, or choose another folder."
    reason = problem.strerror or type(problem).__name__
    if isinstance(problem, shutil.Error):  # of a folder that was copied: of each file, and why not
        reason = problem.args[0][0][-1]
    return f"{path} cannot be written ({reason}). Choose another name or folder."
