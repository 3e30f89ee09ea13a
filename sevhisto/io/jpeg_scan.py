"""The codes of a sequential JPEG, walked as a decoder does but without making pixels: what decoders only warn of is told here.

Libraries hand out some picture where the data are damaged, and keep the warnings of libjpeg to themselves. A walk finds codes that are
none, data that end before the picture does or after it (ITU-T T.81, annexes B and F), and blocks of more energy than 64 pixels of 8 bits
can have: by Parseval's theorem 1024 squared, and what rounding to the quanta can add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.types import AnyArray, DoubleArray, IntArray

_WHOLE, _NO_CODE, _SHORT, _MORE, _NO_RESTART, _RANGE = range(6)
_SAID = {
    _NO_CODE: "its JPEG data hold a code that is none",
    _SHORT: "its JPEG data end too early",
    _MORE: "it holds more JPEG data than its pixels need",
    _NO_RESTART: "a part of its JPEG data is missing",
    _RANGE: "its JPEG data have more contrast than any picture",
}
_DHT, _DQT, _DRI, _SOS, _EOI = 0xC4, 0xDB, 0xDD, 0xDA, 0xD9
_SEQUENTIAL = {0xC0, 0xC1}
_OTHER_FRAMES = {*range(0xC2, 0xD0)} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}


@dataclass
class _State:
    """What a decoder knows: tables by number, and the frame: (id, columns and rows of blocks in a unit, table of quanta) per component."""

    dc: dict[int, bytes] = field(default_factory=dict)
    ac: dict[int, bytes] = field(default_factory=dict)
    quanta: dict[int, IntArray] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    parts: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    restart: int = 0


def damage_in(data: bytes, tables: bytes | None = None) -> str:
    """Return what is wrong with the data of a JPEG, as words that follow "damaged: "; "" where nothing is.

    Parameters
    ----------
    data : one whole picture, from its SOI marker on
    tables : picture without data that holds its tables, where it has none of its own

    Notes
    -----
    Progressive, arithmetic, lossless and 12-bit pictures are not judged, nor is one whose header is damaged: decoders refuse those.
    """
    state = _State()
    try:
        if tables:
            _markers(tables, 2, state)
        return _scans(data, state) if data[:2] == b"\xff\xd8" else ""
    except (IndexError, KeyError, ValueError):
        return ""


def _scans(data: bytes, state: _State) -> str:
    at = _markers(data, 2, state)
    pixels = np.frombuffer(data, np.uint8)
    while at > 0:
        head, at = _segment(data, at)
        if not state.parts or not all(state.size):
            return ""
        units, dc, ac, owner = _units(state, head)
        codes = _lookups((*dc, *ac))
        quanta = np.stack([state.quanta[state.parts[p][2]] for p in owner])
        most = (1024 + np.sqrt((quanta.astype(np.float64) ** 2).sum(axis=1)) / 2) ** 2
        order = np.unique(owner, return_inverse=True)[1].astype(np.int64)
        status, at = _walk(pixels, at, units, state.restart, order, quanta, most, codes)
        if status != _WHOLE:
            return _SAID[int(status)]
        at = _markers(data, int(at), state)
    return ""


def _segment(data: bytes, at: int) -> tuple[bytes, int]:
    """Content of the segment whose length stands at `at`, and where it ends."""
    end = at + int.from_bytes(data[at : at + 2], "big")
    if end > len(data) or end < at + 2:
        raise ValueError("a segment without end")
    return data[at + 2 : end], end


def _markers(data: bytes, at: int, state: _State) -> int:
    """Note tables and frame from `at` on; return where the next scan's length stands, 0 at the end or for what is not judged."""
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        at += 1 if marker == 0xFF else 2
        if marker == 0xFF or marker in _ALONE:
            continue
        if marker == _SOS:
            return at
        if marker == _EOI or marker in _OTHER_FRAMES:
            return 0
        part, at = _segment(data, at)
        if marker == _DHT:
            _huffman(part, state)
        elif marker == _DQT:
            _quanta(part, state)
        elif marker == _DRI:
            state.restart = int.from_bytes(part, "big")
        elif marker in _SEQUENTIAL:
            if part[0] != 8:
                return 0
            state.size = int.from_bytes(part[1:3], "big"), int.from_bytes(part[3:5], "big")
            state.parts = {part[6 + 3 * i]: (part[7 + 3 * i] >> 4, part[7 + 3 * i] & 15, part[8 + 3 * i]) for i in range(part[5])}
    return 0


def _huffman(part: bytes, state: _State) -> None:
    at = 0
    while at + 17 <= len(part):
        n = 17 + sum(part[at + 1 : at + 17])
        (state.ac if part[at] >> 4 else state.dc)[part[at] & 15] = part[at + 1 : at + n]
        at += n


def _quanta(part: bytes, state: _State) -> None:
    at = 0
    while at < len(part):
        wide = part[at] >> 4
        values = np.frombuffer(part, ">u2" if wide else ">u1", 64, at + 1)
        state.quanta[part[at] & 15] = values.astype(np.int64)
        at += 65 + 64 * wide


