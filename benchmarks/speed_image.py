"""One image: against the published loop, and against what the engine can do at most."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

_WINDOW = 128


def images(number: int) -> list[Path] | None:
    """Return fields of the SigTuple set, spread over it, where WBCSEG_DATA says it is."""
    root = os.environ.get("WBCSEG_DATA")
    if root is None or not (Path(root) / "sigtuple" / "Test_Data").is_dir():
        return None
    fields = sorted((Path(root) / "sigtuple" / "Test_Data").glob("*.jpg"))
    fields = [path for path in fields if not path.stem.endswith("-mask")]
    return fields[:: max(1, len(fields) // number)][:number]


def synthetic_fields(folder: str, number: int) -> list[Path]:
    """Draw as many fields of the size of SigTuple's, in their stain, each of one to three cells."""
    paths = [Path(folder) / f"field-{seed}.jpg" for seed in range(number)]
    for seed, path in enumerate(paths):
        draw_field(path, (420, 560), seed, 1 + seed % 3)
    return paths


def draw_field(path: Path, shape: tuple[int, int], seed: int, cells: int) -> None:
    """Draw a field into a file, unless it is there."""
    from PIL import Image

    from napari_wbcseg import synthetic_smear

    if not path.exists():
        smear = synthetic_smear(shape, seed=seed, white_cells=cells)
        Image.fromarray(smear.image).save(path, quality=90)


