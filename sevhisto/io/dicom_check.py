"""Whether a DICOM file's structure can be trusted, told from its elements before any library opens it (PS3.5 and PS3.10)."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sevhisto.io.scene import broken
from sevhisto.io.tiff_check import MAX_SEGMENT_BYTES
from sevhisto.types import SlideError

MAX_FRAMES, MAX_DEPTH, MAX_ELEMENTS, PER_FRAME = 1_000_000, 12, 50_000, 64
RECOPY = "copy the whole series again from the scanner"
IMPLICIT = "1.2.840.10008.1.2"
_OTHER_ORDER = {"1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"}  # big-endian, deflated
_ITEM, _ITEM_END, _SEQUENCE_END, _OPEN = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFFFFFF
SERIES, _GROUP_LENGTH, _SYNTAX, _IMAGE_TYPE = 0x0020000E, 0x00020000, 0x00020010, 0x00080008
_SAMPLES, _FRAMES, _ROWS, _COLUMNS, _BITS = 0x00280002, 0x00280008, 0x00280010, 0x00280011, 0x00280100
_TABLE, _PIXELS, _PADDING = 0x7FE00001, 0x7FE00010, 0xFFFCFFFC
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT = {
    b"AE",
    b"AS",
    b"AT",
    b"CS",
    b"DA",
    b"DS",
    b"DT",
    b"FD",
    b"FL",
    b"IS",
    b"LO",
    b"LT",
    b"PN",
    b"SH",
    b"SL",
    b"SS",
    b"ST",
    b"TM",
    b"UI",
    b"UL",
    b"US",
}
Found = dict[int, tuple[int, int]]
"""Elements of one level: tag -> place of the value and its bytes (0xFFFFFFFF where its end is marked instead)."""


@dataclass(frozen=True)
class Pixels:
    """Where the frames of a file stand: byte and number of bytes of each."""

    offsets: Sequence[int]
    lengths: Sequence[int]


def check_dicom(path: Path) -> Pixels:
    """Return where the frames stand.

    SlideError where the file is cut short, elements or sequences do not close, or the pixels are not those that it declares.
    """
    with path.open("rb") as file:
        walk = Walk(path, file)
        try:
            return _check(walk)
        except (struct.error, ValueError, OverflowError) as error:
            raise walk.damaged(f"its structure makes no sense ({error})") from error
        finally:
            walk.close()


def series_of(path: Path) -> tuple[str, str]:
    """Return series and kind ("VOLUME", "LABEL", ...) that the start of a file tells, whatever follows; "" for what it does not tell."""
    found: Found = {}
    with path.open("rb") as file:
        walk = Walk(path, file)
        try:
            with suppress(SlideError, struct.error, ValueError):
                at, implicit = start(walk)
                walk.dataset(at, walk.size, implicit, 0, found, stop=SERIES + 1)
            kinds = walk.text(found, _IMAGE_TYPE).split("\\")
            return walk.text(found, SERIES), kinds[2].strip() if len(kinds) > 2 else ""
        finally:
            walk.close()


class Walk:
    """The elements of one open file, each looked at where it stands; close it after use."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.size, self.left = path, path.stat().st_size, MAX_ELEMENTS
        if self.size < 132 or file.read(132)[128:] != b"DICM":
            raise broken(path, "is not a readable DICOM file: its mark is missing", RECOPY)
        self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Let go of the file."""
        self.data.close()

    def damaged(self, what: str) -> SlideError:
        """Return the error for a structure that cannot be."""
        return broken(self.path, f"{what}: the file is damaged", RECOPY)

    def short(self) -> SlideError:
        """Return the error for what ends too late."""
        return broken(
            self.path, f"is cut short, or damaged: a part of it ends beyond its {self.size} bytes or outside of what holds it", RECOPY
        )

    def mark(self, at: int, end: int) -> tuple[int, int]:
        """Tag and the four bytes after it at `at`."""
        if at + 8 > end:
            raise self.short()
        group, element, n = struct.unpack_from("<HHI", self.data, at)
        return group << 16 | element, n

    def count(self) -> None:
        """Count an element; SlideError where there are too many."""
        self.left -= 1
        if self.left < 0:
            raise self.damaged("it holds far more elements than a slide of its frames needs")

    def text(self, found: Found, tag: int) -> str:
        """Text of an element; "" where it is not there."""
        at, n = found.get(tag, (0, 0))
        return self.data[at : at + min(n, 1024)].decode("latin-1").strip(" \0")

    def number(self, found: Found, tag: int, default: int = 0) -> int:
        """Number of an element of two bytes; `default` where it is not there."""
        at, n = found.get(tag, (0, 0))
        return int(struct.unpack_from("<H", self.data, at)[0]) if n == 2 else default

    def head(self, at: int, end: int, implicit: bool) -> tuple[bytes, int, int]:
        """Kind of value, its bytes and its place, of the element at `at`."""
        _, n = self.mark(at, end)
        if implicit:
            return b"", n, at + 8
        kind = self.data[at + 4 : at + 6]
        if kind in _LONG:
            if at + 12 > end:
                raise self.short()
            return kind, int(struct.unpack_from("<I", self.data, at + 8)[0]), at + 12
        if kind not in _SHORT:
            raise self.damaged(f"the element at byte {at} is of no known kind ({kind!r})")
        return kind, n >> 16, at + 8

    def dataset(self, at: int, end: int, implicit: bool, depth: int, found: Found | None = None, stop: int = _PIXELS) -> int:
        """Walk the elements from `at` to `end`, to their delimiter where that is -1; return where they end.

        `found` takes those of this level. The file's own level ends at the tag `stop`.
        """
        last, bound = -1, self.size if end < 0 else end
        while at != end:
            tag, n = self.mark(at, bound)
            if tag == _ITEM_END and end < 0 and depth:
                if n:
                    raise self.damaged(f"the end of an item at byte {at} has a length")
                return at + 8
            if depth == 0 and tag >= stop:
                return at
            if tag <= last:
                raise self.damaged(f"the elements at byte {at} are out of order")
            last = tag
            self.count()
            kind, n, at = self.head(at, bound, implicit)
            if found is not None:
                found[tag] = at, n
                if tag == _FRAMES:
                    self.left += PER_FRAME * _frames(self, found)
            at = self._value(at, n, bound, kind, implicit, depth)
        return at

    def _value(self, at: int, n: int, bound: int, kind: bytes, implicit: bool, depth: int) -> int:
        if n == _OPEN and kind in (b"OB", b"OW"):  # packed pixels of an icon
            return self.fragments(at, MAX_ELEMENTS)[1]
        if n != _OPEN and at + n > bound:
            raise self.short()
        hidden = implicit and n != _OPEN and n >= 8 and self.mark(at, bound)[0] == _ITEM
        if n == _OPEN or kind == b"SQ" or hidden:
            after = self.sequence(at, n, implicit or kind == b"UN", depth + 1)
            if after > bound:
                raise self.short()
            return after
        return at + n

    def sequence(self, at: int, n: int, implicit: bool, depth: int, items: list[Found] | None = None) -> int:
        """Walk the items of a sequence of `n` bytes; `items` takes the elements of each."""
        if depth > MAX_DEPTH:
            raise self.damaged(f"its sequences are nested more than {MAX_DEPTH} deep")
        end = self.size if n == _OPEN else at + n
        while n == _OPEN or at != end:
            tag, size = self.mark(at, end)
            if tag == _SEQUENCE_END and n == _OPEN and not size:
                return at + 8
            if tag != _ITEM:
                raise self.damaged(f"the sequence at byte {at} goes on with no item")
            self.count()
            at += 8
            if size != _OPEN and at + size > end:
                raise self.short()
            found: Found | None = None if items is None else {}
            at = self.dataset(at, -1 if size == _OPEN else at + size, implicit, depth, found)
            if items is not None and found is not None:
                items.append(found)
        return at

    def fragments(self, at: int, most: int) -> tuple[list[tuple[int, int]], int]:
        """Place and bytes of each piece of packed pixels, the table first, and where they end."""
        pieces: list[tuple[int, int]] = []
        while True:
            tag, n = self.mark(at, self.size)
            if tag == _SEQUENCE_END and not n:
                return pieces, at + 8
            if tag != _ITEM or n == _OPEN:
                raise self.damaged(f"there is no piece of pixels at byte {at}, where one should stand")
            if at + 8 + n > self.size:
                raise self.short()
            pieces.append((at + 8, n))
            if len(pieces) > most + 1:
                what = f"has its {most} tiles in more pieces than that, which is not read here"
                raise broken(self.path, what, "export it again from the scanner with one piece for each tile, or as OME-TIFF")
            at += 8 + n


def start(walk: Walk) -> tuple[int, bool]:
    """Return where the elements after the file's own description start, and whether they are written without their kinds."""
    found: Found = {}
    at = walk.dataset(132, walk.size, False, 0, found, stop=0x00030000)
    if _GROUP_LENGTH in found:
        place, n = found[_GROUP_LENGTH]
        if n != 4 or place + 4 + struct.unpack_from("<I", walk.data, place)[0] != at:
            raise walk.damaged("its description does not have the length that it states")
    syntax = walk.text(found, _SYNTAX)
    if not syntax:
        raise walk.damaged("it does not say how it is written (transfer syntax)")
    if syntax in _OTHER_ORDER:
        raise broken(
            walk.path, f"is written in a form that is not read here ({syntax})", "export it again from the scanner, or as OME-TIFF"
        )
    return at, syntax == IMPLICIT


