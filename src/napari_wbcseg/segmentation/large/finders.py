"""How each recipe looks at a tile of a large image, and finds the cells of a part of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ...progress import silent
from ..found import Found
from .lattice import Rectangle

if TYPE_CHECKING:
    from ...network.model_file import ModelFile
    from ...progress import Progress
    from ...settings import SegmentationSettings
    from ..maps import Predictor
    from .global_estimates import Survey
    from .source import PixelSource

#: Side of a unit of the robust recipe, at the scale of the first glance.
_UNIT = 16
_CLASSIC_UNIT = 32
# Surroundings, in units, that a tile is glanced at with.
_MARGIN = 2


class Finder(Protocol):
    """A recipe at work on one large image."""

    unit: int

    def look(self, tile: Rectangle) -> np.ndarray:
        """Return which units of a tile are active, ndarray of bool; see `ActivityMap`."""

    def find(self, pixels: np.ndarray, progress: Progress) -> Found:
        """Find the cells of a part of the image, given as RGB, 0 to 255."""


def create_finder(
    source: PixelSource, survey: Survey, model: ModelFile, settings: SegmentationSettings
) -> Finder:
    """Return the finder of the settings' recipe."""
    if settings.recipe == "classic":
        return ClassicFinder(source, model, settings)
    return RobustFinder(source, survey, model, settings)


class RobustFinder:
    """The robust recipe: units are active by the network's first glance, if their tile is worth one."""

    def __init__(
        self, source: PixelSource, survey: Survey, model: ModelFile, settings: SegmentationSettings
    ) -> None:
        from ...network.engines.create import create_engine
        from ..proposals import GLANCE_DIAMETER

        assert survey.cell_diameter is not None
        self._source, self._survey, self._model = source, survey, model
        self._engine = create_engine(model, settings.engine, settings.device)
        self.unit = max(1, round(_UNIT * survey.cell_diameter / GLANCE_DIAMETER))
        # Rounded, so that units are whole pixels at both scales.
        self._diameter = GLANCE_DIAMETER * self.unit / _UNIT
        self._settings = settings
        self._background = np.asarray(survey.background, np.float32)

    def look(self, tile: Rectangle) -> np.ndarray:
        from ..proposals import near_cells
        from ..windows import Window

        margin = _MARGIN * _UNIT
        image = self._scaled(tile.grown(_MARGIN * self.unit))
        height, width = image.shape[:2]
        near = near_cells(image, self._predictor(silent), [Window(0, 0, height, width)])
        near = near[margin : height - margin, margin : width - margin]
        rows, cols = near.shape[0] // _UNIT, near.shape[1] // _UNIT
        return np.asarray(near.reshape(rows, _UNIT, cols, _UNIT).any(axis=(1, 3)))

    def _scaled(self, area: Rectangle) -> np.ndarray:
        """Return what the network takes of an area of whole units, at the scale of the first glance."""
        import cv2

        inside = area.within(self._source.shape)
        pixels = self._source.read(inside.top, inside.left, inside.bottom, inside.right)
        around = (
            inside.top - area.top,
            area.bottom - inside.bottom,
            inside.left - area.left,
            area.right - inside.right,
        )
        if any(around):
            pixels = cv2.copyMakeBorder(
                pixels, *around, cv2.BORDER_CONSTANT, value=[float(v) for v in self._background]
            )
        side = [(area.right - area.left) // self.unit * _UNIT, (area.bottom - area.top) // self.unit * _UNIT]
        how = cv2.INTER_AREA if self.unit > _UNIT else cv2.INTER_LINEAR
        return self._input(cv2.resize(pixels, side, interpolation=how))

    def _input(self, pixels: np.ndarray) -> np.ndarray:
        from ...images.illumination import transmittance
        from ...network.robust import network_input

        return network_input(transmittance(pixels, self._background))

    def _predictor(self, progress: Progress) -> Predictor:
        from ..maps import Predictor

        return Predictor(self._model, self._engine, self._settings, progress)

    def find(self, pixels: np.ndarray, progress: Progress) -> Found:
        from ..robust import find_at

        found, _ = find_at(self._input(pixels), self._diameter, self._predictor(progress))
        return replace(found, cell_diameter=self._survey.cell_diameter)


class ClassicFinder:
    """The classic recipe: units are active where a pixel is dark."""

    unit = _CLASSIC_UNIT

    def __init__(self, source: PixelSource, model: ModelFile, settings: SegmentationSettings) -> None:
        self._source, self._model, self._settings = source, model, settings

    def look(self, tile: Rectangle) -> np.ndarray:
        from ...network.classic import classic_grey

        inside = tile.within(self._source.shape)
        pixels = self._source.read(inside.top, inside.left, inside.bottom, inside.right)
        grey = classic_grey(np.rint(pixels).astype(np.uint8), self._settings.dark_cutoff)
        dark = np.zeros((tile.bottom - tile.top, tile.right - tile.left), bool)
        dark[: grey.shape[0], : grey.shape[1]] = grey < self._settings.grey_threshold
        rows, cols = dark.shape[0] // self.unit, dark.shape[1] // self.unit
        return np.asarray(dark.reshape(rows, self.unit, cols, self.unit).any(axis=(1, 3)))

    def find(self, pixels: np.ndarray, progress: Progress) -> Found:
        from ..classic import find_cells

        return find_cells(pixels, self._model, self._settings, progress)
