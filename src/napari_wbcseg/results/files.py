"""How every file of a result is written: whole, under its name, or not at all."""

from __future__ import annotations

from pathlib import Path

from ..errors import OutputError, SettingsError
from ..files import write_atomically


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file, or raise `OutputError` with a sentence and leave what was there."""
    path = Path(path)
    write_atomically(path, content, OutputError)
    return path


def read_text(path: Path) -> str:
    """Read a text file that a user named.

    Raises
    ------
    SettingsError
        If it is not there or is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as text: {error}.") from None
