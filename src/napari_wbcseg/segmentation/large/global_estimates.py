"""What is estimated once for a whole image: its light, the size of its cells, the stain of its red cells.

It is estimated from fields spread evenly over the image, always the same ones, so that it depends
neither on blocks nor on their order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from ..scale import PARAMETERS as SCALE

if TYPE_CHECKING:
    from ...network.model_file import ModelFile
    from ...progress import Progress
    from ...settings import SegmentationSettings
    from .source import PixelSource

_FIELD = 640
_FIELDS_A_SIDE = 6
_FIELDS_LOOKED_AT = 6
_GAP = 16
_DIGEST_SIDE = 64


class Survey(BaseModel):
    """What was estimated.

    Attributes
    ----------
    value_range : float
        Value of the image that stands for full brightness.
    background : tuple of float
        Colour of the empty slide, RGB, 0 to 255.
    cell_diameter : float or None
        Pixels; None where no white cell was seen, and for the classic recipe.
    red_diameter : float or None
        Pixels; None where the red cells could not be measured.
    notes : tuple of str
        For the user.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value_range: float
    background: tuple[float, float, float]
    cell_diameter: float | None
    red_diameter: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Field:
    top: int
    left: int
    pixels: np.ndarray


def survey_image(
    source: PixelSource, model: ModelFile, settings: SegmentationSettings, progress: Progress
) -> Survey:
    """Estimate what all parts of a large image share.

    The fields with the densest stain are laid side by side, and segmented like one image.

    Parameters
    ----------
    source : PixelSource
    model : ModelFile
    settings : SegmentationSettings
    progress : Progress

    Returns
    -------
    Survey
    """
    from ...images.illumination import background_colour
    from ...images.read import prepare_image
    from ..robust import find_cells

    fields = []
    places = _places(source.shape)
    for number, (top, left) in enumerate(places):
        progress(number, len(places), "Taking samples of the image")
        bottom, right = min(top + _FIELD, source.shape[0]), min(left + _FIELD, source.shape[1])
        fields.append(_Field(top, left, source.read(top, left, bottom, right)))
    every = np.concatenate([field.pixels[::4, ::4].reshape(-1, 3) for field in fields])
    background = background_colour(every[:, None])
    corner = prepare_image(source.raw(0, 0, 1, 1), source.value_range)
    given = settings.cell_diameter
    if settings.recipe == "classic":
        return Survey(
            value_range=source.value_range,
            background=tuple(background.tolist()),
            cell_diameter=None,
            notes=corner.notes,
        )
    stain = [float(np.percentile(background.mean() - f.pixels[::4, ::4].mean(axis=-1), 99)) for f in fields]
    densest = sorted(np.argsort(stain, kind="stable")[::-1][:_FIELDS_LOOKED_AT])
    mosaic = _mosaic([fields[i].pixels for i in densest], background)
    red_cell = None
    notes = list(corner.notes)
    if given is None:
        found = find_cells(mosaic, model, settings, progress)
        given, red_cell = found.cell_diameter, found.red_cell
        notes += found.notes
        if given is None and red_cell is not None:
            given = SCALE.white_over_red * red_cell
            notes = ["No white cell was in the samples, so their size was taken from the red cells."]
    return Survey(
        value_range=source.value_range,
        background=tuple(background.tolist()),
        cell_diameter=given,
        red_diameter=red_cell,
        notes=tuple(notes),
    )


def image_digest(source: PixelSource) -> str:
    """Return a hash of small parts of an image, by which an interrupted run knows it again."""
    digest = hashlib.sha256(f"{source.shape} {source.dtype}".encode())
    for top, left in _places(source.shape):
        bottom = min(top + _DIGEST_SIDE, source.shape[0])
        right = min(left + _DIGEST_SIDE, source.shape[1])
        digest.update(np.ascontiguousarray(source.raw(top, left, bottom, right)).tobytes())
    return digest.hexdigest()[:16]


def _places(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the corners of fields that lie evenly in an image and do not overlap."""
    along = []
    for length in shape:
        count = max(1, min(_FIELDS_A_SIDE, length // _FIELD))
        pitch = length / count
        along.append([max(0, round((i + 0.5) * pitch - _FIELD / 2)) for i in range(count)])
    return [(top, left) for top in along[0] for left in along[1]]


def _mosaic(fields: list[np.ndarray], background: np.ndarray) -> np.ndarray:
    """Lay fields side by side, with a strip of empty slide between them."""
    columns = int(np.ceil(np.sqrt(len(fields))))
    rows = -(-len(fields) // columns)
    height, width = (max(field.shape[axis] for field in fields) for axis in (0, 1))
    mosaic = np.empty((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), np.float32)
    mosaic[:] = background
    for number, field in enumerate(fields):
        top, left = number // columns * (height + _GAP), number % columns * (width + _GAP)
        mosaic[top : top + field.shape[0], left : left + field.shape[1]] = field
    return mosaic
