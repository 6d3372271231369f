"""The example script runs as it stands in the documentation."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from napari_wbcseg import segment
from napari_wbcseg.errors import ImageError
from napari_wbcseg.network.library import list_models

from .conftest import discs

EXAMPLE = Path(__file__).parents[2] / "examples" / "segment_in_napari.py"


def run_example(viewer, qtbot, monkeypatch):
    monkeypatch.setattr("napari.run", lambda: None)
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    names = runpy.run_path(str(EXAMPLE), run_name="__main__")
    qtbot.waitUntil(lambda: not names["widget"].running, timeout=120_000)
    return names


def test_the_script_segments_and_prints_the_count(
    viewer, small_model, quick_segment, qtbot, monkeypatch, capsys
):
    small_model()
    names = run_example(viewer, qtbot, monkeypatch)
    assert any(" white cells of " in layer.name for layer in viewer.layers)
    assert names["widget"].segmentation.summary in capsys.readouterr().out


def test_of_a_layer_of_several_resolutions_it_is_said_to_give_the_first(viewer):
    levels = [discs(), discs()[::2, ::2]]
    layer = viewer.add_image(levels, multiscale=True, rgb=True)
    with pytest.raises(ImageError, match="of several resolutions the first"):
        segment(layer.data)


@pytest.mark.skipif(
    "wbc" not in [info.name for info in list_models()], reason="the built-in model is not there yet"
)
def test_the_built_in_model_finds_about_what_was_drawn(viewer, qtbot, monkeypatch):
    names = run_example(viewer, qtbot, monkeypatch)
    assert abs(names["widget"].segmentation.count - names["truth"].data.max()) <= 2


@pytest.mark.skipif(
    "wbc" not in [info.name for info in list_models()], reason="the built-in model is not there yet"
)
def test_the_saving_script_finds_the_same_in_its_files(viewer, monkeypatch, capsys):
    monkeypatch.setattr("napari.run", lambda: None)
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    names = runpy.run_path(str(EXAMPLE.with_name("save_from_napari.py")), run_name="__main__")
    assert names["found"].count > 0
    assert (names["opened"].data == names["cells"].data).all()
    assert names["again"].count == names["found"].count
    said = capsys.readouterr().out
    assert "smear.geojson" in said
    assert "0.1 µm a pixel" in said