def _units(state: _State, head: bytes) -> tuple[int, list[bytes], list[bytes], list[int]]:
    """Number of units in a scan; and of each block in one: tables of codes, and the component that it is of."""
    chosen = [(head[1 + 2 * i], head[2 + 2 * i]) for i in range(head[0])]
    most_h, most_v = (max(p[i] for p in state.parts.values()) for i in (0, 1))
    rows, columns = state.size
    if len(chosen) == 1:
        h, v, _ = state.parts[chosen[0][0]]
        units = math.ceil(math.ceil(columns * h / most_h) / 8) * math.ceil(math.ceil(rows * v / most_v) / 8)
        counts = [1]
    else:
        units = -(-columns // (8 * most_h)) * -(-rows // (8 * most_v))
        counts = [state.parts[part][0] * state.parts[part][1] for part, _ in chosen]
    blocks = [pair for pair, n in zip(chosen, counts, strict=True) for _ in range(n)]
    return units, [state.dc[t >> 4] for _, t in blocks], [state.ac[t & 15] for _, t in blocks], [part for part, _ in blocks]


@lru_cache(maxsize=8)
def _lookups(tables: tuple[bytes, ...]) -> AnyArray:
    """(table, 65536) uint16: bits of the code times 256 plus its symbol, for every 16 bits that can follow; 0 where no code begins so."""
    out = np.zeros((len(tables), 65536), np.uint16)
    for row, table in zip(out, tables, strict=True):
        code, at = 0, 16
        for length in range(1, 17):
            for _ in range(table[length - 1]):
                first = code << (16 - length)
                row[first : first + (1 << (16 - length))] = length << 8 | table[at]
                code, at = code + 1, at + 1
            code <<= 1
    return out


@compiled
def _fed(data: AnyArray, at: int, held: int, n: int) -> tuple[int, int, int, bool]:
    """Take bytes until more than 32 bits are held, or a marker stands at `at`."""
    while n <= 32:
        if at >= len(data) or (data[at] == 255 and (at + 1 >= len(data) or data[at + 1] != 0)):
            return at, held, n, True
        held = (held << 8) | int(data[at])
        n += 8
        at += 2 if data[at] == 255 else 1
    return at, held, n, False


@compiled
def _block(data: AnyArray, at: int, held: int, n: int, dc: AnyArray, ac: AnyArray, quanta: IntArray) -> tuple[int, int, int, int, int, int]:
    """Walk one block; return how it ended, where, the bits that are held and how many, the change of the mean, and the other energy."""
    change, energy, k = 0, 0, 0
    while k < 64:
        at, held, n, ended = _fed(data, at, held, n)
        peek = (held >> (n - 16)) & 65535 if n >= 16 else (held << (16 - n)) & 65535
        entry = int(dc[peek]) if k == 0 else int(ac[peek])
        length, symbol = entry >> 8, entry & 255
        bits = symbol & 15
        if length == 0 or length + bits > n:
            return (_SHORT if n < 28 and ended else _NO_CODE), at, held, n, 0, 0
        n -= length + bits
        raw = (held >> n) & ((1 << bits) - 1)
        held &= (1 << n) - 1
        value = raw - (1 << bits) + 1 if bits > 0 and raw >> (bits - 1) == 0 else raw
        if k == 0:
            if symbol > 11:
                return _NO_CODE, at, held, n, 0, 0
            change, k = value, 1
        elif bits == 0:
            if symbol == 0:
                break
            k += 16
            if symbol != 240 or k > 63:
                return _NO_CODE, at, held, n, 0, 0
        else:
            k += (symbol >> 4) + 1
            if k > 64 or bits > 10:
                return _NO_CODE, at, held, n, 0, 0
            energy += (value * quanta[k - 1]) ** 2
    return _WHOLE, at, held, n, change, energy


@compiled
def _walk(
    data: AnyArray, at: int, units: int, restart: int, owner: IntArray, quanta: IntArray, most: DoubleArray, codes: AnyArray
) -> tuple[int, int]:
    """Walk one scan; return how it ended, and where the marker behind it stands."""
    held, n, turn, blocks = 0, 0, 0, len(owner)
    mean = np.zeros(4, np.int64)
    for unit in range(units):
        if restart > 0 and unit > 0 and unit % restart == 0:
            at, held, n, ended = _fed(data, at, held, n)
            if n >= 8 or not ended:
                return _MORE, at
            while at + 1 < len(data) and data[at + 1] == 255:
                at += 1
            if at + 1 >= len(data) or data[at + 1] != 208 + turn:
                return _NO_RESTART, at
            at, held, n, turn = at + 2, 0, 0, (turn + 1) % 8
            mean[:] = 0
        for block in range(blocks):
            status, at, held, n, change, energy = _block(data, at, held, n, codes[block], codes[blocks + block], quanta[block])
            if status != _WHOLE:
                return status, at
            mean[owner[block]] += change
            level = abs(mean[owner[block]]) * quanta[block, 0]
            if level > 1024 + quanta[block, 0] or energy + level**2 > most[block]:
                return _RANGE, at
    at, held, n, ended = _fed(data, at, held, n)
    return (_WHOLE if n < 8 and ended else _MORE), at