def _frames(walk: Walk, found: Found) -> int:
    text = walk.text(found, _FRAMES) or "1"
    if not text.isascii() or not text.lstrip("+").isdecimal() or not 0 < int(text) <= min(MAX_FRAMES, walk.size):
        raise walk.damaged(f"it declares {text[:20]!r} tiles")
    return int(text)


def _check(walk: Walk) -> Pixels:
    at, implicit = start(walk)
    found: Found = {}
    at = walk.dataset(at, walk.size, implicit, 0, found)
    if at == walk.size or walk.mark(at, walk.size)[0] != _PIXELS:
        raise broken(walk.path, "holds no pixels", RECOPY)
    n_frames, bits = _frames(walk, found), walk.number(found, _BITS, 8)
    tile_bytes = walk.number(found, _ROWS) * walk.number(found, _COLUMNS) * walk.number(found, _SAMPLES, 1) * bits // 8
    if not 0 < tile_bytes <= MAX_SEGMENT_BYTES or bits > 64:
        raise walk.damaged(f"it declares tiles of {tile_bytes} bytes")
    _, n, at = walk.head(at, walk.size, implicit)
    if n == _OPEN:
        pixels, end = _packed(walk, found, at, n_frames)
    else:
        needed, end = n_frames * tile_bytes, at + n
        if end > walk.size:
            raise broken(walk.path, f"is cut short: {n_frames} tiles are declared, {(walk.size - at) // tile_bytes} are there", RECOPY)
        if n - needed not in (0, needed % 2):
            raise broken(walk.path, f"holds {n} bytes of pixels, and its {n_frames} tiles need {needed}", RECOPY)
        pixels = Pixels(range(at, at + needed, tile_bytes), [tile_bytes] * n_frames)
    if end != walk.size and (walk.mark(end, walk.size)[0] != _PADDING or _after_padding(walk, end, implicit) != walk.size):
        raise walk.damaged(f"something that is no part of it follows its pixels at byte {end}")
    return pixels


