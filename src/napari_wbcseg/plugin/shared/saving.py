"""Layers on their way into files: what a labels layer is at this moment, and the image it lies on."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels

from ...errors import BusyError
from ...files import user_path
from ...progress import Progress, silent
from ...results.formats.registry import base_of, files_of
from ...results.layer import of_layer
from ...results.save import save
from ...segmentation.result import Segmentation
from .layers import is_corrected
from .metadata import LayerInfo
from .pictures import image_under, path_of, source_image


@dataclass(frozen=True)
class LayerSnapshot:
    """A labels layer as it is now, safe to read in another thread while it is edited on.

    Attributes
    ----------
    found : Segmentation
        Labels, table and what is known of them, and the file of their image; the labels are a copy in full
        resolution.
    info : LayerInfo
        What is known of the layer besides.
    image : array or None
        What lies under the labels, of the same rows and columns; None if that is not known.
    """

    found: Segmentation
    info: LayerInfo
    image: Any = field(default=None, repr=False)

    @classmethod
    def of_layer(
        cls, layer: Labels, viewer: ViewerModel | None = None, image: Image | None = None
    ) -> LayerSnapshot:
        """Take a layer, and its image as given or as the viewer has it."""
        source = image if image is not None or viewer is None else source_image(viewer, layer)
        found, info = of_layer(layer), LayerInfo.of(layer)
        # Cells whose picture was taken away say themselves which it was.
        path, about = (info.path, info) if source is None else (path_of(source), LayerInfo.of(source))
        labels = found.labels.copy() if isinstance(found.labels, np.ndarray) else found.labels
        taken = replace(
            found,
            labels=labels,
            cells=found.cells.copy(),
            image_path=None if path is None else Path(path),
            image_state=about.state,
            edited=info.edited if info.fingerprint is None else is_corrected(layer),
        )
        return cls(taken, info, None if source is None else image_under(layer, source))


def save_snapshot(
    snapshot: LayerSnapshot,
    path: str | Path,
    formats: str | Iterable[str] | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Save what `LayerSnapshot.of_layer` took; see `napari_wbcseg.save`. For a worker thread.

    The tables of a run in that folder follow labels that are written anew.
    """
    from ...batch.run import renew_tables

    path = user_path(path)
    base = base_of(path) if formats is None else path
    files = save(snapshot.found, path, formats, image=snapshot.image, progress=progress)
    if files_of(base, "tiff")[0] in files:
        with suppress(BusyError):  # who is at work there writes the tables at the end
            renew_tables(files[0].parent)
    return files
