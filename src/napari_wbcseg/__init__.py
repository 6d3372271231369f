"""Find, outline and count white blood cells in stained blood smears.

The public names below are loaded on first use, so importing the package costs
milliseconds and brings in neither Keras nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

_PUBLIC = {
    "Segmentation": "segmentation.result",
    "SegmentationSettings": "settings",
    "TrainingSettings": "settings",
    "WBCSegError": "errors",
    "classify_results": "batch.classify",
    "differential_of": "results.load",
    "evaluate": "evaluation.evaluate",
    "fine_tune": "training.fine_tune",
    "load_model": "network.library",
    "load_result": "results.load",
    "replay": "results.load",
    "save": "results.save",
    "segment": "segmentation.pipeline",
    "segment_large": "segmentation.large.run",
    "synthetic_smear": "synthetic.smear",
    "train": "training.train",
}

__all__ = [*_PUBLIC, "__version__"]

if TYPE_CHECKING:
    from .batch.classify import classify_results as classify_results
    from .errors import WBCSegError as WBCSegError
    from .evaluation.evaluate import evaluate as evaluate
    from .network.library import load_model as load_model
    from .results.load import differential_of as differential_of
    from .results.load import load_result as load_result
    from .results.load import replay as replay
    from .results.save import save as save
    from .segmentation.large.run import segment_large as segment_large
    from .segmentation.pipeline import segment as segment
    from .segmentation.result import Segmentation as Segmentation
    from .settings import SegmentationSettings as SegmentationSettings
    from .settings import TrainingSettings as TrainingSettings
    from .synthetic.smear import synthetic_smear as synthetic_smear
    from .training.fine_tune import fine_tune as fine_tune
    from .training.train import train as train


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
