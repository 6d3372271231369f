"""Measure the speed: one command, one table, every ratio between times of one run.

    python benchmarks/speed.py                                    # some minutes
    python benchmarks/speed.py --sizes 1 16 100 400 --stardist-python PYTHON --out docs/speed.md
    WBCSEG_DATA=FOLDER python benchmarks/speed.py --parts image --images 40

``--parts`` chooses what is measured: image (against the published loop), network (its share, and its
rate against the engine's limit), first (a fresh process, a crowd, memory), engines (their rates, and
how their cells differ), large, folder, slide (one on a cluster), napari. Each is taken in a process of
its own. Images are drawn unless WBCSEG_DATA has the SigTuple set, whose fields ``image``, ``network``,
``first`` and ``engines`` then take.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from speed_child import MeasurementError, measure
from speed_cluster import write_folder
from speed_image import images, synthetic_fields
from speed_large import as_npy, compose
from tables import cores, load, machine, markdown

#: StarDist's own cost a megapixel does not change with the size; beyond this its memory does.
_LARGEST_DENSE = 16
BUSY = (
    "The machine was busy with other work, so times by the clock are too long. Processor seconds "
    "suffer less, but take all again on a quiet machine."
)
console = Console(stderr=True)
Rows = list[Sequence[str]]


def section(title: str, text: str, headings: Sequence[str], rows: Rows, *after: str) -> str:
    """Return what is told of a part, in Markdown."""
    return "\n\n".join(filter(None, [f"## {title}", text, markdown(headings, rows), *after]))


def fields(args: argparse.Namespace, folder: str) -> tuple[list[str], str]:
    """Return the fields that most parts take, real ones where there are any, and what they are."""
    real = images(args.images)
    paths = real or synthetic_fields(folder, args.images)
    what = "fields of SigTuple" if real else "synthetic fields of SigTuple's size"
    return [str(path) for path in paths], what


def measure_image(args: argparse.Namespace, folder: str) -> str:
    """Compare `segment` with the published loop, same weights, same images, in turn."""
    paths, what = fields(args, folder)
    found = measure("speed_image", "published_against_classic", paths=paths)
    return section(
        "One image, against the published loop",
        f"{found['images']} {what}, {found['windows']} windows, from the file to the mask; the same weights. "
        "The loop: grey, threshold 100, one Keras `predict` a window.",
        ("", "seconds an image", "processor seconds an image"),
        [
            ("published loop", f"{found['published_s']:.3f}", f"{found['published_cpu_s']:.3f}"),
            ("`segment`, recipe classic", f"{found['classic_s']:.3f}", f"{found['classic_cpu_s']:.3f}"),
            ("**ratio**", f"**{found['ratio']:.1f}**", f"**{found['cpu_ratio']:.1f}**"),
        ],
        f"Their masks agree to a Dice of {found['dice']:.4f}, mean of the images.",
    )


def measure_network(args: argparse.Namespace, folder: str) -> str:
    """Ask how much of the time is the network's, and how near that is to the engine's limit."""
    paths, _ = fields(args, folder)
    rows: Rows = []
    for model in ("wbc", "classic"):
        found = measure("speed_image", "network_share", paths=paths[: max(4, args.images // 2)], model=model)
        seconds = f"{found['seconds_an_image']:.3f}", f"{found['seconds_a_megapixel']:.2f}"
        rates = f"{found['rate_mp_s']:.2f}", f"{found['limit_mp_s']:.2f}", f"**{found['of_limit']:.0%}**"
        rows.append((model, found["engine"], *seconds, f"{found['share']:.0%}", *rates))
    return section(
        "The network's part",
        "Processor seconds of `segment`, warm, and the network's share of them; megapixels of windows a "
        "processor second there, and of the engine alone on the batch that suits it best.",
        ("model", "engine", "s an image", "s a megapixel", "share", "MP/s", "limit MP/s", "of the limit"),
        rows,
    )


def measure_first(args: argparse.Namespace, folder: str) -> str:
    """Time the first result of a fresh process, a crowded field, and what many images leave in memory."""
    paths, _ = fields(args, folder)
    starts = [measure("speed_image", "first_result", path=paths[0]) for _ in range(max(3, args.starts))]
    first, cpu = (min(one[key] for one in starts) for key in ("seconds", "cpu"))
    full = measure("speed_image", "crowded")
    held = measure("speed_image", "memory", paths=paths)
    cells = full["full_cells"]
    return section(
        "The first image, a crowded one, and the last of many",
        "",
        ("", "processor s"),
        [
            ("a fresh process, import to count, Python's start included", f"{cpu:.2f}"),
            ("the same by the clock, without it", f"{first:.2f}"),
            (f"a megapixel of {cells} cells, their classes told", f"{full['full']:.2f}"),
            ("a megapixel of one cell", f"{full['sparse']:.2f}"),
            ("a cell in the crowd, over that", f"{(full['full'] - full['sparse']) / cells:.4f}"),
        ],
        f"Memory of one process after {held['images'] // 10} images {held['early_mb']:.0f} MB, "
        f"after {held['images']} {held['late_mb']:.0f} MB.",
    )


def measure_engines(args: argparse.Namespace, folder: str) -> str:
    """Compare the engines: pixels a second, and the cells that they lead to."""
    paths, what = fields(args, folder)
    rows: Rows = []
    for model in ("wbc", "classic"):
        told = measure("speed_engines", "compare", paths=paths, model=model)["rows"]
        for row in told:
            arithmetic = row["device"].rsplit(" ", 1)[-1] if row["engine"] == "openvino" else "float32"
            rates = f"{row['rate_mp_s']:.2f}", f"**{row['rate_mp_s'] / told[0]['rate_mp_s']:.1f}**"
            counts = f"{row['cells']}", f"{row['counts_changed']} of {len(paths)}"
            agreement = f"{row['dice']:.4f}", f"{row['least_dice']:.4f}"
            rows.append((model, row["engine"], arithmetic, *rates, *counts, *agreement))
    return section(
        "Engines, and what reduced precision changes",
        f"{len(paths)} {what}, each segmented with every "
        "engine. Dice: of the cells against those of ONNX Runtime in float32.",
        ("model", "engine", "arithmetic", "MP/s", "ratio", "cells", "counts changed", "Dice, mean", "least"),
        rows,
    )


def measure_large(args: argparse.Namespace, folder: str) -> str:
    """Compose smears of several sizes, and segment them with this package and with StarDist's network."""
    rows: Rows = []
    # Processor seconds a megapixel: what else the machine does changes them little.
    ours: dict[float, float] = {}
    dense: list[float] = []
    for size in args.sizes:
        console.print(f"  {size:g} megapixels")
        place = compose(folder, size)
        found = measure("speed_large", "sparse", place=str(place), out=str(Path(folder) / "large"))
        ours[size] = found["cpu"] / found["megapixels"]
        row = [f"{size:g}", f"{found['cells']}", f"{found['seconds'] / found['megapixels']:.3f}"]
        row += [f"{ours[size]:.3f}", f"{found['peak_mb']:,}", "", "", "", ""]
        if args.stardist_python and size <= args.largest_dense:
            other = measure("speed_large", "stardist", python=args.stardist_python, place=str(as_npy(place)))
            dense.append(other["cpu"] / other["megapixels"])
            row[5:] = [
                f"{other['seconds'] / other['megapixels']:.2f}",
                f"{dense[-1]:.2f}",
                f"{other['peak_mb']:,}",
                f"**{dense[-1] / ours[size]:.1f}**",
            ]
        rows.append(row)
    after = []
    if dense:
        after.append(
            "StarDist: its default 2D network, the dense prediction alone, without the search for polygons."
        )
    if 0 < len(dense) < len(args.sizes):
        last = args.sizes[-1]
        after.append(
            f"It is measured up to {args.largest_dense:g} megapixels; at its {dense[-1]:.2f} processor "
            f"seconds a megapixel the ratio at {last:g} is {dense[-1] / ours[last]:.1f}."
        )
    if args.cellpose_python:
        least = min(ours)
        place = as_npy(compose(folder, least))
        other = measure("speed_large", "cellpose", python=args.cellpose_python, place=str(place))
        rate = other["cpu"] / other["megapixels"]
        after.append(
            f"Cellpose: its default network with random weights on one of {other['tiles']} tiles, without "
            f"the masks: {rate:.0f} processor seconds a megapixel, {rate / ours[least]:,.0f} times as much."
        )
    beyond = [rate for size, rate in ours.items() if size > 12]
    if len(beyond) > 1:
        spread = (max(beyond) - min(beyond)) / min(beyond)
        after.append(f"In blocks, processor seconds a megapixel differ by {spread:.0%} over these sizes.")
    costs = "s a megapixel", "processor s a megapixel", "peak MB"
    return section(
        "Large images",
        "Synthetic fields of one megapixel, laid side by side, with a white cell to 600 red ones. Memory is "
        "the peak of a process of its own, Python and libraries included.",
        ("megapixels", "cells found", *costs, f"StarDist: {costs[0]}", *costs[1:], "ratio, processor"),
        rows,
        "\n".join(after),
    )


