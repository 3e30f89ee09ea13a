"""OpenSlide: the pixels of a real slide are those that the TIFF reader gives; no MIRAX file was at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sevhisto.io.slides import open_slide
from sevhisto.types import SlideError

pytest.importorskip("openslide", reason="needs the package openslide-python")
SVS = Path(__file__).parents[2].parent / "shared" / "data" / "vendor" / "small_HE.svs"


def test_colours_places_and_calibration_are_those_of_the_tiff_reader() -> None:
    from sevhisto.io.openslide_reader import OpenSlideFile

    if not SVS.is_file():
        pytest.skip(f"{SVS.name} is not at hand")
    file = OpenSlideFile(SVS)
    with open_slide(SVS) as slide:
        (info,) = file.scenes
        assert (info.shape, info.channels, info.um_per_px) == (slide.shape, slide.channels, slide.um_per_px)
        found, want = file.read(1, [0, 1, 2], 0, 100, 611, 203, 904), slide.read([0, 1, 2], 100, 611, 203, 904)
        assert np.abs(found.astype(int) - want.astype(int)).max() <= 1  # two JPEG decoders
        assert np.array_equal(file.read(1, [2], 0, 100, 200, 203, 300)[0], found[2, :100, :97])
    file.close()


def test_a_file_that_is_no_mirax_slide_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mrxs"
    path.write_bytes(b"nothing of the kind")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Slidedat.ini").write_text("[HIERARCHICAL]\nINDEXFILE = Index.dat\n[DATAFILE]\nFILE_0 = D.dat\n", "utf-8")
    for name in ("Index.dat", "D.dat"):
        (tmp_path / "a" / name).write_bytes(b"x")
    with pytest.raises(SlideError, match="not a slide that OpenSlide reads"):
        open_slide(path)
