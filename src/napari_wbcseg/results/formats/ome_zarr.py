"""A result as OME-Zarr (NGFF 0.4): the labels, and the image that they lie on where it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import OutputError
from ...files import written_whole
from ...images.pixel_size import UNIT_NAMES
from ...images.zarr_files import open_zarr
from ...progress import Progress
from ...segmentation.result import Segmentation
from ..names import LABELS_NAME, RECORD_KEY, is_our_zarr
from ..origins import depths_in
from ..records import ResultRecord
from .pictures import cell_colours
from .tables import table_to_columns

_SMALLEST = 256  # pixels; no level of a pyramid is made smaller
_CHUNK = 512


def write_ome_zarr(path: Path, result: Segmentation, image: Any, progress: Progress) -> list[Path]:
    """Write an OME-Zarr group with the labels in ``labels/cells``, and return its folder.

    The group itself is the image, where that is given, or else holds the labels alone.
    Both are pyramids; the cells' measurements are the properties of the label image.

    Parameters
    ----------
    path : Path
        A folder; one that was written so before is replaced, any other is not.
    result : Segmentation
    image : array or None
        What `segment` takes; without one, that of the same name and size which is there stays.
    progress : Progress

    Raises
    ------
    OutputError
        If it cannot be written; see `check_ome_zarr`.
    """
    check_ome_zarr(path, result)
    with written_whole(path) as temporary:
        _fill(temporary, path, result, image, progress)
    return [path]


def check_ome_zarr(path: Path, result: Segmentation) -> None:
    """Raise `OutputError` if something else bears that name, or the pixels are turned or mirrored."""
    if path.exists() and not is_our_zarr(path):
        raise OutputError(f"{path} is there already, without cells of this program. Choose another name.")
    if result.placement.affine or min(result.placement.scale) <= 0:
        raise OutputError(
            f"{result.name or path.name} is rotated, sheared, mirrored or has an affine transform, which "
            f"OME-Zarr cannot hold: set that back and make its scale positive, or save without {path}."
        )


def _fill(folder: Path, path: Path, result: Segmentation, image: Any, progress: Progress) -> None:
    import zarr
    from ome_zarr.writer import write_image, write_labels

    root = zarr.open_group(str(folder), mode="w", zarr_format=2)
    image = _image_there(path, result) if image is None else image
    if image is not None:
        progress(0, 2, "Writing the image")
        image = np.asarray(image)
        if image.ndim > result.labels.ndim:  # a fourth channel is alpha; one is grey
            at = _axes(result, colours=True).index("c")
            image = image[..., 0] if image.shape[-1] == 1 else np.moveaxis(image[..., :3], -1, at)
        colours = image.ndim > result.labels.ndim
        write_image(image, root, name=result.name, **_layout(image.shape, result, colours))
        _move(root, result)
        if colours:
            root.attrs["omero"] = {"name": result.name, "channels": _channels(image)}
    progress(1, 2, "Writing the labels")
    write_labels(
        result.labels.astype(np.uint32 if int(result.labels.max()) < 2**32 else np.uint64),
        root,
        name=LABELS_NAME,
        scaler=None,  # its deprecated default would overrule the scale factors
        label_metadata={
            "properties": _properties(result),
            "colors": [
                {"label-value": label, "rgba": [*colour, 255]}
                for label, colour in cell_colours(result.cells, result.classes).items()
            ],
            "source": {"image": "../../"},
        },
        **_layout(result.labels.shape, result),
    )
    _move(root[f"labels/{LABELS_NAME}"], result)
    record = ResultRecord.of(result, path.parent).model_dump(
        mode="json", exclude={"cells", "seconds", "pictures", "gallery"}
    )
    # The values are properties of the labels; the names tell of columns of which nothing is known.
    record["cells"] = {str(name): [] for name in result.cells}
    root[f"labels/{LABELS_NAME}"].attrs[RECORD_KEY] = record


def _image_there(path: Path, result: Segmentation) -> np.ndarray | None:
    """Return the image of a result in the group that is replaced: perhaps there is no other copy."""
    if not path.exists():
        return None
    group = open_zarr(path)
    name = group[f"labels/{LABELS_NAME}"].attrs[RECORD_KEY]["image"]["name"]
    if "multiscales" not in group.attrs or Path(name).name != Path(result.name).name:
        return None
    (multiscale, *_), sides = group.attrs["multiscales"], result.labels.shape
    image, axes = np.asarray(group[multiscale["datasets"][0]["path"]]), _names(multiscale)
    image = np.moveaxis(image, axes.index("c"), -1) if "c" in axes else image
    return image if image.shape[: len(sides)] == sides else None


def _names(multiscale: dict[str, Any]) -> list[str]:
    return [axis["name"] for axis in multiscale["axes"]]


def _axes(result: Segmentation, colours: bool = False) -> list[str]:
    """Return the names of axes in the order of OME-Zarr: times come before colours, depths behind."""
    stack = "tcyx" if depths_in(result) == 1 else "czyx"
    return [axis for axis in (stack if result.stacked else "cyx") if colours or axis != "c"]


def _layout(shape: tuple[int, ...], result: Segmentation, colours: bool = False) -> dict[str, Any]:
    """Return how an array of this shape, one axis its colours perhaps, is stored, and where it lies."""
    from ome_zarr.format import FormatV04

    axes, place, sides = _axes(result), result.placement, shape[-2:]
    units = {axis: UNIT_NAMES.get(unit) for axis, unit in zip(axes, place.units, strict=True)}
    return {
        "axes": _axes(result, colours),
        "scale": {**({"c": 1.0} if colours else {}), **dict(zip(axes, map(float, place.scale), strict=True))},
        "axes_units": {axis: unit for axis, unit in units.items() if unit is not None and axis != "t"},
        "scale_factors": [2**level for level in range(1, 5) if min(sides) >> level >= _SMALLEST],
        "storage_options": {"chunks": (*(1 for _ in shape[:-2]), *(min(side, _CHUNK) for side in sides))},
        "fmt": FormatV04(),
    }


def _move(group: Any, result: Segmentation) -> None:
    """Put an image that was written at the origin, in all its levels, where its pixels lie."""
    multiscales = group.attrs["multiscales"]
    of_place = [at for at, name in enumerate(_names(multiscales[0])) if name != "c"]
    for level in multiscales[0]["datasets"]:
        for one in level["coordinateTransformations"]:
            if one["type"] == "translation":
                for at, away in zip(of_place, result.placement.translate, strict=True):
                    one["translation"][at] += float(away)
    group.attrs["multiscales"] = multiscales


def _properties(result: Segmentation) -> list[dict[str, Any]]:
    """Return the measurements of each label, without those that are unknown."""
    columns = table_to_columns(result.cells)
    columns = {"label-value": columns.pop("label"), **columns}
    return [
        {name: value for name, value in zip(columns, row, strict=True) if value is not None}
        for row in zip(*columns.values(), strict=True)
    ]


def _channels(image: np.ndarray) -> list[dict[str, Any]]:
    top = 255.0 if image.dtype == np.uint8 else float(image.max(initial=1))  # of 16 bits, 12 may be used
    window = {"start": 0, "end": top, "min": 0, "max": top}
    names = ("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")
    return [{"label": name, "color": colour, "active": True, "window": window} for name, colour in names]
