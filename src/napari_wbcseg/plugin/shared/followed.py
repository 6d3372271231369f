"""Which layers a review follows, and so tells the count of."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Labels

_followed: list[weakref.ref[Labels]] = []


def follow(labels: Labels) -> None:
    """Note that a review follows this layer."""
    _followed.append(weakref.ref(labels))


def let_go(labels: Labels) -> None:
    """Note that no review follows this layer any more."""
    _followed[:] = [reference for reference in _followed if reference() not in (None, labels)]


def is_followed(labels: Labels) -> bool:
    """Say whether a review follows this layer, and so tells its count."""
    return any(reference() is labels for reference in _followed)
