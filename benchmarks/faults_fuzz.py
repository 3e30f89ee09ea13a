"""Fuzzing of what people and microscopes write: study files, images before they are opened, GeoJSON and ImageJ outlines.

Each target gets sound files that hypothesis changes: bytes replaced, cut, doubled, and words of the format put in. A target may answer or
raise SevhistoError; anything else is a crash, and more than HANG_S seconds for one input a hang (it is stopped after three times as long).
"""

from __future__ import annotations

import json
import shutil
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import faults_bytes
import faults_cases
import numpy as np
from faults_row import Options, Row
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from sevhisto.io.annotations import outline_mask, read_annotations
from sevhisto.io.canary import FOLDER
from sevhisto.io.check import check_files
from sevhisto.io.slides import open_slide, slide_info
from sevhisto.io.study import load_study
from sevhisto.types import SevhistoError

HANG_S = 10.0
BATCH = 500
WORDS = {
    "study": [b",", b";", b"\t", b'"', b"\n", b"\r", b"=", b"[", b"]", b"{", b"}", b"nan", b"inf", b"-1", b"1e999", b"true", b"?", b"../",
              b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"R01", b"sample", b"no_primary", b"'''", b"*", b"\xd0\x90", b"0" * 400],
    "image": [b"II*\0", b"MM\0*", b"II+\0", b"\0" * 4, b"\xff" * 4, struct.pack("<I", 2**31), b"\1\0",
              b"<OME", b"<!DOCTYPE", b"ImageJ=", b"\xff\xd9",
              b"\xfe\xff\0\xe0", b"\xfe\xff\x0d\xe0", b"SQ\0\0", b"\xda\xce\xbe\x0a", b"\x70\0\0\0", b"*"],
    "geojson": [b"[", b"]", b"{", b"}", b"null", b"NaN", b"1e308", b"-1e9", b'"Polygon"', b'"MultiPolygon"', b'"Point"', b'"LineString"',
                b"9" * 500,                 b'"GeometryCollection"', b'"FeatureCollection"', b'"features"', b'"exclude: tissue_damaged"',
        b",", b":", b"[]", b"{}"],
    "roi": [b"Iout", b"\0" * 4, b"\xff" * 4, b"\x7f\xff", b"PK\3\4", b"PK\1\2", b"PK\5\6", struct.pack(">i", -1), struct.pack(">h", 32767)],
}  # fmt: skip
Target = Callable[[bytes, int], None]


class _HangError(BaseException):
    """Ends an input that would never end by itself; no target catches it."""


def _hang(*_: object) -> None:
    raise _HangError


def fuzz(options: Options) -> Iterator[Row]:
    """Fuzz every target, or those of `options.targets`, for `options.minutes` each."""
    options.scratch.mkdir(parents=True)
    for name, (what, words, seeds, target) in _targets(options.scratch).items():
        if options.targets and name not in options.targets:
            continue
        for which, data in enumerate(seeds):
            target(data, which)  # compiles what is compiled: no input is to blame for that time
        tried, crashes, hangs, notes = _fuzz(target, seeds, WORDS[words], options.minutes * 60, options.seed)
        said = f"{options.minutes:g} min, {hangs} hangs" + "".join(f"; {n}" for n in notes)
        yield Row("fuzz", f"{name}: {what}", tried, tried - crashes - hangs, crashed=crashes + hangs, note=said)


def _fuzz(target: Target, seeds: list[bytes], words: list[bytes], seconds: float, seed: int) -> tuple[int, int, int, list[str]]:
    tried, crashes, hangs, notes = 0, 0, 0, list[str]()
    end, batch = time.monotonic() + seconds, 0
    signal.signal(signal.SIGALRM, _hang)
    edits = st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 2**20), st.integers(0, 64), st.sampled_from(words) | st.binary(max_size=9)), max_size=6
    )

    def once(which: int, changes: list[tuple[int, int, int, bytes]]) -> None:
        nonlocal tried, crashes, hangs
        if time.monotonic() > end:
            return
        data = _edited(seeds[which], changes)
        tried, started = tried + 1, time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 3 * HANG_S)
        try:
            target(data, which)
        except (SevhistoError, _HangError):
            pass
        except Exception as error:
            crashes += 1
            if len(notes) < 5:
                notes.append(f"{type(error).__name__}: {str(error)[:80]} ({which}, {changes})")
        signal.setitimer(signal.ITIMER_REAL, 0)
        if time.monotonic() - started > HANG_S:
            hangs += 1
            notes.append(f"{time.monotonic() - started:.0f} s ({which}, {changes})")

    while time.monotonic() < end:
        batch += 1
        run = given(st.integers(0, len(seeds) - 1), edits)(once)
        options = {"max_examples": BATCH, "deadline": None, "database": None, "phases": [Phase.generate]}
        seeded(seed * 1000 + batch)(settings(**options, suppress_health_check=list(HealthCheck))(run))()
    return tried, crashes, hangs, notes


