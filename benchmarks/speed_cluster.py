"""A folder, and a slide: on this machine's threads, and on the workers of a cluster."""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from speed_image import draw_field


def write_folder(folder: str, number: int) -> Path:
    """Draw a folder of fields, of one megapixel with a white cell or two."""
    place = Path(folder) / f"folder-{number}"
    place.mkdir(exist_ok=True)
    drawn = 6
    for index in range(number):
        path = place / f"{index:03}.jpg"
        if index < drawn:
            draw_field(path, (800, 1200), index, 1 + index % 2)
        else:
            shutil.copy(place / f"{index % drawn:03}.jpg", path)
    return place


def segment_folder(images: str, out: str, workers: int) -> dict[str, Any]:
    """Segment a folder; with no workers, in this process."""
    from napari_wbcseg import SegmentationSettings, load_model
    from napari_wbcseg.batch.run import collect, segment_files

    shutil.rmtree(out, ignore_errors=True)
    model, settings = load_model("wbc"), SegmentationSettings()
    items = collect([images])
    if workers == 0:
        segment_files(items[:1], out, model, settings, again=True)  # what is loaded once
        start = time.perf_counter()
        result = segment_files(items, out, model, settings, again=True)
        seconds = time.perf_counter() - start
    else:
        from distributed import Client, LocalCluster

        options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
        with LocalCluster(n_workers=workers, **options) as cluster, Client(cluster) as client:
            client.wait_for_workers(workers)
            segment_files(items[: 2 * workers], out, model, settings, again=True, client=client)
            start = time.perf_counter()
            result = segment_files(items, out, model, settings, again=True, client=client)
            seconds = time.perf_counter() - start
    shutil.rmtree(out, ignore_errors=True)
    cells = sum(row["count"] for row in result.rows)
    return {"images": len(items), "seconds": seconds, "cells": cells, "failed": result.failed}


def segment_slide(place: str, out: str, workers: int) -> dict[str, Any]:
    """Segment one slide; with no workers, in this process by one thread, as each worker has one."""
    import zarr

    from napari_wbcseg import load_model
    from napari_wbcseg.segmentation.large.run import segment_large

    model, array = load_model("wbc"), zarr.open_array(place, mode="r")
    with ExitStack() as stack:
        client = None
        if workers:
            from napari_wbcseg.batch.cluster import cluster

            client = stack.enter_context(cluster(workers=workers))
            client.wait_for_workers(workers)
        # First what each worker loads once, by an image that is not its own sample.
        for turn, image in enumerate((array[:3600, :3600], array)):
            shutil.rmtree(out, ignore_errors=True)
            start, cpu = time.perf_counter(), _processor_seconds(client)
            result = segment_large(image if turn == 0 else place, out, model, client=client)
            seconds, cpu = time.perf_counter() - start, _processor_seconds(client) - cpu
    labels = hashlib.sha256(np.asarray(result.labels)).hexdigest()[:12]
    shutil.rmtree(out, ignore_errors=True)
    return {"seconds": seconds, "cpu": cpu, "cells": result.count, "labels": labels}


def _processor_seconds(client: Any) -> float:
    """Return what this process and the workers of a cluster have computed."""
    return time.process_time() + (sum(client.run(time.process_time).values()) if client else 0.0)
