"""Slides of every format: pixels as the makers' own libraries read them, units with their source, overviews, refusals."""

from __future__ import annotations

import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from sevhisto.io.levels import block_mean
from sevhisto.io.slides import EXTRAS, open_slide, readers, slide_info
from sevhisto.pipeline.tasks import file_sha256
from sevhisto.types import SevhistoError, SlideError

RNG = np.random.default_rng(7)
IMAGE = RNG.integers(0, 4096, (3, 130, 201)).astype(np.uint16)
OME = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 500, "PhysicalSizeYUnit": "nm"}


def everything(path: Path, um: float | None = None, scene: int = 1) -> np.ndarray:
    with open_slide(path, scene, um) as slide:
        h, w = slide.shape
        return slide.read(range(len(slide.channels)), 0, h, 0, w)


def write_ome(path: Path, image: np.ndarray = IMAGE, **metadata: object) -> Path:
    given = {**OME, "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm", **metadata}
    tifffile.imwrite(path, image, ome=True, metadata=given, tile=(64, 64), compression="zlib", photometric="minisblack")
    return path


# ---------------------------------------------------------------- TIFF


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile": (64, 48), "compression": "zlib"},
        {"tile": (64, 48), "compression": "lzw", "predictor": True},
        {"rowsperstrip": 7, "compression": "zstd"},
        {"rowsperstrip": 7},
        {"tile": (32, 32)},
        {"bigtiff": True, "byteorder": ">"},
        {"planarconfig": "separate", "tile": (64, 64), "compression": "zlib"},
        {"planarconfig": "separate"},
    ],
)
def test_tiff_pixels_whole_and_by_region(tmp_path: Path, options: dict[str, object]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE, photometric="minisblack", **options)
    assert np.array_equal(everything(path), IMAGE)
    with open_slide(path, um_per_px=0.5) as slide:
        assert slide.channels == ("channel 1", "channel 2", "channel 3")
        assert (slide.um_per_px, slide.um_source, slide.bit_max, slide.is_rgb) == (0.5, "slides.csv", 65535, False)
        region = slide.read([2, 0], 33, 130, 61, 200)
        assert region.dtype == np.uint16 and np.array_equal(region, IMAGE[[2, 0], 33:130, 61:200])
        with pytest.raises(ValueError, match="does not lie in the image"):
            slide.read([0], 0, 131, 0, 10)


