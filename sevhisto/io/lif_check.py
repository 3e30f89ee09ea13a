"""Whether a LIF file's structure can be trusted, told from its blocks before any library opens it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from sevhisto.io.scene import broken

MAX_XML_BYTES, MAX_BLOCKS = 2**27, 1_000_000
_MAGIC, _MARK = 0x70, 0x2A


def check_lif(path: Path) -> None:
    """SlideError where the file is cut short, or its blocks do not follow each other to its end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(13)
        if len(head) < 13 or struct.unpack("<I", head[:4])[0] != _MAGIC or head[8] != _MARK:
            raise broken(path, "is not a readable LIF file: its header is missing")
        n = 2 * int(struct.unpack("<I", head[9:])[0])
        if n > MAX_XML_BYTES:
            raise broken(path, f"its description claims {n} bytes: the file is damaged")
        at = 13 + n
        for _ in range(MAX_BLOCKS):
            if at == size:
                return
            at = _after_block(path, file, at)
            if at > size:
                raise broken(path, f"is cut short: an image ends beyond its {size} bytes")
    raise broken(path, "holds too many images")


def _after_block(path: Path, file: BinaryIO, at: int) -> int:
    """Return where the block at `at` ends; its size has 4 bytes in files of version 1, else 8."""
    file.seek(at)
    head = file.read(22)
    if len(head) < 18 or struct.unpack("<I", head[:4])[0] != _MAGIC or head[8] != _MARK:
        raise broken(path, f"has no image at byte {at}, where one should stand: it is cut short or damaged")
    short = head[13] == _MARK
    if not short and (len(head) < 22 or head[17] != _MARK):
        raise broken(path, f"the image at byte {at} is damaged")
    n = int(struct.unpack("<I" if short else "<Q", head[9 : 13 if short else 17])[0])
    name = 2 * int(struct.unpack("<I", head[14:18] if short else head[18:22])[0])
    return at + (18 if short else 22) + name + n
