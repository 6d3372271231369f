"""Make ``docs/images/demo.png``: what ``wbcseg demo`` shows, small enough for the README.

::

    python docs/take_demo_picture.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from napari_wbcseg import segment, synthetic_smear
from napari_wbcseg.results.formats.pictures import draw_overlay

PICTURE = Path(__file__).parent / "images" / "demo.png"


def main() -> None:
    """Segment the smear of the demo and save the picture."""
    smear = synthetic_smear()
    result = segment(smear.image)
    PICTURE.parent.mkdir(exist_ok=True)
    overlay = Image.fromarray(draw_overlay(smear.image, result.labels, result.cells))
    small = overlay.resize((768, 576), Image.Resampling.LANCZOS)
    small.quantize(256, Image.Quantize.FASTOCTREE).save(PICTURE, optimize=True)
    print(f"{PICTURE.name}: {result.summary}; {smear.count} were drawn; {PICTURE.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
