"""What each engine gains, and by how much the cells differ from those of float32."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from speed_image import best_rate


def compare(paths: list[str], model: str) -> dict[str, Any]:
    """Segment images with each engine; return its rate, and how its cells agree with the reference's."""
    from napari_wbcseg import SegmentationSettings, load_model, segment
    from napari_wbcseg.evaluation.metrics import dice
    from napari_wbcseg.images.read import read_image
    from napari_wbcseg.network.engines import create_engine
    from napari_wbcseg.settings import EngineName

    file = load_model(model)
    images = [read_image(path) for path in paths]
    expected: list[np.ndarray] = []
    rows = []
    names: tuple[EngineName, ...] = ("onnxruntime", "openvino") if find_spec("openvino") else ("onnxruntime",)
    for name in names:  # float32 first
        settings = SegmentationSettings(recipe=file.header.recipe, engine=name)
        found = [segment(image, file, settings) for image in images]
        labels = [one.labels for one in found]
        expected = expected or labels
        engine = create_engine(file, name)
        agreement = [dice(a, b) for a, b in zip(expected, labels, strict=True)]
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
