from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_wbcseg.cli import app


@pytest.fixture(autouse=True)
def own_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(tmp_path / "set"))
    return tmp_path / "set"


def shell(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_field_is_added_listed_and_taken_out(tmp_path: Path, own_set: Path) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:20, 10:20] = mask[40:50, 50:60] = 255
    Image.fromarray(np.full((60, 80, 3), 200, np.uint8)).save(tmp_path / "smear.png")
    Image.fromarray(mask).save(tmp_path / "cells.png")
    files = tmp_path / "smear.png", tmp_path / "cells.png"
    assert shell("corrections", "add", *files, "--by", "ann", "--pixel-size", 0.1) == (
        0,
        "Field smear: 2 white cells.\n",
    )
    status, said = shell("corrections")
    assert status == 0
    assert "ann" in said
    assert f"2 white cells in 1 field: {own_set}" in said.replace("\n", "")
    assert shell("corrections", "remove", "smear")[0] == 0
    assert "0 white cells in 0 fields" in shell("corrections")[1]


def test_what_cannot_be_done_is_a_sentence(own_set: Path) -> None:
    status, said = shell("corrections", "remove", "nothing")
    assert (status, "no field 'nothing'" in said) == (1, True)
    own_set.mkdir()
    (own_set / "corrections.json").write_text("{")
    status, said = shell("corrections")
    assert status == 1
    assert "is damaged" in said
    status, said = shell("finetune", "--discard")
    assert status == 1
    assert "is damaged" in said
