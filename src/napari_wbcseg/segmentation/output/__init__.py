"""Files that a run leaves behind, written by the shell and by the plugin alike.

`save` writes one result, or a labels layer, in any of the `FORMATS`; `load_result` reads
it back and `replay` does it again. For an image called ``NAME`` there are
``NAME-labels.tif`` with ``NAME-result.json``, ``NAME-cells.csv``, ``NAME.ome.zarr``,
``NAME-rois.zip``, ``NAME.geojson``, ``NAME-overlay.png`` and ``NAME-mask.jpg`` (as the
SigTuple set has it); for a large image the folder ``NAME-cells``; for a run ``counts.csv``,
``cells.csv`` and ``run.json``. Every file appears whole under its name or not at all.
"""

from .files import OutputError
from .geojson import write_outlines
from .label_image import write_labels
from .labelled import LabelledImage, Placement, labelled_image
from .load import load_result, record_beside, replay, settings_in
from .models import recorded_model
from .names import (
    CELLS_FILE,
    COUNTS_FILE,
    LABELS_SUFFIX,
    LARGE_SUFFIX,
    MASK_SUFFIX,
    OVERLAY_SUFFIX,
    PLAN_FILE,
    RESULT_SUFFIX,
    RUN_FILE,
    image_names,
    is_output,
    output_names,
)
from .outlines import CellOutline, mask_polygons
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
from .result_record import ResultRecord
from .saving import FORMATS, OutputFormat, base_of, files_of, format_names, format_of, save
from .tables import (
    COUNT_COLUMNS,
    count_row,
    failed_row,
    with_micrometres,
    write_cells,
    write_counts,
    write_table,
)

__all__ = [
    "CASING_COLOUR",
    "CELLS_FILE",
    "CELL_COLOUR",
    "CHECK_COLOUR",
    "COUNTS_FILE",
    "COUNT_COLUMNS",
    "FORMATS",
    "LABELS_SUFFIX",
    "LARGE_SUFFIX",
    "MASK_SUFFIX",
    "OVERLAY_SUFFIX",
    "PLAN_FILE",
    "RESULT_SUFFIX",
    "RUN_FILE",
    "CellOutline",
    "InputRecord",
    "LabelledImage",
    "ModelRecord",
    "OutputError",
    "OutputFormat",
    "PixelSize",
    "Placement",
    "ResultRecord",
    "RunRecord",
    "base_of",
    "count_row",
    "draw_overlay",
    "failed_row",
    "file_sha256",
    "files_of",
    "format_names",
    "format_of",
    "image_names",
    "is_output",
    "labelled_image",
    "library_versions",
    "load_result",
    "mask_polygons",
    "output_names",
    "read_pixel_size",
    "read_settings",
    "read_training_settings",
    "record_beside",
    "recorded_model",
    "replay",
    "save",
    "settings_in",
    "with_micrometres",
    "write_cells",
    "write_counts",
    "write_image",
    "write_labels",
    "write_mask",
    "write_outlines",
    "write_overlay",
    "write_table",
]
