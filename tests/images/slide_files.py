"""Small files in the layouts of scanners, written as each vendor writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

MPP, OBJECTIVE = 0.25, 40
LABEL = np.full((64, 48, 3), 200, np.uint8)
_JPEG = {"compression": "jpeg", "compressionargs": {"level": 98}}
_TIFF = {"photometric": "rgb", "metadata": None, "software": False}
_PER_CENTIMETRE = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": "centimeter"}


def padded(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return pixels (H, W, 3) with the last row and column repeated up to whole tiles."""
    rows, cols = (-length % side for length in pixels.shape[:2])
    return np.pad(pixels, ((0, rows), (0, cols), (0, 0)), "edge")


def write_aperio(path: Path, pixels: np.ndarray, *, byteorder: Any = "<", bigtiff: bool = False) -> None:
    """Baseline, thumbnail, a level, label: Aperio's order of pages."""
    head = "Aperio Image Library v12.0.0\r\n{}x{} [0,0 {}x{}] (256x256) JPEG/RGB Q=90"
    (height, width), options = pixels.shape[:2], {**_TIFF, **_JPEG}
    about = head.format(width, height, width, height) + f"|AppMag = {OBJECTIVE}|MPP = {MPP}"
    with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=bigtiff) as tiff:
        tiff.write(pixels, tile=(256, 256), description=about, **options)
        small = pixels[::4, ::4].copy()
        tiff.write(small, description=about, rowsperstrip=16, **options)
        tiff.write(small, tile=(256, 256), description=about, **options)
        label = f"Aperio Image Library v12.0.0\r\nlabel {LABEL.shape[1]}x{LABEL.shape[0]}"
        tiff.write(LABEL, description=label, subfiletype=1, rowsperstrip=16, compression="lzw", **_TIFF)


def write_aperio_jpeg2000(path: Path, pixels: np.ndarray) -> None:
    height, width = pixels.shape[:2]
    whole = padded(pixels, 256)

    def tiles() -> Iterator[bytes]:
        for row in range(0, whole.shape[0], 256):
            for col in range(0, whole.shape[1], 256):
                tile = np.ascontiguousarray(whole[row : row + 256, col : col + 256])
                yield imagecodecs.jpeg2k_encode(tile, level=0, mct=False, codecformat="j2k")

    about = f"Aperio Image Library v12\r\n{width}x{height} J2K|AppMag = {OBJECTIVE}|MPP = {MPP}"
    tifffile.imwrite(
        path, tiles(), shape=pixels.shape, dtype=np.uint8, tile=(256, 256), compression=33005,
        description=about, **_TIFF,
    )  # fmt: skip


def write_leica(path: Path, pixels: np.ndarray) -> None:
    """Write a macro, and two scanned regions of one slide with nothing between them."""
    half = pixels.shape[1] // 2
    regions = [np.ascontiguousarray(part) for part in (pixels[:, :half], pixels[:, half:])]
    nm = round(1000 * MPP)
    whole = 4 * pixels.shape[1] * nm, 4 * pixels.shape[0] * nm
    images = []
    places = (
        ("macro", LABEL, (0, 0)),
        ("first", regions[0], (half * nm, half * nm)),
        ("second", regions[1], (2 * half * nm, half * nm)),
    )
    for ifd, (name, part, (left, top)) in enumerate(places):
        high, wide = part.shape[:2]
        size = whole if name == "macro" else (wide * nm, high * nm)
        images.append(
            f'<image name="{name}"><device model="SCN400" version="1"/><pixels sizeX="{wide}" sizeY="{high}">'
            f'<dimension sizeX="{wide}" sizeY="{high}" r="0" ifd="{ifd}"/></pixels>'
            f'<view sizeX="{size[0]}" sizeY="{size[1]}" offsetX="{left}" offsetY="{top}"/><scanSettings>'
            f"<objectiveSettings><objective>{OBJECTIVE}</objective></objectiveSettings><illuminationSettings>"
            "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
        )
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="{whole[0]}" sizeY="{whole[1]}">{"".join(images)}</collection></scn>'
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, part in enumerate((LABEL, *regions)):
            tiff.write(
                part,
                tile=(256, 256),
                description=None if number else xml,
                **_TIFF,
                **_JPEG,
                **_PER_CENTIMETRE,
            )


