"""The folder of a training: the job it was given, and all it takes to go on after a crash.

::

    NAME/job/job.json              settings, name, where the data are
    NAME/job/pairs.npz             the pairs to train on, where they came from layers, and to score on
    NAME/job/init.safetensors      the model it starts from, where there is one
    NAME/checkpoint/               the last whole epoch and the best weights
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..box import Box
from ..datasets.pair import Pairs, TrainingPair
from ..errors import DatasetError, TrainingError, WBCSegError, reading
from ..files import locked, numbered, user_path, write_atomically, write_problem
from ..network.library import models_folder, require_writable
from ..network.model_file import ModelFile, clean_name
from ..settings import TrainingSettings
from .checkpoint import LOCK, PATIENCE, Checkpoint

JOB = "job"
_ADVICE = "discard this training, and train again"
_RECORD = "job.json"
_PAIRS = "pairs.npz"
_INIT = "init.safetensors"
_PAIR = "pair"  # in the record, stands before the number of one


@dataclass
class TrainingJob:
    """What a training process is asked to do.

    Attributes
    ----------
    data : str, Path or sequence of TrainingPair
        A path, or the pairs.
    settings, name, init, training_data
        As `napari_wbcseg.training.train.train`.
    fine_tuning : dict or None
        Of a fine-tuning, whose model is to be compared with the one it goes on from, what
        `napari_wbcseg.training.fine_tune.plan_of` needs besides; JSON but for the pairs in it.
    """

    data: str | Path | Pairs
    settings: TrainingSettings
    name: str
    init: ModelFile | None = None
    training_data: str | None = None
    fine_tuning: dict[str, Any] | None = None


@dataclass(frozen=True)
class Unfinished:
    """A training that was interrupted and can go on.

    Attributes
    ----------
    folder : Path
    name : str
    epochs_done, epochs : int
        Whole epochs that are kept, and those planned.
    changed : datetime
        When it was last at work.
    fine_tuning : bool
        Whether its model is to be compared with the one it goes on from.
    """

    folder: Path
    name: str
    epochs_done: int
    epochs: int
    changed: datetime
    fine_tuning: bool = False


def new_training_folder(name: str) -> Path:
    """Make a folder for a training in the user's library, and return it.

    Raises
    ------
    TrainingError
        If it cannot be made.
    """
    parent = models_folder() / "training"
    names = numbered(clean_name(name))
    while True:
        folder = parent / next(names)
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise TrainingError(write_problem(folder, error)) from None


def shell_training_folder(name: str) -> Path:
    """Return the folder of a training that the shell names, in the user's library.

    Raises
    ------
    TrainingError
        If napari keeps a training of that name.
    ModelError
        If no model could be saved in the library.
    """
    require_writable(models_folder())
    folder = models_folder() / "training" / name
    if (folder / JOB).exists():
        raise TrainingError(
            f"napari keeps an interrupted training of {name}: go on with it or discard it there, or give "
            "another --name."
        )
    return folder


def write_job(folder: Path, job: TrainingJob) -> None:
    """Write a job into its folder; the record comes last, so a job that is there is whole.

    Raises
    ------
    TrainingError, ModelError, OSError
        If it cannot be written; then nothing of it is left.
    """
    place, data = folder / JOB, job.data
    number: dict[int, int] = {}  # of each pair, in however many places it is
    every: list[TrainingPair] = []

    def stored(pair: TrainingPair) -> dict[str, int]:
        if number.setdefault(id(pair), len(every)) == len(every):
            every.append(pair)
        return {_PAIR: number[id(pair)]}

    fields_of_job = {
        **vars(job),
        "data": str(user_path(data).resolve()) if isinstance(data, str | Path) else list(data),
        "settings": job.settings.model_dump(),
        "init": job.init.hash if job.init is not None else None,
    }
    record = json.dumps(fields_of_job, indent=2, default=stored)
    try:
        place.mkdir(parents=True, exist_ok=True)
        _write_pairs(place / _PAIRS, every)
        if job.init is not None:
            # A copy, because the file may be replaced before the process reads it.
            ModelFile.write(place / _INIT, job.init.header, job.init.weights, "float32")
        write_atomically(place / _RECORD, record.encode(), TrainingError)
    except BaseException:
        discard_training(folder)
        raise


def read_record(folder: Path, pairs: Pairs | None = None) -> dict[str, Any]:
    """Return the record of a job: its fields, without the model, and with what stands for pairs, or these.

    Raises
    ------
    TrainingError
        If there is none that can be read.
    """
    path = folder / JOB / _RECORD

    def with_pairs(value: dict[str, Any]) -> Any:
        return value if pairs is None or value.keys() != {_PAIR} else pairs[value[_PAIR]]

    with reading(path, TrainingError, _ADVICE):
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), object_hook=with_pairs)
        record["settings"] = TrainingSettings(**record["settings"])
        if record.keys() != {each.name for each in fields(TrainingJob)}:
            raise ValueError("other entries")
    return record


def read_job(folder: Path) -> TrainingJob:
    """Return the job of a folder, pairs and model included.

    Raises
    ------
    TrainingError, ModelError, DatasetError
        If something of it is missing or damaged.
    """
    place = folder / JOB
    record = read_record(folder, _read_pairs(place / _PAIRS))
    if record["init"] is not None:
        # What the copy is called by is the hash of the file it was made of.
        record["init"] = replace(ModelFile.read(place / _INIT), hash=str(record["init"]))
    return TrainingJob(**record)


def unfinished_trainings() -> list[Unfinished]:
    """Return the trainings of the user's library that were interrupted, the latest first."""
    found = []
    for path in (models_folder() / "training").glob(f"*/{JOB}/{_RECORD}"):
        folder = path.parent.parent
        with contextlib.suppress(WBCSegError, OSError):
            record = read_record(folder)
            # Who only looks leaves the file for who may be opening it.
            with locked(folder / LOCK, TrainingError("It is at work."), keep=True):
                pass
            newest = max(p.stat().st_mtime for p in (path, *(folder / "checkpoint").glob("*")))
            kept, when = Checkpoint(folder).kept, datetime.fromtimestamp(newest)
            done, epochs = len(kept.history) if kept else 0, record["settings"].epochs
            found.append(
                Unfinished(folder, record["name"], done, epochs, when, record["fine_tuning"] is not None)
            )
    return sorted(found, key=lambda item: item.changed, reverse=True)


