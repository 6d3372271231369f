"""The U-Net as a Keras model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .architecture import NORM_EPSILON, UNetArchitecture
from .backend import KerasModel, import_keras


def build_unet(architecture: UNetArchitecture, *, dtype: str = "float32") -> KerasModel:
    """Build the network, with fresh random weights.

    Parameters
    ----------
    architecture : UNetArchitecture
        Levels, normalisation and heads.
    dtype : str
        Keras dtype policy of the layers, such as ``mixed_bfloat16``; the heads and the
        output are float32 whatever it says. Keras' global policy is not looked at.

    Returns
    -------
    KerasModel
        Fully convolutional: (N, H, W, input_channels) to float32 (N, H, W, K), the heads
        joined in order. H and W must be divisible by ``architecture.multiple``.
    """
    layers = import_keras().layers
    rate, widths, normalised = architecture.dropout, architecture.widths, architecture.batch_norm
    image = layers.Input((None, None, architecture.input_channels), name="image")
    *skips, x = contracted(image, widths, normalised, dtype, rate)
    for level in reversed(range(len(skips))):
        x = layers.UpSampling2D(2, interpolation="nearest", dtype=dtype, name=f"up{level}_upsample")(x)
        x = layers.Concatenate(dtype=dtype, name=f"up{level}_join")([x, skips[level]])
        x = _block(x, f"up{level}", widths[level], normalised, dtype)
        x = layers.Dropout(rate, dtype=dtype, name=f"up{level}_dropout")(x)
    heads = [
        layers.Conv2D(
            output.channels, 1, activation=output.activation, dtype="float32", name=f"head_{output.name}"
        )(x)
        for output in architecture.outputs
    ]
    joined = layers.Concatenate(dtype="float32", name="output")(heads) if len(heads) > 1 else heads[0]
    return import_keras().Model(image, joined, name="unet")


def contracted(
    x: Any, widths: Sequence[int], normalised: bool, dtype: str, dropout: float | None = None
) -> list[Any]:
    """Put contracting levels behind a Keras tensor, and return what each gives."""
    layers, found = import_keras().layers, []
    for level, width in enumerate(widths):
        if level:
            x = layers.MaxPooling2D(2, dtype=dtype, name=f"down{level - 1}_pool")(x)
            if dropout is not None:
                x = layers.Dropout(dropout, dtype=dtype, name=f"down{level - 1}_dropout")(x)
        x = _block(x, f"down{level}", width, normalised, dtype)
        found.append(x)
    return found


def _block(x: Any, name: str, width: int, normalised: bool, dtype: str) -> Any:
    """Put the two convolutions of a level, each with its normalisation and ReLU, behind a Keras tensor."""
    layers = import_keras().layers
    for i in range(2):
        x = layers.Conv2D(
            width, 3, padding="same", use_bias=not normalised, dtype=dtype, name=f"{name}_conv{i}"
        )(x)
        if normalised:
            x = layers.BatchNormalization(epsilon=NORM_EPSILON, dtype=dtype, name=f"{name}_norm{i}")(x)
        x = layers.ReLU(dtype=dtype, name=f"{name}_relu{i}")(x)
    return x


def weights_of(model: KerasModel) -> dict[str, np.ndarray]:
    """Return copies of all weights by the names of `UNetArchitecture.tensor_shapes`, float32."""
    keras = import_keras()
    return {
        name: np.array(keras.ops.convert_to_numpy(variable.value), dtype=np.float32)
        for name, variable in _variables(model).items()
    }


def set_weights(model: KerasModel, weights: Mapping[str, np.ndarray]) -> None:
    """Set all weights by name."""
    for name, variable in _variables(model).items():
        variable.assign(weights[name].astype("float32"))


def _variables(model: KerasModel) -> dict[str, Any]:
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        for variable in layer.variables
        # Dropout layers carry the state of their random generator among their variables.
        if variable.name != "seed_generator_state"
    }
