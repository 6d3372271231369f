"""What a synthetic smear is drawn with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from ..errors import SettingsError
from ..settings import Settings
from .stains import BACKGROUNDS, STAINS, Stain
from .white_cells import KINDS

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, le=50)]
Side = Annotated[int, Field(ge=16, le=32_000)]
Level = Annotated[float, Field(ge=0, le=255)]


def _one_of(named: Mapping[str, Any], what: str) -> BeforeValidator:
    def look_up(value: Any) -> Any:
        if isinstance(value, str) and value not in named:
            raise SettingsError(f"There is no {what} named {value!r}: choose one of {', '.join(named)}.")
        return named[value] if isinstance(value, str) else value

    return BeforeValidator(look_up)


class SmearParameters(Settings):
    """Everything that can be chosen of a smear; the same parameters give the same bytes.

    Attributes
    ----------
    shape : tuple of 2 int
        Rows and columns.
    cell_diameter : float
        Diameter of a typical white cell in pixels, 6 to 1000: the magnification.
    white_cells : int, optional
        Number of white cells; by default as many as such a field would hold.
    kinds : dict of str to float
        Relative frequency of the kinds: neutrophil, lymphocyte, monocyte,
        eosinophil, basophil, blast. By default about those of healthy blood, with
        some blasts.
    touching : float
        Share of the white cells that lie in groups of 2 to 4, flattened against
        each other.
    density : float
        Area of all red cells as a share of the image: 0.1 is sparse, 0.8 crowded.
    pallor : float
        How pale the middle of red cells is, 0 (spherocytes) to 1 (rings).
    odd_shapes : float
        Share of red cells that are oval, tear drops, spiked or fragments.
    crenated : float
        Share of red cells whose rim is spiked all round, as in old or drying blood.
    granular : float
        How mottled red cells are, standard deviation over the mean of their haemoglobin.
    platelets, debris : float
        Amount, 1 being usual.
    stain : Stain
        One of `STAINS`, by its name, or colours of your own.
    background : tuple of 3 float, optional
        Colour of the empty field: white, yellow, bluish or RGB; by default the stain's.
    dark_edge : float
        Share of the image hidden by the round edge of the microscope's field, 0 to 0.6.
    uneven_light : float
        0 is even; 1 loses a third of the light across the image.
    blur : float
        Defocus, standard deviation in pixels at a cell diameter of 63; it grows
        with the magnification.
    sharpening : float
        Gain of the camera's unsharp mask.
    aberration : float
        Shift of red against blue at the image's corners, in pixels.
    noise : float
        Standard deviation of the sensor noise in the bright field, in grey levels.
    jpeg_quality : int or None
        Quality of the JPEG that the picture goes through, 1 to 100, or None.
    seed : int
        Seed of every random choice.
    """

    shape: tuple[Side, Side] = (768, 1024)
    cell_diameter: Annotated[float, Field(ge=6, le=1000)] = 63.0
    white_cells: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    kinds: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default={name: kind.frequency for name, kind in KINDS.items()}
    )
    touching: Share = 0.3
    density: Annotated[float, Field(ge=0, le=1.5)] = 0.42
    pallor: Share = 0.7
    odd_shapes: Share = 0.12
    crenated: Share = 0.0
    granular: Share = 0.0
    platelets: Amount = 1.0
    debris: Amount = 1.0
    stain: Annotated[Stain, _one_of(STAINS, "stain")] = STAINS["giemsa"]
    background: Annotated[tuple[Level, Level, Level] | None, _one_of(BACKGROUNDS, "background")] = None
    dark_edge: Annotated[float, Field(ge=0, le=0.6)] = 0.03
    uneven_light: Annotated[float, Field(ge=0, le=2)] = 0.4
    blur: Annotated[float, Field(ge=0, le=10)] = 0.8
    sharpening: Annotated[float, Field(ge=0, le=5)] = 0.7
    aberration: Annotated[float, Field(ge=0, le=20)] = 0.5
    noise: Annotated[float, Field(ge=0, le=60)] = 2.0
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None = 90
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0

    @property
    def seen_stain(self) -> Stain:
        """The stain in the light it is seen in."""
        return self.stain if self.background is None else replace(self.stain, background=self.background)

    @field_validator("kinds")
    @classmethod
    def _shares(cls, kinds: dict[str, float]) -> dict[str, float]:
        unknown = [name for name in kinds if name not in KINDS]
        if unknown:
            raise SettingsError(
                f"There is no white cell named {unknown[0]!r}: choose from {', '.join(KINDS)}."
            )
        total = sum(kinds.values())
        if total <= 0:
            raise SettingsError("kinds cannot be used: give at least one frequency above 0.")
        return {name: share / total for name, share in kinds.items()}
