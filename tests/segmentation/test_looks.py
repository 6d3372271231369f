"""What the network is shown of an image: all but what is surely too pale for a nucleus."""

from __future__ import annotations

import math

import pytest

from napari_wbcseg.segmentation.looks import palest_nucleus


def test_what_may_be_a_nucleus_is_darker_than_red_cells_and_paler_than_nuclei() -> None:
    def density(white: float, red: float | None) -> float:
        taken = palest_nucleus((0.5, white, 0.2), None if red is None else (0.3, red, 0.2))
        return -math.log(1 - taken / 2)

    assert density(1.6, 0.4) == pytest.approx(0.45 * 1.6) == pytest.approx(density(1.6, None))
    assert density(1.6, 0.8) == pytest.approx(0.6 * 1.6), "dark red cells, of which some are darker"
    assert density(1.6, 0.65) == pytest.approx(0.65 + 0.2 * 0.95)
    assert density(1.0, 0.9) == pytest.approx(0.6), "no nucleus is left out where red cells are as dark"
    assert density(3.0, 0.4) == pytest.approx(0.45 * 1.6), (
        "where nuclei let no light through, others are paler"
    )
