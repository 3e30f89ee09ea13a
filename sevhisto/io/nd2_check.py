"""Whether an ND2 file's structure can be trusted, told from its map of chunks before any library opens it."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO

from sevhisto.io.scene import broken

MAX_CHUNKS, MAX_MAP_BYTES, MAX_FRAME_BYTES = 1_000_000, 2**28, 2**33
_MAGIC, _LEGACY = 0x0ABECEDA, b"\0\0\0\x0cjP  "
_TAIL, _MAP = b"ND2 CHUNK MAP SIGNATURE 0000001!", b"ND2 FILEMAP SIGNATURE NAME 0001!"
_STAMP = 8  # bytes of time before the pixels of a frame
_FRAME = re.compile(rb"ImageDataSeq\|(\d+)!")


def check_nd2(path: Path) -> tuple[int, int]:
    """Return the number of frames and the bytes of the smallest one.

    SlideError where the file is cut short, or a chunk that its map lists is not where it should be, or frames are missing.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        if head[:8] == _LEGACY:
            raise broken(
                path, "is an ND2 file of the form before 2010, which is not read here", "save it in NIS-Elements as ND2 or OME-TIFF"
            )
        if len(head) < 16 or struct.unpack("<I", head[:4])[0] != _MAGIC:
            raise broken(path, "is not an ND2 file")
        file.seek(max(0, size - 40))
        tail = file.read(40)
        if tail[:32] != _TAIL:
            raise broken(path, "is cut short: its end, which says where everything stands, is missing")
        at = int(struct.unpack("<Q", tail[32:])[0])
        name, data_at, n = _chunk(path, file, size, at)
        if name != _MAP or n > MAX_MAP_BYTES:
            raise broken(path, "its map of chunks is damaged")
        file.seek(data_at)
        frames = _check_map(path, file, size, file.read(n))
    return len(frames), min(frames.values()) - _STAMP


def _chunk(path: Path, file: BinaryIO, size: int, at: int) -> tuple[bytes, int, int]:
    """Return name, place of the data and their length of the chunk at `at`."""
    if at + 16 > size:
        raise broken(path, f"is cut short: it refers to data beyond its {size} bytes")
    file.seek(at)
    magic, n_name, n = struct.unpack("<IIQ", file.read(16))
    if magic != _MAGIC or n_name > 65536:
        raise broken(path, f"has no chunk at byte {at}, where its map names one: the file is damaged")
    if at + 16 + n_name + n > size:
        raise broken(path, f"is cut short: the chunk at byte {at} ends beyond its {size} bytes")
    name = file.read(n_name)
    return name[: name.find(b"!") + 1] if b"!" in name else name, at + 16 + n_name, int(n)


def _check_map(path: Path, file: BinaryIO, size: int, data: bytes) -> dict[int, int]:
    """Return the bytes of each frame."""
    at, frames = 0, dict[int, int]()
    for _ in range(MAX_CHUNKS):
        end = data.find(b"!", at) + 1
        if not end or end + 16 > len(data):
            raise broken(path, "its map of chunks is cut short")
        name = data[at:end]
        if name == _TAIL:
            break
        where, n = struct.unpack_from("<QQ", data, end)
        at = end + 16
        told, _, held = _chunk(path, file, size, where)
        if told != name:
            raise broken(path, f"holds {told[:40]!r} at byte {where}, where its map names {name[:40]!r}: the file is damaged")
        found = _FRAME.fullmatch(name)
        if found:
            frames[int(found[1])] = held
            if held > MAX_FRAME_BYTES or not 0 < n <= held + 65536 + 16:
                raise broken(path, f"frame {int(found[1]) + 1} is of another size than the map says: the file is damaged")
    else:
        raise broken(path, f"has more than {MAX_CHUNKS} chunks")
    missing = [i + 1 for i in range(max(frames, default=0) + 1) if i not in frames]
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise broken(path, f"frame {missing[0]}{more} is missing")
    return frames
