"""Whatever is in a file: an image or a sentence, soon, in little memory.

``--hypothesis-profile=search`` reads 2,000 other damaged files.
"""

from __future__ import annotations

import contextlib
import logging
import random
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from napari_wbcseg.datasets.masks import read_labels
from napari_wbcseg.errors import WBCSegError
from napari_wbcseg.images.prepare import prepare_image
from napari_wbcseg.images.read import open_large, read_file, read_pixel_size, size_of_file

from .damaged_files import mutated, seeds, write

resource = pytest.importorskip("resource")
_KILOBYTES = 700_000


def read_by_every_door(path: Path) -> str:
    """Read a file in every way that there is; what is raised is no sentence."""
    result = "sentence"
    read_pixel_size(path)
    _, large = size_of_file(path)
    try:
        image = read_file(path).pixels
        result = "image"
        prepare_image(image)
    except WBCSegError:
        pass
    try:
        full = open_large(path).full
        if large or full.nbytes < 2**26:
            np.asarray(full[-64:, -64:])
    except WBCSegError:
        pass
    except Exception as error:
        # Parts of a sound header may be damaged; whoever segments says so for the file.
        if result == "image":
            raise AssertionError(f"read as a whole, but not in parts: {error!r}") from error
    if not path.is_dir():
        with contextlib.suppress(WBCSegError):
            read_labels(path)
    return result


def read(files: dict[str, bytes], name: str) -> str:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            result = read_by_every_door(write(files, name, Path(folder)))
            assert [path.name for path in Path(folder).iterdir()] == [name]
            return result
        finally:
            logging.disable(logging.NOTSET)


def test_what_is_mutated_is_sound() -> None:
    assert {name for name in seeds() if read(seeds()[name], name) != "image"} == set()


@settings(
    database=None,
    phases=[Phase.generate],  # a mutation is a seed, of which there is no smaller one
    suppress_health_check=list(HealthCheck),
)
@given(st.sampled_from(sorted(seeds())), st.integers(0, 2**32))
def test_a_damaged_file_is_an_image_or_a_sentence(name: str, number: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read(mutated(seeds()[name], random.Random(number)), name) in ("image", "sentence")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < _KILOBYTES