def test_samples_last_are_channels_and_rgb_is_colour(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "yxc.tif", np.moveaxis(IMAGE, 0, -1)[..., :2], photometric="minisblack", planarconfig="contig")
    assert np.array_equal(everything(tmp_path / "yxc.tif"), IMAGE[:2])
    colour = np.moveaxis(IMAGE // 16, 0, -1).astype(np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", colour, photometric="rgb")
    (info,) = slide_info(tmp_path / "rgb.tif")
    assert info.is_rgb and info.channels == ("R", "G", "B") and info.bit_max == 255
    assert np.array_equal(everything(tmp_path / "rgb.tif"), np.moveaxis(colour, -1, 0))


def test_colour_of_more_bits_is_read_as_the_same_colour_of_eight(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint16)
    wide, meta = tmp_path / "wide.tif", {"axes": "YXS", "SignificantBits": 12}
    tifffile.imwrite(wide, colour * 257, photometric="rgb")
    tifffile.imwrite(tmp_path / "bits.ome.tif", np.rint(colour * (4095 / 255)).astype(np.uint16), photometric="rgb", metadata=meta)
    named = {"axes": "CYX", "Channel": {"Name": ["R", "G", "B"]}}
    tifffile.imwrite(tmp_path / "named.ome.tif", np.moveaxis(colour, -1, 0) * 257, photometric="minisblack", metadata=named)
    (tmp_path / "wide.png").write_bytes(imagecodecs.png_encode(colour * 257))
    for path in tmp_path.iterdir():
        with open_slide(path, um_per_px=0.5) as slide:
            assert (slide.dtype, slide.bit_max) == (np.uint8, 255)
            assert np.array_equal(slide.read((0, 1, 2), 0, 20, 0, 30), np.moveaxis(colour, -1, 0)), path.name
    tifffile.imwrite(tmp_path / "float.tif", colour.astype(np.float32), photometric="rgb")
    with pytest.raises(SlideError, match="what white is"):
        open_slide(tmp_path / "float.tif")


def test_ome_names_size_bits_and_pyramid(tmp_path: Path) -> None:
    path = tmp_path / "p.ome.tif"
    meta = {**OME, "PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "Channel": {"Name": ["DAPI", "CD68", "FN"]}, "SignificantBits": 12}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(IMAGE, subifds=1, tile=(64, 64), metadata=meta, photometric="minisblack")
        file.write(IMAGE[:, ::2, ::2], subfiletype=1, tile=(64, 64))
    with open_slide(path) as slide:
        assert slide.channels == ("DAPI", "CD68", "FN") and slide.shape == (130, 201)
        assert slide.um_per_px == pytest.approx(0.5) and slide.um_source == "OME-XML" and slide.bit_max == 4095
    assert np.array_equal(everything(path), IMAGE)


def test_stack_gives_its_maximum_and_says_so(tmp_path: Path) -> None:
    stack = RNG.integers(0, 999, (4, 2, 40, 50)).astype(np.uint16)  # Z C Y X
    write_ome(tmp_path / "z.ome.tif", stack, axes="ZCYX")
    tifffile.imwrite(tmp_path / "ij.tif", stack, imagej=True, metadata={"axes": "ZCYX", "unit": "um"}, resolution=(2, 2))
    for name, source in (("z.ome.tif", "OME-XML"), ("ij.tif", "ImageJ")):
        assert np.array_equal(everything(tmp_path / name), stack.max(axis=0))
        with open_slide(tmp_path / name) as slide:
            assert slide.projected and slide.n_z == 4 and slide.um_source == source and slide.um_per_px == pytest.approx(0.5)


def test_two_images_are_two_scenes(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "s.ome.tif", ome=True) as file:
        file.write(IMAGE, metadata={"axes": "CYX"}, photometric="minisblack")
        file.write(IMAGE[:2, :50], metadata={"axes": "CYX"}, photometric="minisblack")
    assert [i.shape for i in slide_info(tmp_path / "s.ome.tif")] == [(130, 201), (50, 201)]
    assert np.array_equal(everything(tmp_path / "s.ome.tif", scene=2), IMAGE[:2, :50])
    with pytest.raises(SlideError, match="has no scene 3; it has 2"):
        open_slide(tmp_path / "s.ome.tif", 3)


def test_imagej_labels_are_channel_names_and_time_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "l.tif", IMAGE, imagej=True, metadata={"axes": "CYX", "Labels": ["DAPI", "CD68", "FN"]})
    assert slide_info(tmp_path / "l.tif")[0].channels == ("DAPI", "CD68", "FN")
    tifffile.imwrite(tmp_path / "t.tif", IMAGE, imagej=True, metadata={"axes": "TYX"})
    assert slide_info(tmp_path / "t.tif")[0].n_t == 3
    with pytest.raises(SlideError, match="time series of 3 frames"):
        open_slide(tmp_path / "t.tif")


def test_planes_in_a_companion_file_are_read_from_it(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "b.tif", IMAGE[1])
    part = '<TiffData FirstC="{c}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{c}</UUID></TiffData>'
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        'Type="uint16" SizeX="201" SizeY="130" SizeC="2" SizeZ="1" SizeT="1"><Channel ID="c0"/><Channel ID="c1"/>'
        + part.format(c=0, name="a.ome.tif")
        + part.format(c=1, name="b.tif")
        + "</Pixels></Image></OME>"
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", IMAGE[0], description=xml, metadata=None)
    assert np.array_equal(everything(tmp_path / "a.ome.tif"), IMAGE[:2])
    before = file_sha256(tmp_path / "a.ome.tif")
    tifffile.imwrite(tmp_path / "b.tif", IMAGE[2])
    assert file_sha256(tmp_path / "a.ome.tif") != before
    (tmp_path / "b.tif").unlink()
    with pytest.raises(SlideError, match=r"needs the file 'b\.tif'"):
        open_slide(tmp_path / "a.ome.tif")


# ---------------------------------------------------------------- units and dispatch


def test_sheet_must_agree_with_the_file(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "u.ome.tif")
    with open_slide(path, um_per_px=0.503) as slide:
        assert slide.um_per_px == 0.5 and slide.um_source == "OME-XML"
    with pytest.raises(SlideError, match=r"0\.5 um \(OME-XML\) but 0\.65 um \(slides\.csv\)"):
        open_slide(path, um_per_px=0.65)


def test_missing_calibration_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "n.tif", IMAGE[0], resolution=(300, 300), resolutionunit="INCH")
    with open_slide(tmp_path / "n.tif") as slide, pytest.raises(SlideError, match=r"fill um_per_px for it in slides\.csv"):
        _ = slide.um_per_px


