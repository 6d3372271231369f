"""Files that a run leaves behind, written by the shell and by the plugin alike.

For an image called ``NAME``: ``NAME-labels.tif``, ``NAME-mask.jpg`` (as the SigTuple
set has it) and ``NAME-overlay.png``; for the run ``counts.csv``, ``cells.csv`` and
``run.json``. Every file appears whole under its name or not at all.
"""

from .files import OutputError
from .label_image import write_labels
from .names import (
    CELLS_FILE,
    COUNTS_FILE,
    LABELS_SUFFIX,
    MASK_SUFFIX,
    OVERLAY_SUFFIX,
    RUN_FILE,
    image_names,
    is_output,
    output_names,
)
from .pictures import (
    CASING_COLOUR,
    CELL_COLOUR,
    CHECK_COLOUR,
    draw_overlay,
    write_image,
    write_mask,
    write_overlay,
)
from .pixel_size import PixelSize, read_pixel_size
from .records import (
    InputRecord,
    ModelRecord,
    RunRecord,
    file_sha256,
    library_versions,
    read_settings,
    read_training_settings,
)
from .tables import COUNT_COLUMNS, count_row, failed_row, write_cells, write_counts, write_table

__all__ = [
    "CASING_COLOUR",
    "CELLS_FILE",
    "CELL_COLOUR",
    "CHECK_COLOUR",
    "COUNTS_FILE",
    "COUNT_COLUMNS",
    "LABELS_SUFFIX",
    "MASK_SUFFIX",
    "OVERLAY_SUFFIX",
    "RUN_FILE",
    "InputRecord",
    "ModelRecord",
    "OutputError",
    "PixelSize",
    "RunRecord",
    "count_row",
    "draw_overlay",
    "failed_row",
    "file_sha256",
    "image_names",
    "is_output",
    "library_versions",
    "output_names",
    "read_pixel_size",
    "read_settings",
    "read_training_settings",
    "write_cells",
    "write_counts",
    "write_image",
    "write_labels",
    "write_mask",
    "write_overlay",
    "write_table",
]
