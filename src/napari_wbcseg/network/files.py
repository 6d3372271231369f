"""Writing a file so that it is either whole or not there; see `napari_wbcseg.files`."""

from ..files import write_atomically

__all__ = ["write_atomically"]
