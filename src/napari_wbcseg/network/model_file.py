"""The model file: one ``.safetensors`` with the weights and a header that says what they are.

Reading it runs no code from it: the header is JSON checked against `ModelHeader`, and
the tensors are raw numbers checked against the architecture in that header, before
anything is built.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from ..errors import ModelError, first_problem
from ..files import check_ordinary, safe_name, write_atomically
from ..settings import Recipe
from ..version import __version__
from ..words import listed
from .architecture import UNetArchitecture

SUFFIX = ".safetensors"
FORMAT_VERSION = 2
_METADATA_KEY = "napari_wbcseg"
_SECOND = "second/"  # what the names of the second network's tensors begin with
_MAX_BYTES = 1 << 30
_DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}

WeightType = Literal["float16", "float32"]


class TensorHeader(Protocol):
    """What a file of tensors says about them."""

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape that every array of the file must have, by name."""

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        """Check what was read; raise `pydantic.ValidationError`."""


Header = TypeVar("Header", bound=TensorHeader)


class ModelHeader(BaseModel, frozen=True, extra="ignore", allow_inf_nan=False):
    """What a model file says about its weights.

    Attributes
    ----------
    format_version : int
        Layout of the file; a newer one is refused.
    name : str
        Name of the model, shown to users.
    recipe : {"robust", "classic"}
        The method that the network belongs to.
    architecture : UNetArchitecture
        The network.
    canonical_diameter : float or None
        Pixels across a white cell in the images the network expects; None when images
        are taken as they come (classic).
    second_look : bool
        Whether the file holds a second network, of the same architecture, that looks again at what
        the first is unsure of.
    input : str
        What the network's input is, in words.
    training_data : str
        What it was trained on, in words.
    training : dict
        The `TrainingSettings` and other facts of the training.
    scores : dict of float
        What it reached, by name of the measure.
    created_with : str
        Version of this package that wrote it.
    notes : str
        Anything else a user should know.
    origin : str
        Where it came from, in words; empty for a model trained on this computer.
    extra : dict
        Constants that a recipe keeps with its weights.
    """

    format_version: int = FORMAT_VERSION
    name: Annotated[str, Field(min_length=1, max_length=100)]
    recipe: Recipe
    architecture: UNetArchitecture
    canonical_diameter: Annotated[float, Field(gt=0, le=2000)] | None = None
    second_look: bool = False
    input: str = ""
    training_data: str = ""
    training: dict[str, Any] = {}
    scores: dict[str, float] = {}
    created_with: str = __version__
    notes: str = ""
    origin: str = ""
    extra: dict[str, Any] = {}

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every weight."""
        shapes = self.architecture.tensor_shapes()
        second = {_SECOND + name: shape for name, shape in shapes.items()} if self.second_look else {}
        return shapes | second

    def replace(self, **changes: Any) -> ModelHeader:
        """Return a validated copy with some fields changed."""
        return type(self).model_validate({**self.model_dump(), **changes})


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A model: its header, its weights, and the hash of the file they are.

    Attributes
    ----------
    header : ModelHeader
    weights : dict of ndarray
        float32, by the names of `ModelHeader.tensor_shapes`.
    hash : str
        First 12 hexadecimal digits of the SHA-256 of the file's content.
    path : Path or None
        Where the file is; None for a model that is only in memory.
    """

    header: ModelHeader
    weights: dict[str, np.ndarray] = field(repr=False)
    hash: str
    path: Path | None = None

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.header.name

    @property
    def id(self) -> str:
        """``name@hash``, which a result is stored with."""
        return f"{self.name}@{self.hash}"

    @property
    def architecture(self) -> UNetArchitecture:
        """The network's architecture."""
        return self.header.architecture

    @cached_property
    def first(self) -> ModelFile:
        """The model without its second network."""
        if not self.header.second_look:
            return self
        weights = {name: value for name, value in self.weights.items() if not name.startswith(_SECOND)}
        return ModelFile(self.header.replace(second_look=False), weights, f"{self.hash}-1")

    @cached_property
    def second(self) -> ModelFile | None:
        """Its second network, as a model of its own; None where it has none."""
        if not self.header.second_look:
            return None
        weights = {name: self.weights[_SECOND + name] for name in self.architecture.tensor_shapes()}
        return ModelFile(self.header.replace(second_look=False), weights, f"{self.hash}-2")

    def with_second(self, second: ModelFile) -> ModelFile:
        """Return the model with the network of another one, of the same architecture, as its second."""
        weights = {_SECOND + name: value for name, value in second.first.weights.items()}
        return make_model(self.header.replace(second_look=True), self.first.weights | weights)


