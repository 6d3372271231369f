"""``python -m napari_wbcseg`` is ``wbcseg``."""

from .cli import main

if __name__ == "__main__":
    main()