def test_formats_and_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SlideError, match=r"known: .*\.czi.*\.nd2"):
        open_slide(tmp_path / "a.docx")
    with pytest.raises(SlideError, match="no such file"):
        open_slide(tmp_path / "a.tif")
    (tmp_path / "a.nd2").write_bytes(b"not an ND2 file" * 9)
    (tmp_path / "a.czi").write_bytes(b"not a CZI file" * 9)
    for name in ("a.nd2", "a.czi"):
        with pytest.raises(SlideError, match=r"is not an? "):
            open_slide(tmp_path / name)
    monkeypatch.setitem(__import__("sys").modules, "nd2", None)
    with pytest.raises(SlideError, match="pip install 'sevhisto"):
        open_slide(tmp_path / "a.nd2")
    assert ".ome.tif" in readers
    with pytest.raises(SevhistoError):
        readers[".xyz"]


LIBRARIES = {"nikon": "nd2", "zeiss": "slideio", "olympus": "slideio", "zarr": "zarr", "mirax": "openslide", "leica": "liffile"}
LIBRARIES["dicom"] = "pydicom"


@pytest.mark.parametrize(("suffix", "extra"), EXTRAS.items())
def test_a_missing_library_names_its_extra(suffix: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".zarr":
        path.mkdir()
    else:
        path.write_bytes(b"x" * 400)
    (tmp_path / "_a_").mkdir()
    monkeypatch.setitem(sys.modules, LIBRARIES[extra], None)
    with pytest.raises(SlideError, match=rf"pip install 'sevhisto\[{extra}\]'"):
        open_slide(path)


# ---------------------------------------------------------------- overview


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 45), st.sampled_from(["uint16", "float32"]))
def test_block_mean_is_the_mean_of_each_block(h: int, w: int, f: int, kind: str) -> None:
    plane = np.arange(h * w).reshape(h, w).astype(kind)
    out = block_mean(plane, f)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            assert out[i, j] == np.float32(plane[i * f : (i + 1) * f, j * f : (j + 1) * f].mean(dtype=np.float64))
    assert out.shape == (-(-h // f), -(-w // f))


def test_overview_is_the_same_over_block_borders(tmp_path: Path) -> None:
    big = RNG.integers(0, 65535, (2, 2100, 2305)).astype(np.uint16)
    path = write_ome(tmp_path / "big.ome.tif", big)
    with open_slide(path) as slide:
        image, step = slide.overview(3.4)  # 6.8 pixels
        assert step == 7 and image.shape == (2, 300, 330) and image.dtype == np.float32
        assert np.array_equal(image[1], block_mean(big[1], 7))
        assert slide.overview(0.1)[1] == 1


# ---------------------------------------------------------------- pictures


def test_pictures(tmp_path: Path) -> None:
    colour = np.ascontiguousarray(np.moveaxis(IMAGE // 16, 0, -1).astype(np.uint8))
    (tmp_path / "c.png").write_bytes(imagecodecs.png_encode(colour))
    (tmp_path / "c.jpg").write_bytes(imagecodecs.jpeg8_encode(colour))
    (tmp_path / "g.png").write_bytes(imagecodecs.png_encode(IMAGE[0]))
    clear = np.dstack([colour, np.full(colour.shape[:2], 255, np.uint8)])
    (tmp_path / "opaque.png").write_bytes(imagecodecs.png_encode(clear))
    clear[3, 4, 3] = 0
    (tmp_path / "clear.png").write_bytes(imagecodecs.png_encode(clear))
    assert np.array_equal(everything(tmp_path / "c.png"), np.moveaxis(colour, -1, 0))
    assert np.array_equal(everything(tmp_path / "opaque.png"), np.moveaxis(colour, -1, 0))
    assert np.array_equal(everything(tmp_path / "g.png"), IMAGE[:1])
    decoded = imagecodecs.jpeg8_decode((tmp_path / "c.jpg").read_bytes())
    assert np.array_equal(everything(tmp_path / "c.jpg"), np.moveaxis(decoded, -1, 0))
    assert slide_info(tmp_path / "c.jpg")[0].is_rgb and not slide_info(tmp_path / "g.png")[0].is_rgb
    with pytest.raises(SlideError, match="transparent"):
        everything(tmp_path / "clear.png")
    for name in ("c.jpg", "c.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-3000])
        with pytest.raises(SlideError, match="cut short"):
            open_slide(tmp_path / name)
