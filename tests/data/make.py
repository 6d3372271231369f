"""Write samples of all that this version saves, once a version: ``python -m tests.data.make FOLDER``.

FOLDER is then put into ``tests/data`` under the number of the version.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
from PIL import Image

from napari_wbcseg import SegmentationSettings, TrainingSettings, load_result, save
from napari_wbcseg.batch.run import collect, segment_files
from napari_wbcseg.classification.classes import BUILT_IN_CLASSES, CellClass
from napari_wbcseg.classification.naming import each_named, said_by_model
from napari_wbcseg.datasets.corrections import CellDecision, add_correction
from napari_wbcseg.segmentation.large.run import segment_large

from ..dark_model import spots, write_dark_model

SETTINGS = SegmentationSettings(recipe="classic", grey_threshold=130, min_area=400, classes=None)
CLASSES = BUILT_IN_CLASSES.added(CellClass("smudge cell", "#123456", white_cell=False))


def make(folder: Path) -> None:
    """Write them into a new folder: two drawn discs, and all that is found and said of them."""
    folder.mkdir(parents=True)
    image, labels = spots((120, 160), ((40, 40), (80, 110)))
    Image.fromarray(image).save(folder / "smear.png")
    model = write_dark_model(folder / "dark.safetensors")
    segment_files(collect([folder / "smear.png"]), folder / "run", model, SETTINGS, formats=("ome-zarr",))
    found = load_result(folder / "run" / "smear-result.json")
    told = said_by_model(found.cells, pd.DataFrame({"monocyte": [0.9, 0.4], "basophil": [0.1, 0.6]}))
    told = each_named(told, {2: "smudge cell"})
    corrected = replace(found, cells=told, classes=CLASSES, classifier="own@0123456789ab", notes=("A note.",))
    save(corrected, folder / "named", "tiff,ome-zarr")
    segment_large(image, folder / "slide", model, SETTINGS)
    decisions = [CellDecision(label=2, decision="corrected", by="ann", at="2026-01-01T10:00:00+00:00")]
    about = {
        "scale": (0.25, 0.25),
        "unit": "µm",
        "source": "smear.png",
        "model": model.id,
        "decided_by": "ann",
    }
    add_correction(image, labels, name="smear", folder=folder / "corrections", decisions=decisions, **about)
    for name, settings in (
        ("settings", SETTINGS),
        ("training", TrainingSettings.for_recipe("robust", seed=7)),
    ):
        (folder / f"{name}.json").write_text(settings.to_json())


if __name__ == "__main__":
    make(Path(sys.argv[1]))
