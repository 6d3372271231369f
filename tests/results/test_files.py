"""Files are whole or not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_wbcseg.errors import OutputError
from napari_wbcseg.images.tiff_writer import write_tiff

from ..drawings import two_discs


@pytest.fixture
def labels() -> np.ndarray:
    return two_discs()


class TestDisk:
    def test_a_folder_that_cannot_be_made_gives_a_sentence(self, tmp_path: Path, labels: np.ndarray) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(OutputError, match=r"cannot be written .*Choose another"):
            write_tiff(tmp_path / "file" / "a.tif", labels)

    def test_a_write_cut_short_gives_a_sentence_and_leaves_the_old_file_whole(self, tmp_path: Path) -> None:
        # The kernel refuses the bytes beyond a limit on file size, as it does on a full disk.
        pytest.importorskip("resource")
        path = tmp_path / "a.tif"
        write_tiff(path, np.ones((4, 4), np.int32))
        before = path.read_bytes()
        program = f"""
import resource, sys, numpy as np
from napari_wbcseg.errors import OutputError
from napari_wbcseg.images.tiff_writer import write_tiff
noise = np.random.default_rng(0).integers(0, 60_000, (400, 400))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_tiff({str(path)!r}, noise)
except OutputError as error:
    print(error)
"""
        result = subprocess.run(
            [sys.executable, "-B", "-c", program], capture_output=True, text=True, check=True
        )
        assert str(path) in result.stdout
        assert "cannot be written" in result.stdout
        assert path.read_bytes() == before
        assert [item.name for item in tmp_path.iterdir()] == ["a.tif"]
