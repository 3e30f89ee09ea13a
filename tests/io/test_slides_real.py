"""Real files that nobody here made, against the makers' own libraries; and damaged files, none of which may pass in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imagecodecs
import nd2
import numpy as np
import pytest
import slideio
import tifffile

from sevhisto.io.scene import Acquisition
from sevhisto.io.slides import open_slide, slide_info
from sevhisto.types import SlideError


def everything(path: Path, scene: int = 1) -> np.ndarray:
    with open_slide(path, scene) as slide:
        return slide.read(range(len(slide.channels)), 0, slide.shape[0], 0, slide.shape[1])


def test_nd2(shared_data: Path) -> None:
    path = shared_data / "vendor/example-multichannel.nd2"
    assert np.array_equal(everything(path), nd2.imread(path))
    with open_slide(path) as slide:
        assert slide.channels == ("Mono", "DAPI", "FITC BP", "TRITC BP") and slide.um_source == "ND2"
        assert slide.um_per_px == pytest.approx(0.32339, abs=1e-5)
        assert np.array_equal(slide.read([3, 1], 10, 90, 200, 256), nd2.imread(path)[[3, 1], 10:90, 200:256])
        objective = "20x/0.75"
        assert [a.exposure_ms for a in slide.info.acquisition] == [20, 1000, 1000, 1000]
        assert {a.objective for a in slide.info.acquisition} == {objective}
    stack = shared_data / "vendor/example-zstack.nd2"
    assert slide_info(stack)[0].acquisition == (Acquisition(500, None, None, objective),)
    assert np.array_equal(everything(stack)[0], nd2.imread(stack).max(axis=0))
    (info,) = slide_info(shared_data / "vendor/cluster.nd2")
    assert (info.n_t, info.n_z, info.bit_max) == (3, 10, 4095)


def test_czi(shared_data: Path) -> None:
    path = shared_data / "vendor/xyz__multiple_images.czi"
    own = slideio.open_slide(str(path), "CZI")
    for scene in (1, 2):
        planes = [own.get_scene(scene - 1).read_block(slices=(z, z + 1)) for z in (0, 1)]
        assert np.array_equal(everything(path, scene)[0], np.maximum(*planes))
    with open_slide(path, 2) as slide:
        assert slide.channels == ("ChA",) and slide.projected and slide.um_source == "CZI"
        assert slide.um_per_px == pytest.approx(0.195644, abs=1e-6)
        (acquisition,) = slide.info.acquisition
        assert (acquisition.exposure_ms, acquisition.gain, acquisition.objective) == (None, 630, "40x/1.4")
        assert acquisition.light_pct == pytest.approx(2)
        assert np.array_equal(slide.read([0], 7, 60, 100, 251), everything(path, 2)[:, 7:60, 100:251])


@pytest.mark.parametrize(
    ("name", "um", "source"),
    [
        ("fluorescence/instanseg_fluorescence.tif", None, ""),
        ("fluorescence/neubias/xyc_8bit__dapi_tublin.tif", 0.454, "ImageJ"),
        ("brightfield/iba1_dab_half_section.tif", None, ""),
        ("vendor/small_HE.svs", 0.499, "Aperio MPP"),
    ],
)
def test_tiff_family(shared_data: Path, name: str, um: float | None, source: str) -> None:
    path = shared_data / name
    with tifffile.TiffFile(path) as file:
        expected = file.series[0].asarray()
    expected = np.moveaxis(expected, -1, 0) if expected.shape[-1] == 3 else expected
    assert np.array_equal(everything(path), expected)
    (info,) = slide_info(path)
    assert info.um_per_px == (pytest.approx(um, rel=1e-3) if um else None)
    assert not um or info.um_source == source


def test_picture(shared_data: Path) -> None:
    path = shared_data / "ecm/picrosirius/tile02_PSR.jpg"
    assert np.array_equal(everything(path), np.moveaxis(imagecodecs.jpeg8_decode(path.read_bytes()), -1, 0))


# ---------------------------------------------------------------- damaged and hostile TIFFs

REJECTED_AT_READ = {"t07", "t35", "t36", "t37", "t39", "t40", "t41", "t83", "t86"}
NO_UM = {"t50", "t51", "t53", "t55", "t56", "t57", "t58", "t69", "t70"}
REJECTED = {
    *("t01", "t02", "t03", "t04", "t05", "t06", "t09", "t10", "t11", "t12", "t13", "t14", "t15", "t16", "t20", "t21", "t22", "t23"),
    *("t24", "t25", "t26", "t27", "t28", "t30", "t31", "t32", "t34", "t42", "t60", "t61", "t62", "t63", "t64", "t65", "t66", "t67"),
    *("t71", "t72", "t87", "t88", "t89"),
}


@pytest.fixture(scope="module")
def damaged(bad_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bad")
    subprocess.run([sys.executable, str(bad_inputs / "gen_bad_tiffs.py"), str(out)], check=True, capture_output=True)
    return out


def test_no_damaged_tiff_passes_in_silence(damaged: Path) -> None:
    told: dict[str, set[str]] = {"open": set(), "read": set(), "um": set()}
    for path in sorted(damaged.glob("t*.tif")):
        code = path.name[:3]
        try:
            slide_info(path)
        except SlideError:
            told["open"].add(code)
            continue
        try:
            everything(path)
        except SlideError:
            told["read"].add(code)
        with open_slide(path) as slide:
            try:
                _ = slide.um_per_px
            except SlideError:
                told["um"].add(code)
    assert told["open"] == REJECTED
    assert told["read"] == REJECTED_AT_READ
    assert told["um"] - told["read"] == NO_UM


def test_good_files_beside_the_damaged_ones_are_read(damaged: Path) -> None:
    for path in damaged.glob("good*.tif"):
        with open_slide(path) as slide:
            assert slide.um_per_px == pytest.approx(0.5)
        expected = tifffile.imread(path)
        expected = np.moveaxis(expected, -1, 0) if "rgb" in path.name else expected.reshape(-1, 512, 512)
        assert np.array_equal(everything(path), expected)
