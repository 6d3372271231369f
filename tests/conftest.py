"""What all tests share.

Property tests draw the same examples in every run; ``--hypothesis-profile=search`` looks for new ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from platformdirs import user_data_path

from .clusters import local_cluster

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what is written, even late as Python ends, out of the user's folders: so it is not set back."""
    own = tmp_path_factory.mktemp("user")
    os.environ |= {"WBCSEG_MODELS": f"{own}/models", "WBCSEG_CORRECTIONS": f"{own}/training-set"}
    os.environ["XDG_DATA_HOME"] = f"{own}/data"  # where there is one, a check meets no napari of the user


@pytest.fixture(autouse=True)
def nothing_for_the_user() -> Iterator[None]:
    """Fail a test that writes among the user's models, training set and unsaved corrections."""
    folder = user_data_path("napari-wbcseg", appauthor=False)
    before = set(folder.rglob("*"))
    yield
    written = set(folder.rglob("*")) - before
    assert not written, "A test writes into folders of its own: set WBCSEG_MODELS and WBCSEG_CORRECTIONS."


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Three processes, as a cluster has."""
    with local_cluster(3) as (_, client):
        yield client