def _edited(data: bytes, changes: list[tuple[int, int, int, bytes]]) -> bytes:
    out = bytearray(data)
    for kind, place, n, word in changes:
        at = place % (len(out) + 1)
        if kind == 0:
            out[at : at + len(word)] = word
        elif kind == 1:
            out[at:at] = word
        elif kind == 2:
            del out[at : at + n]
        elif kind == 3:
            out[at:at] = out[at : at + 8 * n]
        else:
            out[at : at + n] = bytes(len(out[at : at + n]))
    return bytes(out)


def _targets(folder: Path) -> dict[str, tuple[str, str, list[bytes], Target]]:
    root = faults_cases.good_study(folder / "study")
    sheets = ["study.toml", "slides.csv", "animals.csv", "motor.csv"]
    good = [(root / name).read_bytes() for name in sheets]

    def study(data: bytes, which: int) -> None:
        for name, text in zip(sheets, good, strict=True):
            (root / name).write_bytes(text)
        (root / sheets[which]).write_bytes(data)
        check_files(load_study(root))

    images = _images(folder)

    own = folder / "alone"  # the sound file would be of the same DICOM series
    own.mkdir()

    def image(data: bytes, which: int) -> None:
        path = own / f"fuzzed{''.join(images[which].suffixes)}"
        path.write_bytes(data)
        for info in slide_info(path):
            if info.shape[0] * info.shape[1] * len(info.channels) * info.n_z <= 2**22 and not info.refused:
                with open_slide(path, info.scene) as slide:
                    slide.read(range(len(slide.channels)), 0, slide.shape[0], 0, slide.shape[1])

    def outlines(path: Path) -> Target:
        def target(data: bytes, which: int) -> None:
            file = path.with_suffix(".zip") if data[:2] == b"PK" else path
            file.write_bytes(data)
            outline_mask(read_annotations(file)[0], (60, 60), 4.0)

        return target

    shapes = [
        json.dumps(faults_cases.GEOJSON).encode(),
        json.dumps({"type": "FeatureCollection", "features": [faults_cases.GEOJSON] * 2}).encode(),
    ]
    return {
        "study": ("study.toml and sheets", "study", good, study),
        "preflight": ("TIFF, OME-TIFF, SVS, CZI, ND2, LIF, DICOM, PNG, JPEG", "image", [p.read_bytes() for p in images], image),
        "geojson": ("QuPath outlines", "geojson", shapes, outlines(folder / "a.geojson")),
        "roi": ("ImageJ outlines and their zip files", "roi", _rois(), outlines(folder / "a.roi")),
    }


def _images(folder: Path) -> list[Path]:
    y, x = np.mgrid[:40, :48]
    plane = (500 + 20 * y + 13 * x).astype(np.uint16)
    made = [faults_bytes._tiff(folder / "a.tif", plane, tile=(16, 16), compression="zlib"), faults_bytes._tiff(folder / "b.tif", plane)]
    made += [
        faults_bytes._ome(folder / "c.ome.tif", np.stack([plane, plane])),
        faults_bytes._svs(folder / "d.svs", np.stack([plane // 8] * 3, -1).astype(np.uint8)),
    ]
    for name in (
        "none_u16.czi",
        "picture.png",
        "picture.jpg",
        "none_two_u16.nd2",
        "none_two_u16.lif",
        "none_two_u16.dcm",
        "jpegls_two_u16.dcm",
    ):
        made.append(Path(shutil.copy(FOLDER / name, folder / name)))
    return made


def _rois() -> list[bytes]:
    import roifile

    points = np.array([[3, 3], [30, 4], [28, 40], [5, 33]], np.float64)
    made = [
        roifile.ImagejRoi.frompoints(points, name="lesion").tobytes(),
        roifile.ImagejRoi.frompoints(points + 0.25, name="exclude").tobytes(),
    ]
    made += [faults_cases._ROI, faults_cases._zip(("lesion.roi", made[0]), ("exclude.roi", made[1]))()]
    return made
