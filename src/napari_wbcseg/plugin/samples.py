"""File ▸ Open Sample: the synthetic smear and the SigTuple images.

napari calls a sample on its GUI thread, so a download reports to napari's activity
dock, whose progress bars keep the window painted.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from .shared.metadata import LayerDataTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..datasets.pair import TrainingPair

#: The test field that the sample shows: four white cells, none of them in the training tiles.
SAMPLE_FIELD = "029E137BB177"


def synthetic_smear_sample(**parameters: Any) -> list[LayerDataTuple]:
    """Make the synthetic smear: an RGB image and, hidden, its true cells.

    Parameters
    ----------
    **parameters
        Passed to `napari_wbcseg.synthetic_smear`, such as ``seed=3`` or ``shape=(512, 512)``.
    """
    from ..synthetic.smear import synthetic_smear

    smear = synthetic_smear(**parameters)
    return [
        (smear.image, {"name": "synthetic smear", "rgb": True}, "image"),
        (smear.labels, {"name": "synthetic truth", "visible": False}, "labels"),
    ]


def sigtuple_field_sample(name: str = SAMPLE_FIELD) -> list[LayerDataTuple]:
    """Open one field of the SigTuple test set, downloading it the first time.

    Parameters
    ----------
    name : str
        File name of the field without its ending.

    Raises
    ------
    DownloadError
        If the file cannot be fetched or does not match its checksum.
    """
    from ..images.read import read_image

    inside = f"Test_Data/{name}.jpg"
    return [(read_image(_sigtuple(inside) / inside), {"name": f"SigTuple {name}", "rgb": True}, "image")]


def sigtuple_tiles_sample() -> list[LayerDataTuple]:
    """Open the 182 SigTuple training tiles as a stack, with their labels.

    Raises
    ------
    DownloadError
        If the files cannot be fetched or do not match their checksums.
    """
    from ..datasets.sigtuple import read_sigtuple

    return tile_layers(read_sigtuple(_sigtuple("Train_Data")))


def tile_layers(pairs: Sequence[TrainingPair]) -> list[LayerDataTuple]:
    """Cut pairs into 128-pixel tiles and stack them: an image (N, 128, 128, 3) and labels (N, 128, 128)."""
    import numpy as np

    from ..datasets.sigtuple import cut_tiles

    tiles = cut_tiles(pairs)
    # The Train widget keeps the tiles of one slide on one side of a split.
    about = {"tiles": [tile.name for tile in tiles], "groups": [tile.group for tile in tiles]}
    images = np.stack([tile.image for tile in tiles])
    labels = np.stack([tile.labels for tile in tiles])
    return [
        (images, {"name": "SigTuple tiles", "rgb": True, "metadata": about}, "image"),
        (labels, {"name": "SigTuple tile labels", "opacity": 0.4}, "labels"),
    ]


def _sigtuple(part: str) -> Path:
    """Return a folder that holds a part of the set, downloading that part if need be."""
    from ..datasets.download import fetch_sigtuple, local_sigtuple
    from .shared.activity import ActivityBar

    folder = local_sigtuple(part)
    if folder is not None:
        return folder
    with closing(ActivityBar("Downloading from the SigTuple set")) as bar:
        return fetch_sigtuple([part], progress=bar.show)
