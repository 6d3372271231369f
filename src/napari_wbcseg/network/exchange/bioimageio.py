"""A model as a bioimage.io package, which other programs of the field run.

The package holds the ONNX graph, a test input with the output it must give, what is done to
a picture before and after, and this package's own model file. The format is that of
https://github.com/bioimage-io/spec-bioimage-io, written and checked by ``bioimageio.spec``.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ModelError
from ...images.illumination import background_colour, transmittance
from ...version import __version__
from ..architecture import UNetArchitecture
from ..engines.onnx import OnnxEngine
from ..library import BUILT_IN
from ..model_file import ModelFile, encode_model
from ..onnx_graph import OPSET

_SIDE = 128
_WHITE = 255.0
_BRIGHTEST = 1.25 * _WHITE
#: Pixels at the border of a tile that are worth less than the rest.
_HALO = 16

_ROBUST_NOTES = """\
## Before

1. Divide the picture by the colour of its empty slide and multiply by 255, so that the empty slide is
   white: (255, 255, 255). That colour is the median of the pixels between the 80th and the 98th
   percentile of brightness.
2. Scale the picture so that a white cell is about {diameter:g} pixels across.
3. The package does the rest, `2 - 2 x / 255` on values clipped to 0 ... {brightest:g}: it gives 0 on the
   empty slide, and about 2 in dark stain.

## After

Channels of the output, in this order:

| channel | what |
| --- | --- |
| cell | probability that the pixel lies in a white cell |
| centre | 1 at the centre of a cell, falling off around it |
| offset_0, offset_1 | way to the centre of the cell, down and to the right, in units of {radius:g} pixels |
| size | log2 of the cell's diameter over {diameter:g} pixels |

Cells are the pixels with a probability above 0.5. Where cells touch, each pixel belongs to the centre that
its offset points to.
"""
_CLASSIC_NOTES = """\
## Before

1. Grey: 0.299 R + 0.587 G + 0.114 B, rounded to 0 ... 255.
2. Levels up to 20, the dark edge of the field, become 255.
3. The package divides by 255. Cells should be about 63 pixels across.

## After

The one channel of the output is the probability that a pixel lies in a white cell; cells are the
pixels above 0.5.
"""


def package_bytes(model: ModelFile) -> bytes:
    """Return a zipped package.

    Raises
    ------
    ModelError
        If ``bioimageio.spec`` is missing, or the recipe's network has no description here.
    """
    try:
        from bioimageio.spec import save_bioimageio_package
    except ImportError:
        raise ModelError(
            "A bioimage.io package needs bioimageio.spec: install it with "
            '`pip install "napari-wbcseg[bioimageio]"`.'
        ) from None
    with tempfile.TemporaryDirectory(prefix="wbcseg-export-") as name:
        folder = Path(name)
        description = _describe(model, folder)
        target = folder / "package.zip"
        save_bioimageio_package(description, output_path=target)
        return target.read_bytes()


def test_picture(model: ModelFile) -> np.ndarray:
    """Return the picture that the package is tested with: a synthetic smear as the notes ask for it.

    Returns
    -------
    ndarray of float32, shape (1, 128, 128, C)
        0 to 255.
    """
    from ...synthetic.smear import synthetic_smear
    from ..classic import classic_grey

    diameter = model.header.canonical_diameter or 63.0
    smear = synthetic_smear((_SIDE, _SIDE), cell_diameter=diameter, white_cells=1, seed=3)
    if model.architecture.input_channels == 1:
        return classic_grey(smear.image)[None, ..., None].astype(np.float32)
    light = transmittance(smear.image, background_colour(smear.image))
    return np.ascontiguousarray(light[None] * _WHITE, dtype=np.float32)


# Not a test, whatever its name says to pytest.
test_picture.__test__ = False  # type: ignore[attr-defined]


def network_input_of(picture: np.ndarray, architecture: UNetArchitecture) -> np.ndarray:
    """Return what the package's preprocessing makes of a picture."""
    if architecture.input_channels == 1:
        return picture / np.float32(_WHITE)
    return np.clip(picture, 0, _BRIGHTEST) * np.float32(-2 / _WHITE) + np.float32(2)


def channel_names(architecture: UNetArchitecture) -> list[str]:
    """Return a name for each channel of the output."""
    return [
        output.name if output.channels == 1 else f"{output.name}_{number}"
        for output in architecture.outputs
        for number in range(output.channels)
    ]


