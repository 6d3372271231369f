"""How fast training and prediction are, against what the machine can do.

    python benchmarks/training.py table            # images per second against the matrix-product rate
    python benchmarks/training.py gui              # what the window costs: shell and napari in turn

``gui`` needs a display; without one it looks for ``xvfb-run``. Run it on an idle machine: the load
average is printed with the results.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from tables import machine, markdown

from napari_wbcseg.network.architecture import CLASSIC, UNetArchitecture
from napari_wbcseg.network.robust import ROBUST
from napari_wbcseg.training.truth import TRUTH_CHANNELS

SIDE = 128
#: Smears that `gui` trains on: with four cells each, less those that validate, they make as many tiles as the
#: published training set has, and an epoch as long; what the window draws, it draws once an epoch.
GUI_SMEARS = 57
#: The model that `gui` goes on from, and the epochs. The robust recipe draws 160 smears before its first
#: step, which is most of the time of so short a training.
GUI_STARTS = {"classic": ("classic", 4), "robust": ("wbc", 5)}
_GUI_STEPS = 25  # an epoch of the robust recipe; that of classic is every tile once


def forward_operations(architecture: UNetArchitecture, side: int = SIDE) -> int:
    """Return the floating-point operations of predicting one square tile; a multiply-add counts two."""
    total = 0
    for layer in architecture.convolutions():
        level = 0 if layer.name.startswith("head") else int(layer.name.split("_")[0].lstrip("downup"))
        pixels = (side >> level) ** 2
        total += 2 * pixels * layer.kernel**2 * layer.channels_in * layer.channels_out
    return total


def best_time(work: Callable[[], object], seconds: float, warm_up: int = 2) -> float:
    """Return the shortest time of a call among those that fit into some seconds: the one least disturbed."""
    for _ in range(warm_up):
        work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def matrix_rate(dtype: str, seconds: float, side: int = 2048) -> float:
    """Return the operations a second of a product of two square matrices in Keras' backend."""
    import keras

    rng = np.random.default_rng(0)
    a, b = (keras.ops.cast(rng.normal(size=(side, side)), dtype) for _ in range(2))
    took = best_time(lambda: keras.ops.convert_to_numpy(keras.ops.matmul(a, b)[:1, :1]), seconds)
    return 2 * side**3 / took


def table(seconds: float) -> str:
    """Return images a second of training and prediction, in float32 and mixed precision."""
    from napari_wbcseg.network.backend import import_keras
    from napari_wbcseg.network.device import describe_device
    from napari_wbcseg.network.engines import OnnxEngine
    from napari_wbcseg.network.model_file import ModelFile, ModelHeader
    from napari_wbcseg.network.unet import build_unet, weights_of
    from napari_wbcseg.training.plan import RECIPES

    keras = import_keras()
    rates = {name: matrix_rate(name, seconds) for name in ("float32", "bfloat16")}
    rows = []

    def add(name: str, work: str, arithmetic: str, batch: int, took: float, operations: int) -> None:
        rate = operations * batch / took
        limit = rates["bfloat16" if "mixed" in arithmetic else "float32"]
        figures = f"{batch / took:.1f}", f"{operations / 1e9:.1f}", f"{rate / 1e9:.0f}", f"{rate / limit:.0%}"
        rows.append((name, work, arithmetic, batch, *figures))

    rng = np.random.default_rng(0)
    for name, architecture, batch in (("classic", CLASSIC, 3), ("robust", ROBUST, 16)):
        operations = forward_operations(architecture)
        recipe = RECIPES[name]
        images = rng.random((batch, SIDE, SIDE, architecture.input_channels), np.float32)
        channels = TRUTH_CHANNELS if name == "robust" else 1
        truth = (rng.random((batch, SIDE, SIDE, channels)) > 0.8).astype(np.float32)
        for arithmetic, policy in (("float32", "float32"), ("mixed", "mixed_bfloat16")):
            model = build_unet(architecture, dtype=policy)
            model.compile(optimizer=keras.optimizers.Adam(1e-4), loss=recipe.loss)
            took = best_time(lambda m=model, x=images, y=truth: m.train_on_batch(x, y), seconds)
            add(name, "training step", arithmetic, batch, took, 3 * operations)
            took = best_time(lambda m=model, x=images: m.predict_on_batch(x), seconds)
            add(name, "prediction, Keras", arithmetic, batch, took, operations)
        weights = weights_of(build_unet(architecture))
        engine = OnnxEngine(
            ModelFile.make(ModelHeader(name=name, recipe=name, architecture=architecture), weights)
        )
        took = best_time(lambda e=engine, x=images: e.predict(x), seconds)
        add(name, "prediction, ONNX Runtime", "float32", batch, took, operations)
    headings = ["network", "work", "arithmetic", "batch", "images/s", "GFLOP an image", "GFLOP/s"]
    return (
        f"Device: {describe_device().words}. {machine()}\n"
        f"Matrix product of 2048 x 2048: {rates['float32'] / 1e9:.0f} GFLOP/s in float32, "
        f"{rates['bfloat16'] / 1e9:.0f} in bfloat16.\n\n{markdown([*headings, 'of the matrix rate'], rows)}"
    )


