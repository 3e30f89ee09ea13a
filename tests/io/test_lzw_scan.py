"""Damage in LZW data that unpacks to the right size is told where it can be; what three encoders write is not."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from sevhisto.io.lzw_scan import damage_in
from sevhisto.io.slides import open_slide
from sevhisto.types import SlideError

Y, X = np.mgrid[:150, :170]
RNG = np.random.default_rng(8)
PICTURES = {
    "flat": Y * 0,
    "ramp": 500 + 20 * Y + 13 * X + (X * Y) % 97,
    "noise": RNG.integers(0, 65536, Y.shape),
    "cells": np.where(X > 80, RNG.poisson(900, Y.shape), 7),
}


def tiles(path: Path) -> list[bytes]:
    found = []
    with tifffile.TiffFile(path) as file:
        for offset, n in zip(file.pages[0].dataoffsets, file.pages[0].databytecounts, strict=True):
            file.filehandle.seek(offset)
            found.append(file.filehandle.read(n))
        assert file.pages[0].compression == 5
    return found


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_what_imagecodecs_and_libtiff_write_passes(name: str, kind: type, tmp_path: Path) -> None:
    path, picture = tmp_path / "a.tif", PICTURES[name].astype(kind)
    for predictor in (False, True):
        tifffile.imwrite(path, picture, compression="lzw", predictor=predictor, tile=(64, 64))
        assert not any(map(damage_in, tiles(path)))
        Image.fromarray(picture).save(path, compression="tiff_lzw", tiffinfo={317: 1 + predictor})
        assert not any(map(damage_in, tiles(path)))
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    assert not any(map(damage_in, tiles(path)))


def test_each_kind_of_damage_has_its_words() -> None:
    good = imagecodecs.lzw_encode(PICTURES["ramp"].astype("<u2").tobytes())
    assert not damage_in(good) and not damage_in(good + b"\0")
    assert "do not end" in damage_in(good[:-40]) and "do not end" in damage_in(b"")
    assert "something follows" in damage_in(good + b"more")
    assert "a code that is none" in damage_in(good[:2] + b"\xff\xff" + good[4:])
    # Clear, 7, 7, 7, 7, end: by the second pair of 7 and 7 an encoder would take the string that the table holds
    bits = "".join(f"{code:09b}" for code in (256, 7, 7, 7, 7, 257))
    literal = int(bits.ljust(56, "0"), 2).to_bytes(7, "big")
    assert imagecodecs.lzw_decode(literal) == b"\7" * 4 and not damage_in(literal)  # single bytes only: of a program without strings
    bits = "".join(f"{code:09b}" for code in (256, 7, 7, 7, 258, 257))
    assert "no program" in damage_in(int(bits.ljust(56, "0"), 2).to_bytes(7, "big"))


def test_some_damage_that_unpacks_to_the_right_size_is_told_and_fails_the_slide(tmp_path: Path) -> None:
    path, rng = tmp_path / "a.tif", np.random.default_rng(9)
    tifffile.imwrite(path, PICTURES["ramp"].astype(np.uint16), compression="lzw", tile=(64, 64), metadata=None)
    good, first = path.read_bytes(), tiles(path)[0]
    silent, told = 0, list[bytes]()
    out = np.empty(64 * 64 * 2 + 1, np.uint8)
    start = good.index(first)
    for at in rng.integers(10, len(first) - 10, 200):
        data = bytearray(first)
        data[at] ^= 1 << int(rng.integers(8))
        try:
            passed = len(imagecodecs.lzw_decode(bytes(data), out=out)) == 64 * 64 * 2
        except imagecodecs.LzwError:
            continue
        silent += passed
        told += [bytes(data)] if passed and damage_in(bytes(data)) else []
    assert silent > 20 and len(told) > 0.2 * silent
    path.write_bytes(good[:start] + told[0] + good[start + len(first) :])
    with open_slide(path) as slide, pytest.raises(SlideError, match="tile 1 is damaged: its LZW data are written as no program"):
        slide.read([0], 0, 64, 0, 64)


@pytest.mark.parametrize("checksum", [False, True])
def test_zstd_with_a_checksum_tells_every_change(checksum: bool) -> None:
    numcodecs = pytest.importorskip("numcodecs")
    rng, data = np.random.default_rng(10), PICTURES["cells"].astype("<u2").tobytes()
    good, wrong = bytes(numcodecs.Zstd(checksum=checksum).encode(data)), 0
    for at in rng.integers(12, len(good), 300):
        changed = bytearray(good)
        changed[at] ^= 1 << int(rng.integers(8))
        with suppress(imagecodecs.ZstdError):
            wrong += imagecodecs.zstd_decode(bytes(changed)) != data
        with suppress(RuntimeError):
            wrong += numcodecs.Zstd().decode(bytes(changed)) != data
    assert (wrong == 0) == checksum
