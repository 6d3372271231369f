"""Writing a file so that it is either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from .errors import WBCSegError


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