def measure_folder(args: argparse.Namespace, folder: str) -> str:
    """Time a folder on this machine's threads, and on clusters of processes."""
    place = write_folder(folder, args.folder_images)
    rows: Rows = []
    cells = set()
    single = 0.0
    for workers in (0, 1, 2, 4):
        console.print(f"  {workers} workers")
        out = str(Path(folder) / "results")
        found = measure("speed_cluster", "segment_folder", images=str(place), out=out, workers=workers)
        seconds = found["seconds"]
        cells.add(found["cells"])
        single = seconds if workers == 1 else single
        efficiency = f"{single / seconds / min(workers, cores()):.0%}" if workers else ""
        name = _crew(workers) if workers else "threads of one process"
        rows.append((name, f"{seconds:.1f}", f"{found['images'] / seconds:.2f}", efficiency))
    return section(
        "A folder, and a cluster on this machine",
        f"{args.folder_images} fields of 0.96 megapixels, with label images, overlays, tables and report. "
        f"Efficiency: of the speed of one worker times the workers, or times the {cores()} cores where there "
        f"are fewer. All found the same number of cells: {'yes' if len(cells) == 1 else 'no'}.",
        ("", "seconds", "images a second", "efficiency"),
        rows,
    )


def _crew(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''} of one thread"


def measure_slide(args: argparse.Namespace, folder: str) -> str:
    """Time one slide in one process of one thread, and on clusters of such processes."""
    place = compose(folder, args.slide)
    rows: Rows = []
    found = []
    for workers in (0, 1, 2):
        console.print(f"  {workers} workers")
        options = {"place": str(place), "out": str(Path(folder) / "slide"), "workers": workers}
        prefix = ("env", "WBCSEG_THREADS=1")
        found.append(measure("speed_cluster", "segment_slide", prefix=prefix, **options))
        one, last = found[0], found[-1]
        speed = one["seconds"] / last["seconds"]
        numbers = f"{last['seconds']:.1f}", f"{last['cpu']:.1f}", f"{speed:.2f}"
        name = _crew(workers) if workers else "one thread, no cluster"
        rows.append((name, *numbers, f"{speed / max(1, workers):.0%}", f"{one['cpu'] / last['cpu']:.0%}"))
    same = len({one["labels"] for one in found}) == 1
    return section(
        "One slide on a cluster on this machine",
        f"{args.slide:g} megapixels as above, from a zarr. Efficiency: by the clock, and of the processor, "
        "which tells what the spreading costs also on a machine that is busy with other work. "
        f"The same labels to the bit: {'yes' if same else 'no'}.",
        ("", "seconds", "processor seconds", "faster", "efficiency", "of the processor"),
        rows,
    )