def write_ventana(path: Path, pixels: np.ndarray, overlap: int = 0) -> None:
    """Tiles that overlap by some pixels, joined as the XML says; the label comes first."""
    side = 128
    step = side - overlap
    rows, cols = ((length - overlap) // step for length in pixels.shape[:2])
    stored = np.concatenate(
        [
            np.concatenate([pixels[r : r + side, c : c + side] for c in range(0, cols * step, step)], axis=1)
            for r in range(0, rows * step, step)
        ]
    )

    def number(row: int, col: int) -> int:
        """From the bottom left, to and fro."""
        up = rows - 1 - row
        return up * cols + (cols - 1 - col if up % 2 else col) + 1

    joint = '<TileJointInfo FlagJoined="1" Confidence="100" Direction="{}" Tile1="{}" Tile2="{}" {}/>'
    across, down = f'OverlapX="{overlap}" OverlapY="0"', f'OverlapX="0" OverlapY="{overlap}"'
    joints = [
        joint.format("RIGHT", number(r, c), number(r, c + 1), across)
        for r in range(rows)
        for c in range(cols - 1)
    ]
    joints += [
        joint.format("UP", number(r + 1, c), number(r, c), down) for r in range(rows - 1) for c in range(cols)
    ]
    scan = f'<iScan Z-layers="1" Magnification="{OBJECTIVE}" ScanRes="{MPP}" UnitNumber="1"></iScan>'
    encoded = (
        f'<EncodeInfo Ver="2"><SlideStitchInfo><ImageInfo AOIScanned="1" AOIIndex="0" Width="{side}" '
        f'Height="{side}" NumRows="{rows}" NumCols="{cols}" Pos-X="0" Pos-Y="0">{"".join(joints)}</ImageInfo>'
        '</SlideStitchInfo><AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for part, xml, about in (
            (LABEL, scan, "Label_Image"),
            (stored, encoded, f"level=0 mag={OBJECTIVE} quality=95"),
        ):
            tiff.write(
                part, tile=(side, side), description=about, extratags=[(700, 1, None, xml.encode(), True)],
                **_TIFF, **_JPEG,
            )  # fmt: skip


def write_hamamatsu(path: Path, pixels: np.ndarray) -> None:
    """One JPEG a page, and offsets of 64 bits in a classic TIFF, as NDPI has them."""
    data = bytearray(struct.pack("<2sHQ", b"II", 42, 0))
    where = 4
    for part, power in ((pixels, OBJECTIVE), (pixels[::4, ::4].copy(), OBJECTIVE / 4), (LABEL, -1.0)):
        jpeg = imagecodecs.jpeg8_encode(part, level=98)
        start = len(data)
        data += jpeg
        per_cm = len(data)
        data += struct.pack("<II", round(1e4 / MPP * power / OBJECTIVE) if power > 0 else 1, 1)
        make = len(data)
        data += b"Hamamatsu\0"
        height, width = part.shape[:2]
        tags = [
            (256, 4, 1, width), (257, 4, 1, height), (259, 3, 1, 7), (262, 3, 1, 6), (271, 2, 10, make),
            (273, 4, 1, start), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(jpeg)),
            (282, 5, 1, per_cm), (283, 5, 1, per_cm), (296, 3, 1, 3), (65420, 4, 1, 1),
            (65421, 11, 1, struct.unpack("<I", struct.pack("<f", power))[0]), (65422, 9, 1, 0),
            (65423, 9, 1, 0), (65424, 9, 1, 0),
        ]  # fmt: skip
        struct.pack_into("<Q", data, where, len(data))
        data += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        where = len(data)
        data += struct.pack("<Q", 0) + bytes(4 * len(tags))
    path.write_bytes(data)


