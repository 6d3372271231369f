"""What a U-Net of this package looks like: its levels, its outputs and the tensors they need.

Everything that handles a network (the Keras model, the model file, the ONNX graph)
is derived from one `UNetArchitecture`, without Keras.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass

#: Added to the variance in batch normalisation; one value for Keras and ONNX.
NORM_EPSILON = 1e-3


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Output:
    """One head of the network: a 1x1 convolution and its activation."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=32)]
    channels: Annotated[int, Field(ge=1, le=64)]
    activation: Literal["sigmoid", "linear"]


@dataclass(frozen=True)
class Convolution:
    """One convolution of the network: its layer name, its normalisation and its sizes."""

    name: str
    norm: str | None
    kernel: int
    channels_in: int
    channels_out: int


class UNetArchitecture(BaseModel, frozen=True, extra="forbid"):
    """A U-Net: contracting levels, expanding levels, skip connections, 1x1 heads.

    Parameters
    ----------
    input_channels : int
        Channels of the input image: 1 for grey, 3 for colour.
    widths : tuple of int
        Features of each level, from full resolution down. Each level halves the
        resolution, so sides must be divisible by ``2 ** (len(widths) - 1)``.
    batch_norm : bool
        Normalise between each 3x3 convolution (then without bias) and its ReLU.
    dropout : float
        Fraction of features dropped in training, after every pooling and after the two
        convolutions of every expanding level.
    outputs : tuple of Output
        The heads; the network's output joins them along the channel axis in this order.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image
    Segmentation, MICCAI 2015.
    """

    input_channels: Annotated[int, Field(ge=1, le=64)]
    widths: Annotated[tuple[Annotated[int, Field(ge=1, le=2048)], ...], Field(min_length=2, max_length=8)]
    batch_norm: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25
    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _names_differ(self) -> UNetArchitecture:
        names = [output.name for output in self.outputs]
        if len(set(names)) != len(names):
            raise ValueError("the outputs must have different names")
        return self

    @property
    def multiple(self) -> int:
        """What the height and width of the input must be divisible by."""
        return 2 ** (len(self.widths) - 1)

    @property
    def output_channels(self) -> int:
        """Channels of the joined output."""
        return sum(output.channels for output in self.outputs)

    @property
    def output_slices(self) -> dict[str, slice]:
        """The channels of the joined output that belong to each head, by its name."""
        ends = accumulate(output.channels for output in self.outputs)
        return {one.name: slice(end - one.channels, end) for one, end in zip(self.outputs, ends, strict=True)}

    def with_outputs(self, outputs: tuple[Output, ...]) -> UNetArchitecture:
        """Return the same network with those of some heads added that it lacks."""
        names = {output.name for output in self.outputs}
        added = tuple(output for output in outputs if output.name not in names)
        return self.model_copy(update={"outputs": self.outputs + added})

    def convolutions(self) -> tuple[Convolution, ...]:
        """Return every convolution in the order in which the network runs them.

        Names are ``down{level}_conv{i}``, ``up{level}_conv{i}`` and ``head_{output}``,
        with normalisations ``down{level}_norm{i}`` and ``up{level}_norm{i}``.
        """
        found = down_convolutions(self.input_channels, self.widths, self.batch_norm)
        channels = self.widths[-1]
        for level in reversed(range(len(self.widths) - 1)):
            found += _block("up", level, channels + self.widths[level], self.widths[level], self.batch_norm)
            channels = self.widths[level]
        found += [Convolution(f"head_{one.name}", None, 1, channels, one.channels) for one in self.outputs]
        return tuple(found)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every weight, by its name ``layer/variable``.

        Kernels are ``(height, width, in, out)``. Normalisations have ``gamma``, ``beta``,
        ``moving_mean`` and ``moving_variance``.
        """
        return convolution_shapes(self.convolutions())

    @property
    def parameter_count(self) -> int:
        """Number of weights, those of the normalisation statistics included."""
        return sum(map(math.prod, self.tensor_shapes().values()))


def down_convolutions(channels: int, widths: Sequence[int], norm: bool) -> list[Convolution]:
    """Return the convolutions of contracting levels, from full resolution down."""
    found: list[Convolution] = []
    for level, width in enumerate(widths):
        found += _block("down", level, channels, width, norm)
        channels = width
    return found


def _block(side: str, level: int, channels: int, width: int, norm: bool) -> list[Convolution]:
    name = f"{side}{level}"
    return [
        Convolution(f"{name}_conv{i}", f"{name}_norm{i}" if norm else None, 3, taken, width)
        for i, taken in enumerate((channels, width))
    ]


def convolution_shapes(convolutions: Iterable[Convolution]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of convolutions; see `UNetArchitecture.tensor_shapes`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for conv in convolutions:
        shapes[f"{conv.name}/kernel"] = (conv.kernel, conv.kernel, conv.channels_in, conv.channels_out)
        if conv.norm is None:
            shapes[f"{conv.name}/bias"] = (conv.channels_out,)
        else:
            for variable in ("gamma", "beta", "moving_mean", "moving_variance"):
                shapes[f"{conv.norm}/{variable}"] = (conv.channels_out,)
    return shapes


#: The published network: grey 128x128 tiles, one probability; 7,846,081 parameters.
CLASSIC = UNetArchitecture(
    input_channels=1, widths=(32, 64, 128, 256, 512), outputs=(Output("cell", 1, "sigmoid"),)
)
