"""Pixel sizes: units, nonsense, and sizes that disagree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevhisto.io.pixelsize import calibration, from_aperio, from_resolution, reconcile
from sevhisto.types import SlideError

SLIDE = Path("a.tif")
NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (0.5, "µm"),
        (0.5, "μm"),
        (0.5, "\\u00B5m"),
        (0.5, "micron"),
        (0.5, "Micrometer"),
        (500, "nm"),
        (5e-4, "mm"),
        (5e-5, "cm"),
        (5e-7, "m"),
    ],
)
def test_units(value: float, unit: str) -> None:
    assert calibration(value, value, unit, "OME-XML").um == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("x", "y", "unit"),
    [
        (1, 1, "pixel"),
        (1, 1, None),
        (1, 1, "reference frame"),
        (0, 0, "um"),
        (0.5, 0.52, "um"),
        (500, 500, "um"),
        (None, 0.5, "um"),
        (-1, -1, "um"),
    ],
)
def test_nonsense_is_missing(x: float | None, y: float | None, unit: str | None) -> None:
    found = calibration(x, y, unit, "OME-XML")
    assert found.um is None and found.note


@given(st.sampled_from([1, 72, 96, 150, 300]), st.sampled_from([("inch", 1.0), ("cm", 1 / 2.54)]))
def test_screen_resolutions_are_no_calibration(dpi: int, unit: tuple[str, float]) -> None:
    assert from_resolution(dpi * unit[1], dpi * unit[1], unit[0], "TIFF tags").um is None


@given(st.floats(0.05, 20))
def test_resolution_is_the_reciprocal(um: float) -> None:
    assert from_resolution(1 / um, 1 / um, "micron", "ImageJ").um == pytest.approx(um)
    dpi = 25400 / um
    if not any(abs(dpi - d) < 0.01 * d for d in (72, 96, 100, 150, 200, 300, 600)):
        assert from_resolution(1e4 / um, 1e4 / um, "cm", "TIFF tags").um == pytest.approx(um)


def test_aperio_text_with_a_decimal_comma() -> None:
    found = from_aperio("Aperio Image Library|AppMag = 20|MPP = 0,4990|Left = 25.6")
    assert found is not None and found.um == pytest.approx(0.499)
    assert from_aperio("MPP = 0.5") is None


def test_sizes_that_disagree_are_both_named() -> None:
    ome, tags = calibration(0.5, 0.5, "um", "OME-XML"), calibration(1.27, 1.27, "um", "TIFF tags")
    with pytest.raises(SlideError, match=r"0\.5 um \(OME-XML\) but 1\.27 um \(TIFF tags\)"):
        reconcile(SLIDE, (ome, tags), None)
    assert reconcile(SLIDE, (ome, tags), 0.5).source == "OME-XML"
    assert reconcile(SLIDE, (), 0.65).source == "slides.csv"
    with pytest.raises(SlideError, match=r"0\.5 um \(OME-XML\) but 1\.27 um \(TIFF tags\) but 3 um \(slides\.csv\)"):
        reconcile(SLIDE, (ome, tags), 3.0)
    with pytest.raises(SlideError, match=r"um_per_px in slides\.csv"):
        reconcile(SLIDE, (), -1.0)
