"""What this plugin keeps with a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from napari.layers import Image, Labels, Layer

from ...classification.classes import BUILT_IN_CLASSES, ClassList
from ...files import FileState
from ...results.layer import METADATA_KEY
from ...segmentation.result import ABOUT_IN_WORDS, Segmentation, summary_of
from ...words import in_doubt

if TYPE_CHECKING:
    from ...segmentation.large.result import LargeResult

#: A layer as napari's readers and samples give it: data, options and type.
LayerDataTuple = tuple[Any, dict[str, Any], str]

Role = Literal["proposals", "probability", "cells", "helper", "training preview"]
#: What kind of layer a role is of; "Convert to Image" makes another of it, which is the user's.
_KINDS: dict[Any, str] = {
    "proposals": "shapes",
    "probability": "image",
    "cells": "labels",
    "helper": "shapes",
}


@dataclass(frozen=True)
class LayerInfo:
    """What is known of a layer; in its metadata a dictionary, which `napari_wbcseg.save` reads.

    Attributes
    ----------
    role : str or None
        What the layer is among ours; None for an image of the user.
    source, source_id : str or None
        Name and ``unique_id`` of the image layer that a result belongs to. Of a picture that is a part of
        another, the first is what that is known by; the second makes the part belong to it, too.
    model, classifier : str
        What found the cells, and what told the classes of those that no person named, ``name@hash``.
    settings : dict or None
        Those of the segmentation, as JSON has them.
    cell_diameter, field_share : float or None
        Pixels; share of the image that shows the slide.
    class_diameter, backgrounds
        See `Segmentation`.
    summary : str
        The count in words, as of now.
    fingerprint : int or None
        Of the labels as they were found; other labels were corrected by hand.
    kept : bool
        Whether the cells are those of an earlier run, or a copy, beside the ones that the panels are about.
    notes : tuple of str
        What the user should know about the image.
    corner : tuple of int
        See `Segmentation`.
    path : str or None
        File of the image, where the layer was read from another one, such as ``NAME-result.json``.
    state : FileState or None
        What that file was like when it was read, by its size and date at least.
    record : str or None
        The ``NAME-result.json`` that the cells were read from, or saved into.
    edited : bool
        Whether a person had corrected the cells before they were read from there.
    folder : str or None
        Where the cells of a large image are kept.
    classes : list of dict or None
        What the classes of the cells are; None for those that are built in.
    """

    role: Role | None = None
    source: str | None = None
    source_id: str | None = None
    model: str = ""
    classifier: str = ""
    settings: dict[str, Any] | None = None
    cell_diameter: float | None = None
    class_diameter: float | tuple[float, ...] | None = None
    field_share: float | None = None
    backgrounds: tuple[tuple[float, float, float] | None, ...] = ()
    summary: str = ""
    fingerprint: int | None = None
    kept: bool = False
    notes: tuple[str, ...] = ()
    corner: tuple[int, int] = (0, 0)
    path: str | None = None
    state: FileState | None = None
    record: str | None = None
    edited: bool = False
    folder: str | None = None
    classes: list[dict[str, Any]] | None = None

    @classmethod
    def of(cls, layer: Layer) -> LayerInfo:
        """Return what is known of a layer; of one of others, nothing."""
        about = layer.metadata.get(METADATA_KEY)
        known = about if isinstance(about, Mapping) else {}
        if _KINDS.get(known.get("role"), layer._type_string) != layer._type_string:
            known = {}
        return cls(**{field.name: known[field.name] for field in fields(cls) if field.name in known})

    @classmethod
    def of_result(cls, role: Role, found: Segmentation | LargeResult, /, **more: Any) -> LayerInfo:
        """Return what is to be kept of a segmentation, fresh or read from files."""
        return cls(
            role,
            settings=None if found.settings is None else found.settings.model_dump(mode="json"),
            summary=summary_of(found.cells, found.classes),
            classes=None if found.classes == BUILT_IN_CLASSES else found.classes.to_list(),
            **{name: getattr(found, name) for name in ABOUT_IN_WORDS},
            **more,
        )

    @property
    def metadata(self) -> dict[str, Any]:
        """The ``metadata`` of a new layer."""
        return {METADATA_KEY: {field.name: getattr(self, field.name) for field in fields(self)}}

    @property
    def in_doubt(self) -> bool:
        """Whether a note asks what the count depends on, and no corrections were saved since."""
        return in_doubt(self.notes, self.edited)

    @property
    def class_list(self) -> ClassList:
        """The classes that the cells are sorted into."""
        return BUILT_IN_CLASSES if self.classes is None else ClassList.from_list(self.classes)

    def keep_in(self, layer: Layer) -> None:
        """Write this into a layer's metadata."""
        layer.metadata.update(self.metadata)


def note(layer: Layer, **known: Any) -> None:
    """Change what is known of a layer."""
    replace(LayerInfo.of(layer), **known).keep_in(layer)


def is_picture(layer: Layer) -> TypeGuard[Image]:
    """Say whether a layer is an image of the user, and none of ours."""
    return layer._type_string == "image" and role_of(layer) is None


def is_stained(layer: Layer) -> TypeGuard[Image]:
    """Say whether a layer is an image of the user in which a stain can be measured: no mask."""
    return is_picture(layer) and layer.dtype != bool


def is_cells(layer: Layer) -> TypeGuard[Labels]:
    """Say whether a layer is one of ours that holds cells: no other labels."""
    return role_of(layer) == "cells"


def role_of(layer: Layer) -> Role | None:
    """Return what a layer is among ours, or None for any other layer."""
    return LayerInfo.of(layer).role


def is_on_disk(layer: Layer) -> bool:
    """Say whether the cells of a layer are those of a large result, which keeps corrections itself."""
    return layer.multiscale or LayerInfo.of(layer).folder is not None
