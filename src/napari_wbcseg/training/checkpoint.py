"""What training keeps on disk so that it can go on after the process was killed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TrainingError
from ..files import locked, remove_leftovers, write_atomically
from ..network.backend import import_keras
from ..settings import TrainingSettings

if TYPE_CHECKING:
    import keras

    from ..datasets.pair import TrainingPair

LOCK = ".training.lock"
_STATE = "state.safetensors"
_KEY = "napari_wbcseg_training"
_FORMAT = 1


@dataclass
class State:
    """Where training stands after an epoch.

    Attributes
    ----------
    settings : TrainingSettings
    data : str
        Fingerprint of the images and labels, see `fingerprint`.
    network : str
        Fingerprint of the network trained, architecture and initial weights.
    history : list of dict
        One row an epoch.
    best_epoch : int
        Epoch of the best weights, from 1; 0 while there is none.
    seconds : float
        Time trained so far.
    ended : str
        Why training ended; empty while it goes on.
    """

    settings: TrainingSettings
    data: str
    network: str
    history: list[dict[str, Any]]
    best_epoch: int = 0
    seconds: float = 0.0
    ended: str = ""


class Checkpoint:
    """A folder with the last state and the best weights.

    The state is one file that is replaced at once, and it names the file of the best
    weights by epoch; so whenever the process dies, the folder holds one whole epoch.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether there is a state to go on from."""
        return (self.folder / _STATE).is_file()

    @property
    def epochs_done(self) -> int:
        """How many epochs are kept; 0 where there is no state that can be read."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / _STATE, framework="numpy") as file:
                return len(json.loads((file.metadata() or {})[_KEY])["history"])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError):
            return 0

    @contextlib.contextmanager
    def locked(self, patience: float = 2.0) -> Iterator[None]:
        """Keep other processes from using the folder while the context lasts.

        The lock is the system's, so it is gone when this process is, however it ended.

        Parameters
        ----------
        patience : float
            Seconds to wait for another process that only looks whether it is used.

        Raises
        ------
        TrainingError
            If another process has it, or, unless it is only looked at, nothing can be written there.
        """
        folder = self.folder.parent
        made = not folder.exists()
        if patience:
            self._require_writable()
        busy = TrainingError(
            f"Another training is at work in {folder}: wait for it to end, or choose another folder or name."
        )
        try:
            # Who only looks leaves the file for who may be opening it.
            with locked(folder / LOCK, busy, patience, keep=not patience):
                if patience:
                    for part in (folder, self.folder):
                        remove_leftovers(part)
                yield
        finally:
            if made:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # only if it is empty

    def _require_writable(self) -> None:
        """Refuse a folder that no model could be saved in, before hours are spent on the model."""
        probe = self.folder.parent / ".training.probe"
        write_atomically(probe, b"a model goes here", TrainingError)
        with contextlib.suppress(OSError):
            probe.unlink()

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def save(self, model: keras.Model, state: State, best: dict[str, np.ndarray] | None) -> None:
        """Write the state, and before it the best weights if they are new.

        Raises
        ------
        TrainingError
            If the disk is full or the folder cannot be written.
        """
        from safetensors.numpy import save

        if best is not None:
            write_atomically(self._best(state.best_epoch), save(best), TrainingError)
        ops = import_keras().ops
        tensors = {
            name: np.array(ops.convert_to_numpy(variable.value), order="C")
            for name, variable in _state_variables(model).items()
        }
        about = {**vars(state), "format": _FORMAT, "settings": state.settings.model_dump()}
        content = save(tensors, metadata={_KEY: json.dumps(about)})
        write_atomically(self.folder / _STATE, content, TrainingError)
        remove_leftovers(self.folder)  # of a training that was killed
        for path in self.folder.glob("best-*.safetensors"):
            if path != self._best(state.best_epoch):
                path.unlink(missing_ok=True)

    def load(self, model: keras.Model) -> tuple[State, dict[str, np.ndarray] | None]:
        """Put a compiled model into the saved state; return the state and the best weights.

        Raises
        ------
        TrainingError
            If the checkpoint is damaged or of another network.
        """
        from safetensors import SafetensorError, safe_open
        from safetensors.numpy import load_file

        path = self.folder / _STATE
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads((file.metadata() or {})[_KEY])
            tensors = load_file(path)
            del about["format"]
            state = State(TrainingSettings(**about.pop("settings")), **about)
            best = load_file(self._best(state.best_epoch)) if state.best_epoch else None
            variables = _state_variables(model)
            if {name: tuple(value.shape) for name, value in variables.items()} != {
                name: value.shape for name, value in tensors.items()
            }:
                raise ValueError("it is of another network")
            for name, variable in variables.items():
                variable.assign(tensors[name])
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise TrainingError(
                f"The checkpoint {path} cannot be used ({error}): "
                "train again without resuming, or into another folder."
            ) from None
        return state, best

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch:05d}.safetensors"


def check_same(found: State, settings: TrainingSettings, data: str, network: str) -> None:
    """Refuse to go on with other settings, data or network than training began with.

    More or fewer ``epochs`` are allowed where the learning rate does not follow from them.

    Raises
    ------
    TrainingError
        Naming what differs.
    """
    old, new = found.settings.model_dump(), settings.model_dump()
    free = {"epochs"} if settings.schedule == "plateau" else set()
    different = [
        f"{name} was {old[name]} and is now {new[name]}"
        for name in new
        if name not in free and old[name] != new[name]
    ]
    if found.data != data:
        different.append("the training data has changed")
    if found.network != network:
        different.append("the network it starts from has changed")
    if different:
        raise TrainingError(
            f"Training cannot be resumed: {', '.join(different)}. "
            "Put that back, or train again without resuming."
        )


def fingerprint(pairs: Sequence[TrainingPair]) -> str:
    """Return a hash of the names, pixels and labels of training pairs."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(f"{pair.name}|{pair.group}|{pair.image.shape}|".encode())
        digest.update(np.ascontiguousarray(pair.image).data)
        digest.update(np.ascontiguousarray(pair.labels).data)
    return digest.hexdigest()[:16]


def _state_variables(model: keras.Model) -> dict[str, Any]:
    """Return every variable that training changes, the states of random generators included."""
    # By place, because Keras numbers the names of layers through the whole process.
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {f"{name}/{i:04d}": variable for name, group in groups.items() for i, variable in enumerate(group)}
