"""What a user may hand in by mistake ends in one sentence, through the doors that users take."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import zarr
from PIL import Image
from typer.testing import CliRunner

from napari_wbcseg import (
    SegmentationSettings,
    TrainingSettings,
    WBCSegError,
    fine_tune,
    segment,
    train,
)
from napari_wbcseg.cli import app
from napari_wbcseg.errors import DatasetError, ImageError, ModelError

from .dark_model import spots, write_dark_model

CLASSIC = SegmentationSettings(recipe="classic")
ONE_STEP = TrainingSettings(epochs=1)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "dark.safetensors"
    path.parent.mkdir()
    write_dark_model(path)
    return path


def shell(*arguments: object) -> tuple[int, str]:
    """Run ``wbcseg`` and return its exit status and everything it said, on one line."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, re.sub(r"[\s│╭╮╰╯─]+", " ", result.output)


def assert_sentence(error: BaseException) -> None:
    assert isinstance(error, WBCSegError)
    text = str(error)
    assert text[0].isupper() or "/" in text
    assert text.endswith(".")
    assert "Traceback" not in text


# Arrays, through segment ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "words"),
    [
        pytest.param(np.zeros((0, 20, 3), np.uint8), "no pixels", id="no pixels"),
        pytest.param(np.zeros((20, 0), np.uint8), "no pixels", id="no columns"),
        pytest.param(np.zeros((0, 20, 20, 3), np.uint8), "no pixels", id="stack of none"),
        pytest.param(np.zeros((20, 20, 2), np.uint8), "2 channels", id="2 channels"),
        pytest.param(np.zeros((20, 20, 5), np.uint8), "5 channels", id="5 channels"),
        pytest.param(np.zeros((4, 20, 20, 2), np.uint8), "2 channels", id="stack of 2 channels"),
        pytest.param(np.zeros((20, 20), bool), "boolean", id="boolean"),
        pytest.param(np.full((20, 20, 3), np.nan), "NaN", id="NaN"),
        pytest.param(np.where(np.eye(20) > 0, np.nan, 0.5), "NaN", id="some NaN"),
        pytest.param(np.full((20, 20, 3), np.inf), "infinite", id="infinite"),
        pytest.param(np.full((20, 20), -1.0), "negative", id="negative"),
        pytest.param(np.full((20, 20), 1e6), "65535", id="more than 16 bits"),
        pytest.param(np.zeros(20, np.uint8), "not an image", id="a line"),
        pytest.param(np.uint8(3), "not an image", id="a number"),
        pytest.param(np.zeros((2, 2, 20, 20, 3), np.uint8), "not an image", id="five axes"),
        pytest.param(np.array([["a"]]), "type", id="text"),
        pytest.param([[1, 2], [3]], "not an image array", id="ragged"),
        pytest.param(None, "not an image array: it is a NoneType", id="nothing"),
        pytest.param(np.ma.masked_greater(np.ones((30, 30, 3)), 0), "has masked pixels: fill", id="masked"),
        pytest.param(["smear.png"], "it is a list", id="names"),
        pytest.param({"image": 1}, "it is a dict", id="a dict"),
    ],
)
def test_an_array_that_is_no_image(array: object, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        segment(array, settings=CLASSIC)
    assert_sentence(caught.value)


def test_a_group_of_arrays_is_no_image() -> None:
    group = zarr.create_group({})
    group["0"] = spots()[0]
    with pytest.raises(ImageError, match="not an image array: it is a Group"):
        segment(group)


def test_an_array_of_a_file_is_one_while_that_is_open(tmp_path: Path, model: Path) -> None:
    image, _ = spots()
    with h5py.File(tmp_path / "smear.h5", "w") as file:
        file["whole"], file["resolutions"] = image, image
        array = file["whole"]
        assert segment(array, model).count == 2
    with pytest.raises(ImageError, match="not an image array"):
        segment(array, model)


def test_a_picture_of_pillow_that_is_cut_off_is_told() -> None:
    with pytest.raises(ImageError, match="truncated"):
        segment(Image.open(io.BytesIO(jpeg(spots()[0])[:3000])))


def test_an_alpha_channel_is_dropped_aloud(model: Path) -> None:
    image, _ = spots()
    transparent = np.dstack([image, np.zeros(image.shape[:2], np.uint8)])
    found = segment(transparent, model)
    assert found.count == 2
    assert any("alpha" in note for note in found.notes)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_images_of_more_than_8_bits_are_scaled_aloud(model: Path, bits: int) -> None:
    image, _ = spots()
    deep = (image.astype(float) / 225 * (2**bits - 1)).astype(np.uint16)
    found = segment(deep, model)
    assert found.count == 2
    assert any(f"{bits} bits" in note for note in found.notes)


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr"])
def test_pictures_of_pillow_are_taken_in_their_colours(model: Path, mode: str) -> None:
    picture = Image.fromarray(spots()[0]).convert(mode)
    found, plain = segment(picture, model), segment(np.asarray(picture.convert("RGB")), model)
    assert np.array_equal(found.labels, plain.labels)
    assert (found.count, found.notes) == (2, plain.notes)


# Models and settings, through Python -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda image: segment(image, CLASSIC), "A SegmentationSettings is no model"),
        (lambda image: segment(image, settings=ONE_STEP), "are a TrainingSettings: give Segmentation"),
        (lambda image: train("images", {"epochs": 1}), r"are a dict: give TrainingSettings\(\), or"),
        (lambda image: train("images", CLASSIC), "are a SegmentationSettings: give Training"),
        (lambda image: train("images", init="nobody"), "no model named 'nobody'"),
        (lambda image: fine_tune([], blend=50), "share of the tuned weights is 50"),
    ],
)
def test_what_is_given_for_something_else_is_told(call: Callable[[np.ndarray], object], words: str) -> None:
    with pytest.raises(WBCSegError, match=words) as caught:
        call(spots()[0])
    assert_sentence(caught.value)


