"""Errors that a user can cause. Each message says what, in which file, and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class WBCSegError(Exception):
    """Base of every error that a user of this package can cause and mend."""


class ImageError(WBCSegError):
    """An image file or array that cannot be used."""


class DatasetError(WBCSegError):
    """A folder or archive of training data that cannot be used."""


class DownloadError(WBCSegError):
    """A download that failed or did not match its checksum."""


class ModelError(WBCSegError):
    """A model file or model name that cannot be used."""


class SettingsError(WBCSegError):
    """Settings that contradict each other, the image or the model."""


class TrainingError(WBCSegError):
    """Training that cannot start or cannot go on."""


class OutputError(WBCSegError):
    """A result that cannot be written."""


class BusyError(OutputError):
    """Results that another process is writing."""


class EditError(WBCSegError):
    """A correction of labels that cannot be made."""


class Cancelled(WBCSegError):
    """The user asked to stop; raised by a progress callback to end the work at once.

    Its name does not end in Error, for it is a request carried out.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of what an error of a library says; its type, where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def reading(what: object, error: type[WBCSegError], advice: str) -> Iterator[None]:
    """Read a file, or else say which and what to do: decoders raise nearly any type on damaged ones.

    Parameters
    ----------
    what : object
        The file, or what it is, as sentences begin with.
    error : type of WBCSegError
        Raised, with a sentence; other errors of this package stay what they are.
    advice : str
    """
    try:
        yield
    except WBCSegError:
        raise
    except Exception as problem:
        from pydantic import ValidationError

        if isinstance(problem, FileNotFoundError):
            raise error(f"{what} is not there: {advice}.") from None
        why = first_problem(problem) if isinstance(problem, ValidationError) else first_line(problem)
        raise error(f"{what} cannot be read, it is truncated or damaged ({why[:200]}): {advice}.") from None


def first_problem(error: ValidationError, whole: str = "the file") -> str:
    """Return what pydantic found first: where, which is the whole if nowhere, and what is wrong there."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or whole}: {in_sentence(first['msg'])}"


def in_sentence(message: str) -> str:
    """Return what pydantic says as it stands in a sentence, names in it as they are."""
    words = message.removeprefix("Value error, ")
    return words[:1].lower() + words[1:]
