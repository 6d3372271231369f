"""The models a user can name: those in the package and those in the user's own folder."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ModelError, WBCSegError
from ..files import ABANDONED, locked, numbered, remove_leftovers, user_folder, user_path, write_atomically
from .model_file import ModelFile, ModelHeader, clean_name
from .tensor_file import SUFFIX, encoded

#: Names of the built-in models and their files in the package.
BUILT_IN_MODELS = {"wbc": "robust", "classic": "classic"}
FOLDER_VARIABLE = "WBCSEG_MODELS"
_LOCK, _PATIENCE = ".saving.lock", 60.0  # seconds
_PACKAGED = Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True)
class ModelInfo:
    """One model of the library.

    Attributes
    ----------
    name : str
        What `load_model` takes.
    path : Path
    built_in : bool
        Whether it came with the package.
    problem : str
        Why it cannot be used; empty when it can.
    header : ModelHeader or None
        What the model says of itself; None when it cannot be used.
    """

    name: str
    path: Path
    built_in: bool
    problem: str = ""
    header: ModelHeader | None = None

    @property
    def origin(self) -> str:
        """Where it came from, in words."""
        if self.built_in:
            return "built in"
        return (self.header.origin if self.header is not None else "") or "trained here"

    @property
    def size(self) -> int:
        """Bytes of the file; 0 where it is gone."""
        return self.path.stat().st_size if self.path.is_file() else 0


def models_folder() -> Path:
    """Return the user's folder of models; the environment variable ``WBCSEG_MODELS`` moves it."""
    return user_folder("models", FOLDER_VARIABLE)


def load_model(name_or_path: str | Path | ModelFile) -> ModelFile:
    """Load a model by name or from a file.

    Parameters
    ----------
    name_or_path : str, Path or ModelFile
        ``wbc`` (built in, any smear), ``classic`` (built in, the published method), the
        name of a model in `models_folder`, or the path of a ``.safetensors`` file.

    Raises
    ------
    ModelError
        If there is no such model (the message lists those there are), or its file
        cannot be used.
    """
    if isinstance(name_or_path, ModelFile):
        return name_or_path
    if not isinstance(name_or_path, str | Path):
        kind = type(name_or_path).__name__
        raise ModelError(f"A {kind} is no model: give its name or its file, or of a training its model.")
    text = str(name_or_path)
    paths = _paths()
    if isinstance(name_or_path, str) and text in paths:
        return ModelFile.read(paths[text])
    path = user_path(text)
    if isinstance(name_or_path, Path) or path.suffix == SUFFIX or path.exists() or len(path.parts) > 1:
        return ModelFile.read(path)
    raise ModelError(
        f"There is no model named {text!r}. Models: {', '.join(sorted(paths))}. "
        f"Give one of these names, or the path of a {SUFFIX} file."
    )


def list_models() -> list[ModelInfo]:
    """Return the models of the library, the built-in ones first; a spoilt file is listed with its problem.

    Headers alone are read, in milliseconds; what is wrong with weights is told when the model is loaded.
    """
    found = []
    for name, path in _paths().items():
        built_in = path.parent == _PACKAGED
        try:
            found.append(ModelInfo(name, path, built_in, header=ModelFile.read_header(path)))
        except ModelError as error:
            found.append(ModelInfo(name, path, built_in, problem=str(error)))
    return found


def save_to_library(model: ModelFile, name: str | None = None) -> ModelFile:
    """Save a model in the user's folder, where `load_model` and the widgets find it.

    Parameters
    ----------
    model : ModelFile
    name : str, optional
        By default the model's own. Characters that a file name cannot have become ``-``, and one that another
        model has gets a number.

    Returns
    -------
    ModelFile
        As saved: its name is what `load_model` takes.

    Raises
    ------
    ModelError
        If nothing of the name is left, or the file cannot be written.
    """
    wanted, folder = clean_name(model.name if name is None else name), models_folder()
    busy = ModelError(f"Other models are being saved in {folder}: try again in a minute.")
    with locked(folder / _LOCK, busy, _PATIENCE):
        for free in numbered(wanted):
            path, header = folder / f"{free}{SUFFIX}", model.header.replace(name=free)
            is_this = path.exists() and path.read_bytes() == encoded(header, model.weights, "lossless")
            if free.lower() not in BUILT_IN_MODELS and (is_this or not path.exists()):
                break
        return ModelFile.write(path, header, model.weights, "lossless")


def import_model_file(path: str | Path, name: str | None = None) -> ModelFile:
    """Check a model file from elsewhere and add it to the user's models; no code in it is run.

    Parameters
    ----------
    path : str or Path
        A model of this package (``.safetensors``), or weights of the published network in a
        file of Keras (``.hdf5``, ``.h5``, ``.weights.h5``, ``.keras``).
    name : str, optional
        By default its own.

    Returns
    -------
    ModelFile
        As saved.

    Raises
    ------
    ModelError
        If the file is none of these, is damaged, or cannot be saved.
    """
    from .exchange.import_keras import KERAS_SUFFIXES, import_keras_weights

    path = user_path(path)
    of_keras = path.suffix.lower() in KERAS_SUFFIXES
    if not (of_keras or path.suffix == SUFFIX):
        raise ModelError(
            f"{path} cannot be imported: choose a file that ends in {SUFFIX}, or weights of Keras "
            f"({', '.join(KERAS_SUFFIXES)}). A bioimage.io package of ours holds model{SUFFIX}: unpack that."
        )
    model = import_keras_weights(path, name) if of_keras else ModelFile.read(path)
    origin = f"imported from {path.name}"
    if model.header.origin:
        origin += f" ({model.header.origin})"
    copy_of = () if of_keras else model.hashes
    return save_to_library(
        replace(model, header=model.header.replace(origin=origin[:300], copy_of=copy_of)), name
    )


def remove_from_library(name: str) -> None:
    """Delete a model of the user's.

    Raises
    ------
    ModelError
        If it is built in, there is none of this name, or it cannot be deleted.
    """
    path = _paths().get(name)
    if path is None or name in BUILT_IN_MODELS:
        raise ModelError(f"{name} is none of your own models, which are in {models_folder()}.")
    try:
        path.unlink()
    except OSError as error:
        raise ModelError(f"{path} cannot be deleted ({error.strerror}): is its folder protected?") from None


def require_writable(folder: Path, error: type[WBCSegError] = ModelError) -> None:
    """Refuse a folder that a model could not be saved in, before hours are spent on the model.

    Raises
    ------
    error
        With a sentence, when the folder cannot be made or written, or the disk is full.
    """
    remove_leftovers(folder, age=ABANDONED)
    probe = folder / f".probe-{os.getpid()}"
    write_atomically(probe, b"a model goes here", error)
    with contextlib.suppress(OSError):
        probe.unlink()


def require_free(path: Path) -> None:
    """Refuse a file for a network that is there already, or is called otherwise, before hours are spent.

    Raises
    ------
    ModelError
        With a sentence.
    """
    if path.suffix != SUFFIX:
        raise ModelError(f"{path}: the file to write must end in {SUFFIX}.")
    if path.exists():
        raise ModelError(f"{path} is there already: give another name, or move it elsewhere.")


def _paths() -> dict[str, Path]:
    """Return the file of each name; a user's file cannot hide a built-in model."""
    built_in = {name: _PACKAGED / f"{stem}{SUFFIX}" for name, stem in BUILT_IN_MODELS.items()}
    own = {path.stem: path for path in sorted(models_folder().glob(f"[!.]*{SUFFIX}"))}
    return built_in | own | built_in
