"""Whether a CZI file's structure can be trusted, told from its segments before any library opens it."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sevhisto.io.scene import broken

MAX_SEGMENTS, MAX_METADATA_BYTES, MAX_TILE_BYTES = 2_000_000, 2**28, 2**31
_HEAD, _FIXED, _PER_DIMENSION = 32, 32, 20
_PIXEL_BYTES = {0: 1, 1: 2, 2: 4, 3: 3, 4: 6, 8: 12, 9: 4, 10: 8, 12: 4, 13: 8}
_COMPRESSIONS = {0, 4}  # none, JPEG XR: what the library reads
_OTHER_COMPRESSIONS = {1: "JPEG", 2: "LZW", 5: "zstd", 6: "zstd"}
_MOSAIC = ("X", "Y", "M")


@dataclass(frozen=True)
class _Entry:
    """One block of pixels as a directory lists it: `sizes` by dimension are (start, size, stored size)."""

    pixel_type: int
    at: int
    part: int
    compression: int
    sizes: dict[str, tuple[int, int, int]]

    @property
    def stored_bytes(self) -> int:
        return _PIXEL_BYTES.get(self.pixel_type, 0) * math.prod(stored for _, _, stored in self.sizes.values())

    @property
    def full(self) -> bool:
        return all(size == stored for _, size, stored in self.sizes.values())


class _Czi:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file, self.size = path, file, path.stat().st_size

    def take(self, at: int, n: int) -> bytes:
        if at < 0 or at + n > self.size:
            raise broken(self.path, f"is cut short: it refers to data beyond its {self.size} bytes")
        self.file.seek(at)
        return self.file.read(n)

    def segment(self, at: int, kind: bytes = b"") -> tuple[bytes, int, int]:
        """Name, allocated and used bytes of the segment at `at`."""
        name, allocated, used = struct.unpack("<16sqq", self.take(at, _HEAD))
        name = name.rstrip(b"\0")
        known = name.startswith(b"ZISRAW") or name == b"DELETED"
        if not known or (kind and name != kind) or used < 0 or allocated < used:
            raise broken(self.path, f"has no {kind.decode() or 'segment'} at byte {at}, where one should stand: the file is damaged")
        if at + _HEAD + allocated > self.size:
            raise broken(self.path, f"is cut short: the segment at byte {at} ends beyond its {self.size} bytes")
        return name, allocated, used

    def entry(self, data: bytes, at: int) -> tuple[_Entry, int]:
        """The directory entry in `data` at `at`, and where it ends."""
        schema, kind, place, part, compression, n = struct.unpack_from("<2siqii6xi", data, at)
        if schema != b"DV" or not 0 < n <= 20 or at + _FIXED + n * _PER_DIMENSION > len(data):
            raise broken(self.path, "its directory of image blocks is damaged")
        sizes = {}
        for i in range(n):
            name, start, size, _, stored = struct.unpack_from("<4siifi", data, at + _FIXED + i * _PER_DIMENSION)
            sizes[name.rstrip(b"\0").decode("latin-1")] = start, size, stored or size
        return _Entry(kind, place, part, compression, sizes), at + _FIXED + n * _PER_DIMENSION


def check_czi(path: Path) -> None:
    """SlideError where the file is cut short, or its image blocks are not all there, or do not hold what they declare."""
    with path.open("rb") as file:
        czi = _Czi(path, file)
        if czi.size < _HEAD or not file.read(16).startswith(b"ZISRAWFILE"):
            raise broken(path, "is not a CZI file")
        try:
            _check(czi)
        except (struct.error, OverflowError, ValueError) as error:
            raise broken(path, f"its structure is damaged ({error})") from error


def _check(czi: _Czi) -> None:
    _, _, used = czi.segment(0, b"ZISRAWFILE")
    if used < 80:
        raise broken(czi.path, "its header is damaged")
    part, directory, metadata, pending = struct.unpack("<iqqi", czi.take(_HEAD + 48, 24))
    if part:
        raise broken(czi.path, "is one part of an image in several files", "save it as one CZI in ZEN")
    if pending:
        raise broken(czi.path, "was not closed by the microscope: its directory may be incomplete", "open it in ZEN and save it again")
    if metadata and czi.segment(metadata, b"ZISRAWMETADATA")[2] > MAX_METADATA_BYTES:
        raise broken(czi.path, "its metadata are too large")
    planes: dict[str, dict[str, set[tuple[int, ...]]]] = {}
    for entry in _entries(czi, directory):
        _check_block(czi, entry)
        if entry.full and {"X", "Y"} <= set(entry.sizes):
            scene = str(entry.sizes.get("S", (0,))[0])
            plane = ", ".join(f"{d} {v[0]}" for d, v in sorted(entry.sizes.items()) if d not in (*_MOSAIC, "S", "B", "V", "I", "R", "H"))
            place = (*entry.sizes["X"][:2], *entry.sizes["Y"][:2])
            planes.setdefault(scene, {}).setdefault(plane, set()).add(place)
    if not planes:
        raise broken(czi.path, "holds no image at full resolution")
    _check_planes(czi, planes)


def _entries(czi: _Czi, at: int) -> Iterator[_Entry]:
    _, _, used = czi.segment(at, b"ZISRAWDIRECTORY")
    data = czi.take(at + _HEAD, used)
    (n,) = struct.unpack_from("<i", data)
    if not 0 < n <= MAX_SEGMENTS:
        raise broken(czi.path, f"its directory claims {n} image blocks")
    place = 128
    for _ in range(n):
        entry, place = czi.entry(data, place)
        yield entry


def _check_block(czi: _Czi, entry: _Entry) -> None:
    if entry.part:
        raise broken(czi.path, "keeps image blocks in other files", "save it as one CZI in ZEN")
    if entry.compression not in _COMPRESSIONS:
        name = _OTHER_COMPRESSIONS.get(entry.compression, f"code {entry.compression}")
        raise broken(
            czi.path, f"its compression ({name}) is not read here", "save it in ZEN uncompressed or as JPEG XR, or export it as OME-TIFF"
        )
    if entry.pixel_type not in _PIXEL_BYTES:
        raise broken(czi.path, f"its pixel type ({entry.pixel_type}) is not read here")
    if any(size < 1 or stored < 1 for _, size, stored in entry.sizes.values()) or entry.stored_bytes > MAX_TILE_BYTES:
        raise broken(czi.path, f"an image block declares {entry.stored_bytes} bytes of pixels")
    _, _, used = czi.segment(entry.at, b"ZISRAWSUBBLOCK")
    notes, attached, n = struct.unpack("<iiq", czi.take(entry.at + _HEAD, 16))
    own, end = czi.entry(czi.take(entry.at + _HEAD + 16, min(_FIXED + 20 * _PER_DIMENSION, czi.size - entry.at - _HEAD - 16)), 0)
    head = max(256, 16 + end) + notes
    if min(notes, attached, n) < 0 or head + n + attached > used:
        raise broken(czi.path, f"the image block at byte {entry.at} is larger than its place: the file is damaged")
    if (own.pixel_type, own.compression, own.sizes) != (entry.pixel_type, entry.compression, entry.sizes):
        raise broken(czi.path, f"the image block at byte {entry.at} is not the one that the directory lists: the file is damaged")
    if entry.compression == 0 and n != entry.stored_bytes:
        raise broken(czi.path, f"the image block at byte {entry.at} holds {n} bytes, and its pixels need {entry.stored_bytes}")
    if n == 0:
        raise broken(czi.path, f"the image block at byte {entry.at} is empty")


def _check_planes(czi: _Czi, planes: dict[str, dict[str, set[tuple[int, ...]]]]) -> None:
    """Every channel and plane of a scene must have the same tiles; a library fills what is missing with zeros."""
    for scene, found in planes.items():
        every = set.union(*found.values())
        for plane, tiles in found.items():
            if tiles != every:
                raise broken(czi.path, f"{len(every - tiles)} of {len(every)} tiles of scene {int(scene) + 1} are missing in plane {plane}")