def published_against_classic(paths: list[str], rounds: int = 3) -> dict[str, Any]:
    """Time both on the same images in turn, from the file to the mask.

    The published loop: grey, levels up to 20 made white, those under 100 labelled, a window
    of 128 pixels on each region of 500 pixels or more, one Keras `predict` a window.
    """
    import cv2
    from skimage.measure import label, regionprops

    from napari_wbcseg import SegmentationSettings, load_model, segment
    from napari_wbcseg.evaluation.metrics import dice
    from napari_wbcseg.images.read import read_image
    from napari_wbcseg.network.unet import build_unet, set_weights

    model = load_model("classic")
    network = build_unet(model.header.architecture)
    set_weights(network, model.weights)
    settings = SegmentationSettings(recipe="classic", classes=None)  # the loop tells none
    windows = 0

    def published(path: str) -> np.ndarray:
        nonlocal windows
        grey = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2GRAY)
        grey[grey <= 20] = 255
        mask = np.zeros(grey.shape, np.float32)
        for region in regionprops(label(grey < 100)):
            if region.area < 500:
                continue
            top, left = (
                int(np.clip(centre - _WINDOW // 2, 0, side - _WINDOW))
                for centre, side in zip(region.centroid, grey.shape, strict=True)
            )
            part = grey[top : top + _WINDOW, left : left + _WINDOW].astype(np.float32) / 255
            found = network.predict(part[None, :, :, None], verbose=0)
            mask[top : top + _WINDOW, left : left + _WINDOW] = found[0, :, :, 0]
            windows += 1
        return mask > 0.5

    def ours(path: str) -> np.ndarray:
        return segment(read_image(path), model, settings).labels > 0

    for path in paths[:2]:  # both are warm
        published(path), ours(path)
    windows = 0
    loop = np.zeros((rounds, len(paths)))
    own = np.zeros((rounds, len(paths)))
    cpu = np.zeros(2)
    agreement = []
    for turn in range(rounds):
        for index, path in enumerate(paths):
            start, before = time.perf_counter(), time.process_time()
            one = published(path)
            middle, between = time.perf_counter(), time.process_time()
            other = ours(path)
            loop[turn, index], own[turn, index] = middle - start, time.perf_counter() - middle
            cpu += between - before, time.process_time() - between
            if turn == 0 and (one.any() or other.any()):
                agreement.append(dice(one, other))
    # The best of each image's rounds: what else the machine does only ever adds.
    return {
        "images": len(paths),
        "windows": windows // rounds,
        "published_s": float(loop.min(axis=0).mean()),
        "classic_s": float(own.min(axis=0).mean()),
        "ratio": float(loop.min(axis=0).sum() / own.min(axis=0).sum()),
        "published_cpu_s": cpu[0] / loop.size,
        "classic_cpu_s": cpu[1] / loop.size,
        "cpu_ratio": cpu[0] / cpu[1],
        "dice": float(np.mean(agreement)) if agreement else None,
    }


def first_result(path: str) -> dict[str, Any]:
    """Count the cells of a file in a process that has imported nothing before."""
    began = time.perf_counter()
    from napari_wbcseg import segment
    from napari_wbcseg.images.read import read_image

    count = segment(read_image(path)).count
    # Of the processor it is all that this process has used, Python's own start included.
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time(), "cells": count}


def crowded(cells: int = 200, rounds: int = 4) -> dict[str, Any]:
    """Return the processor seconds of a megapixel full of cells, and of one with a single cell."""
    from napari_wbcseg import load_model, segment, synthetic_smear

    model, found = load_model("wbc"), {}
    for name, number in (("full", cells), ("sparse", 1)):
        image = synthetic_smear((1000, 1000), seed=1, white_cells=number, dark_edge=0, cell_diameter=40).image
        times = []
        for _ in range(rounds):
            before = time.process_time()
            count = segment(image, model).count
            times.append(time.process_time() - before)
        found |= {name: min(times), f"{name}_cells": count}
    return found


def memory(paths: list[str], number: int = 300) -> dict[str, Any]:
    """Segment so many images in one process; return its resident memory, MB, after a tenth and at the end."""
    from napari_wbcseg import load_model, segment
    from napari_wbcseg.images.read import read_image

    model, held = load_model("wbc"), []
    for turn in range(number):
        segment(read_image(paths[turn % len(paths)]), model)
        if turn + 1 in (number // 10, number):
            status = Path("/proc/self/status").read_text()
            line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
            held.append(int(line.split()[1]) * 1024 / 1e6)
    return {"images": number, "early_mb": held[0], "late_mb": held[1]}


def network_share(paths: list[str], model: str, rounds: int = 3) -> dict[str, Any]:
    """Time the network within `segment`, and against its own best rate on the same windows.

    By processor time, which what else the machine does changes little.
    """
    from napari_wbcseg import load_model, segment
    from napari_wbcseg.images.read import read_image
    from napari_wbcseg.network.engines import create_engine

    file = load_model(model)
    arrays = [read_image(path) for path in paths]
    for array in arrays:  # each size of a window costs something the first time
        segment(array, file)
    engine = create_engine(file)
    inner = engine.predict
    calls: list[tuple[tuple[int, ...], float]] = []

    def timed(batch: np.ndarray) -> np.ndarray:
        began = time.process_time()
        found = inner(batch)
        calls.append((batch.shape, time.process_time() - began))
        return found

    engine.predict = timed  # type: ignore[method-assign]
    whole, network, pixels, limit = [], [], [], []
    for _ in range(rounds):
        calls.clear()
        start = time.process_time()
        for array in arrays:
            segment(array, file)
        whole.append(time.process_time() - start)
        network.append(sum(seconds for _, seconds in calls))
        pixels.append(sum(shape[0] * shape[1] * shape[2] for shape, _ in calls))
        limit.append(best_rate(inner, calls[0][0][3]))
    best = int(np.argmin(whole))
    rate = pixels[best] / network[best]
    return {
        "model": model,
        "engine": engine.name,
        "device": engine.device,
        "seconds_an_image": whole[best] / len(arrays),
        "seconds_a_megapixel": whole[best] / sum(a.shape[0] * a.shape[1] for a in arrays) * 1e6,
        "share": network[best] / whole[best],
        "rate_mp_s": rate / 1e6,
        "limit_mp_s": max(limit) / 1e6,
        "of_limit": rate / max(limit),
    }


def best_rate(predict: Any, channels: int) -> float:
    """Return the pixels a processor second of the engine alone, on the batch that suits it best."""
    rng = np.random.default_rng(0)
    best = 0.0
    for number, side in ((4, 128), (16, 128), (1, 256), (4, 256)):
        batch = rng.random((number, side, side, channels), dtype=np.float32)
        predict(batch)
        for _ in range(3):
            start = time.process_time()
            predict(batch)
            best = max(best, batch[..., 0].size / (time.process_time() - start))
    return best
