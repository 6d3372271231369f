"""What training keeps on disk so that it can go on after the process was killed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from ..datasets.pair import Pairs
from ..errors import TrainingError, reading
from ..files import locked, remove_leftovers, write_atomically
from ..network.backend import KerasModel, import_keras
from ..network.library import require_writable
from ..words import counted

LOCK = ".training.lock"
_KEY = "napari_wbcseg_training"
_BEST = "best/"  # what the names of the best weights begin with
PATIENCE = 2.0  # seconds to wait for who only looks whether a folder is used


class State(BaseModel, arbitrary_types_allowed=True):
    """Where training stands after an epoch.

    Attributes
    ----------
    settings : dict
        Those of the training, with its ``epochs``.
    data : str
        Fingerprint of what is learnt from, such as `fingerprint`.
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
    best : dict of ndarray or None
        The best weights.
    """

    settings: dict[str, Any]
    data: str
    network: str
    history: list[dict[str, Any]] = Field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    ended: str = ""
    best: dict[str, np.ndarray] | None = None


class Checkpoint:
    """The last state and the best weights, in the folder ``checkpoint`` of a training.

    They are one file, replaced at once: whenever the process dies, the folder holds one whole epoch.

    Parameters
    ----------
    training : Path
        The folder of the training.
    """

    def __init__(self, training: Path) -> None:
        self._training = training
        self._folder = training / "checkpoint"
        self._state = self._folder / "state.safetensors"

    @property
    def exists(self) -> bool:
        """Whether there is a state to go on from."""
        return self._state.is_file()

    @property
    def kept(self) -> State | None:
        """The state without its arrays, where there is one that can be read."""
        with contextlib.suppress(Exception):  # whatever is wrong with it, `restore` says so
            return self._read()
        return None

    def refuse_other(self, wanted: State, where: str = "") -> None:
        """Refuse to go on with other settings, data or network than the training began with.

        What only says when to end may change: the patience, and where the learning rate does not follow from
        them the ``epochs``.

        Parameters
        ----------
        wanted : State
            What is empty in it is not known yet: settings are refused before data are read.
        where : str
            Of the training data, for the sentence that says they changed, such as `` in annotated``.

        Raises
        ------
        TrainingError
            Saying what is different.
        """
        if (found := self.kept) is None:
            return
        old, new = found.settings, wanted.settings
        unused = "epochs" if new.get("schedule") == "plateau" else "plateau_patience"
        free = {"early_stop_patience", unused}
        different = [
            f"{name} was {old[name]} and is now {new[name]}"
            for name in new
            if name in old and name not in free and old[name] != new[name]
        ]
        # One of an earlier version knows nothing of masks, behind the dash.
        if wanted.data and found.data not in (wanted.data, wanted.data.partition("-")[0]):
            different.append(f"the training data{where} has changed")
        if wanted.network and found.network != wanted.network:
            different.append("the network it starts from has changed")
        if different:
            raise TrainingError(
                f"Training cannot be resumed: {', '.join(different)}. "
                f"Put that back, or remove {self._folder} to begin anew."
            )

    def refuse_unfinished(self) -> None:
        """Refuse to begin anew over a training that was interrupted.

        Raises
        ------
        TrainingError
            Saying how much of it is kept.
        """
        if (kept := self.kept) and kept.history and not kept.ended:
            raise TrainingError(
                f"{self._folder} keeps {counted(len(kept.history), 'epoch')} of a training that was "
                "interrupted: add --resume to go on with it, or remove that folder to begin anew."
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from using the folder while the context lasts.

        The lock is the system's, so it is gone when this process is, however it ended.

        Raises
        ------
        TrainingError
            If another process has it, or nothing can be written there.
        """
        folder = self._training
        made = not folder.exists()
        require_writable(folder, TrainingError)
        busy = TrainingError(
            f"Another training is at work in {folder}: wait for it to end, or choose another folder or name."
        )
        try:
            with locked(folder / LOCK, busy, PATIENCE):
                for part in (folder, self._folder):
                    remove_leftovers(part)
                yield
        finally:
            if made:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # only if it is empty

    def discard(self) -> None:
        """Remove it, and its folder unless something of the user's is in it."""
        with contextlib.suppress(OSError):
            self._state.unlink(missing_ok=True)
            self._folder.rmdir()

    def save(self, model: KerasModel, state: State) -> None:
        """Write the state and the best weights.

        Raises
        ------
        TrainingError
            If the disk is full or the folder cannot be written.
        """
        from safetensors.numpy import save

        ops = import_keras().ops
        tensors = {
            name: np.array(ops.convert_to_numpy(variable.value), order="C")
            for name, variable in _state_variables(model).items()
        }
        tensors |= {_BEST + name: value for name, value in (state.best or {}).items()}
        content = save(tensors, metadata={_KEY: json.dumps(state.model_dump(exclude={"best"}))})
        write_atomically(self._state, content, TrainingError)

    def restore(self, model: KerasModel, wanted: State, where: str = "") -> State:
        """Put a compiled model where training stood, and return that; else what is wanted, at its start.

        Parameters
        ----------
        model : KerasModel
        wanted : State
        where : str
            See `refuse_other`.

        Raises
        ------
        TrainingError
            If the checkpoint is damaged, or began with other settings, data or network.
        """
        from safetensors.numpy import load_file

        if not self.exists:
            return wanted
        advice = "train again without resuming, or into another folder"
        with reading(f"The checkpoint {self._state}", TrainingError, advice):
            state = self._read()
            self.refuse_other(wanted, where)
            tensors = load_file(self._state)
            best = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_BEST)}
            state.best = {name.removeprefix(_BEST): value for name, value in best.items()} or None
            if state.best_epoch and state.best is None:
                raise ValueError("an earlier version wrote it")
            variables = _state_variables(model)
            if _shapes(variables) != _shapes(tensors):
                raise ValueError("it is of another network")
            for name, variable in variables.items():
                variable.assign(tensors[name])
        limits = ("epochs", "early_stop_patience")
        if state.ended and any(wanted.settings[limit] > state.settings[limit] for limit in limits):
            state.ended = ""  # there may be more to do now; where there is not, it ends at once as it did
        state.settings = wanted.settings
        return state

    def _read(self) -> State:
        from safetensors import safe_open

        with safe_open(self._state, framework="numpy") as file:
            return State(**json.loads((file.metadata() or {})[_KEY]))


def fingerprint(pairs: Pairs) -> str:
    """Return a hash of what is known of training pairs, and behind a dash one of their masks."""
    digest, masks = hashlib.sha256(), hashlib.sha256()
    for pair in pairs:
        digest.update(f"{pair.name}|{pair.group}|{pair.image.shape}|".encode())
        digest.update(np.ascontiguousarray(pair.image).data)
        digest.update(np.ascontiguousarray(pair.labels).data)
        more = (pair.red_cells, pair.platelets, pair.all_boxed, pair.look_alikes, pair.white_cell)
        if any(more):
            digest.update(repr(more).encode())
        masks.update(b"none" if pair.mask is None else np.ascontiguousarray(pair.mask).data)
    return f"{digest.hexdigest()[:16]}-{masks.hexdigest()[:16]}"


def _shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in arrays.items()}


def _state_variables(model: KerasModel) -> dict[str, Any]:
    """Return every variable that training changes, the states of random generators included."""
    # By place, because Keras numbers the names of layers through the whole process.
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {f"{name}/{i:04d}": variable for name, group in groups.items() for i, variable in enumerate(group)}
