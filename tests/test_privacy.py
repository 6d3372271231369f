"""Nothing is sent and nothing is left behind, by no library that is used: its calls are watched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from napari_wbcseg.network.engines import openvino_gains

from .test_package import MODULES, imported, name_of

#: What a library may keep for itself: settings of Keras, fonts that matplotlib found.
OWN = re.compile(r"\.keras/keras\.json|CACHE/matplotlib/fontlist.*\.json|CONFIG/matplotlib|\.nv/.*")
ENGINES = ["onnxruntime", *(["openvino"] if openvino_gains() else [])]
SMEAR = "from napari_wbcseg import *\nsmear = synthetic_smear((256, 256), seed=1)\n"
SEGMENT = SMEAR + "assert segment(smear.image, settings=SegmentationSettings(engine={!r})).count"
WORK = {
    "demo": "from napari_wbcseg.cli import app; app(['demo', '--out', 'out'])",
    **{engine: SEGMENT.format(engine) for engine in ENGINES},
    "training": f"""{SMEAR}
from napari_wbcseg.datasets.pair import TrainingPair
train([TrainingPair("a", smear.image, smear.labels, "a")], TrainingSettings(epochs=1), "out")
""",
}


def watched(code: str, folder: Path) -> list[str]:
    """Run code in a home of its own, without a network, and return the calls by which it sought one."""
    places = {
        f"XDG_{kind}_HOME": str(folder / "home" / kind) for kind in ("CACHE", "CONFIG", "DATA", "STATE")
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    environment |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "temporary"), **places}
    for name in ("home", "temporary", "work"):
        (folder / name).mkdir()
    calls = folder / "calls"
    command = ["strace", "-f", "-qq", "-o", calls, "-e", "trace=connect,sendto,sendmsg,sendmmsg"]
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0:
        command += ["unshare", "-rn"]  # not every kernel allows it
    command += [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=folder / "work", env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return [line for line in calls.read_text().splitlines() if "AF_INET" in line]


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("strace") is None, reason="calls are traced with strace on Linux"
)
@pytest.mark.parametrize("work", WORK)
def test_no_connection_is_tried_and_nothing_is_left_behind(tmp_path: Path, work: str) -> None:
    assert watched(WORK[work], tmp_path) == []
    left = [path for name in ("home", "temporary") for path in (tmp_path / name).rglob("*") if path.is_file()]
    foreign = [path for path in left if not OWN.search(path.relative_to(tmp_path).as_posix())]
    assert foreign == []
    assert {path.name for path in (tmp_path / "work").iterdir()} <= {"out"}


@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_what_reports_on_its_users_is_imported_in_one_place_that_keeps_it_from_it(library: str) -> None:
    doors = {name_of(path) for path in MODULES if library in {n.split(".")[0] for n in imported(path)}}
    assert doors == {"network.engines"}