# Image files, through the shell --------------------------------------------------------------------


def jpeg(image: np.ndarray) -> bytes:
    return iio.imwrite("<bytes>", image, extension=".jpg")


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut.jpg": (lambda path: path.write_bytes(jpeg(spots()[0])[:3000]), "truncated or damaged"),
    "note.png": (lambda path: path.write_text("Dear colleague, the smear is enclosed. " * 3), "text file"),
    "empty.png": (lambda path: path.write_bytes(b""), "is empty"),
    "five.tif": (
        lambda path: iio.imwrite(path, np.zeros((20, 30, 5), np.uint8)),
        "channels|stack|pages|axes",
    ),
    "nan.tif": (lambda path: iio.imwrite(path, np.full((20, 30), np.nan, np.float32)), "NaN"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_image_file_is_named_and_the_others_are_done(tmp_path: Path, model: Path, name: str) -> None:
    make, words = BAD_FILES[name]
    folder = tmp_path / "slides"
    folder.mkdir()
    make(folder / name)
    iio.imwrite(folder / "good.png", spots()[0])
    status, said = shell("segment", folder, "--out", tmp_path / "out", "--model", model)
    assert status == 1
    assert name in said
    assert re.search(words, said)
    assert "Traceback" not in said
    assert any("good" in path.name for path in (tmp_path / "out").rglob("*.tif"))


def test_a_folder_of_nothing(tmp_path: Path, model: Path) -> None:
    (tmp_path / "nothing").mkdir()
    status, said = shell("segment", tmp_path / "nothing", "--out", tmp_path / "out", "--model", model)
    assert status != 0
    assert "holds no image" in said
    assert "Traceback" not in said


# Training data, through train and the shell --------------------------------------------------------


def mask(labels: np.ndarray) -> np.ndarray:
    return np.where(labels > 0, 255, 0).astype(np.uint8)


def training_folder(folder: Path) -> Path:
    """Write one sound pair."""
    folder.mkdir()
    image, labels = spots((128, 128), ((64, 64),))
    iio.imwrite(folder / "a.png", image)
    iio.imwrite(folder / "a-mask.png", mask(labels))
    return folder


BAD_DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "an image without mask": (
        lambda f: (f / "a-mask.png").rename(f / "b-mask.png"),
        r"a\.png .*without a mask",
    ),
    "a mask without image": (
        lambda f: iio.imwrite(f / "b-mask.png", np.zeros((9, 9), np.uint8)),
        r"b-mask\.png is without an image",
    ),
    "a mask of another size": (
        lambda f: iio.imwrite(f / "a-mask.png", np.eye(60, dtype=np.uint8) * 255),
        r"a-mask\.png is 60 × 60 pixels",
    ),
    "an empty folder": (lambda f: [path.unlink() for path in f.iterdir()], "holds no image"),
    "a truncated image": (
        lambda f: (f / "a.png").write_bytes((f / "a.png").read_bytes()[:200]),
        r"a\.png .*(truncated|damaged)",
    ),
    "a text file named .png": (
        lambda f: (f / "a.png").write_text("Dear colleague, this is no picture."),
        r"a\.png is not a JPEG",
    ),
    "a truncated mask": (
        lambda f: (f / "a-mask.png").write_bytes((f / "a-mask.png").read_bytes()[:60]),
        r"a-mask\.png .*(truncated|damaged)",
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_training_data_that_cannot_be_used(tmp_path: Path, case: str) -> None:
    spoil, words = BAD_DATA[case]
    folder = training_folder(tmp_path / "data")
    spoil(folder)
    with pytest.raises((DatasetError, ImageError), match=words) as caught:
        train(folder, ONE_STEP, tmp_path / "out")
    assert_sentence(caught.value)
    assert not list(tmp_path.rglob("*.safetensors"))
    status, said = shell("train", folder, "--out", tmp_path / "out", "--recipe", "classic")
    assert status != 0
    assert re.search(words.replace(" ", ""), said.replace(" ", ""))  # lines may break inside a path
    assert "Traceback" not in said


def evil(name: str, **changes: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for key, value in changes.items():
        setattr(member, key, value)
    return member


EVIL = {
    "parent": evil("SigTuple_data/Train_Data/../../../train-0.jpg"),
    "absolute": evil("/tmp/wbcseg-evil/Train_Data/train-0.jpg"),
    "symbolic link": evil(
        "SigTuple_data/Train_Data/train-0.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"
    ),
    "hard link": evil("SigTuple_data/Train_Data/train-0.jpg", type=tarfile.LNKTYPE, linkname="../../secret"),
}


@pytest.mark.parametrize("kind", EVIL)
def test_an_archive_that_reaches_outside_writes_nothing_there(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "in" / "set.tar"
    archive.parent.mkdir()
    content = jpeg(spots((128, 128), ((64, 64),))[0])
    with tarfile.open(archive, "w") as tar:
        sound = tarfile.TarInfo("SigTuple_data/Train_Data/train-1.jpg")
        sound.size = len(content)
        tar.addfile(sound, io.BytesIO(content))
        member = EVIL[kind]
        if member.isreg():
            member.size = len(content)
        tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match="no masks") as caught:
        train(archive, ONE_STEP, tmp_path / "out")
    assert_sentence(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/wbcseg-evil").exists()
    status, said = shell("evaluate", "classic", archive)
    assert status != 0
    assert "no masks" in said
    assert sorted(tmp_path.rglob("*")) == before


# Model files, through segment and the shell --------------------------------------------------------


def other_shapes(path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = file.metadata()
    tensors["down0_conv0/kernel"] = np.zeros((3, 3, 1, 7), np.float16)
    save_file(tensors, path, header)


BAD_MODELS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "of another kind": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200)),
    "text": lambda path: path.write_text("weights: none\n" * 20),
    "with tensors of the wrong shape": other_shapes,
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_model_file_that_is_none(tmp_path: Path, model: Path, case: str) -> None:
    BAD_MODELS[case](model)
    with pytest.raises(ModelError, match=r"dark\.safetensors") as caught:
        segment(spots()[0], model)
    assert_sentence(caught.value)
    image = tmp_path / "smear.png"
    iio.imwrite(image, spots()[0])
    status, said = shell("segment", image, "--out", tmp_path / "out", "--model", model)
    assert status != 0
    assert "dark.safetensors" in said.replace(" ", "")
    assert "Traceback" not in said


# What has no end ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize(
    "arguments",
    [
        ["segment", "PIPE.png", "--out", "OUT"],
        ["segment", "smear.png", "--out", "OUT", "--model", "PIPE.safetensors"],
        ["segment", "smear.png", "--out", "OUT", "--settings", "PIPE.json"],
        ["segment", "--settings", "PIPE.json", "--out", "OUT"],
        ["segment", "smear.png", "--out", "OUT", "--scheduler", "PIPE.json"],
        ["models", "import", "PIPE.h5"],
        ["models", "import", "PIPE.safetensors"],
        ["models", "show", "PIPE.safetensors"],
        ["train", "PIPE.tar", "--out", "OUT"],
        ["train", "pairs", "--out", "OUT", "--settings", "PIPE.json"],
        ["evaluate", "classic", "PIPE.tar"],
    ],
    ids=" ".join,
)
def test_a_pipe_is_refused_at_once(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    iio.imwrite("smear.png", spots()[0])
    training_folder(Path("pairs"))
    for argument in arguments:
        if argument.startswith("PIPE"):
            os.mkfifo(argument)
    status, said = shell(*arguments)
    assert status == 1
    assert "a pipe or a device" in said
