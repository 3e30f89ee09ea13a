"""DICOM files that are cut short, damaged, hostile or incomplete are refused before a library opens them."""

from __future__ import annotations

import re
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sevhisto.io.canary import FILES, FOLDER
from sevhisto.io.channel_set import slide_files
from sevhisto.io.dicom_check import check_dicom, series_of
from sevhisto.io.slides import open_slide
from sevhisto.types import SlideError

pydicom = pytest.importorskip("pydicom", reason="DICOM needs the package pydicom")
GOOD = {name: (FOLDER / name).read_bytes() for name in FILES if name.endswith(".dcm")}
RAW, PACKED = GOOD["none_two_u16.dcm"], GOOD["jpegls_two_u16.dcm"]
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(SlideError) as told:
        check_dicom(path)
    return str(told.value)


def changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize("name", GOOD)
def test_sound_files_pass_and_say_where_their_frames_stand(name: str) -> None:
    pixels = check_dicom(FOLDER / name)
    facts = pydicom.dcmread(FOLDER / name)
    assert len(pixels.offsets) == len(pixels.lengths) == facts.NumberOfFrames
    assert series_of(FOLDER / name) == (facts.SeriesInstanceUID, "VOLUME")


REAL = {
    # files of scanners and other programs that pydicom brings along; with a table of tiles or without, nested and private sequences, icons
    "CT_small.dcm": 1, "MR_small_implicit.dcm": 1, "JPEG2000.dcm": 1, "JPGExtended.dcm": 1, "MR_small_RLE.dcm": 1, "693_J2KI.dcm": 1,
    "JPEG2000-embedded-sequence-delimiter.dcm": 1, "SC_rgb_rle_2frame.dcm": 2, "rtdose_rle.dcm": 15, "examples_ybr_color.dcm": 30,
    "liver_1frame.dcm": 1, "dicomdirtests/98892001/CT5N/2062": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_files_of_other_programs_pass(name: str) -> None:
    path = Path(pydicom.__file__).parent / "data" / "test_files" / name
    if not path.is_file():
        pytest.skip(f"this pydicom does not bring {name}")
    pixels, data = check_dicom(path), path.read_bytes()
    assert len(pixels.offsets) == REAL[name]
    facts = pydicom.dcmread(path)
    if facts.file_meta.TransferSyntaxUID.is_encapsulated:
        frames = pydicom.encaps.generate_frames(facts.PixelData, number_of_frames=REAL[name])
        own = [data[at : at + n] for at, n in zip(pixels.offsets, pixels.lengths, strict=True)]
        assert own == list(frames)


@pytest.mark.parametrize("name", ["none_two_u16.dcm", "jpegls_two_u16.dcm"])
def test_a_file_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    data = GOOD[name]
    for stop in range(0, len(data), 29):
        assert refused(tmp_path / "a.dcm", data[:stop])
    for more in (b"\0" * 8, b"junk that follows"):
        refused(tmp_path / "a.dcm", data + more)


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    frames, pixels = RAW.index(b"\x28\0\x08\0IS"), RAW.index(b"\xe0\x7f\x10\0OW")
    optical = RAW.index(b"\x48\0\x05\x01SQ")
    first = PACKED.index(ITEM, PACKED.index(b"\xe0\x7f\x10\0OB"))
    for data, said in (
        (changed(RAW, 140, b"\x01\x01"), "length that it states"),
        (changed(RAW, 128, b"DICX"), "its mark is missing"),
        (changed(RAW, RAW.index(b"1.2.840.10008.1.2.1\0"), b"1.2.840.10008.1.2.2"), "is not read here"),
        (changed(RAW, frames + 8, b"3 "), "its 3 tiles need"),
        (changed(RAW, frames + 8, b"9 "), "its 9 tiles need"),
        (changed(RAW, frames + 8, b"-4"), "declares '-4' tiles"),
        (changed(RAW, frames + 4, b"QQ"), "no known kind"),
        (changed(RAW, frames, b"\x27"), "out of order"),
        (changed(RAW, optical + 8, struct.pack("<I", 2**31)), "ends beyond"),
        (changed(RAW, optical + 12, b"\xfe\xff\x0d\xe0"), "goes on with no item|out of order"),
        (changed(RAW, pixels + 8, struct.pack("<I", 2**20)), "cut short: 4 tiles are declared, 4 are there"),
        (changed(RAW, pixels + 8, struct.pack("<I", 2**32 - 1)), "no piece of pixels"),
        (changed(RAW, RAW.index(b"\x28\0\x10\0US") + 8, struct.pack("<H", 31)), "tiles need"),
        (changed(PACKED, first + 8, struct.pack("<I", 4)), "other places|no piece|out of order"),
        (changed(PACKED, PACKED.index(ITEM, first + 1) + 4, struct.pack("<I", 2**30)), "ends beyond"),
        (PACKED.replace(SEQUENCE_END, b""), "cut short|ends beyond"),
    ):
        assert re.search(said, refused(path, data)), said


def test_bombs_are_refused_at_once_and_without_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    start = RAW.index(b"\x48\0\x05\x01SQ")
    head, tail = RAW[:start], RAW[RAW.index(b"\xe0\x7f\x10\0OW") :]
    sequence = b"\x48\0\x05\x01SQ\0\0" + struct.pack("<I", 2**32 - 1)
    item = ITEM + struct.pack("<I", 0)
    frames = RAW.index(b"\x28\0\x08\0IS")
    bombs = {
        "items": head + sequence + item * 2_000_000 + SEQUENCE_END + tail,
        "depth": head + (sequence + ITEM + struct.pack("<I", 2**32 - 1)) * 100_000,
        "frames": RAW[: frames + 6] + struct.pack("<H", 10) + b"2147483647" + RAW[frames + 10 :],
        "tiles": changed(changed(RAW, RAW.index(b"\x28\0\x10\0US") + 8, b"\xff\xff"), RAW.index(b"\x28\0\x11\0US") + 8, b"\xff\xff"),
        "pieces": PACKED[: PACKED.index(ITEM, PACKED.index(b"\xe0\x7f\x10\0OB"))] + item * 2_000_000 + SEQUENCE_END,
    }
    for name, data in bombs.items():
        path.write_bytes(data)
        tracemalloc.start()
        started = time.process_time()
        with pytest.raises(SlideError):
            check_dicom(path)
        assert time.process_time() - started < 1, name  # 0.2 s without tracing: benchmarks/faults.py
        assert tracemalloc.get_traced_memory()[1] < 2e7, name
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["none_two_u16.dcm", "jpegls_two_u16.dcm"])
def test_a_changed_byte_is_refused_or_read_and_never_a_crash(name: str, tmp_path: Path) -> None:
    rng, data, path = np.random.default_rng(4), GOOD[name], tmp_path / "a.dcm"
    refused = 0
    for at in rng.integers(128, len(data), 150):
        path.write_bytes(changed(data, int(at), bytes([data[at] ^ int(rng.integers(1, 256))])))
        try:
            with open_slide(path) as slide:
                assert slide.read(range(len(slide.channels)), 0, slide.shape[0], 0, slide.shape[1]).size
        except SlideError as error:
            assert all(p.where and p.what for p in error.problems)
            refused += 1
    assert 0 < refused < 150  # pixels without a checksum can change and be read


