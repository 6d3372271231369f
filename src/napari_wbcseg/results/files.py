"""How every file of a result is written: whole, under its name, or not at all."""

from __future__ import annotations

from pathlib import Path

from ..errors import OutputError
from ..files import write_atomically


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file, or raise `OutputError` with a sentence and leave what was there."""
    path = Path(path)
    write_atomically(path, content, OutputError)
    return path
