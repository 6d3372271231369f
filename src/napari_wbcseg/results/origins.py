"""Where a result comes from: image, model and classifier, which are known again and found again; versions."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from os.path import exists, join, normpath, realpath  # `Path.exists` raises where a folder may not be entered
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from ..datasets.corrections import learnt_file
from ..errors import ModelError
from ..files import FileState, relative_path
from ..images.read import depths_of
from ..network.classifier import read_classifier
from ..network.library import list_models, load_model
from ..network.model_file import ModelFile
from ..network.tensor_file import TensorFile
from ..segmentation.result import Segmentation
from ..version import __version__

Found = TypeVar("Found", bound=TensorFile[Any])
_LIBRARIES = "numpy scipy scikit-image opencv-python-headless onnxruntime openvino keras"


class FileRecord(BaseModel, extra="forbid"):
    """A file that is found again after it moved along with the record.

    Attributes
    ----------
    path : str
        Absolute path at the time; empty where there was no file.
    relative : str
        The same from the folder of the record, with slashes; empty where it is on another drive of Windows.
    sha256 : str or None
        Of the file's content; None where that could not be read, or is that of a large image.
    """

    path: str = ""
    relative: str = ""
    sha256: str | None = None

    def file(self, folder: Path) -> Path | None:
        """Return the file if it is still there; ``folder`` is that of the record.

        In a copy of a folder it is the copied file; where another has taken its old place, that which moved.
        """
        moved = self.relative and normpath(join(realpath(folder), self.relative))
        there = [Path(path) for path in (moved, self.path) if path and exists(path)]
        if len(there) == 2 and not there[0].samefile(there[1]):
            return next((path for path in there if self.is_of(path)), there[0])
        return there[-1] if there else None

    def is_of(self, path: Path) -> bool:
        """Whether a file has this very content."""
        try:
            return self.sha256 is not None and path.is_file() and file_sha256(path) == self.sha256
        except OSError:
            return False


class ImageRecord(FileRecord):
    """The image of a result.

    Attributes
    ----------
    name : str
    size, modified : int
        Bytes of the file, and the time of its last change in nanoseconds; 0 where not known.
    """

    name: str
    size: int = 0
    modified: int = 0

    @classmethod
    def of(
        cls,
        path: Path | None,
        name: str,
        folder: Path,
        *,
        hashed: bool = True,
        state: FileState | None = None,
    ) -> ImageRecord:
        """Make the record of an image's file, to lie in a folder; without one it has no path.

        Parameters
        ----------
        path : Path or None
        name : str
        folder : Path
        hashed : bool
        state : FileState, optional
            That of the file when the image was read; of another that took its place since nothing is said.
        """
        if path is None or not exists(path):  # known again when it is back
            size, modified, sha256 = state or (0, 0, None)
            return cls(name=name, sha256=sha256, size=size, modified=modified)
        path = path.resolve()
        sha256 = file_sha256(path) if hashed and path.is_file() else None
        size, modified, _ = FileState.of(path)
        same_content = sha256 is not None and state is not None and state.sha256 == sha256
        if state is not None and state[:2] != (size, modified) and not same_content:
            size, modified, sha256 = state
        relative = relative_path(path, folder.resolve())
        return cls(name=name, path=str(path), relative=relative, sha256=sha256, size=size, modified=modified)

    @property
    def state(self) -> FileState | None:
        """That of its file when it was read; None where it is not known."""
        return FileState(self.size, self.modified, self.sha256) if self.size or self.sha256 else None

    def unchanged(self, folder: Path) -> Path | None:
        """Return the file if it is still there, and no other image by what is known of its content."""
        file = self.file(folder)
        return file if file is None or self.sha256 is None or self.is_of(file) else None

    def is_of(self, path: Path) -> bool:
        """Whether a file holds this very image."""
        try:
            now = FileState.of(path)
            if self.size not in (0, now.size):
                return False  # without reading all of it
            same_stamp = now[:2] == (self.size, self.modified)
            if self.sha256 is None:  # a large one: moved, perhaps
                return same_stamp and self.size > 0
            return (same_stamp and self.path == str(path.resolve())) or super().is_of(path)
        except OSError:
            return False


class ModelRecord(BaseModel, extra="forbid"):
    """A model or classifier: its name, the hash of its content, and the name or path it was asked for by."""

    name: str
    hash: str
    source: str

    @classmethod
    def of(cls, identity: str, source: str) -> ModelRecord | None:
        """Return the record of what is called ``name@hash``; None of nothing."""
        name, _, digest = identity.rpartition("@")
        return cls(name=name, hash=digest, source=source or name) if name else None

    @property
    def id(self) -> str:
        """``name@hash``."""
        return f"{self.name}@{self.hash}"

    def load(self) -> ModelFile:
        """Load the very model that is recorded.

        Raises
        ------
        ModelError
            If no model with the recorded hash is there any more.
        """
        sources = [self.source, *(str(info.path) for info in list_models())]
        return self._found("model", sources, load_model)[1]

    def find_classifier(self) -> str:
        """Return the name or path of the very classifier that is recorded.

        Raises
        ------
        ModelError
            If no classifier with the recorded hash is there any more.
        """
        sources = [self.source, str(learnt_file())]
        return self._found("classifier", sources, read_classifier)[0]

    def _found(self, what: str, sources: list[str], read: Callable[[str], Found]) -> tuple[str, Found]:
        """Return the first of some names and paths that stands for the very thing recorded, and that."""
        others = []
        for source in sources:
            try:
                file = read(source)
            except ModelError as error:
                others.append(str(error))
                continue
            if self.hash in file.hashes:
                return source, file
            others.append(f"{source} is now {file.hash}")
        raise ModelError(
            f"The run cannot be repeated: its {what} {self.id} is not here ({others[0].rstrip('.')}). "
            f"Put the {what}'s file back, or segment anew with another."
        )


def depths_in(result: Segmentation) -> int:
    """Return how many planes, one behind the other, are depths of focus; all of a stack of no known file."""
    file = result.image_path if result.stacked else None
    return (depths_of(file) if file else None) or result.labels.shape[0]  # labels may be a zarr


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def here_and_now() -> dict[str, Any]:
    """Return what a record says of its making: time, versions and platform."""
    return {
        "created": datetime.now(UTC).isoformat(),
        "versions": library_versions(),
        "platform": platform.platform(),
    }


def library_versions() -> dict[str, str]:
    """Return the versions of Python, this package and what its results depend on."""
    versions = {"python": platform.python_version(), "napari-wbcseg": __version__}
    for name in _LIBRARIES.split():
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
