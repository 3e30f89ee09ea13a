"""Whether a TIFF file's structure can be trusted, told from its directories before any library opens it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sevhisto.io.scene import broken
from sevhisto.types import AnyArray, SlideError

MAX_PAGES = 10_000
MAX_SIDE = 2**20
MAX_SEGMENT_BYTES = 2**28
_MAX_TAGS, _MAX_SAMPLES, _LARGEST_TEXT = 512, 64, 2**24
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_CODECS = {1, 5, 7, 8, 32773, 32946, 33003, 33004, 33005, 34712, 50000}
WIDTH, HEIGHT, BITS, CODEC, DESCRIPTION, SAMPLES, ROWS = 256, 257, 258, 259, 270, 277, 278
NDPI, MCU_STARTS = 65420, 65426  # Hamamatsu: the format's mark; where the parts of one large JPEG start
STRIPS, STRIP_BYTES, PLANAR, TILE_W, TILE_H, TILES, TILE_BYTES, SUB = 273, 279, 284, 322, 323, 324, 325, 330
_WANTED = {WIDTH, HEIGHT, BITS, CODEC, SAMPLES, ROWS, STRIPS, STRIP_BYTES, PLANAR, TILE_W, TILE_H, TILES, TILE_BYTES, SUB, NDPI, MCU_STARTS}
Tags = dict[int, AnyArray]


@dataclass
class _Walk:
    path: Path
    file: BinaryIO
    size: int
    order: str
    big: bool
    ndpi: bool = False

    @classmethod
    def of(cls, path: Path, file: BinaryIO) -> _Walk:
        """Read the header of an open file; SlideError for what is no TIFF."""
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        if not order or len(head) < 4 or struct.unpack(order + "H", head[2:4])[0] not in (42, 43):
            raise broken(path, "is not a TIFF image")
        big = struct.unpack(order + "H", head[2:4])[0] == 43
        ndpi = path.name.lower().endswith(".ndpi") and order == "<" and not big
        return cls(path, file, path.stat().st_size, order, big, ndpi)

    def first(self) -> int:
        """Where the first directory stands."""
        return self.number(8 if self.big else 4, "u8" if self.big or self.ndpi else "u4")

    def take(self, at: int, n: int) -> bytes:
        if at + n > self.size:
            raise self.short()
        self.file.seek(at)
        return self.file.read(n)

    def short(self) -> SlideError:
        return broken(self.path, f"is cut short: it refers to data beyond its {self.size} bytes")

    def number(self, at: int, kind: str) -> int:
        return int.from_bytes(self.take(at, int(kind[1:])), "little" if self.order == "<" else "big")

    def directory(self, at: int) -> tuple[Tags, int]:
        """Tags of the directory at `at`, and where the next one stands."""
        head, entry = ("u8", 20) if self.big else ("u2", 12)
        n = self.number(at, head)
        if not 0 < n <= _MAX_TAGS:
            raise broken(self.path, f"its directory at byte {at} claims {n} entries: the file is damaged")
        start = at + np.dtype(head).itemsize
        block, tags = self.take(start, n * entry), Tags()
        # NDPI is no BigTIFF, but the upper half of each value or offset follows the directory
        upper = self.take(start + n * entry + 8, n * 4) if self.ndpi else b""
        for i in range(n):
            row = block[i * entry : (i + 1) * entry]
            code, kind = struct.unpack(self.order + "HH", row[:4])
            count = int(np.frombuffer(row[4 : entry - (8 if self.big else 4)], self.order + ("u8" if self.big else "u4"))[0])
            n_bytes, inline = count * _SIZES.get(kind, 0), row[12:] if self.big else row[8:]
            more = upper[i * 4 : i * 4 + 4]
            if any(more) and count == 1 and kind == 4:
                inline, kind, n_bytes = inline + more, 16, 8
            elif n_bytes > len(inline):
                where = int(np.frombuffer(inline, self.order + ("u8" if self.big else "u4"))[0]) + (int.from_bytes(more, "little") << 32)
                if where + n_bytes > self.size:
                    raise self.short()
                if (code in _WANTED and kind in _NUMBERS) or (code == DESCRIPTION and n_bytes <= _LARGEST_TEXT):
                    inline = self.take(where, n_bytes)
            if code == DESCRIPTION and n_bytes == len(inline[:n_bytes]):
                tags[code] = np.frombuffer(inline[:n_bytes], "u1")
            elif code in _WANTED and kind in _NUMBERS:
                tags[code] = np.frombuffer(inline[:n_bytes], self.order + _NUMBERS[kind]).astype(np.uint64)
        return tags, self.number(start + n * entry, "u8" if self.big or self.ndpi else "u4")


def first_description(path: Path) -> str:
    """Return the text that the first page of a TIFF carries, "" where there is none; SlideError, or OSError, for what is no TIFF."""
    with path.open("rb") as file:
        walk = _Walk.of(path, file)
        text = walk.directory(walk.first())[0].get(DESCRIPTION)
    return "" if text is None else text.astype(np.uint8).tobytes().decode("utf-8", "replace").rstrip("\0")


def check_tiff(path: Path) -> int:
    """Return the number of pages; SlideError where the file is cut short, loops, or its pages do not hold what they declare."""
    with path.open("rb") as file:
        walk = _Walk.of(path, file)
        _count(walk)
        seen: set[int] = set()
        pages = _chain(walk, walk.first(), seen)
        if not pages:
            raise broken(path, "holds no image")
        if path.name.lower().endswith(".ndpi") and not (walk.ndpi and all(NDPI in tags for tags in pages)):
            raise broken(path, "is named NDPI but is none", "export it again from the scanner's software as NDPI or OME-TIFF")
        n = len(pages)
        levels: set[int] = set()
        while pages:
            tags = pages.pop()
            _check_page(walk, tags)
            for at in tags.get(SUB, ()):
                # writers chain the levels of a pyramid as well as listing them: a level that was seen as such is no circle
                pages.extend(_chain(walk, int(at), seen, levels))
    return n


def _count(walk: _Walk) -> None:
    """SlideError where there are too many pages, before any tag of them is looked at."""
    head, entry, more = ("u8", 20, "u8") if walk.big else ("u2", 12, "u8" if walk.ndpi else "u4")
    at, seen = walk.first(), set[int]()
    while at and at not in seen:
        seen.add(at)
        if len(seen) > MAX_PAGES:
            raise broken(walk.path, f"has more than {MAX_PAGES} pages", "save one section per file")
        n = walk.number(at, head)
        if n > _MAX_TAGS:
            return  # told when the directory is read
        at = walk.number(at + int(head[1:]) + entry * n, more)


def _chain(walk: _Walk, at: int, seen: set[int], known: set[int] | None = None) -> list[Tags]:
    """Return the pages from `at` on; `known` are pages reached before at which a chain of pyramid levels may end."""
    found: list[Tags] = []
    here: set[int] = set()
    while at:
        if known is not None and at in known and at not in here:
            return found
        if at in seen:
            raise broken(walk.path, "its directories run in a circle: the file is damaged")
        if len(seen) >= MAX_PAGES:
            raise broken(walk.path, f"has more than {MAX_PAGES} pages", "save one section per file")
        seen.add(at)
        here.add(at)
        if known is not None:
            known.add(at)
        tags, at = walk.directory(at)
        found.append(tags)
    return found


def _check_page(walk: _Walk, tags: Tags) -> None:
    def one(code: int, default: int) -> int:
        value = tags.get(code)
        return int(value[0]) if value is not None and len(value) else default

    w, h, bits, samples = one(WIDTH, 0), one(HEIGHT, 0), one(BITS, 1), one(SAMPLES, 1)
    if not (0 < w <= MAX_SIDE and 0 < h <= MAX_SIDE):
        raise broken(walk.path, f"declares a size of {w} x {h} pixels")
    if not 0 < samples <= _MAX_SAMPLES or not 0 < bits <= 64:
        raise broken(walk.path, f"declares {samples} samples of {bits} bits")
    if one(CODEC, 1) not in _CODECS:
        raise broken(walk.path, f"its compression (code {one(CODEC, 1)}) is not read here", "save it with deflate or LZW, or raw")
    tiled = TILES in tags or TILE_W in tags
    th, tw = (one(TILE_H, 0), one(TILE_W, 0)) if tiled else (min(one(ROWS, h), h), w)
    offsets, counts = (tags.get(TILES), tags.get(TILE_BYTES)) if TILES in tags else (tags.get(STRIPS), tags.get(STRIP_BYTES))
    if not (0 < th <= MAX_SIDE and 0 < tw <= MAX_SIDE) or offsets is None or counts is None:
        raise broken(walk.path, "does not say where its pixels are: the file is damaged")
    split = samples if one(PLANAR, 1) == 2 else 1
    needed = -(-h // th) * -(-w // tw) * split
    if len(offsets) != needed or len(counts) != needed:
        raise broken(walk.path, f"needs {needed} tiles or strips for its {w} x {h} pixels, but lists {len(offsets)}")
    _check_segments(walk, offsets, counts)
    raw = th * tw * (samples // split) * bits // 8
    if one(CODEC, 1) == 1:
        _check_raw(walk, counts, (w, h, th, tw, samples // split, bits), tiled)
    elif raw > MAX_SEGMENT_BYTES and not (walk.ndpi and MCU_STARTS in tags):
        raise broken(walk.path, f"its compressed parts hold {raw / 2**20:.0f} MB each, too much to read by region", "save it tiled")


def _check_segments(walk: _Walk, offsets: AnyArray, counts: AnyArray) -> None:
    missing = int(((counts == 0) | (offsets == 0)).sum())
    if missing:
        raise broken(walk.path, f"{missing} of {len(counts)} tiles or strips are missing from the file")
    if (offsets > walk.size).any() or (counts > walk.size).any() or (offsets + counts > walk.size).any():
        raise walk.short()


def _check_raw(walk: _Walk, counts: AnyArray, layout: Sequence[int], tiled: bool) -> None:
    """Uncompressed parts must hold exactly the pixels that the page declares."""
    w, h, th, tw, samples, bits = layout
    rows = np.full(-(-h // th), th)
    if not tiled:
        rows[-1] = h - th * (len(rows) - 1)
    wanted = np.tile(np.repeat(rows * -(-tw * samples * bits // 8), -(-w // tw)), len(counts) // (len(rows) * -(-w // tw)))
    wrong = int((counts != wanted.astype(np.uint64)).sum())
    if wrong:
        raise broken(walk.path, f"{wrong} of {len(counts)} tiles or strips do not hold the pixels that {w} x {h} needs")
