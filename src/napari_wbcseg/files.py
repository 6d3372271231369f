"""Writing a file so that it is either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
from pathlib import Path

from .errors import WBCSegError

#: Seconds after which nobody writes on a small file any more.
ABANDONED = 3600.0
#: What is named so was being written by a process that was killed.
_LEFTOVER = re.compile(r"\..*\.[0-9a-f]{12}\.part")


def write_atomically(path: Path, content: bytes, error: type[WBCSegError]) -> None:
    """Write a file under a temporary name beside its place, then move it there.

    A reader, or a process killed half-way, sees the old file or the new one, never a part.

    Raises
    ------
    error
        With a sentence, when the disk is full, or the folder cannot be made or written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as problem:
        raise error(_sentence(path, len(content), problem)) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def remove_leftovers(folder: Path, age: float = 0.0) -> None:
    """Remove what killed processes left half-written in a folder.

    Parameters
    ----------
    folder : Path
    age : float
        Seconds since it was last written; 0 only where no other process may be writing into the folder.
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if _LEFTOVER.fullmatch(path.name) and time.time() - path.stat().st_mtime >= age:
                path.unlink()


def _sentence(path: Path, size: int, problem: OSError) -> str:
    if problem.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        return (
            f"The disk is full: {path} ({size / 1e6:.1f} MB) was not written. "
            "Make room, or choose another folder."
        )
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} cannot be written: the folder or the file is protected. Choose another folder."
    reason = problem.strerror or type(problem).__name__
    return f"{path} cannot be written ({reason}). Choose another name or folder."
