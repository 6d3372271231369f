"""``python -m napari_wbcseg.cli`` is ``wbcseg``."""

from . import main

if __name__ == "__main__":
    main()
