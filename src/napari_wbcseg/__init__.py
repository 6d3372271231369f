"""Find, outline and count white blood cells in stained blood smears.

The public names, which stand in ``__init__.pyi`` beside this file, are loaded on first use, so importing
the package costs milliseconds and brings in neither Keras nor Qt.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
