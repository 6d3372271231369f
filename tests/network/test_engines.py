from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from napari_wbcseg.errors import ModelError, SettingsError
from napari_wbcseg.network import engines
from napari_wbcseg.network.architecture import CLASSIC, UNetArchitecture
from napari_wbcseg.network.device import available_cpus
from napari_wbcseg.network.engines import (
    OnnxEngine,
    OpenVinoEngine,
    create_engine,
    openvino_gains,
    processor_has_bfloat16,
)
from napari_wbcseg.network.onnx_graph import onnx_bytes

from ..dark_model import write_dark_model
from ..tiny_networks import RICH, TINY, predicted_by_keras, random_model


def batch(architecture: UNetArchitecture, count: int = 3, height: int = 32, width: int = 48) -> np.ndarray:
    return np.random.default_rng(5).random((count, height, width, architecture.input_channels), np.float32)


@pytest.mark.parametrize("architecture", [CLASSIC, TINY, RICH], ids=["classic", "tiny", "rich"])
def test_onnx_runtime_and_keras_agree(architecture: UNetArchitecture) -> None:
    model, images = random_model(architecture), batch(architecture)

    by_onnx, by_keras = OnnxEngine(model).predict(images), predicted_by_keras(model, images)

    assert by_onnx.shape == (3, 32, 48, architecture.output_channels)
    assert by_onnx.dtype == by_keras.dtype == np.float32
    assert by_keras.std() > 0.01  # not agreeing on a constant
    np.testing.assert_allclose(by_onnx, by_keras, atol=1e-4)


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
def test_a_tile_is_predicted_the_same_alone_and_in_a_batch(kind: str) -> None:
    engine = create_engine(random_model(RICH), kind)  # type: ignore[arg-type]
    images = batch(RICH, 5)
    together = engine.predict(images)
    for i in range(5):
        np.testing.assert_allclose(engine.predict(images[i : i + 1])[0], together[i], atol=1e-5)


def test_the_graph_is_valid_and_old_enough_for_every_supported_onnx_runtime() -> None:
    graph = onnx.load_from_string(onnx_bytes(random_model(RICH)))
    onnx.checker.check_model(graph, full_check=True)
    assert graph.opset_import[0].version <= 20  # onnxruntime 1.18 reads up to opset 21
    assert graph.ir_version <= 10


def test_openvino_agrees_with_onnx_runtime_as_far_as_its_numbers_go() -> None:
    model = random_model(RICH)
    # One size after another: the same compiled network takes them all.
    for shape in [(3, 32, 48), (1, 64, 32), (3, 32, 48)]:
        images = batch(RICH, *shape)
        expected = OnnxEngine(model).predict(images)
        tolerance = 0.03 * float(np.abs(expected).max()) if processor_has_bfloat16() else 1e-4
        found = OpenVinoEngine(onnx_bytes(model), model.name).predict(images)
        np.testing.assert_allclose(found, expected, atol=tolerance)


def test_left_alone_the_engine_is_the_fastest_that_is_here() -> None:
    chosen = create_engine(random_model(), "auto", "cpu")
    assert chosen.name == ("openvino" if openvino_gains() else "onnxruntime")


def test_openvino_tells_nobody_that_it_is_used() -> None:
    code = (
        "import sys, socket\n"
        "called = []\n"
        "socket.socket.connect = lambda self, address: called.append(address)\n"
        "from napari_wbcseg.network.engines import processor_has_bfloat16\n"
        "processor_has_bfloat16()\n"
        "assert 'openvino' in sys.modules\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
        "assert not called, called\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("problem", "told"),
    [(SettingsError("a library is missing"), SettingsError), (RuntimeError("no plugin CPU"), ModelError)],
)
def test_an_openvino_that_cannot_be_loaded_is_passed_over_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, problem: Exception, told: type[Exception]
) -> None:
    def broken() -> bool:
        raise problem

    monkeypatch.setattr(engines, "_engines", {})
    monkeypatch.setattr(engines, "processor_has_bfloat16", broken)
    model = random_model(seed=10)
    assert create_engine(model, "auto", "cpu").name == "onnxruntime"
    with pytest.raises(told, match=str(problem)):
        create_engine(model, "openvino")


def test_without_openvino_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    engines._openvino_core.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    try:
        with pytest.raises(SettingsError, match="pip install"):
            create_engine(random_model(seed=9), "openvino")
    finally:
        engines._openvino_core.cache_clear()


def test_an_engine_says_its_device_and_why() -> None:
    assert str(available_cpus()) in OnnxEngine(random_model()).device


def test_asking_again_for_the_same_model_gives_the_same_engine() -> None:
    assert create_engine(random_model(seed=1)) is create_engine(random_model(seed=1))
    assert create_engine(random_model(seed=1)) is not create_engine(random_model(seed=2))


def test_threads_may_share_an_engine() -> None:
    engine, images = create_engine(random_model(RICH)), batch(RICH, 8)
    expected = engine.predict(images)
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(engine.predict(images))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(result, expected) for result in results)


def test_segmenting_imports_neither_keras_nor_tensorflow(tmp_path: Path) -> None:
    path = tmp_path / "dark.safetensors"
    write_dark_model(path)
    code = (
        "import sys, numpy as np\n"
        "from napari_wbcseg import SegmentationSettings, segment\n"
        "image = np.full((200, 200, 3), 230, np.uint8)\n"
        "image[60:120, 60:120] = 60\n"
        f"found = segment(image, {str(path)!r}, SegmentationSettings(recipe='classic'))\n"
        "assert found.count == 1, found\n"
        "heavy = {'keras', 'tensorflow', 'torch', 'jax', 'qtpy', 'napari'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
