from __future__ import annotations

import numpy as np
import pytest

from napari_wbcseg.network.architecture import CLASSIC, UNetArchitecture
from napari_wbcseg.network.unet import build_unet, set_weights, weights_of

from ..tiny_networks import RICH, TINY, random_weights


def test_the_published_network_is_built_layer_for_layer() -> None:
    model = build_unet(CLASSIC)

    assert model.count_params() == 7_846_081
    pooled = [f"down{level}_pool" for level in range(4)]
    expanded = [f"up{level}_relu1" for level in range(4)]
    dropouts = [layer for layer in model.layers if type(layer).__name__ == "Dropout"]
    assert sorted(layer.input.name for layer in dropouts) == sorted(
        model.get_layer(name).output.name for name in pooled + expanded
    )
    assert {layer.rate for layer in dropouts} == {0.25}
    upsampled, skip = model.get_layer("up0_join").input
    assert upsampled.name == model.get_layer("up0_upsample").output.name
    assert skip.name == model.get_layer("down0_relu1").output.name


@pytest.mark.parametrize("architecture", [CLASSIC, TINY, RICH])
def test_weights_have_the_names_and_shapes_that_the_architecture_says(architecture: UNetArchitecture) -> None:
    weights = weights_of(build_unet(architecture))
    assert {name: value.shape for name, value in weights.items()} == architecture.tensor_shapes()


def test_weights_set_are_the_weights_read_back() -> None:
    model, weights = build_unet(RICH), random_weights(RICH)
    set_weights(model, weights)
    read = weights_of(model)
    assert all(np.array_equal(read[name], weights[name]) for name in weights)


def test_any_size_divisible_by_the_multiple_goes_through() -> None:
    model = build_unet(RICH)
    assert model.predict_on_batch(np.zeros((2, 8, 20, 3), np.float32)).shape == (2, 8, 20, 5)


def test_mixed_precision_keeps_weights_and_output_in_float32() -> None:
    model = build_unet(RICH, dtype="mixed_bfloat16")
    assert model.get_layer("down0_conv0").compute_dtype == "bfloat16"
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert model.predict_on_batch(np.zeros((1, 4, 4, 3), np.float32)).dtype == np.float32