def _after_padding(walk: Walk, at: int, implicit: bool) -> int:
    _, n, place = walk.head(at, walk.size, implicit)
    return place + n


def _packed(walk: Walk, found: Found, at: int, n_frames: int) -> tuple[Pixels, int]:
    """One piece for each frame, where the tables say."""
    pieces, end = walk.fragments(at, n_frames)
    if len(pieces) != n_frames + 1:
        what = f"is cut short, or has tiles in several pieces: {n_frames} tiles are declared, {max(0, len(pieces) - 1)} pieces are there"
        raise broken(walk.path, what, RECOPY)
    (table_at, table_n), *frames = pieces
    if not all(n for _, n in frames):
        raise walk.damaged(f"tile {[n for _, n in frames].index(0) + 1} is empty")
    starts = [place - 8 - (table_at + table_n) for place, _ in frames]
    tables = {"I": (table_at, table_n)} if table_n else {}
    tables |= {"Q": found[_TABLE]} if _TABLE in found else {}
    for kind, (place, n) in tables.items():
        each = struct.calcsize("<" + kind)
        if n != each * n_frames:
            raise walk.damaged(f"its table lists {n // each} of {n_frames} tiles")
        if list(struct.unpack_from(f"<{n_frames}{kind}", walk.data, place)) != starts:
            raise walk.damaged("its table names other places than those where its tiles stand")
    return Pixels([place for place, _ in frames], [n for _, n in frames]), end
