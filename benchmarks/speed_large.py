"""Images of 1 to 400 megapixels: seconds a megapixel and memory, against a dense network."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

_TILE = 1000
# About one white cell to 600 red ones, of which a megapixel at this magnification holds some 340.
_FIELDS, _WITH_CELL = 5, 3
# Pixels up to which an image is done once before it is timed, by both: of a larger one a start is no part.
_WARM = 2_000_000


def compose(folder: str, megapixels: float) -> Path:
    """Write a smear of usual density to a zarr array, block by block, and return its place.

    Five fields of one megapixel are laid side by side, each turned or mirrored at random,
    three of them with one white cell.
    """
    import zarr

    side = round((megapixels * 1e6) ** 0.5)
    place = Path(folder) / f"synthetic-{side}.zarr"
    if place.exists():
        return place
    fields = _synthetic_fields()
    part = place.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    array = zarr.open_array(
        str(part), mode="w", shape=(side, side, 3), chunks=(min(_TILE, side), min(_TILE, side), 3), dtype="u1"
    )
    rng = np.random.default_rng(0)
    order: list[int] = []
    for top in range(0, side, _TILE):
        for left in range(0, side, _TILE):
            if not order:
                order = list(rng.permutation(len(fields)))
            field = np.rot90(fields[order.pop()], rng.integers(4))
            field = field[:, ::-1] if rng.random() < 0.5 else field
            array[top : top + _TILE, left : left + _TILE] = field[: side - top, : side - left]
    part.rename(place)
    return place


def _synthetic_fields() -> list[np.ndarray]:
    from napari_wbcseg import synthetic_smear

    return [
        synthetic_smear(
            (_TILE, _TILE), seed=seed, white_cells=int(seed < _WITH_CELL), dark_edge=0, uneven_light=0.1
        ).image
        for seed in range(_FIELDS)
    ]


def sparse(place: str, out: str, model: str = "wbc") -> dict[str, Any]:
    """Segment an image as `wbcseg segment` would: at once where it is small, else in blocks."""
    import zarr

    from napari_wbcseg import load_model, segment
    from napari_wbcseg.images.read import LARGE_PIXELS
    from napari_wbcseg.segmentation.large.run import segment_large

    file = load_model(model)
    array = zarr.open_array(place, mode="r")
    pixels = array.shape[0] * array.shape[1]
    shutil.rmtree(out, ignore_errors=True)
    for large in (False, True):  # all is imported, as for StarDist
        part = np.asarray(array[:256, :256])
        segment_large(part, out, file) if large else segment(part, file)
    shutil.rmtree(out, ignore_errors=True)
    if pixels <= _WARM:
        segment(np.asarray(array[:]), file)
    start, cpu = time.perf_counter(), time.process_time()
    if pixels > LARGE_PIXELS:
        result = segment_large(array, out, file)
    else:
        result = segment(np.asarray(array[:]), file)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    shutil.rmtree(out, ignore_errors=True)
    return {"megapixels": pixels / 1e6, "seconds": seconds, "cpu": cpu, "cells": result.count}


def as_npy(place: Path) -> Path:
    """Write an image for StarDist's environment, which has no zarr."""
    import zarr

    copy = place.with_suffix(".npy")
    if not copy.exists():
        np.save(copy, np.asarray(zarr.open_array(str(place), mode="r")[:]))
    return copy


def stardist(place: str) -> dict[str, Any]:
    """Time the dense prediction of StarDist's default 2D network, with the weights it begins with.

    In tiles of about 1024 pixels, as its documentation says, and without its search for the best polygons.
    """
    from stardist.models import Config2D, StarDist2D

    image = np.load(place, mmap_mode="r")
    tiles = tuple(max(1, int(np.ceil(side / 1024))) for side in image.shape[:2])
    network = StarDist2D(Config2D(axes="YXC", n_channel_in=3), name=None, basedir=None)
    network.predict(image[:256, :256].astype(np.float32) / 255)
    scaled = image.astype(np.float32) / 255
    if image.shape[0] * image.shape[1] <= _WARM:
        network.predict(scaled, n_tiles=(*tiles, 1), show_tile_progress=False)
    start, cpu = time.perf_counter(), time.process_time()
    network.predict(scaled, n_tiles=(*tiles, 1), show_tile_progress=False)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"megapixels": image.shape[0] * image.shape[1] / 1e6, "seconds": seconds, "cpu": cpu}


def cellpose(place: str) -> dict[str, Any]:
    """Time Cellpose's default network, its weights random, on one of the tiles it lays an image out in.

    Each tile takes it the same, without the masks made of its flows; there are as many as with its overlap.
    """
    import torch
    from cellpose.models import CellposeModel
    from cellpose.vit import CPSAM

    side = 256
    image = np.load(place, mmap_mode="r")
    weights = Path(place).with_name("cellpose-random.pt")
    torch.save(CPSAM(dtype=torch.bfloat16).state_dict(), weights)  # which it takes from a file alone
    network = CellposeModel(gpu=False, pretrained_model=str(weights))
    cpu = time.process_time()
    network.eval(np.array(image[:side, :side]), compute_masks=False)
    cpu = time.process_time() - cpu
    down, across = (int(np.ceil(1.2 * length / side)) for length in image.shape[:2])
    return {
        "megapixels": image.shape[0] * image.shape[1] / 1e6,
        "tiles": down * across,
        "cpu": cpu * down * across,
    }
