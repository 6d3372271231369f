"""A folder of zarr arrays that may go while it is open, as that of a drive which is taken out.

In a module of its own, for it imports zarr.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from os.path import isdir
from tempfile import TemporaryDirectory
from typing import Any

from zarr.storage import LocalStore

from ..errors import ImageError
from ..files import PAUSES


class FolderStore(LocalStore):
    """Files of a folder; raises `ImageError` once that is gone, where zarr reads all as empty.

    Attributes
    ----------
    temporary : TemporaryDirectory or None
        Holds that folder, and lasts as long as an array of it.
    """

    temporary: TemporaryDirectory[str] | None = None

    def __deepcopy__(self, memo: object) -> FolderStore:
        """Return itself: a copy of an array, such as that of a layer, keeps the folder too."""
        return self

    async def get(self, *args: Any, **more: Any) -> Any:
        """Return a file, or None where there is none."""
        return self._in_folder(await super().get(*args, **more))

    def get_sync(self, *args: Any, **more: Any) -> Any:
        """Return the same at once."""
        return self._in_folder(super().get_sync(*args, **more))

    async def set(self, *args: Any, **more: Any) -> None:
        """Write a file."""
        await _patiently(super().set, *args, **more)

    async def delete(self, *args: Any, **more: Any) -> None:
        """Remove a file."""
        await _patiently(super().delete, *args, **more)

    def _in_folder(self, found: Any) -> Any:
        if found is None and not isdir(self.root):
            raise ImageError(f"{self.root}, which was being read, is gone: put it back, and open it again.")
        return found


async def _patiently(act: Callable[..., Awaitable[None]], *args: Any, **more: Any) -> None:
    """Do something to a file, and try again where it is refused; see `PAUSES`."""
    for pause in PAUSES:
        with suppress(PermissionError):
            return await act(*args, **more)
        await asyncio.sleep(pause)
    return await act(*args, **more)
