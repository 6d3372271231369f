"""What the user set under Preferences ▸ Plugins; the defaults where napari keeps no plugin settings."""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {"model": "wbc", "count_on_canvas": True}


def preference(name: str) -> Any:
    """Return one of the manifest's settings of the category ``segmentation``."""
    try:
        from napari.settings import get_plugin_settings  # since 0.9

        return getattr(get_plugin_settings("napari-wbcseg").segmentation, name)
    except (ImportError, KeyError, AttributeError):
        return DEFAULTS[name]
