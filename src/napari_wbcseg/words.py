"""Numbers and lists in words, alike in the window and in the shell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any


def counted(number: int, what: str) -> str:
    """Return a number with what it counts.

    Examples
    --------
    >>> counted(1, "cell"), counted(3, "cell")
    ('1 cell', '3 cells')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int = 3, between: str = ", ") -> str:
    """Return the first of some names, and how many more there are.

    Examples
    --------
    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def readable(value: float) -> str:
    """Return a number in about four digits, never with an exponent.

    Examples
    --------
    >>> readable(61.254), readable(14080.2)
    ('61.25', '14080')
    """
    return f"{value:.0f}" if abs(value) >= 1000 else f"{round(value, 4):.4g}"


# What notes ask, word for word: names of files are in notes too.
_ASKED = "is it one? ", "are they? ", "are these its cells? "


def in_doubt(notes: Iterable[str], corrected: bool) -> bool:
    """Say whether a note asks a person what the count depends on, and nobody has corrected the cells since.

    Examples
    --------
    >>> notes = ["Is it one? Count again.", "The alpha channel of why? 2.png was dropped."]
    >>> in_doubt(notes, False), in_doubt(notes, True), in_doubt(notes[1:], False)
    (True, False, False)
    """
    return not corrected and any(asked in note.lower() for note in notes for asked in _ASKED)


def note_of_part(part: str, several: bool) -> str:
    """Return the note that only a part of an image was segmented."""
    return f"Only {part} {'were' if several else 'was'} segmented."


def of_part(notes: Iterable[str]) -> bool:
    """Say whether a note says that only a part of an image was segmented.

    Examples
    --------
    >>> of_part([note_of_part("plane 1", False)]), of_part(["Only a test."])
    (True, False)
    """
    return any(note.startswith("Only ") and note.endswith(" segmented.") for note in notes)


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def no_formula(value: Any) -> Any:
    """Return a value of a CSV; a word that a spreadsheet would compute gets an apostrophe in front.

    Examples
    --------
    >>> no_formula("=1+1"), no_formula("blast"), no_formula(-1)
    ("'=1+1", 'blast', -1)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def duration(seconds: float) -> str:
    """Return a time in words, to the second.

    Examples
    --------
    >>> duration(9), duration(65), duration(7380)
    ('9 s', '1 min 05 s', '2 h 03 min')
    """
    minutes, rest = divmod(max(0, round(seconds)), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def moment(when: datetime) -> str:
    """Return a point in time in words, such as ``today at 12:30``.

    Examples
    --------
    >>> moment(datetime(2024, 5, 9, 12, 30))
    'on 09 May at 12:30'
    """
    day = "today" if when.date() == datetime.now().date() else f"on {when:%d %B}"
    return f"{day} at {when:%H:%M}"
