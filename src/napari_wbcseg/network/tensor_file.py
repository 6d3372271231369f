"""A network's file: one ``.safetensors`` with its weights and a header that says what they are.

Reading it runs no code from it: the header is JSON checked against its class, and the tensors
are raw numbers checked against the architecture in that header, before anything is built.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, Field

from ..errors import ModelError, reading
from ..files import check_ordinary, user_path, write_atomically
from ..version import __version__
from ..words import listed

SUFFIX = ".safetensors"
FORMAT_VERSION = 2
_MAX_BYTES = 1 << 30
_ADVICE = (
    f"choose a {SUFFIX} file of this package, or update napari-wbcseg if a newer version wrote it; "
    "`wbcseg models import` reads weights of Keras"
)
_DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}

WeightType = Literal["float16", "float32", "lossless"]


class TensorHeader(BaseModel, frozen=True, extra="ignore", allow_inf_nan=False):
    """What a file says about its weights; each kind of network says more.

    Attributes
    ----------
    format_version : int
        Layout of the file; a newer one is refused.
    name : str
        Name of the network, shown to users.
    training_data : str
        What it was trained on, in words.
    training : dict
        The settings and other facts of the training.
    scores : dict of float
        What it reached, by name of the measure.
    created_with : str
        Version of this package that wrote it.
    notes : str
        Anything else a user should know.
    """

    #: Where it is among the metadata of the file, and what that file is called in sentences.
    key: ClassVar[str]
    kind: ClassVar[str]

    format_version: Annotated[int, Field(le=FORMAT_VERSION)] = FORMAT_VERSION
    name: Annotated[str, Field(min_length=1, max_length=100)]
    training_data: str = ""
    training: dict[str, Any] = Field(default_factory=dict)
    scores: dict[str, float] = Field(default_factory=dict)
    created_with: str = __version__
    notes: str = ""

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape that every array of the file must have, by name."""
        raise NotImplementedError

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed."""
        return type(self).model_validate({**self.model_dump(), **changes})


Header = TypeVar("Header", bound=TensorHeader)


@dataclass(frozen=True, eq=False, repr=False)
class TensorFile(Generic[Header]):
    """A network: its header, its weights, and the hash of the file they are.

    Attributes
    ----------
    header : TensorHeader
    weights : dict of ndarray
        float32, by the names of the header's ``tensor_shapes``.
    hash : str
        First 12 hexadecimal digits of the SHA-256 of the file's content.
    path : Path or None
        Where the file is; None for a network that is only in memory.
    """

    header: Header
    weights: dict[str, np.ndarray]
    hash: str
    path: Path | None = None

    #: The class of its header.
    header_type: ClassVar[type[TensorHeader]]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"  # not pages of how it was trained

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to another process, without what was made of it here, as a running network."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.header.name

    @property
    def id(self) -> str:
        """``name@hash``, which a result is stored with."""
        return f"{self.name}@{self.hash}"

    @property
    def hashes(self) -> tuple[str, ...]:
        """By which a record may know it."""
        return (self.hash,)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read and validate a file.

        Raises
        ------
        ModelError
            If the file is missing, truncated, of another kind, of a newer format, or if its
            tensors are not exactly those of its header (names, shapes, float16 or
            float32, finite).
        """
        path = user_path(path)
        return cls._decoded(read_content(path, cls.header_type.kind), path)

    @classmethod
    def read_header(cls, path: str | Path) -> Header:
        """Read the header without the weights: in milliseconds, for lists to choose from.

        Raises
        ------
        ModelError
            As `read`, but for the tensors, which are not looked at.
        """
        from safetensors import safe_open

        path = user_path(path)
        where = f"The {cls.header_type.kind} {path}"
        with reading(where, ModelError, _ADVICE):
            check_ordinary(path, _MAX_BYTES)
            with safe_open(path, "numpy") as file:
                return cls._header(file.metadata(), where)

    @classmethod
    def make(cls, header: Header, weights: Mapping[str, np.ndarray], dtype: WeightType = "float16") -> Self:
        """Return what `write` would write, without writing it."""
        return cls._decoded(encoded(header, weights, dtype), None)

    @classmethod
    def write(
        cls,
        path: str | Path,
        header: Header,
        weights: Mapping[str, np.ndarray],
        dtype: WeightType = "float16",
    ) -> Self:
        """Write a file atomically and return what it holds.

        Parameters
        ----------
        path : str or Path
            Ends in ``.safetensors``; missing folders are made.
        header : TensorHeader
        weights : mapping of ndarray
            By the names of the header's ``tensor_shapes``.
        dtype : {"float16", "float32", "lossless"}
            How kernels are stored; the last is float16 where nothing is lost by it. Vectors (biases,
            normalisations) stay float32: they are 0.03 % of the file.

        Raises
        ------
        ModelError
            If the weights do not fit the header, or the file cannot be written (a full disk).
        """
        path = user_path(path)
        if path.suffix != SUFFIX:
            raise ModelError(f"{path}: a {header.kind} must end in {SUFFIX}.")
        content = encoded(header, weights, dtype)
        written = cls._decoded(content, path)
        write_atomically(path, content, ModelError)
        return written

    @classmethod
    def _decoded(cls, content: bytes, path: Path | None) -> Self:
        from safetensors import deserialize

        where = f"The {cls.header_type.kind}" + (f" {path}" if path is not None else "")
        with reading(where, ModelError, _ADVICE):
            stored = dict(deserialize(content))
            end = 8 + int.from_bytes(content[:8], "little")
            header = cls._header(json.loads(content[8:end]).get("__metadata__"), where)
        shapes = header.tensor_shapes()
        missing, unknown = sorted(set(shapes) - set(stored)), sorted(set(stored) - set(shapes))
        if missing or unknown:
            what = f"lacks {listed(missing) or 'nothing'} and has {listed(unknown) or 'nothing'} besides"
            raise ModelError(f"{where} does not fit its own header: it {what}.")
        weights = {name: _checked_array(name, stored[name], shapes[name], where) for name in shapes}
        return cls(header, weights, hash_of(content), path)

    @classmethod
    def _header(cls, metadata: dict[str, str] | None, where: str) -> Header:
        kind = cls.header_type
        if not metadata or kind.key not in metadata:
            raise ModelError(f"{where} holds tensors, but of no {kind.kind} of this package: {_ADVICE}.")
        return kind.model_validate_json(metadata[kind.key])  # type: ignore[return-value]