def measure_napari(args: argparse.Namespace, folder: str) -> str:
    """Time napari's start with and without the plugin, and the way to the first result."""
    prefix: tuple[str, ...] = ()
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        prefix = ("xvfb-run", "-a", "-s", "-screen 0 1600x1000x24")
    with_plugin, without = [], []
    measure("speed_napari", "start", prefix=prefix, plugin=False)  # the first one reads files from the disk
    for _ in range(args.starts):
        without.append(measure("speed_napari", "start", prefix=prefix, plugin=False)["window_s"])
        with_plugin.append(measure("speed_napari", "start", prefix=prefix, plugin=True))
    best = {key: min(one[key] for one in with_plugin) for key in with_plugin[0]}
    return section(
        "napari",
        f"From the first import to the window drawn, the best of {args.starts} starts each, in turn; then "
        "the Segment widget, and the cells of a synthetic smear of 768 × 1024 pixels.",
        ("", "seconds"),
        [
            ("window, plugin disabled", f"{min(without):.2f}"),
            ("window, with the plugin", f"{best['window_s']:.2f}"),
            ("Segment widget opened", f"{best['widget_s']:.2f}"),
            ("first result, from Run to the layers", f"{best['first_result_s']:.2f}"),
            ("second result", f"{best['second_result_s']:.2f}"),
        ],
    )


PARTS = {
    "image": measure_image,
    "network": measure_network,
    "first": measure_first,
    "engines": measure_engines,
    "large": measure_large,
    "folder": measure_folder,
    "slide": measure_slide,
    "napari": measure_napari,
}


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sizes", nargs="+", type=float, default=[1.0, 16.0], help="megapixels of `large`")
    parser.add_argument("--images", type=int, default=8, help="images of `image` and `network`")
    parser.add_argument("--folder-images", type=int, default=12, help="images of `folder`")
    parser.add_argument("--slide", type=float, default=64.0, help="megapixels of `slide`")
    parser.add_argument("--starts", type=int, default=2, help="starts of napari, of each kind")
    parser.add_argument("--stardist-python", help="Python of an environment that has StarDist")
    parser.add_argument("--cellpose-python", help="Python of an environment that has Cellpose")
    parser.add_argument("--largest-dense", type=float, default=_LARGEST_DENSE, help="megapixels for StarDist")
    parser.add_argument("--scratch", help="folder for images and results; kept, to be used again")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args()
    command = f"    python benchmarks/speed.py {shlex.join(_public(sys.argv[1:]))}"
    told = ["# Speed", f"Measured on {time.strftime('%Y-%m-%d')} with", command, f"on {machine()}"]
    if load() > 1.5 * cores():
        told.append(BUSY)
    folder = args.scratch or tempfile.mkdtemp(prefix="wbcseg-speed-")
    Path(folder).mkdir(parents=True, exist_ok=True)
    try:
        for name in args.parts:
            console.print(f"{name} ...")
            try:
                told.append(PARTS[name](args, folder))
            except MeasurementError as error:
                told += [f"## {name}", f"Not measured: {error}"]
            if args.out:
                args.out.write_text("\n\n".join(told) + "\n", encoding="utf-8")
    finally:
        if args.scratch is None:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n\n".join(told))


def _public(arguments: list[str]) -> list[str]:
    """Return the arguments without the places of this machine."""
    return [Path(word).name if os.sep in word and Path(word).is_absolute() else word for word in arguments]


if __name__ == "__main__":
    main()
