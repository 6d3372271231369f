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
    from PIL import Image

    from napari_wbcseg import synthetic_smear

    paths = []
    for seed in range(number):
        path = Path(folder) / f"field-{seed}.jpg"
        if not path.exists():
            smear = synthetic_smear((420, 560), seed=seed, white_cells=1 + seed % 3)
            Image.fromarray(smear.image).save(path, quality=90)
        paths.append(path)
    return paths


def published_against_classic(paths: list[str], rounds: int = 3) -> dict[str, Any]:
    """Time both on the same images in turn, from the file to the mask.

    The published loop: grey, levels up to 20 made white, those under 100 labelled, a window
    of 128 pixels on each region of 500 pixels or more, one Keras `predict` a window.
    """
    import cv2
    from skimage.measure import label, regionprops

    from napari_wbcseg import SegmentationSettings, load_model, segment
    from napari_wbcseg.images.read import read_image
    from napari_wbcseg.network.unet import build_unet, set_weights

    model = load_model("classic")
    network = build_unet(model.header.architecture)
    set_weights(network, model.weights)
    settings = SegmentationSettings(recipe="classic")
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
                agreement.append(2 * (one & other).sum() / max(1, one.sum() + other.sum()))
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


def network_share(paths: list[str], model: str, rounds: int = 3) -> dict[str, Any]:
    """Time the network within `segment`, and against its own best rate on the same windows."""
    from napari_wbcseg import load_model, segment
    from napari_wbcseg.images.read import read_image
    from napari_wbcseg.network.engines.create import create_engine

    file = load_model(model)
    start = time.perf_counter()
    arrays = [read_image(path) for path in paths]
    segment(arrays[0], file)
    first = time.perf_counter() - start
    engine = create_engine(file)
    inner = engine.predict
    calls: list[tuple[tuple[int, ...], float]] = []

    def timed(batch: np.ndarray) -> np.ndarray:
        began = time.perf_counter()
        found = inner(batch)
        calls.append((batch.shape, time.perf_counter() - began))
        return found

    engine.predict = timed  # type: ignore[method-assign]
    whole, network, pixels, limit = [], [], [], []
    for _ in range(rounds):
        calls.clear()
        start = time.perf_counter()
        for array in arrays:
            segment(array, file)
        whole.append(time.perf_counter() - start)
        network.append(sum(seconds for _, seconds in calls))
        pixels.append(sum(shape[0] * shape[1] * shape[2] for shape, _ in calls))
        limit.append(best_rate(inner, calls[0][0][3]))
    best = int(np.argmin(whole))
    rate = pixels[best] / network[best]
    return {
        "model": model,
        "engine": engine.name,
        "device": engine.device,
        "first_s": first,
        "seconds_a_megapixel": whole[best] / sum(a.shape[0] * a.shape[1] for a in arrays) * 1e6,
        "share": network[best] / whole[best],
        "rate_mp_s": rate / 1e6,
        "limit_mp_s": max(limit) / 1e6,
        "of_limit": rate / max(limit),
    }


def best_rate(predict: Any, channels: int) -> float:
    """Return the pixels a second of the engine alone, on the batch that suits it best."""
    rng = np.random.default_rng(0)
    best = 0.0
    for number, side in ((4, 128), (16, 128), (1, 256), (4, 256)):
        batch = rng.random((number, side, side, channels), dtype=np.float32)
        predict(batch)
        for _ in range(3):
            start = time.perf_counter()
            predict(batch)
            best = max(best, batch[..., 0].size / (time.perf_counter() - start))
    return best
