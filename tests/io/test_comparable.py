"""Files of one batch that were imaged otherwise are told, marker by marker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sevhisto.config import PanelSettings
from sevhisto.io import check
from sevhisto.io.comparable import Imaged, differences, imaged
from sevhisto.io.scene import NO_TOP, Acquisition, SceneInfo
from sevhisto.io.slides import slide_info
from sevhisto.io.study import load_study
from sevhisto.types import SlideError


def at(file: str, marker: str = "CD68", batch: str = "1", bit_max: int = 65535, **stated: float | str) -> Imaged:
    return Imaged(batch, "A", marker, file, Acquisition(**stated), bit_max)


def test_another_exposure_names_batch_marker_values_and_files() -> None:
    (said,) = differences([at("a.tif", exposure_ms=100), at("b.tif", exposure_ms=250), at("c.tif", exposure_ms=100), at("d.tif")])
    assert said == (
        "batch 1, panel A, marker CD68: exposure differs, so intensities cannot be compared: "
        "100 ms (a.tif, c.tif); 250 ms (b.tif); 1 file does not say"
    )


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"gain": 1.0}, {"gain": 2.0}, "gain differs"),
        ({"gain": 0.0}, {"gain": 0.5}, "gain differs"),
        ({"light_pct": 10}, {"light_pct": 12}, "10 % (a.tif); 12 % (b.tif)"),
        ({"objective": "10x/0.45"}, {"objective": "20x/0.8"}, "10x/0.45 (a.tif); 20x/0.8 (b.tif)"),
        ({"bit_max": 4095}, {"bit_max": 65535}, "12 bit (a.tif); 16 bit (b.tif)"),
        ({"bit_max": 255}, {"bit_max": NO_TOP}, "8 bit (a.tif); floating point (b.tif)"),
        ({"exposure_ms": 100.0}, {"exposure_ms": 100.9}, ""),
        ({"exposure_ms": 100.0}, {"exposure_ms": 102.0}, "exposure differs"),
        ({"exposure_ms": 100.0}, {}, ""),
        ({"bit_max": 0}, {"bit_max": 255}, ""),
        ({"gain": 0.0}, {"gain": 0.0}, ""),
    ],
)
def test_what_counts_as_a_difference(one: dict[str, float], other: dict[str, float], said: str) -> None:
    found = differences([at("a.tif", **one), at("b.tif", **other)])
    assert len(found) == (said != "")
    assert said in "".join(found)


def test_batches_and_markers_are_compared_apart() -> None:
    assert not differences([at("a.tif", exposure_ms=100), at("b.tif", batch="2", exposure_ms=200)])
    assert not differences([at("a.tif", "CD68", exposure_ms=100), at("a.tif", "GFAP", exposure_ms=200)])


def test_markers_that_differ_alike_share_one_sentence_and_few_files_are_named() -> None:
    files = [at(f"{i}.tif", m, objective="10x" if i < 6 else "20x") for i in range(7) for m in ("DAPI", "CD68")]
    (said,) = differences(files)
    assert "markers DAPI, CD68: objective" in said
    assert "10x (0.tif, 1.tif, 2.tif and 3 more); 20x (6.tif)" in said


def test_a_colour_image_is_one_exposure_and_a_channel_is_found_by_name() -> None:
    stated = tuple(Acquisition(exposure_ms=t) for t in (1.0, 2.0, 3.0))
    info = SceneInfo(1, (8, 8), ("x", "DAPI", "CD68"), np.dtype("u2"), bit_max=4095, acquisition=stated)
    channels = [{"channel": "CD68", "marker": "ED1", "role": "macrophage"}, {"channel": "DAPI", "marker": "DAPI", "role": "nuclei"}]
    panel = PanelSettings.model_validate({"channels": channels})
    assert [(f.marker, f.acquisition.exposure_ms) for f in imaged(info, panel, "A", "1", "a.tif")] == [("ED1", 3.0), ("DAPI", 2.0)]
    assert [f.acquisition for f in imaged(replace(info, acquisition=()), panel, "A", "1", "a.tif")] == [Acquisition()] * 2
    with pytest.raises(SlideError):
        imaged(replace(info, channels=("x", "y", "z")), panel, "A", "1", "a.tif")
    stain = PanelSettings.model_validate(
        {"kind": "brightfield", "stain": "h-dab", "channels": [{"channel": "dab", "marker": "GFAP", "role": "landmark"}]}
    )
    (one,) = imaged(replace(info, channels=("R", "G", "B")), stain, "H", "1", "a.tif")
    assert (one.marker, one.acquisition.exposure_ms) == ("", 1.0)


def test_the_check_compares_what_the_files_state(study_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stated(path: Path) -> list[SceneInfo]:
        told = tuple(Acquisition(exposure_ms=400.0 if path.name == "R02_s1.tif" and i == 2 else 100.0) for i in range(4))
        return [replace(info, acquisition=told) for info in slide_info(path)]

    monkeypatch.setattr(check, "slide_info", stated)
    problems, notes = check.inspect_files(load_study(study_dir))
    assert problems == []
    (note,) = notes
    assert "batch 1, panel A, marker CD68: exposure differs" in note
    assert "100 ms (R01_s1.tif, control.tif); 400 ms (sub/R02_s1.tif)" in note


def test_a_file_of_another_bit_depth_is_told(study_dir: Path) -> None:
    path = study_dir / "slides" / "control.tif"
    with tifffile.TiffFile(path) as file:
        pixels, ome = file.asarray(), file.ome_metadata
    assert ome is not None
    small = ome.replace('Type="uint16"', 'Type="uint8"').encode()
    tifffile.imwrite(path, (pixels >> 8).astype(np.uint8), photometric="minisblack", description=small)
    problems, (note,) = check.inspect_files(load_study(study_dir))
    assert problems == []
    assert "markers DAPI, GFAP, CD68, CD206: bit depth differs" in note
    assert "16 bit (R01_s1.tif, sub/R02_s1.tif); 8 bit (control.tif)" in note
