"""What napari calls. The only room that imports napari and Qt.

What scripted sessions call stands in ``__init__.pyi`` beside this file, and is loaded on first use.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
