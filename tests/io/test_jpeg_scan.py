"""Damage in JPEG data that decoders pass over is told; sound pictures of every kind are not."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from sevhisto.io.jpeg_scan import damage_in
from sevhisto.io.slides import open_slide
from sevhisto.types import SlideError

Y, X = np.mgrid[:67, :75]
RNG = np.random.default_rng(6)
PICTURES = {
    "black": Y * 0,
    "white": Y * 0 + 255,
    "ramp": (X + Y),
    "noise": RNG.integers(0, 256, Y.shape),
    "edges": np.where((X // 3 + Y // 5) % 2, 255, 0),
}


def colour(name: str) -> np.ndarray:
    grey = PICTURES[name].astype(np.uint8)
    return np.stack([grey, grey[::-1], 255 - grey], -1)


@pytest.mark.parametrize("name", PICTURES)
def test_sound_pictures_of_three_encoders_pass(name: str) -> None:
    for quality in (5, 75, 100):
        for picture in (colour(name), PICTURES[name].astype(np.uint8)):
            for optimize in (False, True):
                for sampling in ("444", "422", "420", "440") if picture.ndim == 3 else (None,):
                    more = {} if sampling is None else {"subsampling": sampling}
                    assert not damage_in(imagecodecs.jpeg8_encode(picture, level=quality, optimize=optimize, **more))
            stream = io.BytesIO()
            Image.fromarray(picture).save(stream, "JPEG", quality=quality, restart_marker_blocks=3)
            assert not damage_in(stream.getvalue())
            flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, 5]
            assert not damage_in(cv2.imencode(".jpg", picture, flags)[1].tobytes())


def test_progressive_pictures_and_what_is_no_jpeg_are_not_judged() -> None:
    stream = io.BytesIO()
    Image.fromarray(colour("ramp")).save(stream, "JPEG", progressive=True)
    assert not damage_in(stream.getvalue()[:-50])
    assert not damage_in(b"") and not damage_in(b"\xff\xd8") and not damage_in(b"junk" * 99)


def test_real_pictures_and_tiles_pass(shared_data: Path) -> None:
    for path in sorted(shared_data.glob("cord/*.jpg"))[:3]:
        assert not damage_in(path.read_bytes())
    with tifffile.TiffFile(shared_data / "vendor/small_HE.svs") as file:
        page = file.pages[0]
        for offset, n in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.filehandle.seek(offset)
            assert not damage_in(file.filehandle.read(n), page.jpegtables)


def test_each_kind_of_damage_has_its_words() -> None:
    good = imagecodecs.jpeg8_encode(PICTURES["noise"].astype(np.uint8), level=90)
    start = good.index(b"\xff\xda") + 10
    assert "end too early" in damage_in(good[: start + 500] + b"\xff\xd9")
    assert "more JPEG data" in damage_in(good[:-2] + b"\x12" * 9 + b"\xff\xd9")
    assert "is none" in damage_in(good[: start + 300] + b"\xff\0" * 20 + good[start + 300 :])
    stream = io.BytesIO()
    Image.fromarray(colour("noise")).save(stream, "JPEG", quality=90, restart_marker_blocks=3)
    whole = stream.getvalue()
    first, second = whole.index(b"\xff\xd1"), whole.index(b"\xff\xd2")
    assert "part of its JPEG data is missing" in damage_in(whole[:first] + whole[second:])
    flat = imagecodecs.jpeg8_encode(np.full((64, 512), 250, np.uint8), level=100)
    brighter = flat.replace(b"\xff\xdb\0\x43\0\x01", b"\xff\xdb\0\x43\0\x02")
    assert brighter != flat and "more contrast" in damage_in(brighter)


@pytest.mark.parametrize(("kind", "at_least"), [("flip", 0.25), ("zeros", 0.7), ("insert", 0.6), ("cut", 0.45)])
def test_much_damage_of_a_tiny_picture_is_told(kind: str, at_least: float) -> None:
    rng = np.random.default_rng(7)
    good = imagecodecs.jpeg8_encode(np.stack([(X * Y) % 251, X + Y, 255 - Y], -1).astype(np.uint8), level=85)
    start, told, n = good.index(b"\xff\xda") + 14, 0, 100
    for at in rng.integers(start, len(good) - 70, n):
        data, many = bytearray(good), int(rng.integers(8, 64))
        if kind == "flip":
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == "zeros":
            data[at : at + many] = bytes(many)
        elif kind == "insert":
            data[at:at] = rng.bytes(many)
        else:
            del data[at : at + many]
        told += bool(damage_in(bytes(data)))
    assert told >= at_least * n


def test_a_damaged_tile_fails_the_slide(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, colour("noise"), photometric="rgb", compression="jpeg", tile=(32, 32), resolution=(2e4, 2e4), metadata=None)
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].dataoffsets[1] + file.pages[0].databytecounts[1] // 2
    data = bytearray(path.read_bytes())
    data[at : at + 3] = b"\xff\0\xff"
    path.write_bytes(data)
    with open_slide(path) as slide, pytest.raises(SlideError, match=r"tile 2 (is damaged|of)"):
        slide.read([0, 1, 2], 0, 67, 0, 75)