def read_content(path: Path, kind: str = "model file") -> bytes:
    """Return the content of a file that may be a network's; see `TensorFile.read` for what it raises."""
    with reading(f"The {kind} {path}", ModelError, f"check the name, or choose another {kind}"):
        check_ordinary(path, _MAX_BYTES)
        return path.read_bytes()


def encoded(header: TensorHeader, weights: Mapping[str, np.ndarray], dtype: WeightType = "float16") -> bytes:
    """Return the content of a network's file; see `TensorFile.write`."""
    from safetensors.numpy import save

    limit = float(np.finfo(np.float16).max)
    tensors = {}
    for name, value in weights.items():
        value = np.ascontiguousarray(value, dtype=np.float32)
        if dtype != "float32" and value.ndim > 1 and np.abs(value).max(initial=0) < limit:
            half = value.astype(np.float16)
            value = half if dtype == "float16" or np.array_equal(half, value) else value
        tensors[name] = value
    return save(tensors, metadata={header.key: header.model_dump_json()})


def hash_of(content: bytes) -> str:
    """Return what a file is known by in results."""
    return hashlib.sha256(content).hexdigest()[:12]


def _checked_array(name: str, stored: dict[str, Any], shape: tuple[int, ...], where: str) -> np.ndarray:
    found = tuple(stored["shape"])
    if found != shape or stored["dtype"] not in _DTYPES:
        raise ModelError(
            f"{where} does not fit its own header: {name} is {stored['dtype']} {found}, and not F16 or F32 "
            f"{shape}, as the network needs it."
        )
    value = np.frombuffer(stored["data"], _DTYPES[stored["dtype"]]).reshape(shape).astype(np.float32)
    if not np.isfinite(value).all():
        raise ModelError(f"{where} is spoilt: {name} has a weight that is NaN or infinite.")
    if name.endswith("/moving_variance") and value.min() < 0:
        raise ModelError(f"{where} is spoilt: {name} has a negative variance.")
    return value
