"""What an image declares, weighed against its file and the machine before it is believed."""

from __future__ import annotations

from pathlib import Path

import psutil

from ..errors import ImageError
from ..files import check_ordinary, stats_in

#: Bytes of pixels that a byte of a file may stand for. Deflate reaches 1032, a JPEG of one colour
#: about 1500; noise, of which every photograph has some, brings all of them below 100.
_MOST_EXPANDED = 2000
#: Pixels of so many bytes are read whatever the size of their file: a blank field takes nearly none.
_ALWAYS_READ = 32 * 2**20
#: Share of the machine's memory that the pixels of one file may take.
_SHARE_OF_MEMORY = 0.5


def check_is_file(path: Path) -> None:
    """Check that there is an ordinary file, with something in it, that may be read.

    A pipe or a device would be read for ever.

    Raises
    ------
    ImageError
        If there is none, it is something else, or empty.
    """
    try:
        check_ordinary(path)
        with path.open("rb"):
            pass
        empty = path.stat().st_size == 0
    except FileNotFoundError:
        raise ImageError(f"There is no file {path}; check the name.") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise ImageError(f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}.") from None
    if empty:
        raise ImageError(f"{path} is empty (0 bytes); copy or save the image again.")


def image_head(path: Path) -> bytes:
    """Return the first bytes of a file, which tell its format."""
    with path.open("rb") as file:
        return file.read(132)


def check_expansion(declared: int, stored: int, name: str) -> None:
    """Check that a file can hold the pixels that it declares.

    Parameters
    ----------
    declared : int
        Bytes that the pixels take when decoded.
    stored : int
        Bytes of the file.
    name : str
        What the message calls it.

    Raises
    ------
    ImageError
        If it cannot: it is damaged, or made to fill the memory.
    """
    if declared > max(_ALWAYS_READ, _MOST_EXPANDED * stored):
        raise ImageError(
            f"{name} declares pixels of {declared / 1e9:,.1f} GB, which its {stored:,} bytes cannot hold: "
            "it is damaged; copy or save the image again."
        )


def check_memory(needed: int, name: str) -> None:
    """Check that pixels fit into the memory of this machine.

    Raises
    ------
    ImageError
        If they take more than half of it.
    """
    if needed > max(_ALWAYS_READ, _SHARE_OF_MEMORY * psutil.virtual_memory().total):
        raise ImageError(
            f"{name} takes {needed / 1e9:,.1f} GB when it is read, too much for the memory of this machine; "
            "cut it into smaller images, or save it as a tiled TIFF or OME-Zarr of one image."
        )


def check_folder_expansion(declared: int, folder: Path) -> None:
    """Check the same of an image that is a folder; its files are counted until they are enough."""
    total = 0
    for one in stats_in(folder):
        total += one.st_size
        if total * _MOST_EXPANDED >= declared:
            return
    check_expansion(declared, total, str(folder))
