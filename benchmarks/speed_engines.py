"""What each engine gains, and by how much the cells differ from those of float32."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from speed_image import best_rate

REFERENCE = "onnxruntime"


def engines() -> list[str]:
    """Return the engines that are installed, that of float32 first."""
    return [REFERENCE, *(["openvino"] if find_spec("openvino") else [])]


def compare(paths: list[str], model: str) -> dict[str, Any]:
    """Segment images with each engine; return its rate, and how its cells agree with the reference's."""
    from napari_wbcseg import SegmentationSettings, load_model, segment
    from napari_wbcseg.images.read import read_image
    from napari_wbcseg.network.engines.create import create_engine
    from napari_wbcseg.settings import EngineName

    file = load_model(model)
    images = [read_image(path) for path in paths]
    expected: list[np.ndarray] = []
    rows = []
    names: list[EngineName] = engines()  # type: ignore[assignment]
    for name in names:
        settings = SegmentationSettings(recipe=file.header.recipe, engine=name)
        found = [segment(image, file, settings) for image in images]
        labels = [one.labels for one in found]
        expected = expected or labels
        engine = create_engine(file, name)
        agreement = [_dice(a > 0, b > 0) for a, b in zip(expected, labels, strict=True)]
        changed = [int(a.max() != b.max()) for a, b in zip(expected, labels, strict=True)]
        rows.append(
            {
                "engine": engine.name,
                "device": engine.device,
                "rate_mp_s": best_rate(engine.predict, file.architecture.input_channels) / 1e6,
                "cells": sum(one.count for one in found),
                "dice": float(np.mean(agreement)),
                "least_dice": min(agreement),
                "counts_changed": sum(changed),
            }
        )
    return {"model": model, "images": len(images), "rows": rows}


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0
