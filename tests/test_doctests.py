"""The examples in docstrings say what the functions do."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import napari_wbcseg

SOURCE = Path(napari_wbcseg.__file__).parent
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples(module: str) -> None:
    result = doctest.testmod(import_module(f"napari_wbcseg.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
