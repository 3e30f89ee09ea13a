"""Files as scanners write them: how they were imaged, QPTIFF and SCN. All are made here, pixel by pixel known."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from sevhisto.io.check import inspect_files
from sevhisto.io.scene import Acquisition
from sevhisto.io.slides import open_slide, slide_info
from sevhisto.io.study import load_study
from sevhisto.types import SlideError

CM = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}  # 0.5 um
IMAGES = np.random.default_rng(1).integers(0, 4000, (4, 64, 96)).astype("u2")


def write_ome(path: Path, times: tuple[str, ...], lens: str = 'NominalMagnification="20" LensNA="0.8"') -> None:
    """Write an OME-TIFF of four channels with the <Plane> attributes given."""
    names = ("DAPI", "Cy5", "CD68", "CD206")
    channels = "".join(
        f'<Channel ID="Channel:0:{i}" Name="{n}" SamplesPerPixel="1"><LightSourceSettings ID="L:0" Attenuation="0.{i}"/>'
        f'<DetectorSettings ID="D:0" Gain="{i + 1}"/></Channel>'
        for i, n in enumerate(names)
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Instrument ID="I:0"><Objective ID="O:1" Model="other"/><Objective ID="O:0" Model="Plan" {lens}/></Instrument>'
        '<Image ID="Image:0"><ObjectiveSettings ID="O:0"/><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="96" SizeY="64"'
        ' SizeC="4" SizeZ="1" SizeT="1" PhysicalSizeX="0.5" PhysicalSizeY="0.5">'
        f'{channels}<TiffData IFD="0" PlaneCount="4"/>{"".join(f"<Plane {t}/>" for t in times)}</Pixels></Image></OME>'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, IMAGES, description=xml.encode(), metadata=None, photometric="minisblack")


def plane(c: int, time: str, unit: str = "") -> str:
    return f'TheC="{c}" TheZ="0" TheT="0" ExposureTime="{time}"' + (f' ExposureTimeUnit="{unit}"' if unit else "")


def test_ome_says_how_each_channel_was_imaged(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    write_ome(path, (plane(0, "0.05"), plane(1, "120", "ms"), plane(2, "0.1"), plane(2, "0.2"), plane(3, "7", "pixel")))
    found = slide_info(path)[0].acquisition
    assert [a.exposure_ms for a in found] == [50, 120, None, None]
    assert [a.gain for a in found] == [1, 2, 3, 4]
    assert [a.light_pct for a in found] == pytest.approx([100, 90, 80, 70])
    assert {a.objective for a in found} == {"20x/0.8"}
    write_ome(path, (), "")
    assert {a.objective for a in slide_info(path)[0].acquisition} == {"Plan"}
    write_ome(path, (plane(0, "long"),))
    with pytest.raises(SlideError, match="a number that is none"):
        slide_info(path)


def test_another_exposure_in_a_batch_is_noted(study_dir: Path) -> None:
    for name, ms in (("R01_s1.tif", 50), ("sub/R02_s1.tif", 80)):
        write_ome(study_dir / "slides" / name, (plane(2, str(ms), "ms"),))
    problems, notes = inspect_files(load_study(study_dir))
    assert not problems
    (said,) = [n for n in notes if "exposure differs" in n]
    assert "CD68" in said
    assert "50 ms (R01_s1.tif); 80 ms (sub/R02_s1.tif)" in said


def qpi(kind: str, **facts: Any) -> str:
    inner = "".join(f"<{k}>{v}</{k}>" for k, v in facts.items())
    return (
        '<?xml version="1.0" encoding="utf-16"?>\n<PerkinElmer-QPI-ImageDescription><DescriptionVersion>2</DescriptionVersion>'
        f"<ImageType>{kind}</ImageType>{inner}</PerkinElmer-QPI-ImageDescription>"
    )


Page = tuple[np.ndarray[Any, Any], str]


def write_pages(path: Path, pages: list[Page], **options: Any) -> Path:
    with tifffile.TiffWriter(path, bigtiff=path.suffix == ".scn") as file:
        for data, text in pages:
            tile = (16, 16) if min(data.shape[:2]) >= 32 else None
            kind = "rgb" if data.ndim == 3 else "minisblack"
            file.write(data, description=text.encode(), metadata=None, photometric=kind, tile=tile, **{**CM, **options})
    return path


def qptiff_pages(**facts: Any) -> list[Page]:
    """Two channels, a thumbnail, their smaller copies, a label."""
    dyes = ("DAPI", "Opal 520")
    full = [(IMAGES[i], qpi("FullResolution", Name=n, ExposureTime=1500 * (i + 1), Objective="20x", **facts)) for i, n in enumerate(dyes)]
    half = [(IMAGES[i, ::2, ::2], qpi("ReducedResolution", Name=n)) for i, n in enumerate(dyes)]
    thumb = (np.zeros((20, 30, 3), "u1"), qpi("Thumbnail"))
    return [*full, thumb, *half, (np.zeros((64, 96), "u2"), qpi("Label"))]


def test_qptiff_channels_levels_and_pixels(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "a.qptiff", qptiff_pages())
    with open_slide(path) as slide:
        assert slide.channels == ("DAPI", "Opal 520")
        assert (slide.um_per_px, slide.um_source) == (pytest.approx(0.5), "TIFF tags")
        assert slide.levels == ((64, 96), (32, 48))
        assert slide.info.acquisition == (Acquisition(1.5, objective="20x"), Acquisition(3.0, objective="20x"))
        np.testing.assert_array_equal(slide.read([1, 0], 5, 60, 7, 90), IMAGES[[1, 0], 5:60, 7:90])
        np.testing.assert_array_equal(slide.read([1], 0, 32, 0, 48, level=1), IMAGES[1:2, ::2, ::2])


def test_qptiff_levels_in_another_order_are_not_used(tmp_path: Path) -> None:
    pages = qptiff_pages()
    pages[3], pages[4] = pages[4], pages[3]
    assert slide_info(write_pages(tmp_path / "a.qptiff", pages))[0].levels == ()


def test_qptiff_in_colour_and_with_a_dye_used_twice(tmp_path: Path) -> None:
    colour = np.random.default_rng(2).integers(0, 255, (64, 96, 3)).astype("u1")
    with open_slide(write_pages(tmp_path / "c.qptiff", [(colour, qpi("FullResolution", ExposureTime=200))])) as slide:
        assert slide.is_rgb
        assert [a.exposure_ms for a in slide.info.acquisition] == [0.2] * 3
        np.testing.assert_array_equal(slide.read([0, 1, 2], 0, 64, 0, 96), np.moveaxis(colour, -1, 0))
    for marker in ("<Name>{}</Name>", "{}"):
        twice = [(IMAGES[i], qpi("FullResolution", Name="Cy5", Biomarker=marker.format(b))) for i, b in enumerate(("CD3", "CD8"))]
        assert slide_info(write_pages(tmp_path / "b.qptiff", twice))[0].channels == ("CD3", "CD8")


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ([(IMAGES[0], "scanned")], "is named QPTIFF but holds no"),
        ([(IMAGES[0], qpi("Thumbnail"))], "no picture at full resolution"),
        ([(IMAGES[0], qpi("", Name="a"))], "has no ImageType"),
        ([(IMAGES[i], qpi("FullResolution", Name="a")) for i in range(2)], "tells its channels apart"),
        ([(IMAGES[0], qpi("FullResolution", Name="a")), (IMAGES[1], "x")], "page 2 has no PerkinElmer"),
        ([(IMAGES[0], qpi("FullResolution", Name="a", ExposureTime="long"))], "number that is none"),
        ([(IMAGES[0], qpi("FullResolution", Name="a")[:-9])], "is damaged"),
    ],
)
def test_qptiff_that_says_too_little_is_refused(tmp_path: Path, pages: list[Page], said: str) -> None:
    with pytest.raises(SlideError, match=said):
        slide_info(write_pages(tmp_path / "a.qptiff", pages))


SCN = """<?xml version="1.0" encoding="utf-8"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
<collection name="c" sizeX="26000000" sizeY="76000000">
<image name="macro"><pixels sizeX="30" sizeY="20"><dimension sizeX="30" sizeY="20" r="0" ifd="0"/></pixels>
<view sizeX="26000000" sizeY="76000000" offsetX="0" offsetY="0"/></image>
<image name="one"><pixels sizeX="96" sizeY="64">
<dimension sizeX="96" sizeY="64" r="0" c="1" ifd="2"/><dimension sizeX="96" sizeY="64" r="0" c="0" ifd="1"/>
<dimension sizeX="48" sizeY="32" r="1" c="0" ifd="3"/><dimension sizeX="48" sizeY="32" r="1" c="1" ifd="4"/></pixels>
<view sizeX="48000" sizeY="32000" offsetX="10" offsetY="10"/>
<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>
<channelSettings><channel index="1" name="FITC"/><channel index="0" name="DAPI"/></channelSettings></scanSettings></image>
<image name="two"><pixels sizeX="96" sizeY="64"><dimension sizeX="96" sizeY="64" r="0" ifd="5"/></pixels>
<view sizeX="48000" sizeY="32000" offsetX="90000" offsetY="10"/></image>
</collection></scn>"""
COLOUR = np.random.default_rng(3).integers(0, 255, (64, 96, 3)).astype("u1")


def write_scn(path: Path, text: str = SCN) -> Path:
    small = IMAGES[:, ::2, ::2]
    images = [np.zeros((20, 30, 3), "u1"), IMAGES[0], IMAGES[1], small[0], small[1], COLOUR]
    return write_pages(path, [(data, text if i == 0 else "") for i, data in enumerate(images)])


def test_scn_scenes_channels_levels_and_pixels(tmp_path: Path) -> None:
    path = write_scn(tmp_path / "a.scn")
    with open_slide(path) as slide:
        assert slide.channels == ("DAPI", "FITC")
        assert (slide.um_per_px, slide.um_source) == (pytest.approx(0.5), "SCN")
        assert slide.levels == ((64, 96), (32, 48))
        assert [a.objective for a in slide.info.acquisition] == ["20x", "20x"]
        np.testing.assert_array_equal(slide.read([0, 1], 3, 60, 9, 90), IMAGES[:2, 3:60, 9:90])
        np.testing.assert_array_equal(slide.read([1], 0, 32, 0, 48, level=1), IMAGES[1:2, ::2, ::2])
    with open_slide(path, scene=2) as slide:
        assert slide.is_rgb
        np.testing.assert_array_equal(slide.read([0, 1, 2], 0, 64, 0, 96), np.moveaxis(COLOUR, -1, 0))
    assert len(slide_info(path)) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<scn ", "<other ", "is named SCN but holds no"),
        (' ifd="5"', "", "ifd of dimension is missing"),
        (' ifd="5"', ' ifd="-1"', "ifd of dimension is '-1'"),
        (' ifd="5"', ' ifd="9"', "refers to page 10"),
        (' ifd="5"', ' ifd="2"', "one page for several images"),
        (' ifd="5"', ' ifd="0"', "declares"),
        ('c="1" ifd="2"', 'c="2" ifd="2"', "2 of 3 planes"),
        ('index="1"', 'index="3"', "channel numbers .0, 3. for 2 channels"),
        ('<view sizeX="48000" sizeY="32000" offsetX="90000" offsetY="10"/>', "", "0 elements view"),
        ("</collection>", "", "is damaged"),
    ],
)
def test_scn_that_says_too_little_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = SCN.replace(old, new)
    assert text != SCN
    with pytest.raises(SlideError, match=said):
        slide_info(write_scn(tmp_path / "a.scn", text))


def jpeg_of(image: np.ndarray[Any, Any], interval: int) -> tuple[bytes, list[int]]:
    """A JPEG in blocks of 8 x 8 with a restart mark every `interval` blocks, and where its parts start."""
    options = [cv2.IMWRITE_JPEG_RST_INTERVAL, interval, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    data = cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes()
    scan = data.index(b"\xff\xda")
    first = scan + 2 + struct.unpack(">H", data[scan + 2 : scan + 4])[0]
    marks = [i + 2 for i in range(first, len(data) - 1) if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]
    return data, [first, *marks]


def write_ndpi(path: Path, pictures: list[tuple[np.ndarray[Any, Any], float]], interval: int = 4, mark: int = 65420) -> Path:
    """Write an NDPI file: directories as in TIFF, but 8-byte links, and the upper halves of the values behind them."""
    out, link = bytearray(b"II" + struct.pack("<HQ", 42, 0)), 4
    for image, power in pictures:
        data, starts = jpeg_of(image, interval)
        at = len(out)
        out += data
        extra = len(out)
        out += struct.pack("<4I", 20000, 1, 0, 0) + b"Hamamatsu\0" + struct.pack(f"<{len(starts)}I", *starts) + struct.pack("<3H", 8, 8, 8)
        h, w = image.shape[:2]
        parts, lens = extra + 26, struct.unpack("<I", struct.pack("<f", power))[0]
        tags = [
            (256, 4, 1, w),
            (257, 4, 1, h),
            (258, 3, 3, parts + 4 * len(starts)),
            (259, 3, 1, 7),
            (262, 3, 1, 6),
            (271, 2, 10, extra + 16),
        ]
        tags += [(273, 4, 1, at), (277, 3, 1, 3), (278, 4, 1, h), (279, 4, 1, len(data)), (282, 5, 1, extra), (283, 5, 1, extra)]
        tags += [(296, 3, 1, 3), (mark, 4, 1, 1), (65421, 11, 1, lens), (65426, 4, len(starts), parts)]
        out[link : link + 8] = struct.pack("<Q", len(out))
        out += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        link = len(out)
        out += bytes(8 + 4 * len(tags))
    path.write_bytes(out)
    return path


def test_ndpi_levels_size_and_pixels(tmp_path: Path) -> None:
    path = write_ndpi(tmp_path / "a.ndpi", [(COLOUR, 20.0), (COLOUR[::2, ::3][:, :32], -1.0), (COLOUR[::2, :64:2], 5.0)])
    truth = cv2.imdecode(np.frombuffer(jpeg_of(COLOUR, 4)[0], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    with open_slide(path) as slide:
        assert slide.is_rgb
        assert slide.um_per_px == pytest.approx(0.5)
        assert {a.objective for a in slide.info.acquisition} == {"20x"}
        got = slide.read([0, 1, 2], 3, 61, 5, 90)
    assert np.abs(got.astype(int) - np.moveaxis(truth, -1, 0)[:, 3:61, 5:90]).max() <= 2
    assert slide_info(write_ndpi(path, [(np.tile(COLOUR, (1, 2, 1)), 20.0), (COLOUR[::2], 10.0)]))[0].levels == ((32, 96),)


@pytest.mark.parametrize(
    ("pictures", "options", "said"),
    [
        ([(COLOUR, -1.0)], {}, "no picture but the overview"),
        ([(COLOUR, 20.0), (COLOUR, 20.0)], {}, "several focal planes"),
        ([(COLOUR, 20.0)], {"interval": 5}, "cannot be read by region"),
        ([(COLOUR, 20.0)], {"mark": 65000}, "is named NDPI but is none"),
    ],
)
def test_ndpi_that_cannot_be_trusted_is_refused(tmp_path: Path, pictures: list[Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(SlideError, match=said):
        slide_info(write_ndpi(tmp_path / "a.ndpi", pictures, **options))


def test_ndpi_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_ndpi(tmp_path / "a.ndpi", [(COLOUR, 20.0)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SlideError, match="cut short"):
        slide_info(path)
