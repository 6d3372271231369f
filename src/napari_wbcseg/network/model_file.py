"""The file of a model: a U-Net of one recipe, perhaps with a second one, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..errors import ModelError
from ..files import safe_name
from ..settings import Recipe
from .architecture import UNetArchitecture
from .tensor_file import SUFFIX, TensorFile, TensorHeader

_SECOND = "second/"  # what the names of the second network's tensors begin with


class ModelHeader(TensorHeader, frozen=True):
    """What a model file says about its weights, besides `TensorHeader`.

    Attributes
    ----------
    recipe : {"robust", "classic"}
        The method that the network belongs to.
    architecture : UNetArchitecture
        The network.
    canonical_diameter : float or None
        Pixels across a white cell in the images the network expects; None when images
        are taken as they come (classic).
    second_look : bool
        Whether the file holds a second network, of the same architecture, that looks again at what
        the first is unsure of.
    input : str
        What the network's input is, in words.
    origin : str
        Where it came from, in words; empty for a model trained on this computer.
    copy_of : tuple of str
        Hashes of the files that it was imported from: they hold the same network.
    extra : dict
        Constants that a recipe keeps with its weights.
    """

    key: ClassVar[str] = "napari_wbcseg"
    kind: ClassVar[str] = "model file"

    recipe: Recipe
    architecture: UNetArchitecture
    canonical_diameter: Annotated[float, Field(gt=0, le=2000)] | None = None
    second_look: bool = False
    input: str = ""
    origin: str = ""
    copy_of: tuple[str, ...] = ()
    extra: dict[str, Any] = Field(default_factory=dict)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every weight."""
        shapes = self.architecture.tensor_shapes()
        second = {_SECOND + name: shape for name, shape in shapes.items()} if self.second_look else {}
        return shapes | second


@dataclass(frozen=True, eq=False, repr=False)
class ModelFile(TensorFile[ModelHeader]):
    """A model, see `TensorFile`."""

    header_type: ClassVar[type[ModelHeader]] = ModelHeader

    @property
    def architecture(self) -> UNetArchitecture:
        """The network's architecture."""
        return self.header.architecture

    @property
    def hashes(self) -> tuple[str, ...]:
        """By which a record may know it."""
        return (self.hash, *self.header.copy_of)

    @cached_property
    def first(self) -> ModelFile:
        """The model without its second network."""
        if not self.header.second_look:
            return self
        weights = {name: value for name, value in self.weights.items() if not name.startswith(_SECOND)}
        return ModelFile(self.header.replace(second_look=False), weights, f"{self.hash}-1")

    @cached_property
    def second(self) -> ModelFile | None:
        """Its second network, as a model of its own; None where it has none."""
        if not self.header.second_look:
            return None
        weights = {name: self.weights[_SECOND + name] for name in self.architecture.tensor_shapes()}
        return ModelFile(self.header.replace(second_look=False), weights, f"{self.hash}-2")

    def with_second(self, second: ModelFile) -> ModelFile:
        """Return the model with the network of another one, of the same architecture, as its second."""
        weights = {_SECOND + name: value for name, value in second.first.weights.items()}
        return ModelFile.make(self.header.replace(second_look=True), self.first.weights | weights)


def clean_name(name: str) -> str:
    """Return a name that is a safe file name on every system.

    Raises
    ------
    ModelError
        If nothing is left of it.

    Examples
    --------
    >>> clean_name("My stain, 2nd try")
    'My-stain-2nd-try'
    """
    cleaned = safe_name(name.strip().removesuffix(SUFFIX), "model")
    if not cleaned:
        raise ModelError(f"{name!r} cannot be the name of a model: use letters, digits, - and _.")
    return cleaned
