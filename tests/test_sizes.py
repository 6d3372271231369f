"""How large cells are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_wbcseg.sizes import equivalent_diameter


@given(st.floats(1, 1e6))
def test_the_equivalent_diameter_is_that_of_the_disc(diameter) -> None:
    assert equivalent_diameter(np.pi / 4 * diameter**2) == pytest.approx(diameter)
