"""Damage in JPEG data that no decoder tells: bytes that were lost and stand as zeros decode to some picture."""

from __future__ import annotations

import re

_ZEROS = b"\0" * 8
_ALONE = {0x01, *range(0xD0, 0xDA)}  # markers without a length
_DHT, _SOS = 0xC4, 0xDA
_OTHER_FRAMES = {*range(0xC2, 0xD0)} - {0xC4, 0xC8, 0xCC}
_NEXT = re.compile(rb"\xff[^\0\xd0-\xd7\xff]")  # what ends entropy-coded data


def lost_bytes(data: bytes, tables: bytes | None = None) -> bool:
    """Return whether eight zero bytes stand in a sequential JPEG where no encoder writes them.

    Parameters
    ----------
    data : one picture, or the part of one that follows its header
    tables : what holds its Huffman tables, where `data` does not

    Notes
    -----
    In entropy-coded data 64 zero bits are 20 and more times the code that is all zeros. That is plausible only where the code means
    "the rest of the block is flat" in the tables for AC coefficients, as in a picture of one colour with tables made for it. In the
    standard table of luminance it means one coefficient of 1 after the other. Progressive pictures are not judged.
    """
    if _ZEROS not in data:
        return False
    first: dict[int, int] = {}
    start = 0
    if tables:
        _header(tables, 2, first)
    if data[:2] == b"\xff\xd8":
        start = _header(data, 2, first)
    while 0 <= start < len(data):
        end = _NEXT.search(data, start)
        stop = end.start() if end else len(data)
        if any(first.values()) and data.find(_ZEROS, start, stop) >= 0:
            return True
        start = _header(data, stop, first)
    return False


def _header(data: bytes, at: int, first: dict[int, int]) -> int:
    """Note the symbol of the all-zero code of each AC table from `at` on; return where entropy-coded data start, -1 if none do."""
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _ALONE or marker == 0xFF:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _OTHER_FRAMES:
            return -1
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _DHT:
            _tables(data[at + 4 : at + 2 + size], first)
        at += 2 + size
        if marker == _SOS:
            return at
    return -1


def _tables(data: bytes, first: dict[int, int]) -> None:
    at = 0
    while at + 17 < len(data):
        if data[at] >> 4 == 1:
            first[data[at] & 15] = data[at + 17]
        at += 17 + sum(data[at + 1 : at + 17])
