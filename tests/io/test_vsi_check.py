"""Olympus VSI: tile tables of .ets files, written here after a public description; no real file was at hand."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from sevhisto.io.slides import open_slide
from sevhisto.io.vsi_check import check_vsi
from sevhisto.types import SlideError

W, H, NDIM = 8, 4, 4


def write(path: Path, channels: int = 2, packing: int = 0, drop: tuple[int, ...] = (), twice: bool = False, more: bytes = b"") -> bytes:
    """An .ets of 3 x 2 tiles of uint16 in each channel, and of one at the next level; return its bytes."""
    places = [(x, y, c, 0) for c in range(channels) for y in range(2) for x in range(3)] + [(0, 0, c, 1) for c in range(channels)]
    places = [p for i, p in enumerate(places) if i not in drop] + places[:twice]
    tile, start = bytes(range(1, 2 * W * H + 1)), 64 + 228
    image = struct.pack("<4s9I", b"ETS\0", 0x30006, 4, 1, 1, packing, 100, W, H, 1).ljust(228, b"\0")
    table = b"".join(struct.pack("<I4iQII", NDIM, *p, start + i * len(tile), len(tile), 0) for i, p in enumerate(places))
    at = start + len(places) * len(tile)
    head = struct.pack("<4sIIIQIIQIIQII", b"SIS\0", 64, 3, NDIM, 64, 228, 0, at, len(places), 0, 0, 0, 0)
    data = head + image + tile * len(places) + table + more
    folder = path.parent / f"_{path.stem}_" / "stack1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "frame_t.ets").write_bytes(data)
    path.write_bytes(b"II*\0")
    return data


def test_a_whole_image_passes_and_one_cut_anywhere_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.vsi"
    data = write(path)
    check_vsi(path)
    part = tmp_path / "_a_" / "stack1" / "frame_t.ets"
    for stop in range(0, len(data), 7):
        part.write_bytes(data[:stop])
        with pytest.raises(SlideError):
            check_vsi(path)
    part.unlink()
    with pytest.raises(SlideError, match=r"holds no image \(\.ets\)"):
        check_vsi(path)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (12, struct.pack("<I", 2), "tiles in 2 dimensions"),
        (32, struct.pack("<Q", 2**40), "cut short"),
        (40, struct.pack("<I", 2**31), "cut short"),
        (40, struct.pack("<I", 0), "declares 0 tiles"),
        (64, b"XXX", "declares tiles"),
        (64 + 28, struct.pack("<I", 2**30), "declares tiles of 1073741824"),
        (64 + 28, struct.pack("<I", 9), "14 of 14 tiles that do not hold the 72 bytes"),
        (-36, struct.pack("<I", 7), "damaged table"),
        (-32, struct.pack("<i", -1), "damaged table"),
        (-16, struct.pack("<Q", 2**63), "a tile ends beyond"),
        (-8, struct.pack("<I", 0), "lacks 1 of 14 tiles"),
        (-8, struct.pack("<I", 62), "1 of 14 tiles that do not hold"),
    ],
)
def test_what_does_not_fit_is_told_with_the_file(at: int, value: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.vsi"
    data = bytearray(write(path))
    at %= len(data)
    data[at : at + len(value)] = value
    (tmp_path / "_a_" / "stack1" / "frame_t.ets").write_bytes(data)
    with pytest.raises(SlideError, match=rf"a\.vsi: _a_/stack1/frame_t\.ets .*{said}"):
        check_vsi(path)


def test_tiles_missing_in_one_channel_or_there_twice_are_told_and_packed_ones_may_have_any_size(tmp_path: Path) -> None:
    path = tmp_path / "a.vsi"
    write(path, drop=(7,))
    with pytest.raises(SlideError, match="lacks 1 of 6 tiles in plane 1"):
        check_vsi(path)
    write(path, twice=True)
    with pytest.raises(SlideError, match="two tiles at one place"):
        check_vsi(path)
    write(path, drop=(5, 11), packing=2)  # the scanner left the same corner out of both channels
    check_vsi(path)
    with pytest.raises(SlideError, match="is not a readable VSI file"):  # its own tags are no file of the format
        open_slide(path)