def gui(rounds: int, recipe: str) -> str:
    """Return what the window costs: the same training in the shell and in napari, in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["WBCSEG_MODELS"] = str(folder / "models")
        write_pairs(folder / "pairs", GUI_SMEARS)
        rows = []
        for number in range(rounds):
            shell = shell_cost(folder / "pairs", folder / f"shell{number}", recipe)
            told = window_cost(folder / "pairs", recipe)
            rows.append({**told, "shell": shell["seconds"], "shell_processor": shell["processor"]})
            rows[-1]["more"] = (told["processor"] + told["own"]) / shell["processor"] - 1
            rows[-1]["longer"] = told["seconds"] / shell["seconds"] - 1
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)

    def middle(key: str) -> float:
        return statistics.median(row[key] for row in rows)

    each = ", ".join(f"{row['more']:+.1%}" for row in rows)
    _, epochs = GUI_STARTS[recipe]
    longest = 1000 * max(row["longest_work"] for row in rows)
    return (
        f"{machine()} The {recipe} recipe: the median of {epochs - 2} epochs, and of "
        f"{rounds} rounds in turn.\n"
        f"Processor time: {middle('shell_processor'):.2f} s in the shell; in napari "
        f"{middle('processor'):.2f} s for the training and {middle('own'):.2f} s for napari itself, "
        f"{middle('more'):+.1%} (each round: {each}).\n"
        f"By the clock: {middle('shell'):.2f} s and {middle('seconds'):.2f} s, {middle('longer'):+.1%}. "
        f"napari worked for at most {longest:.0f} ms at a time."
    )


class Meter:
    """Measures a training process from epoch to epoch, by the clock and in processor time."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._marks: list[tuple[float, float, float]] = []

    def mark(self) -> None:
        """Note where it stands now, and what this process has used."""
        used = self._process.cpu_times()
        self._marks.append((time.monotonic(), used.user + used.system, time.process_time()))

    @property
    def cost(self) -> dict[str, float]:
        """Seconds that went by in an epoch: the median, for what else the machine does comes in bursts."""
        epochs = np.diff(self._marks, axis=0)
        names = ("seconds", "processor", "own")
        return dict(zip(names, np.median(epochs, axis=0).tolist(), strict=True))


def shell_cost(data: Path, out: Path, recipe: str) -> dict[str, float]:
    """Train by the command line, and return what it cost."""
    start, epochs = GUI_STARTS[recipe]
    command = [sys.executable, "-m", "napari_wbcseg", "train", str(data)]
    command += ["--out", str(out), "--start", start, "--validation-fraction", "0.2"]
    command += ["--epochs", str(epochs), "--steps-per-epoch", str(_GUI_STEPS)]
    said = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    ) as process:
        meter = Meter(process.pid)
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            found = re.match(r"epoch +(\d+) of", line)
            if found and int(found[1]) < epochs:
                meter.mark()
    if process.returncode:
        raise SystemExit("".join(said))
    return meter.cost


def window_cost(data: Path, recipe: str) -> dict[str, float]:
    """Train by the widget in a napari of its own, and return what `window` measured."""
    command = [sys.executable, str(Path(__file__)), "window", str(data), "--recipe", recipe]
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        if shutil.which("xvfb-run") is None:
            raise SystemExit("There is no display: install xvfb-run, or set DISPLAY.")
        command = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24", *command]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(done.stderr or done.stdout)
    told: dict[str, float] = json.loads(lines[-1])
    return told


def window(data: Path, recipe: str) -> None:
    """Train in napari's window and print what was measured (the other end of `window_cost`)."""
    import napari
    from qtpy.QtCore import QEventLoop, QTimer
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer(show=True)
    app = QApplication.instance()
    assert app is not None
    _, widget = viewer.window.add_plugin_dock_widget("napari-wbcseg", "Train WBC model")
    widget.folder = data
    widget.start_from, epochs = GUI_STARTS[recipe]
    widget.settings = widget.settings.replace(epochs=epochs, steps_per_epoch=_GUI_STEPS)
    problems: list[str] = []
    widget.failed.connect(problems.append)
    ended: list[object] = []
    widget.trained.connect(ended.append)
    loop = QEventLoop()
    ticks: list[float] = []
    meter: Meter | None = None
    marked = 0

    def look() -> None:
        nonlocal meter, marked
        process, done = widget.run.process, len(widget.run.monitor.history)
        if process is not None and done:
            ticks.append(time.thread_time())
        if process is not None and marked < done < epochs:
            meter = meter or Meter(process.pid)
            meter.mark()
            marked = done
        if ended or problems:
            loop.quit()

    timer = QTimer()
    timer.setInterval(20)
    timer.timeout.connect(look)
    timer.start()
    widget.train()
    loop.exec()
    timer.stop()
    if problems:
        raise SystemExit(problems[0])
    assert meter is not None
    result = {**meter.cost, "longest_work": float(np.diff(ticks).max())}
    print(json.dumps(result), flush=True)
    while widget.plan.busy:  # it looks at its images again, in a thread
        app.processEvents()
        time.sleep(0.01)
    viewer.close()


def write_pairs(folder: Path, number: int) -> None:
    """Write synthetic smears of four cells, with their labels, as a folder of images and labels."""
    import tifffile

    from napari_wbcseg.synthetic.smear import synthetic_smear

    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for seed in range(number):
        smear = synthetic_smear((480, 640), white_cells=4, seed=seed)
        tifffile.imwrite(folder / "images" / f"smear-{seed}.tif", smear.image)
        tifffile.imwrite(folder / "labels" / f"smear-{seed}.tif", smear.labels.astype(np.uint16))


def main() -> None:
    """Measure what was asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["table", "gui", "window"])
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each figure of the table")
    parser.add_argument("--rounds", type=int, default=3, help="of gui")
    parser.add_argument("--recipe", choices=sorted(GUI_STARTS), default="classic", help="of gui")
    args = parser.parse_args()
    if args.what == "window":
        window(args.folder, args.recipe)
    else:
        print(table(args.seconds) if args.what == "table" else gui(args.rounds, args.recipe))


if __name__ == "__main__":
    main()
