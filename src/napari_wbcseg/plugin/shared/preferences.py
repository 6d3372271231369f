"""What the user set in the preferences; the defaults where napari keeps no plugin settings."""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "model": "wbc",
    "device": "auto",
    "units": "automatic",
    "count_on_canvas": True,
    "save_formats": "tiff,csv,overlay",
}


def preference(name: str) -> Any:
    """Return one of the manifest's settings of the category ``segmentation``."""
    from napari.settings import get_plugin_settings

    try:
        return getattr(get_plugin_settings("napari-wbcseg").segmentation, name)
    except (KeyError, AttributeError):
        return DEFAULTS[name]
