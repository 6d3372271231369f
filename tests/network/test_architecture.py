from __future__ import annotations

import pytest
from pydantic import ValidationError

from napari_wbcseg.network.architecture import CLASSIC, Output, UNetArchitecture

from ..tiny_networks import RICH


def test_the_published_network_has_its_published_number_of_parameters() -> None:
    assert CLASSIC.parameter_count == 7_846_081


def test_sides_must_be_divisible_by_two_for_every_pooling() -> None:
    assert CLASSIC.multiple == 16
    assert RICH.multiple == 4


def test_each_head_has_its_place_in_the_joined_output() -> None:
    assert RICH.output_channels == 5
    assert RICH.output_slices["offset"] == slice(2, 4)
    assert RICH.output_slices["size"] == slice(4, 5)
    assert "nucleus" not in RICH.output_slices


def test_convolutions_that_are_normalised_have_no_bias() -> None:
    shapes = RICH.tensor_shapes()
    assert "down0_conv0/bias" not in shapes
    assert shapes["down0_norm0/gamma"] == (4,)
    assert shapes["head_offset/bias"] == (2,)


def test_an_architecture_survives_json() -> None:
    assert UNetArchitecture.model_validate_json(RICH.model_dump_json()) == RICH


@pytest.mark.parametrize(
    "changes",
    [
        {"widths": (8,)},
        {"widths": (8, 0)},
        {"widths": (8, 10**6)},
        {"input_channels": 0},
        {"dropout": 1.0},
        {"outputs": ()},
        {"outputs": (Output("a", 1, "linear"), Output("a", 1, "linear"))},
        {"surprise": 1},
    ],
)
def test_impossible_architectures_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        UNetArchitecture.model_validate({**RICH.model_dump(), **changes})
