"""The U-Net as an ONNX graph, built from the architecture and the weights without Keras."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from .architecture import NORM_EPSILON, Convolution
from .model_file import ModelFile

#: Resize-13 and everything else used here exists; read by every onnxruntime since 1.8.
OPSET = 13
IR_VERSION = 7
INPUT_NAME = "image"
OUTPUT_NAME = "output"


class Graph:
    """An ONNX graph as it is built, layer by layer.

    Parameters
    ----------
    convolutions : iterable of Convolution
    weights : mapping of ndarray
    """

    def __init__(self, convolutions: Iterable[Convolution], weights: Mapping[str, np.ndarray]) -> None:
        self._convolutions = {conv.name: conv for conv in convolutions}
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add an array; return its name."""
        from onnx import numpy_helper

        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Add a node, whose output bears its name; return that."""
        from onnx import helper

        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def convolve(self, x: str, *names: str) -> str:
        """Add a convolution with its normalisation folded in, or several of one kernel as one."""
        size = self._convolutions[names[0]].kernel
        folded = [_folded(self._convolutions[name], self._weights) for name in names]
        kernel, bias = (np.concatenate(parts, axis=-1) for parts in zip(*folded, strict=True))
        name = "+".join(names)
        return self.add(
            "Conv",
            # Keras keeps (height, width, in, out), ONNX (out, in, height, width).
            [x, self.constant(f"{name}/W", kernel.transpose(3, 2, 0, 1)), self.constant(f"{name}/B", bias)],
            name,
            kernel_shape=[size, size],
            pads=[size // 2] * 4,
        )

    def block(self, x: str, side: str, level: int) -> str:
        """Add the two convolutions of a level."""
        for i in range(2):
            x = self.add("Relu", [self.convolve(x, f"{side}{level}_conv{i}")], f"{side}{level}_relu{i}")
        return x

    def down(self, levels: int) -> list[str]:
        """Add the input and the contracting levels; return the output of each, channels first."""
        x = self.add("Transpose", [INPUT_NAME], "channels_first", perm=[0, 3, 1, 2])
        found = [self.block(x, "down", 0)]
        for level in range(1, levels):
            x = self.add("MaxPool", [found[-1]], f"down{level - 1}_pool", kernel_shape=[2, 2], strides=[2, 2])
            found.append(self.block(x, "down", level))
        return found

    def finish(
        self, name: str, taken: list[str | int], given: list[str | int], properties: dict[str, str]
    ) -> bytes:
        """Return the serialised graph from ``image`` to ``output``, which have these shapes."""
        import onnx
        from onnx import TensorProto, helper

        start = helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, taken)
        end = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, given)
        graph = helper.make_graph(self._nodes, name, [start], [end], self._constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="napari-wbcseg"
        )
        model.ir_version = IR_VERSION
        helper.set_model_props(model, properties)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def onnx_bytes(model: ModelFile) -> bytes:
    """Return a serialised ONNX model that predicts what the Keras model predicts.

    Input ``image`` float32 (N, H, W, C), output ``output`` float32 (N, H, W, K), with N, H
    and W free; H and W must be divisible by ``architecture.multiple``. Dropout is absent,
    and batch normalisation is folded into the convolution before it. What a user of it must know is
    among its properties.
    """
    header, architecture = model.header, model.architecture
    graph = Graph(architecture.convolutions(), model.weights)
    double = graph.constant("double", np.array([1, 1, 2, 2], np.float32))
    *skips, x = graph.down(len(architecture.widths))
    for level in reversed(range(len(skips))):
        x = graph.add(
            "Resize",
            [x, "", double],
            f"up{level}_upsample",
            mode="nearest",
            # Together: each value is repeated twice, as Keras' UpSampling2D does.
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        x = graph.add("Concat", [x, skips[level]], f"up{level}_join", axis=1)
        x = graph.block(x, "up", level)
    heads = []
    # Neighbours of one activation are one convolution: on so few channels it costs as much as each alone.
    for activation, outputs in groupby(architecture.outputs, lambda output: output.activation):
        head = graph.convolve(x, *(f"head_{output.name}" for output in outputs))
        if activation == "sigmoid":
            head = graph.add("Sigmoid", [head], f"{head}_sigmoid")
        heads.append(head)
    joined = graph.add("Concat", heads, "heads", axis=1) if len(heads) > 1 else heads[0]
    graph.add("Transpose", [joined], OUTPUT_NAME, perm=[0, 2, 3, 1])
    size: list[str | int] = ["N", "H", "W"]
    properties = {
        "name": model.id,
        "recipe": header.recipe,
        "input": header.input,
        "output channels": " ".join(f"{output.name}:{output.channels}" for output in architecture.outputs),
        "canonical diameter": f"{header.canonical_diameter or 'as it comes'}",
        "training data": header.training_data,
    }
    taken, given = [*size, architecture.input_channels], [*size, architecture.output_channels]
    return graph.finish("unet", taken, given, properties)


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
