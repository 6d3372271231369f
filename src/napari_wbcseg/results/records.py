"""What a run did, as JSON, so that it can be done again."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import SettingsError
from ..files import read_text
from ..settings import SegmentationSettings
from ..version import __version__
from .files import write_bytes
from .names import RUN_FILE

if TYPE_CHECKING:
    from ..network.model_file import ModelFile

#: Of a ``run.json`` of any version.
RUN_FORMAT = "napari-wbcseg run"

Record = TypeVar("Record", bound=BaseModel)


class InputRecord(BaseModel):
    """One input of a run, and what became of it.

    Attributes
    ----------
    path : str
        Absolute path at the time of the run.
    relative : str
        The same from the folder of the results, in case both are moved.
    image : str
        How ``counts.csv`` and ``cells.csv`` call it.
    name : str
        What its output files begin with.
    sha256 : str or None
        Of the file's content; None if it could not be read.
    status : {"ok", "failed", "pending"}
    count : int or None
    error : str
    """

    model_config = ConfigDict(extra="forbid")

    path: str
    relative: str = ""
    image: str
    name: str
    sha256: str | None = None
    status: Literal["ok", "failed", "pending"] = "ok"
    count: int | None = None
    error: str = ""


class ModelRecord(BaseModel):
    """The model of a run: its name, the hash of its content, and the name or path it was asked for by."""

    model_config = ConfigDict(extra="forbid")

    name: str
    hash: str
    source: str


class RunRecord(BaseModel):
    """What a run did, from which the same run can be repeated (``run.json``).

    Attributes
    ----------
    created : str
        Date and time, ISO 8601 in UTC.
    settings : SegmentationSettings
    model : ModelRecord
    versions : dict of str
        Of Python, this package and the libraries that the result depends on.
    platform : str
    device : str
        What the network ran on.
    mask, overlay : bool
        Which of the optional files were written.
    formats : tuple of str
        More formats that were written.
    inputs : list of InputRecord
    finished : bool
        False when the run was stopped before its end.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["napari-wbcseg run 1"] = "napari-wbcseg run 1"
    created: str
    settings: SegmentationSettings
    model: ModelRecord
    versions: dict[str, str]
    platform: str = ""
    device: str = ""
    mask: bool = False
    overlay: bool = True
    formats: tuple[str, ...] = ()
    inputs: list[InputRecord] = []
    finished: bool = True

    @classmethod
    def start(
        cls, settings: SegmentationSettings, model: ModelFile, source: str | None = None, **values: Any
    ) -> RunRecord:
        """Begin the record of a run: time, model, versions and platform are filled in."""
        import platform

        if source is None or Path(source).exists():
            source = str(model.path.resolve()) if model.path else model.name
        record = ModelRecord(name=model.name, hash=model.hash, source=source)
        return cls(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            settings=settings,
            model=record,
            versions=library_versions(),
            platform=platform.platform(),
            **values,
        )

    def write(self, path: str | Path) -> Path:
        """Write the record as JSON."""
        return write_bytes(path, (self.model_dump_json(indent=2) + "\n").encode())

    @classmethod
    def read(cls, path: str | Path) -> RunRecord:
        """Read a ``run.json``.

        Raises
        ------
        SettingsError
            If the file cannot be read or is no record of a run.
        """
        return read_record(cls, path, "a run", f"Give the {RUN_FILE} that `wbcseg segment` wrote.")


def read_record(kind: type[Record], path: str | Path, of: str, advice: str) -> Record:
    """Read a record that was written as JSON.

    Parameters
    ----------
    kind : type
        Class of the record.
    path : str or Path
    of, advice : str
        What it is a record of, and what to do where the file is none, for the sentence then.

    Raises
    ------
    SettingsError
        If the file cannot be read or is no such record.
    """
    path = Path(path)
    try:
        return kind.model_validate_json(read_text(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SettingsError(
            f"{path} is not the record of {of} of napari-wbcseg ({where}: {first['msg'].lower()}). {advice}"
        ) from None


def relative_path(path: str | Path, folder: Path) -> str:
    """Return a path from a folder, with slashes; empty where it is on another drive of Windows."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return ""


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_stamp(path: Path) -> tuple[int, int, int]:
    """Return what changes with a file: bytes, time of the last change in ns, and its place on the disk.

    Of a folder, the bytes of all files in it and the last change of any.
    """
    if not path.is_dir():
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns, stat.st_ino
    stats = [each.stat() for each in path.rglob("*") if each.is_file()]
    size, modified = sum(stat.st_size for stat in stats), (stat.st_mtime_ns for stat in stats)
    return size, max(modified, default=0), path.stat().st_ino


def library_versions() -> dict[str, str]:
    """Return the versions of Python, this package and what its results depend on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version(), "napari-wbcseg": __version__}
    for name in (
        "numpy",
        "scipy",
        "scikit-image",
        "opencv-python-headless",
        "onnxruntime",
        "openvino",
        "keras",
    ):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
