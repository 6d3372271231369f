"""Whatever is in a file: an image or a sentence, soon, in little memory."""

from __future__ import annotations

import logging
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

FOLDER = Path(__file__).parents[2] / "benchmarks"
if not FOLDER.is_dir():
    pytest.skip("The benchmarks are not beside the tests.", allow_module_level=True)
sys.path.insert(0, str(FOLDER))

from fuzz import mutated, read_by_every_door, seeds, write  # noqa: E402

resource = pytest.importorskip("resource")
_SECONDS, _KILOBYTES = 10.0, 700_000


def read(files: dict[str, bytes], name: str) -> str:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            start = time.process_time()  # whatever else the machine does meanwhile
            result = read_by_every_door(write(files, name, Path(folder)))
            assert time.process_time() - start < _SECONDS
            assert [path.name for path in Path(folder).iterdir()] == [name]
            return result
        finally:
            logging.disable(logging.NOTSET)


def test_what_is_mutated_is_sound() -> None:
    assert {name for name in seeds() if read(seeds()[name], name) != "image"} == set()


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a mutation is a seed, of which there is no smaller one
    suppress_health_check=list(HealthCheck),
)
@given(st.sampled_from(sorted(seeds())), st.integers(0, 2**32))
def test_a_damaged_file_is_an_image_or_a_sentence(name: str, number: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read(mutated(seeds()[name], random.Random(number)), name) in ("image", "sentence")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < _KILOBYTES
