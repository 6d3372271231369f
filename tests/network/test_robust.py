"""What the network of the robust recipe takes."""

from __future__ import annotations

import numpy as np

from napari_wbcseg.network.robust import network_input


def test_the_empty_slide_is_0_and_what_lets_no_light_pass_is_2() -> None:
    np.testing.assert_allclose(network_input(np.array([1, 0.5, 0, 1.25], np.float32)), [0, 1, 2, -0.5])
    assert network_input(np.ones((2, 2, 3), np.float32)).dtype == np.float32