def read_model(path: str | Path) -> ModelFile:
    """Read and validate a model file.

    Raises
    ------
    ModelError
        If the file is missing, truncated, of another kind, of a newer format, or if its
        tensors are not exactly those of its architecture (names, shapes, float16 or
        float32, finite).
    """
    path = Path(path)
    return decode_model(read_content(path), path)


def read_content(path: Path) -> bytes:
    """Return the content of a file that may be a model; see `read_model` for what it raises."""
    try:
        check_ordinary(path, _MAX_BYTES)
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"There is no model file {path}: check the name.") from None
    except OSError as error:
        raise ModelError(f"The model file {path} cannot be read ({error.strerror}).") from None


def read_header(path: str | Path) -> ModelHeader:
    """Read what a model file says of itself, without its weights: in milliseconds, for lists to choose from.

    Raises
    ------
    ModelError
        If the file is missing, truncated, of another kind or of a newer format. Whether the tensors are
        those of the architecture is told by `read_model` only.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        check_ordinary(path)
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
    except (OSError, SafetensorError):
        return read_model(path).header  # which says what is wrong
    return _checked_header(ModelHeader, _METADATA_KEY, metadata, f"The model file {path}")


def write_model(
    path: str | Path, header: ModelHeader, weights: Mapping[str, np.ndarray], dtype: WeightType = "float16"
) -> ModelFile:
    """Write a model file atomically and return what it holds.

    Parameters
    ----------
    path : str or Path
        Ends in ``.safetensors``; missing folders are made.
    header : ModelHeader
    weights : mapping of ndarray
        By the names of `ModelHeader.tensor_shapes`.
    dtype : {"float16", "float32"}
        How kernels are stored. Vectors (biases, normalisations) stay float32: they are
        0.03 % of the file.

    Raises
    ------
    ModelError
        If the weights do not fit the header, or the file cannot be written (a full disk).
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ModelError(f"{path}: a model file must end in {SUFFIX}.")
    content = encode_model(header, weights, dtype)
    model = decode_model(content, path)
    write_atomically(path, content, ModelError)
    return model


def make_model(
    header: ModelHeader, weights: Mapping[str, np.ndarray], dtype: WeightType = "float16"
) -> ModelFile:
    """Return the model that `write_model` would write, without writing it."""
    return decode_model(encode_model(header, weights, dtype), None)


def encode_model(
    header: ModelHeader, weights: Mapping[str, np.ndarray], dtype: WeightType = "float16"
) -> bytes:
    """Return the content of a model file."""
    return encode_tensors(weights, {_METADATA_KEY: header.model_dump_json()}, dtype)


def encode_tensors(
    weights: Mapping[str, np.ndarray], metadata: dict[str, str], dtype: WeightType = "float16"
) -> bytes:
    """Return the content of a ``.safetensors`` file of arrays; see `write_model`."""
    from safetensors.numpy import save

    limit = float(np.finfo(np.float16).max)
    tensors = {}
    for name, value in weights.items():
        value = np.ascontiguousarray(value, dtype=np.float32)
        if dtype == "float16" and value.ndim > 1 and np.abs(value).max(initial=0) < limit:
            value = value.astype(np.float16)
        tensors[name] = value
    return save(tensors, metadata=metadata)


def decode_model(content: bytes, path: Path | None) -> ModelFile:
    """Validate the content of a model file; see `read_model` for what it raises."""
    where = f"The model file {path}" if path is not None else "The model"
    header, weights = decode_tensors(content, ModelHeader, _METADATA_KEY, where)
    return ModelFile(header, weights, hash_of(content), path)


def hash_of(content: bytes) -> str:
    """Return what a file is known by in results."""
    return hashlib.sha256(content).hexdigest()[:12]


