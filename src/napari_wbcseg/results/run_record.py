"""What is known of a run, as JSON: what it was given, what became of it, and how to do it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..settings import SegmentationSettings
from .names import RUN_FILE
from .origins import FileRecord, ModelRecord, here_and_now
from .records import Record

if TYPE_CHECKING:
    from ..network.model_file import ModelFile

#: Of a ``run.json`` of any version.
RUN_FORMAT = "napari-wbcseg run"


class InputRecord(FileRecord):
    """One input of a run, and what became of it.

    Attributes
    ----------
    image : str
        How ``counts.csv`` and ``cells.csv`` call it.
    name : str
        What its output files begin with.
    status : {"ok", "failed", "pending"}
    count : int or None
    error : str
    """

    image: str
    name: str
    status: Literal["ok", "failed", "pending"] = "ok"
    count: int | None = None
    error: str = ""


class RunRecord(Record):
    """What a run did, from which the same run can be repeated (``run.json``).

    Attributes
    ----------
    created : str
        Date and time, ISO 8601 in UTC.
    settings : SegmentationSettings
    model : ModelRecord
    classifier : ModelRecord or None
        What told the classes; None where they were not asked for, or by an earlier version.
    versions : dict of str
        Of Python, this package and the libraries that the result depends on.
    platform : str
    device : str
        What the network ran on.
    mask, overlay : bool
        Which of the optional files were written.
    formats : tuple of str
        More formats that were written.
    inputs : list of InputRecord
    finished : bool
        False when the run was stopped before its end.
    """

    _of: ClassVar[str] = "a run"
    _advice: ClassVar[str] = f"Give the {RUN_FILE} that `wbcseg segment` wrote."

    format: Literal["napari-wbcseg run 1"] = "napari-wbcseg run 1"
    created: str
    settings: SegmentationSettings
    model: ModelRecord
    classifier: ModelRecord | None = None
    versions: dict[str, str]
    platform: str = ""
    device: str = ""
    mask: bool = False
    overlay: bool = True
    formats: tuple[str, ...] = ()
    inputs: list[InputRecord] = Field(default_factory=list)
    finished: bool = True

    @classmethod
    def start(
        cls, settings: SegmentationSettings, model: ModelFile, source: str | None = None, **values: Any
    ) -> RunRecord:
        """Begin the record of a run: time, model, classifier, versions and platform are filled in."""
        from ..classification.classify import classifier_of

        classifier = classifier_of(settings)
        if source is None or Path(source).exists():
            source = str(model.path.resolve()) if model.path else model.name
        return cls(
            settings=settings,
            model=ModelRecord(name=model.name, hash=model.hash, source=source),
            classifier=None if classifier is None else ModelRecord.of(classifier.id, settings.classes or ""),
            **here_and_now(),
            **values,
        )
