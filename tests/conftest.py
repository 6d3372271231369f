"""What all tests share.

Property tests draw the same examples in every run; ``--hypothesis-profile=search`` looks for new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from .clusters import local_cluster

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Three processes, as a cluster has."""
    with local_cluster(3) as (_, client):
        yield client
