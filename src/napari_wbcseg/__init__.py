"""Find, outline and count white blood cells in stained blood smears.

The public names below are loaded on first use, so importing the package costs
milliseconds and brings in neither Keras nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Segmentation": "segmentation.result",
    "SegmentationSettings": "settings",
    "TrainingSettings": "settings",
    "WBCSegError": "errors",
    "evaluate": "segmentation.evaluation",
    "fine_tune": "segmentation.finetuning",
    "load_model": "network.models",
    "load_result": "segmentation.output",
    "replay": "segmentation.output",
    "save": "segmentation.output",
    "segment": "segmentation.pipeline",
    "segment_large": "segmentation.large",
    "synthetic_smear": "data.synthetic",
    "train": "network.training",
}

__all__ = [
    "Segmentation",
    "SegmentationSettings",
    "TrainingSettings",
    "WBCSegError",
    "__version__",
    "evaluate",
    "fine_tune",
    "load_model",
    "load_result",
    "replay",
    "save",
    "segment",
    "segment_large",
    "synthetic_smear",
    "train",
]

if TYPE_CHECKING:
    from .data.synthetic import synthetic_smear
    from .errors import WBCSegError
    from .network.models import load_model
    from .network.training import train
    from .segmentation.evaluation import evaluate
    from .segmentation.finetuning import fine_tune
    from .segmentation.large import segment_large
    from .segmentation.output import load_result, replay, save
    from .segmentation.pipeline import segment
    from .segmentation.result import Segmentation
    from .settings import SegmentationSettings, TrainingSettings


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