def _describe(model: ModelFile, folder: Path) -> Any:
    from bioimageio.spec.model import v0_5 as spec

    from ..onnx_graph import described_onnx_bytes

    header, architecture = model.header, model.architecture
    picture = test_picture(model)
    predicted = OnnxEngine(model, threads=1).predict(network_input_of(picture, architecture))

    def file(name: str, content: bytes) -> Any:
        (folder / name).write_bytes(content)
        return spec.FileDescr(source=folder / name)

    def array(name: str, values: np.ndarray) -> Any:
        np.save(folder / name, values)
        return spec.FileDescr(source=folder / name)

    colours = ["grey"] if architecture.input_channels == 1 else ["red", "green", "blue"]
    least = max(4 * _HALO, architecture.multiple)
    size = spec.ParameterizedSize(min=least, step=architecture.multiple)
    sides = [spec.AxisId("y"), spec.AxisId("x")]
    scaling = (
        [_scale(spec, 1 / _WHITE, 0.0)]
        if architecture.input_channels == 1
        else [
            spec.ClipDescr(kwargs=spec.ClipKwargs(min=0.0, max=_BRIGHTEST)),
            _scale(spec, -2 / _WHITE, 2.0),
        ]
    )
    tensor = spec.TensorId("image")
    return spec.ModelDescr(
        # The format allows few signs in a name.
        name=f"White blood cells ({re.sub('[^A-Za-z0-9_+() -]', '-', header.name)})",
        description="U-Net that outlines white blood cells in stained smears "
        f"(napari-wbcseg, recipe {header.recipe}).",
        authors=[spec.Author(name="The napari-wbcseg developers")],
        cite=[
            spec.CiteEntry(
                text="Ronneberger, Fischer, Brox: U-Net. MICCAI 2015.",
                doi=spec.Doi("10.1007/978-3-319-24574-4_28"),
            )
        ],
        license=spec.LicenseId("BSD-3-Clause") if header.name in (*BUILT_IN, *BUILT_IN.values()) else None,
        tags=["white-blood-cells", "hematology", "brightfield", "2d", "unet", "segmentation", "napari"],
        documentation=file("README.md", documentation(model).encode()),
        covers=[file("cover.png", _png(picture[0]))],
        attachments=[file("model.safetensors", encode_model(header, model.weights))],
        inputs=[
            spec.InputTensorDescr(
                id=tensor,
                description=f"{', '.join(colours)}; 0 to 255; see the documentation for light and size",
                axes=[
                    spec.BatchAxis(),
                    *(spec.SpaceInputAxis(id=side, size=size) for side in sides),
                    spec.ChannelAxis(channel_names=[spec.Identifier(name) for name in colours]),
                ],
                data=spec.IntervalOrRatioDataDescr(type="float32", range=(0.0, None)),
                preprocessing=[*scaling, _to_float(spec)],
                test_tensor=array("test-input.npy", picture),
            )
        ],
        outputs=[
            spec.OutputTensorDescr(
                id=spec.TensorId("maps"),
                description="a map for each channel; see the documentation",
                axes=[
                    spec.BatchAxis(),
                    *(
                        spec.SpaceOutputAxisWithHalo(
                            id=side, size=spec.SizeReference(tensor_id=tensor, axis_id=side), halo=_HALO
                        )
                        for side in sides
                    ),
                    spec.ChannelAxis(
                        channel_names=[spec.Identifier(name) for name in channel_names(architecture)]
                    ),
                ],
                test_tensor=array("test-output.npy", predicted),
            )
        ],
        weights=spec.WeightsDescr(
            onnx=spec.OnnxWeightsDescr(
                source=file("weights.onnx", described_onnx_bytes(model)).source, opset_version=OPSET
            )
        ),
    )


def documentation(model: ModelFile) -> str:
    """Return the README of the package, as Markdown."""
    header = model.header
    diameter = header.canonical_diameter or 63.0
    notes = _CLASSIC_NOTES if model.architecture.input_channels == 1 else _ROBUST_NOTES
    scores = ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in header.scores.items())
    return "\n".join(
        [
            f"# {header.name}",
            "",
            f"Model {model.id} of napari-wbcseg {__version__}, recipe {header.recipe}. "
            "For research and teaching, not for diagnosis.",
            "",
            notes.format(diameter=diameter, radius=diameter / 2, brightest=_BRIGHTEST),
            "## Training data and validation",
            "",
            f"Trained on: {header.training_data or 'not told'}.",
            "",
            f"Scores: {scores or 'not told'}. Look at its outlines on your own pictures first.",
            "",
            header.notes,
            "",
        ]
    )


def _scale(spec: Any, gain: float, offset: float) -> Any:
    return spec.ScaleLinearDescr(kwargs=spec.ScaleLinearKwargs(gain=gain, offset=offset))


def _to_float(spec: Any) -> Any:
    return spec.EnsureDtypeDescr(kwargs=spec.EnsureDtypeKwargs(dtype="float32"))


def _png(picture: np.ndarray) -> bytes:
    import io

    from PIL import Image

    pixels = np.rint(np.clip(picture, 0, 255)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).resize((512, 512)).save(buffer, "PNG")
    return buffer.getvalue()