def decode_tensors(
    content: bytes, kind: type[Header], key: str, where: str
) -> tuple[Header, dict[str, np.ndarray]]:
    """Return the header and the arrays of a ``.safetensors`` file, which must be those of the header.

    Parameters
    ----------
    content : bytes
    kind : type
        Of the header, whose ``tensor_shapes`` says the shape of each array.
    key : str
        Of the header among the metadata.
    where : str
        What the file is, for a sentence.

    Returns
    -------
    header : Header
    weights : dict of ndarray
        Finite, as float32.

    Raises
    ------
    ModelError
        As `read_model`.
    """
    from safetensors import SafetensorError, deserialize

    _refuse_others(content, where)
    end = 8 + int.from_bytes(content[:8], "little")
    try:
        stored = dict(deserialize(content))
        metadata = json.loads(content[8:end]).get("__metadata__")
    except (SafetensorError, ValueError, RecursionError) as error:
        reason = str(error).removeprefix("Error while deserializing: ") or type(error).__name__
        raise ModelError(f"{where} is truncated or damaged ({reason}): copy or download it again.") from None
    header = _checked_header(kind, key, metadata, where)
    shapes = header.tensor_shapes()
    missing, unknown = sorted(set(shapes) - set(stored)), sorted(set(stored) - set(shapes))
    if missing or unknown:
        parts = [f"lacks {listed(missing)}"] if missing else []
        parts += [f"has {listed(unknown)}, which the network does not"] if unknown else []
        raise ModelError(f"{where} does not fit its own header: it {' and '.join(parts)}.")
    return header, {name: _checked_array(name, stored[name], shapes[name], where) for name in shapes}


def _refuse_others(content: bytes, where: str) -> None:
    """Refuse what is no whole ``.safetensors`` file at first sight."""
    if len(content) == 0:
        raise ModelError(f"{where} is empty: copy or download it again.")
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[:4] == b"PK\x03\x04":
        kind = "an HDF5 (.h5)" if content[:1] == b"\x89" else "a zipped (.keras, .pt or .zip)"
        raise ModelError(
            f"{where} is {kind} file: this package runs only its own {SUFFIX} models, which hold no code. "
            "`wbcseg models import` reads the weights of the published network from Keras files."
        )
    if len(content) < 10 or content[8:9] != b"{":
        raise ModelError(f"{where} is not a {SUFFIX} file: choose a model written by this package.")


def _checked_header(kind: type[Header], key: str, metadata: dict[str, str] | None, where: str) -> Header:
    if not metadata or key not in metadata:
        raise ModelError(
            f"{where} holds tensors, but has no header of this package: choose a model written by it."
        )
    try:
        values = json.loads(metadata[key])
    except (ValueError, RecursionError):
        raise ModelError(f"{where} has a damaged header: copy or download it again.") from None
    version = values.get("format_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelError(
            f"{where} has format {version}, and this version of napari-wbcseg reads up to {FORMAT_VERSION}: "
            "update napari-wbcseg."
        )
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problem = first_problem(error, "header")
        raise ModelError(f"{where} has a header that cannot be used ({problem}).") from None


def _checked_array(name: str, stored: dict[str, Any], shape: tuple[int, ...], where: str) -> np.ndarray:
    found = tuple(stored["shape"])
    if found != shape:
        raise ModelError(
            f"{where} does not fit its own header: {name} has shape {found}, the network needs {shape}."
        )
    if stored["dtype"] not in _DTYPES:
        raise ModelError(
            f"{where} stores {name} as {stored['dtype']}: weights must be float16 or float32 (F16, F32)."
        )
    value = np.frombuffer(stored["data"], _DTYPES[stored["dtype"]]).reshape(shape).astype(np.float32)
    if not np.isfinite(value).all():
        raise ModelError(f"{where} is spoilt: {name} has a weight that is NaN or infinite.")
    if name.endswith("/moving_variance") and value.min() < 0:
        raise ModelError(f"{where} is spoilt: {name} has a negative variance.")
    return value


def clean_name(name: str) -> str:
    """Return a name that is a safe file name on every system.

    Raises
    ------
    ModelError
        If nothing is left of it.

    Examples
    --------
    >>> clean_name("My stain, 2nd try")
    'My-stain-2nd-try'
    """
    cleaned = safe_name(name.strip().removesuffix(SUFFIX), "model")
    if not cleaned:
        raise ModelError(f"{name!r} cannot be the name of a model: use letters, digits, - and _.")
    return cleaned
