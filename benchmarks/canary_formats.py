"""Tiny files of the formats that no library here writes: Nikon's ND2, and Zeiss' CZI with its pixels packed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np

UM = 0.5
_MAGIC = 0x0ABECEDA
_BOOL, _UINT, _DOUBLE, _TEXT, _LEVEL = 1, 3, 6, 8, 11
_CODES = {"jpegxr": 4, "zstd": 6}
_PACK = {"jpegxr": lambda p: imagecodecs.jpegxr_encode(p, level=1.0), "zstd": lambda p: b"\1" + imagecodecs.zstd_encode(p.tobytes())}
Tree = dict[str, "bool | int | float | str | Tree"]


def write_nd2(path: Path, pixels: np.ndarray, lossless: bool = False) -> None:
    """Write one frame (c, h, w) of uint16, raw or packed with zlib, as a file of version 3."""
    c, h, w = pixels.shape
    attributes: Tree = {
        "uiWidth": w,
        "uiWidthBytes": 2 * c * w,
        "uiHeight": h,
        "uiComp": c,
        "uiBpcInMemory": 16,
        "uiBpcSignificant": 16,
        "uiSequenceCount": 1,
        "eCompression": 0 if lossless else 2,
    }
    probe: Tree = {"m_sName": "none"}
    planes: Tree = {f"a{i}": {"uiCompCount": 1, "uiSampleIndex": i, "sDescription": f"c{i}", "pFluorescentProbe": probe} for i in range(c)}
    picture: Tree = {"bCalibrated": True, "dCalibration": UM, "sPicturePlanes": {"uiCount": c, "sPlaneNew": planes}}
    frame = np.moveaxis(pixels, 0, -1).astype("<u2").tobytes()
    frame = bytes(8) + (zlib.compress(frame) if lossless else frame)
    chunks = {
        b"ImageAttributesLV!": _lite({"SLxImageAttributes": attributes}),
        b"ImageMetadataSeqLV|0!": _lite({"SLxPictureMetadata": picture}),
        b"ImageDataSeq|0!": frame,
    }
    out = _chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32)
    places = b""
    for name, data in chunks.items():
        places += name + struct.pack("<QQ", len(out), len(data))
        # the library looks for a frame 4096 bytes behind the start of its chunk
        out += _chunk(name, data, 4096 - 24 if name.startswith(b"ImageData") else len(name))
    tail = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(out))
    path.write_bytes(out + _chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", places + 2 * tail, 32))


def _chunk(name: bytes, data: bytes, n_name: int) -> bytes:
    return struct.pack("<IIQ", _MAGIC, n_name, len(data)) + name.ljust(n_name, b"\0") + data


def _lite(tree: Tree) -> bytes:
    out = b""
    for name, value in tree.items():
        label = (name + "\0").encode("utf-16-le")
        if isinstance(value, dict):
            inner = _lite(value)
            head = 2 + len(label) + 12
            body = struct.pack("<IQ", len(value), head + len(inner)) + inner + bytes(8 * len(value))
        elif isinstance(value, bool):
            body = bytes([value])
        elif isinstance(value, str):
            body = (value + "\0").encode("utf-16-le")
        else:
            body = struct.pack("<I" if isinstance(value, int) else "<d", value)
        kinds = {dict: _LEVEL, bool: _BOOL, int: _UINT, float: _DOUBLE, str: _TEXT}
        out += bytes([kinds[type(value)], len(label) // 2]) + label + body
    return out


def pack_czi(raw: Path, to: Path, codec: str, pixels: np.ndarray) -> None:
    """Write a CZI of one uncompressed block again, with its pixels (h, w) packed by ``jpegxr`` or ``zstd``."""
    data = raw.read_bytes()
    block, directory = data.index(b"ZISRAWSUBBLOCK"), data.index(b"ZISRAWDIRECTORY")
    meta = data.index(b"ZISRAWMETADATA")
    (notes,) = struct.unpack_from("<i", data, block + 32)
    start = block + 32 + 256 + notes
    packed = _PACK[codec](pixels)
    used = 256 + notes + len(packed)
    allocated = -(-used // 32) * 32
    new = bytearray(data[:start] + packed + bytes(allocated - used) + data[meta:])
    moved = block + 32 + allocated - meta
    struct.pack_into("<qq", new, block + 16, allocated, used)
    struct.pack_into("<q", new, block + 40, len(packed))
    struct.pack_into("<i", new, block + 48 + 18, _CODES[codec])
    struct.pack_into("<i", new, directory + moved + 32 + 128 + 18, _CODES[codec])
    struct.pack_into("<qq", new, 32 + 52, directory + moved, meta + moved)
    to.write_bytes(new)
