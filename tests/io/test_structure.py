"""CZI, ND2 and MIRAX files that are cut short, damaged or incomplete are refused before a library opens them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from sevhisto.io.czi_check import check_czi
from sevhisto.io.jpeg_check import lost_bytes
from sevhisto.io.nd2_check import check_nd2
from sevhisto.io.openslide_reader import check_mrxs
from sevhisto.io.slides import open_slide
from sevhisto.types import SlideError

CZI = Path(__file__).with_name("origin.czi")


def outcome(check, path: Path) -> str:
    try:
        check(path)
    except SlideError as error:
        return error.problems[0].what
    return ""


def test_a_czi_cut_anywhere_or_with_a_block_changed_in_size_is_refused(tmp_path: Path) -> None:
    check_czi(CZI)
    good, path = CZI.read_bytes(), tmp_path / "a.czi"
    directory = good.index(b"ZISRAWDIRECTORY")
    block = good.index(b"ZISRAWSUBBLOCK")
    last = max(directory + 32 + 128 + 32, block + 32)
    for stop in range(0, last, 97):
        path.write_bytes(good[:stop])
        assert outcome(check_czi, path), stop
    for at, value, said in (
        (block + 32 + 8, struct.pack("<q", 48 * 64), "larger than its place|its pixels need"),
        (block, b"ZZZ", "has no ZISRAWSUBBLOCK"),
        (directory + 32, struct.pack("<i", 2**30), "image blocks"),
        (32 + 52, struct.pack("<q", -5), "cut short"),
        (32 + 48, struct.pack("<i", 3), "several files"),
        (32 + 68, struct.pack("<i", 1), "was not closed"),
        (directory + 32 + 128 + 18, struct.pack("<i", 6), r"compression \(zstd\) is not read here"),
    ):
        data = bytearray(good)
        data[at : at + len(value)] = value
        path.write_bytes(data)
        with pytest.raises(SlideError, match=said):
            check_czi(path)


def test_real_czi_and_nd2_pass_and_their_cut_copies_do_not(shared_data: Path, tmp_path: Path) -> None:
    check_czi(shared_data / "vendor/xyz__multiple_images.czi")
    for name in ("cluster.nd2", "example-zstack.nd2", "example-multichannel.nd2"):
        assert check_nd2(shared_data / "vendor" / name)[0] >= 1
    good, path = (shared_data / "vendor/cluster.nd2").read_bytes(), tmp_path / "a.nd2"
    for stop in (0, 10, 40, 5000, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:stop])
        assert outcome(check_nd2, path), stop
    frame = good.index(b"ImageDataSeq|0!")
    for at, value in ((frame, b"X"), (frame - 8, struct.pack("<Q", 2**40)), (len(good) - 8, struct.pack("<Q", 2**50))):
        data = bytearray(good)
        data[at : at + len(value)] = value
        path.write_bytes(data)
        assert outcome(check_nd2, path), at
    path.write_bytes(good.replace(b"ImageDataSeq|1!", b"ImageDataSeq|9!"))
    with pytest.raises(SlideError, match=r"frame|holds"):
        open_slide(path)


def test_what_a_mirax_file_needs_is_named(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.mrxs", tmp_path / "a"
    path.write_bytes(b"x")
    assert "needs the folder 'a'" in outcome(check_mrxs, path)
    folder.mkdir()
    (folder / "Slidedat.ini").write_text(
        "[HIERARCHICAL]\nINDEXFILE = Index.dat\n[DATAFILE]\nFILE_COUNT = 2\nFILE_0 = D0.dat\nFILE_1 = D1.dat\n"
    )
    for name in ("Index.dat", "D0.dat"):
        (folder / name).write_bytes(b"x")
    assert "needs the file a/D1.dat" in outcome(check_mrxs, path)
    (folder / "D1.dat").write_bytes(b"x")
    assert outcome(check_mrxs, path) == ""
    (folder / "Slidedat.ini").write_text("[HIERARCHICAL]\nINDEXFILE = ../Index.dat\n[DATAFILE]\n")
    assert "another folder" in outcome(check_mrxs, path)


def test_zeros_in_jpeg_data_are_damage_unless_the_picture_is_flat() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    y, x = np.mgrid[:128, :128]
    for picture in (np.full((128, 128), 200), x + y, (x * y) % 251, np.where(x > 64, 255, 0)):
        for optimize in (False, True):
            data = imagecodecs.jpeg8_encode(picture.astype(np.uint8), level=85, optimize=optimize)
            assert not lost_bytes(data)
    damaged = bytearray(imagecodecs.jpeg8_encode(((x * y) % 251).astype(np.uint8), level=85))
    damaged[-700:-690] = bytes(10)
    assert lost_bytes(bytes(damaged))
