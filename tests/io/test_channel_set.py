"""One TIFF per channel, named by a pattern."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from sevhisto.io.channel_set import slide_files
from sevhisto.io.crosscheck import _file_wrong
from sevhisto.io.slides import open_slide
from sevhisto.pipeline.tasks import file_sha256
from sevhisto.types import SlideError


def write(path: Path, image: Any, um: float = 0.5) -> None:
    tifffile.imwrite(path, image, resolution=(1e4 / um, 1e4 / um), resolutionunit="CENTIMETER")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, name in enumerate(("ch2", "ch10", "ch1")):
        write(tmp_path / f"R12_s3_{name}.tif", np.full((30, 40), i, np.uint16))
    write(tmp_path / "R12_s4_ch1.tif", np.zeros((9, 9), np.uint16))
    return tmp_path


def test_files_are_channels_in_natural_order(folder: Path) -> None:
    with open_slide(folder / "R12_s3_*.tif") as slide:
        assert slide.channels == ("ch1", "ch2", "ch10")
        assert slide.um_per_px == pytest.approx(0.5)
        assert slide.read([0, 1, 2], 5, 25, 3, 33).mean(axis=(1, 2)).tolist() == [2, 0, 1]
        assert slide.read([2, 0], 0, 3, 0, 3).mean(axis=(1, 2)).tolist() == [1, 2]


def test_a_pattern_never_crosses_folders_and_has_one_star(folder: Path) -> None:
    assert slide_files(folder / "*_s3_*.tif") == slide_files(folder.parent / "*" / "R12_s3_*.tif") == []
    assert slide_files(folder / "R12_s3_ch1.tif") == [folder / "R12_s3_ch1.tif"]
    assert _file_wrong("R12_s3_*.tif", folder) is None
    assert _file_wrong("R99_*.tif", folder) is not None
    with pytest.raises(SlideError, match="no file fits"):
        open_slide(folder / "R99_*.tif")


@pytest.mark.parametrize("kind", ["size", "pixel type", "pixel sizes", "grey"])
def test_files_that_are_not_alike_are_refused(folder: Path, kind: str) -> None:
    image: Any = np.zeros((30, 40), np.uint16)
    if kind == "size":
        image = image[:20]
    elif kind == "pixel type":
        image = image.astype(np.uint8)
    elif kind == "grey":
        image = np.zeros((30, 40, 3), np.uint8)
    write(folder / "R12_s3_ch3.tif", image, 0.65 if kind == "pixel sizes" else 0.5)
    with pytest.raises(SlideError, match=kind), open_slide(folder / "R12_s3_*.tif") as slide:
        _ = slide.um_per_px


def test_the_checksum_is_over_all_files(folder: Path) -> None:
    before = file_sha256(folder / "R12_s3_*.tif")
    write(folder / "R12_s3_ch2.tif", np.full((30, 40), 7, np.uint16))
    assert file_sha256(folder / "R12_s3_*.tif") != before
