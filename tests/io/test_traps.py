"""Ways in which libraries hand out wrong pixels without an error, each shown not to reach a measurement."""

from __future__ import annotations

import os
from importlib.metadata import requires
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from packaging.requirements import Requirement

from sevhisto.engine import run_tasks
from sevhisto.io import openslide_reader
from sevhisto.io.openslide_reader import OpenSlideFile
from sevhisto.io.slides import EXTRAS, open_slide, slide_info
from sevhisto.types import SlideError

# Written with pylibCZIrw 6.1:
#     y, x = np.mgrid[:48, :64]
#     with czi.create_czi("origin.czi") as f:
#         f.write((1000 + 64 * y + x).astype(np.uint16)[..., None], location=(-90, 250))
#         f.write_metadata("origin", channel_names={0: "CD68"}, scale_x=0.65e-6, scale_y=0.65e-6)
CZI = Path(__file__).with_name("origin.czi")


def test_blocks_of_a_czi_are_counted_from_its_own_corner_not_from_the_origin_of_the_file() -> None:
    slideio = pytest.importorskip("slideio", reason="CZI needs the package slideio")
    own = slideio.open_slide(str(CZI), "CZI").get_scene(0)
    assert own.rect[:2] == (-90, 250) and not own.read_block(rect=own.rect).any(), "the library no longer sets this trap"
    y, x = np.mgrid[:48, :64]
    with open_slide(CZI) as slide:
        assert slide.shape == (48, 64) and slide.um_per_px == 0.65
        assert np.array_equal(slide.read([0], 0, 48, 0, 64)[0], 1000 + 64 * y + x)


def test_smaller_copies_of_a_czi_are_never_read_and_the_library_is_one_that_fills_them() -> None:
    pytest.importorskip("slideio", reason="CZI needs the package slideio")
    assert slide_info(CZI)[0].levels == ()
    bounds = [r.specifier for r in map(Requirement, requires("sevhisto") or ()) if r.name == "slideio"]
    assert bounds and all("2.9.9" not in bound and "2.10.0" in bound for bound in bounds)


def test_sections_go_to_processes_since_a_scene_serves_one_thread_at_a_time() -> None:
    places = dict(run_tasks(_process, [0, 1, 2, 3], jobs=2))
    assert len(places) == 4 and os.getpid() not in places.values()


def _process(_: int) -> int:
    return os.getpid()


def test_no_format_that_may_hold_fluorescence_goes_to_openslide(monkeypatch: pytest.MonkeyPatch) -> None:
    openslide = pytest.importorskip("openslide", reason="MIRAX needs the package openslide-python")
    assert {suffix for suffix, extra in EXTRAS.items() if extra == "mirax"} == {".mrxs", ".bif"}
    # no fluorescence MIRAX is at hand: only what the library would tell of one is made up
    told = SimpleNamespace(properties={"mirax.GENERAL.SLIDE_TYPE": "SLIDE_TYPE_FLUORESCENCE"}, close=lambda: None)
    monkeypatch.setattr(openslide, "OpenSlide", lambda _: told)
    monkeypatch.setattr(openslide_reader, "check_mrxs", lambda _: None)
    with pytest.raises(SlideError, match="fluorescence slide"):
        OpenSlideFile(Path("a.mrxs"))
