"""The methods that `accuracy.py` compares: each turns an image into labels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from napari_wbcseg.network.library import load_model
from napari_wbcseg.network.model_file import ModelFile
from napari_wbcseg.segmentation.pipeline import segment
from napari_wbcseg.settings import SegmentationSettings

HELD_OUT, TRAINED, NEVER = "held out", "train", "never"


class Method:
    """What is compared."""

    name: str
    #: What the method was trained on, in words.
    training_data = ""
    #: The table of the cells of the last image, where the method makes one.
    cells: pd.DataFrame | None = None

    def choose(self, fold: int | None) -> None:
        """Take the model that did not train on a fold, where there are several."""

    def seen(self, fold: int) -> str:
        """Say whether the model in use was trained on a SigTuple fold."""
        return seen_in(self.training_data, fold)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return labels int32 (H, W) of an image uint8 (H, W, 3)."""
        raise NotImplementedError

    def close(self) -> None:
        """Free what the method holds."""


def seen_in(training_data: str, fold: int) -> str:
    """Say whether a description of training data includes a SigTuple fold.

    Everything that names SigTuple counts as trained on it, unless it says ``without fold N``
    or ``without folds N, M``.
    """
    import re

    text = training_data.lower()
    if "sigtuple" not in text:
        return NEVER
    match = re.search(r"without folds? ((?:\d|, | and )+)", text)
    left_out = {int(digit) for digit in re.findall(r"\d", match[1])} if match else set()
    return HELD_OUT if fold in left_out else TRAINED


class ModelMethod(Method):
    """A model of this package, or several that each left out another fold."""

    def __init__(self, name: str, models: list[str]) -> None:
        self.name = name
        self.models: list[ModelFile] = [load_model(model) for model in models]
        self.choose(None)

    def choose(self, fold: int | None) -> None:
        """Take the first model that left the fold out, else the first."""
        fits = [
            model
            for model in self.models
            if fold is not None and seen_in(model.header.training_data, fold) != TRAINED
        ]
        self.model = (fits or self.models)[0]
        self.training_data = self.model.header.training_data

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Segment an image with the settings of the recipe as they come."""
        settings = SegmentationSettings(recipe=self.model.header.recipe)
        result = segment(image, self.model, settings)
        self.cells = result.cells
        return result.labels


class Baseline(Method):
    """The stain threshold with a watershed; see `baseline`."""

    name = "threshold + watershed"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Segment an image."""
        from baseline import segment_classically

        return segment_classically(image)


class StarDist(Method):
    """StarDist in a Python of its own, which needs another Keras than ours.

    Parameters
    ----------
    folder : Path
        Written by ``train_stardist.py``.
    python : str
        The Python that has StarDist.
    """

    name = "stardist"

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.training_data = json.loads((folder / "about.json").read_text())["training_data"]
        script = Path(__file__).with_name("train_stardist.py")
        self._process = subprocess.Popen(
            [python, str(script), "predict", "--out", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        self._folder = tempfile.TemporaryDirectory()
        self._expect("ready")

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == word:
                return
        raise RuntimeError("StarDist's process ended; run train_stardist.py predict by hand to see why.")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Segment an image in the other process."""
        assert self._process.stdin is not None
        place = Path(self._folder.name)
        np.save(place / "image.npy", image)
        self._process.stdin.write(f"{place / 'image.npy'}\t{place / 'labels.npy'}\n")
        self._process.stdin.flush()
        self._expect("done")
        return np.load(place / "labels.npy")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._folder.cleanup()


def stardist_missing(python: str) -> str:
    """Return why StarDist cannot run in a Python, or nothing."""
    command = [python, "-c", "import importlib.util as u; print(u.find_spec('stardist') is not None)"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{python} does not run: {error}"
    return "" if answer == "True" else f"stardist is not installed for {python}"
