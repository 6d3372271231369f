"""The U-Net as an ONNX graph, built from the architecture and the weights without Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .architecture import NORM_EPSILON, Convolution, UNetArchitecture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .model_file import ModelFile

#: Resize-13 and everything else used here exists; read by every onnxruntime since 1.8.
OPSET = 13
IR_VERSION = 7
INPUT_NAME = "image"
OUTPUT_NAME = "output"


def onnx_bytes(model: ModelFile) -> bytes:
    """Return a serialised ONNX model that predicts what the Keras model predicts.

    Input ``image`` float32 (N, H, W, C), output ``output`` float32 (N, H, W, K), with N, H
    and W free; H and W must be divisible by ``architecture.multiple``. Dropout is absent,
    and batch normalisation is folded into the convolution before it.
    """
    return build_graph(model.header.architecture, model.weights)


def build_graph(architecture: UNetArchitecture, weights: Mapping[str, np.ndarray]) -> bytes:
    """Return the serialised graph of an architecture with these weights; see `onnx_bytes`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    convolutions = {conv.name: conv for conv in architecture.convolutions()}

    def convolve(x: str, name: str) -> str:
        conv = convolutions[name]
        kernel, bias = _folded(conv, weights)
        pad = conv.kernel // 2
        return add(
            "Conv",
            # Keras keeps (height, width, in, out), ONNX (out, in, height, width).
            [x, constant(f"{name}/W", kernel.transpose(3, 2, 0, 1)), constant(f"{name}/B", bias)],
            name,
            kernel_shape=[conv.kernel, conv.kernel],
            pads=[pad] * 4,
        )

    def block(x: str, side: str, level: int) -> str:
        for i in range(2):
            x = add("Relu", [convolve(x, f"{side}{level}_conv{i}")], f"{side}{level}_relu{i}")
        return x

    double = constant("double", np.array([1, 1, 2, 2], np.float32))
    x = add("Transpose", [INPUT_NAME], "channels_first", perm=[0, 3, 1, 2])
    skips = []
    bottom = architecture.levels - 1
    for level in range(bottom):
        x = block(x, "down", level)
        skips.append(x)
        x = add("MaxPool", [x], f"down{level}_pool", kernel_shape=[2, 2], strides=[2, 2])
    x = block(x, "down", bottom)
    for level in reversed(range(bottom)):
        x = add(
            "Resize",
            [x, "", double],
            f"up{level}_upsample",
            mode="nearest",
            # Together: each value is repeated twice, as Keras' UpSampling2D does.
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        x = add("Concat", [x, skips[level]], f"up{level}_join", axis=1)
        x = block(x, "up", level)
    heads = []
    for output in architecture.outputs:
        head = convolve(x, f"head_{output.name}")
        if output.activation == "sigmoid":
            head = add("Sigmoid", [head], f"{output.name}_sigmoid")
        heads.append(head)
    joined = add("Concat", heads, "heads", axis=1) if len(heads) > 1 else heads[0]
    add("Transpose", [joined], OUTPUT_NAME, perm=[0, 2, 3, 1])

    def value(name: str, channels: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "H", "W", channels])

    graph = helper.make_graph(
        nodes,
        "unet",
        [value(INPUT_NAME, architecture.input_channels)],
        [value(OUTPUT_NAME, architecture.output_channels)],
        constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="napari-wbcseg"
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _folded(conv: Convolution, weights: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias of a convolution with its normalisation folded in."""
    kernel = weights[f"{conv.name}/kernel"].astype(np.float64)
    if conv.norm is None:
        return kernel.astype(np.float32), weights[f"{conv.name}/bias"].astype(np.float32)
    gamma, beta, mean, variance = (
        weights[f"{conv.norm}/{name}"].astype(np.float64)
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + NORM_EPSILON)
    return (kernel * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)


def described_onnx_bytes(model: ModelFile) -> bytes:
    """Return the ONNX graph with what a user of it must know among its properties."""
    import onnx

    graph = onnx.load_from_string(onnx_bytes(model))
    header = model.header
    outputs = " ".join(f"{output.name}:{output.channels}" for output in header.architecture.outputs)
    onnx.helper.set_model_props(
        graph,
        {
            "name": model.id,
            "recipe": header.recipe,
            "input": header.input,
            "output channels": outputs,
            "canonical diameter": f"{header.canonical_diameter or 'as it comes'}",
            "training data": header.training_data,
        },
    )
    return bytes(graph.SerializeToString())