def discard_training(folder: Path) -> None:
    """Remove the folder of a training, which is its own, unless another process is at work in it."""
    busy = TrainingError("It is at work.")
    with contextlib.suppress(TrainingError, OSError):
        with locked(folder / LOCK, busy, PATIENCE):
            shutil.rmtree(folder, ignore_errors=True)
        folder.rmdir()  # Windows removes no folder with a file that is locked


def _write_pairs(path: Path, pairs: Pairs) -> None:
    arrays: dict[str, np.ndarray] = {}
    about = []
    for i, pair in enumerate(pairs):
        fields_of_pair = dict(vars(pair))
        for name in ("image", "labels", "mask"):
            array = fields_of_pair.pop(name)
            if array is not None:
                arrays[f"{name}{i}"] = np.asarray(array)
        about.append(fields_of_pair)
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _read_pairs(path: Path) -> list[TrainingPair]:
    pairs = []
    what = f"{path}, the images of this training,"
    with reading(what, DatasetError, _ADVICE), np.load(path, allow_pickle=False) as arrays:
        for i, fields_of_pair in enumerate(json.loads(arrays["about"].tobytes())):
            fields_of_pair |= {name: arrays.get(f"{name}{i}") for name in ("image", "labels", "mask")}
            for kind in ("red_cells", "platelets", "look_alikes"):
                fields_of_pair[kind] = tuple(Box(*corners) for corners in fields_of_pair[kind])
            pairs.append(TrainingPair(**fields_of_pair))
    return pairs
