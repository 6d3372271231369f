"""The memory of a run does not grow with its number of pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ..dark_model import spots, write_dark_model

#: Prints the resident megabytes after 20 and after 60 pictures.
CHILD = """
import resource, sys
from pathlib import Path
from napari_wbcseg import SegmentationSettings
from napari_wbcseg.batch.run import collect, segment_files
from napari_wbcseg.network.library import load_model

done = []

def report(item, row):
    done.append(row)
    if len(done) in (20, 60):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        print(pages * resource.getpagesize() / 1e6, flush=True)

settings = SegmentationSettings(recipe="classic", classes=None)
segment_files(collect(["in"]), "out", load_model("dark.safetensors"), settings, report=report)
"""
_MOST = 40  # megabytes; a copy of each of 40 pictures that stayed would be 60


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs what Linux tells of a process")
def test_forty_more_pictures_need_no_more_memory(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(spots((700, 700), ((80, 90), (200, 300)))[0]).save(tmp_path / "in" / "0.png")
    for number in range(1, 60):
        (tmp_path / "in" / f"{number}.png").write_bytes((tmp_path / "in" / "0.png").read_bytes())
    write_dark_model(tmp_path / "dark.safetensors")
    run = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=tmp_path, capture_output=True, text=True, timeout=280
    )
    assert run.returncode == 0, run.stderr
    early, late = map(float, run.stdout.split())
    assert late - early < _MOST