def write_mirax(path: Path, pixels: np.ndarray) -> None:
    """Write a JPEG and its folder; of twice as many tiles a side the first quarter was scanned."""
    side, folder = 128, path.with_suffix("")
    folder.mkdir()
    path.write_bytes(imagecodecs.jpeg8_encode(LABEL))
    rows, cols = (length // side for length in pixels.shape[:2])
    slide_id, name = "0123456789ABCDEF", "Slide zoom level"
    (folder / "Slidedat.ini").write_text(
        f"[GENERAL]\nSLIDE_VERSION = 01.02\nSLIDE_ID = {slide_id}\nIMAGENUMBER_X = {2 * cols}\n"
        f"IMAGENUMBER_Y = {2 * rows}\nOBJECTIVE_MAGNIFICATION = {OBJECTIVE}\n"
        "CameraImageDivisionsPerSide = 1\n"
        "[HIERARCHICAL]\nINDEXFILE = Index.dat\nHIER_COUNT = 1\nNONHIER_COUNT = 0\n"
        f"HIER_0_NAME = {name}\nHIER_0_COUNT = 1\nHIER_0_VAL_0 = ZoomLevel_0\n"
        "HIER_0_VAL_0_SECTION = LEVEL_0\n"
        "[DATAFILE]\nFILE_COUNT = 1\nFILE_0 = Data0000.dat\n"
        f"[LEVEL_0]\nOVERLAP_X = 0\nOVERLAP_Y = 0\nMICROMETER_PER_PIXEL_X = {MPP}\n"
        f"MICROMETER_PER_PIXEL_Y = {MPP}\nIMAGE_FORMAT = JPEG\nIMAGE_FILL_COLOR_BGR = 16777215\n"
        f"DIGITIZER_WIDTH = {side}\nDIGITIZER_HEIGHT = {side}\nIMAGE_CONCAT_FACTOR = 0\n",
        encoding="utf-8-sig",
    )
    data, entries = b"", []
    for row in range(rows):
        for col in range(cols):
            tile = pixels[row * side : (row + 1) * side, col * side : (col + 1) * side]
            jpeg = imagecodecs.jpeg8_encode(np.ascontiguousarray(tile), level=98)
            entries.append(struct.pack("<4i", row * 2 * cols + col, len(data), len(jpeg), 0))
            data += jpeg
    (folder / "Data0000.dat").write_bytes(data)
    head = f"01.02{slide_id}".encode()
    # Roots, the list of zoom levels, and one page with all images.
    levels = len(head) + 8
    page = levels + 4 + 8
    index = head + struct.pack("<2i", levels, 0) + struct.pack("<i", levels + 4) + struct.pack("<2i", 0, page)
    (folder / "Index.dat").write_bytes(index + struct.pack("<2i", len(entries), 0) + b"".join(entries))


def write_zeiss(path: Path, pixels: np.ndarray) -> None:
    """Subblocks of uncompressed BGR, at coordinates of the stage, with a coarse copy."""

    def segment(name: bytes, data: bytes) -> bytes:
        padding = -len(data) % 32
        return struct.pack("<16sqq", name, len(data) + padding, len(data)) + data + bytes(padding)

    def entry(left: int, top: int, block: np.ndarray, zoom: int, at: int) -> bytes:
        (high, wide), sides = block.shape[:2], (("X", left, 1), ("Y", top, 0), ("C", 0, 2), ("S", 0, 3))
        stored = (high, wide, 1, 1)
        dims = [
            struct.pack("<4siifi", axis.encode(), start, stored[i] * (zoom if i < 2 else 1), 0, stored[i])
            for axis, start, i in sides
        ]
        return struct.pack("<2siqiiB5xi", b"DV", 3, at, 0, 0, 2 * (zoom > 1), len(dims)) + b"".join(dims)

    half = pixels.shape[1] // 2
    coarse = pixels[::2, ::2]
    blocks = [(1000, pixels[:, :half], 1), (1000 + half, pixels[:, half:], 1), (1000, coarse, 2)]
    body, entries, start = b"", [], 32 + 512
    for left, block, zoom in blocks:
        known = entry(left, 500, block, zoom, start + len(body))
        data = np.ascontiguousarray(block[..., ::-1]).tobytes()
        head = struct.pack("<iiq", 0, 0, len(data)) + known
        body += segment(b"ZISRAWSUBBLOCK", head + bytes(256 - len(head)) + data)
        entries.append(known)
    high, wide = pixels.shape[:2]
    distance = f'<Distance Id="{{}}"><Value>{MPP * 1e-6}</Value></Distance>'
    xml = (
        "<ImageDocument><Metadata><Information><Image>"
        f"<SizeX>{wide}</SizeX><SizeY>{high}</SizeY><SizeC>1</SizeC><SizeS>1</SizeS>"
        "<PixelType>Bgr24</PixelType>"
        '<ObjectiveSettings><ObjectiveRef Id="Objective:1"/></ObjectiveSettings></Image>'
        "<Instrument><Objectives>"
        f'<Objective Id="Objective:1"><NominalMagnification>{OBJECTIVE}</NominalMagnification></Objective>'
        "</Objectives></Instrument></Information><Scaling><Items>"
        f"{distance.format('X')}{distance.format('Y')}</Items></Scaling></Metadata></ImageDocument>"
    ).encode()
    metadata_at = start + len(body)
    body += segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml)
    directory_at = start + len(body)
    body += segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", len(entries)) + b"".join(entries))
    attached_at = start + len(body)
    body += segment(b"ZISRAWATTDIR", bytes(256))
    head = struct.pack("<iiq16s16siqqiq", 1, 0, 0, b"", b"", 0, directory_at, metadata_at, 0, attached_at)
    path.write_bytes(segment(b"ZISRAWFILE", head + bytes(512 - len(head))) + body)
