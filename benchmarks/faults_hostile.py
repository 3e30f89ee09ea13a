"""Hostile slides of formats other than TIFF, as the first slide of the good study: small files that claim, or hold, far more than is there.

Importing this adds them to the cases.
"""

from __future__ import annotations

import struct

from faults_cases import Change, _both, _bytes, _case, _text

from sevhisto.io.canary import FOLDER

_RAW, _PACKED = (FOLDER / "none_two_u16.dcm").read_bytes(), (FOLDER / "jpegls_two_u16.dcm").read_bytes()
_OPEN = struct.pack("<I", 2**32 - 1)
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
_EMPTY, _SEQUENCE = _ITEM + bytes(4), b"\x48\0\x05\x01SQ\0\0" + _OPEN
_AT = _RAW.index(b"\x48\0\x05\x01SQ")
_PIXELS = _RAW[_RAW.index(b"\xe0\x7f\x10\0OW") :]
_FRAMES, _ROWS = _RAW.index(b"\x28\0\x08\0IS"), _RAW.index(b"\x28\0\x10\0US")


def _slide(suffix: str, data: bytes) -> Change:
    return _both(_text("slides.csv", "a.ome.tif", f"a{suffix}"), _bytes(f"slides/a{suffix}", data))


def _with(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def _vsi(n: int) -> Change:
    head = struct.pack("<4sIIIQIIQI", b"SIS\0", 64, 3, 4, 64, 228, 0, 292, n)
    return _both(_slide(".vsi", b"II*\0"), _bytes("slides/_a_/stack1/frame_t.ets", head.ljust(400, b"\0")))


_case("h01 DICOM, five million items", _slide(".dcm", _RAW[:_AT] + _SEQUENCE + _EMPTY * 5_000_000 + _END + _PIXELS), "far more elements")
_case("h02 DICOM, sequences 100,000 deep", _slide(".dcm", _RAW[:_AT] + (_SEQUENCE + _ITEM + _OPEN) * 100_000), "nested more than")
_case(
    "h03 DICOM, five million pieces",
    _slide(".dcm", _PACKED[: _PACKED.index(_ITEM, _PACKED.index(b"\xe0\x7f\x10\0OB"))] + _EMPTY * 5_000_000 + _END),
    "in more pieces than that",
)
_case("h04 DICOM, 65,535 rows", _slide(".dcm", _with(_RAW, _ROWS + 8, b"\xff\xff")), "tiles need")
_case("h05 DICOM, 99 tiles of 4", _slide(".dcm", _with(_RAW, _FRAMES + 8, b"99")), "tiles need")
_case("h06 DICOM, cut short", _slide(".dcm", _RAW[:-99]), "is cut short")
_case("h07 VSI, four billion tiles", _vsi(2**32 - 1), "is cut short")
_case("h08 VSI, no tiles", _vsi(0), "declares 0 tiles")