def test_a_damaged_file_of_the_series_is_told_and_not_left_out(tmp_path: Path) -> None:
    path, other = tmp_path / "a.dcm", tmp_path / "b.dcm"
    path.write_bytes(RAW)
    other.write_bytes(RAW[:-200])
    (tmp_path / "c.dcm").write_bytes(b"no DICOM")
    assert slide_files(path) == [path, other]
    with pytest.raises(SlideError, match=r"b\.dcm: is cut short"):
        open_slide(path)


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")  # a file name with a dot, as many write it
def test_what_an_index_lists_and_is_not_there_is_named(tmp_path: Path) -> None:
    # pydicom's own FileSet writes records in this order, too
    own, other = (series_of(FOLDER / name)[0] for name in ("none_two_u16.dcm", "jpegls_two_u16.dcm"))
    records = [
        ("PATIENT", "", ""),
        ("SERIES", other, ""),
        ("IMAGE", "", "gone.dcm"),
        ("SERIES", own, ""),
        ("IMAGE", "", "a.dcm"),
        ("IMAGE", "", "b.dcm"),
    ]
    index = pydicom.Dataset()
    index.DirectoryRecordSequence = []
    for kind, series, name in records:
        record = pydicom.Dataset()
        record.DirectoryRecordType = kind
        if series:
            record.SeriesInstanceUID = series
        if name:
            record.ReferencedFileID = ["SLIDES", name]
        index.DirectoryRecordSequence.append(record)
    index.file_meta = pydicom.dataset.FileMetaDataset()
    index.file_meta.TransferSyntaxUID, index.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.2.1", "1.2.840.10008.1.3.10"
    index.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    index.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    folder = tmp_path / "SLIDES"
    folder.mkdir()
    path = folder / "a.dcm"
    path.write_bytes(RAW)
    with pytest.raises(SlideError, match=r"a\.dcm: lacks SLIDES/b\.dcm, which its DICOMDIR lists"):
        open_slide(path)
    (folder / "b.dcm").write_bytes(b"another file")
    open_slide(path).close()
