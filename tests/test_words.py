"""Numbers as people read them, and sentences that leave them to one function."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import napari_wbcseg
from napari_wbcseg.images.focus import focus_note
from napari_wbcseg.images.illumination import DARK_BACKGROUND
from napari_wbcseg.words import counted, duration, in_doubt, readable


def test_one_is_one_and_others_are_several() -> None:
    assert [counted(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4321.7, "4322"),
        (14080, "14080"),
        (4.3e9, "4300000000"),
        (61.254, "61.25"),
        (0.5, "0.5"),
        (0.00001, "0"),
        (-1500.2, "-1500"),
    ],
)
def test_no_number_has_an_exponent(value: float, text: str) -> None:
    assert readable(value) == text


def test_times_are_told_in_two_units_at_most() -> None:
    assert [duration(s) for s in (-1, 8.4, 125, 3840)] == ["0 s", "8 s", "2 min 05 s", "1 h 04 min"]


def test_no_sentence_makes_its_plural_by_itself() -> None:
    by_hand = re.compile(
        r"'s' (?:\*|if)|\"s\" (?:\*|if)"
        r"|\{(?:len\(\w+\)|cells|count|number)\} (?:cell|image|field|region|epoch|tile|plane|thread)s\b"
    )
    package = Path(napari_wbcseg.__file__).parent
    found = {
        str(file.relative_to(package)): line.strip()
        for file in package.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if by_hand.search(line)
    }
    assert not found


def test_what_a_note_asks_leaves_a_count_in_doubt_and_the_name_of_a_file_does_not() -> None:
    asked = DARK_BACKGROUND, focus_note(3)
    assert all(in_doubt([note], False) for note in asked)
    assert not in_doubt(["The alpha channel of blast or smudge? 2.png was dropped."], False)
