"""Leica LIF: files written here byte by byte, after the description of the container; no real file was at hand."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sevhisto.io.scene import Acquisition
from sevhisto.io.slides import open_slide, slide_info
from sevhisto.types import SlideError

pytest.importorskip("liffile", reason="LIF needs the package liffile")
RNG = np.random.default_rng(5)
STEP = 0.65e-6  # metres
AXES = {"X": 1, "Y": 2, "Z": 3, "T": 4, "W": 5, "M": 10}


def image(name: str, array: Any, axes: str, channels: list[str], bits: int = 16, extra: str = "", step: float = STEP) -> tuple[str, bytes]:
    """XML and pixels of one image; `axes` in the order of the array, with C for channels."""
    strides = dict(zip(axes, array.strides, strict=True))
    sizes = dict(zip(axes, array.shape, strict=True))
    colour = {"Red": 1, "Green": 2, "Blue": 3} if axes.endswith("C") else {}
    each = "".join(
        f'<ChannelDescription DataType="{int(array.dtype.kind == "f")}" ChannelTag="{colour.get(c, 0)}" Resolution="{bits}" '
        f'NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" LUTName="{c}" IsLUTInverted="0" '
        f'BytesInc="{i * strides.get("C", 0)}" BitInc="0">'
        f"</ChannelDescription>"
        for i, c in enumerate(channels)
    )
    dims = "".join(
        f'<DimensionDescription DimID="{AXES[a]}" NumberOfElements="{sizes[a]}" Origin="0" Length="{(sizes[a] - 1) * step:.9e}" '
        f'Unit="m" BitInc="0" BytesInc="{strides[a]}"/>'
        for a in axes
        if a != "C"
    )
    xml = (
        f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{each}</Channels><Dimensions>{dims}</Dimensions>'
        f'</ImageDescription>{extra}</Image></Data><Memory Size="{array.nbytes}" MemoryBlockID="Mem_{name}"/></Element>'
    )
    return xml, array.tobytes()


def write(path: Path, images: dict[str, tuple[str, bytes]], leave_out: str = "") -> Path:
    header = '<LMSDataContainerHeader Version="2"><Element Name="project"><Children>' + "".join(x for x, _ in images.values())
    text = (header + "</Children></Element></LMSDataContainerHeader>").encode("utf-16-le")
    out = struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(text) // 2) + text
    for name, (_, data) in images.items():
        if name != leave_out:
            label = f"Mem_{name}".encode("utf-16-le")
            out += struct.pack("<IIBQBI", 0x70, len(label) + 14, 0x2A, len(data), 0x2A, len(label) // 2) + label + data
    path.write_bytes(out)
    return path


FLAT = RNG.integers(0, 4096, (2, 30, 41)).astype("<u2")
STACK = RNG.integers(0, 256, (3, 2, 20, 25)).astype(np.uint8)
CAMERA = (
    '<Attachment Name="HardwareSetting"><ATLCameraSettingDefinition ObjectiveName="HC PL APO   10x/0.40 DRY"><WideFieldChannelConfigurator>'
    '<WideFieldChannelInfo FluoCubeName="DAP" UserDefName="DAPI" ExposureTime="0.05" Gain="2"/>'
    '<WideFieldChannelInfo FluoCubeName="RHO" UserDefName="" ExposureTime="0.2" Gain="1"/>'
    "</WideFieldChannelConfigurator></ATLCameraSettingDefinition></Attachment>"
)


def both() -> dict[str, tuple[str, bytes]]:
    return {
        "flat": image("flat", FLAT, "CYX", ["Blue", "Red"], 12, CAMERA),
        "stack": image("stack", STACK, "ZCYX", ["Gray", "Gray"], 8),
    }


def test_scenes_channels_calibration_and_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.lif", both())
    with open_slide(path, 1) as slide:
        assert slide.channels == ("DAPI", "RHO") and slide.shape == (30, 41) and slide.bit_max == 4095 and slide.dtype == np.uint16
        assert slide.um_per_px == pytest.approx(0.65) and slide.um_source == "LIF"
        assert slide.info.acquisition == (
            Acquisition(50, 2, None, "HC PL APO 10x/0.40 DRY"),
            Acquisition(200, 1, None, "HC PL APO 10x/0.40 DRY"),
        )
        assert np.array_equal(slide.read([1, 0], 3, 30, 7, 40), FLAT[[1, 0], 3:30, 7:40])
    with open_slide(path, 2) as slide:
        assert slide.channels == ("channel 1", "channel 2") and slide.projected and slide.info.acquisition == ()
        assert np.array_equal(slide.read([0, 1], 0, 20, 2, 25), STACK.max(axis=0)[:, :, 2:25])


def test_colour_is_red_green_blue_whatever_its_order(tmp_path: Path) -> None:
    bgr = RNG.integers(0, 256, (9, 11, 3)).astype(np.uint8)
    path = write(tmp_path / "c.lif", {"c": image("c", bgr, "YXC", ["Blue", "Green", "Red"], 8)})
    with open_slide(path) as slide:
        assert slide.is_rgb and np.array_equal(slide.read([0, 1, 2], 0, 9, 0, 11), np.moveaxis(bgr[..., ::-1], -1, 0))


def test_confocal_dyes_gain_and_laser(tmp_path: Path) -> None:
    xml, data = both()["flat"]
    steps = "".join(
        f'<ATLConfocalSettingDefinition ObjectiveName="20x"><Detector Name="HyD {i}" Gain="{40 + i}" IsActive="1"/>'
        f'<LaserLineSetting LaserLine="488" IntensityDev="{i}"/><LaserLineSetting LaserLine="405" IntensityDev="0"/>'
        "</ATLConfocalSettingDefinition>"
        for i in (1, 2)
    )
    xml = xml.replace(CAMERA, f"<Attachment><LDM_Block_Sequential_List>{steps}</LDM_Block_Sequential_List></Attachment>")
    for i, dye in enumerate(("ALEXA 488", "CY5")):
        told = {"DyeName": f"Leica/{dye}", "DetectorName": f"HyD {i + 1}", "SequentialSettingIndex": str(i)}
        keys = "".join(f"<ChannelProperty><Key>{k}</Key><Value>{v}</Value></ChannelProperty>" for k, v in told.items())
        xml = xml.replace("></ChannelDescription>", f">{keys}</ChannelDescription >", 1)
    (info,) = slide_info(write(tmp_path / "a.lif", {"flat": (xml, data)}))
    assert info.channels == ("ALEXA 488", "CY5")
    assert info.acquisition == (Acquisition(None, 41, 1, "20x"), Acquisition(None, 42, 2, "20x"))


@pytest.mark.parametrize(("axes", "reason"), [("MCYX", "not merged"), ("WCYX", "emission wavelength"), ("TCYX", "time series of 3")])
def test_what_is_no_section_is_refused_and_the_other_scene_is_read(tmp_path: Path, axes: str, reason: str) -> None:
    path = write(tmp_path / "a.lif", {"odd": image("odd", STACK, axes, ["Gray", "Gray"], 8), "flat": both()["flat"]})
    with pytest.raises(SlideError, match=reason):
        open_slide(path)
    with open_slide(path, 2) as slide:
        assert np.array_equal(slide.read([0], 0, 30, 0, 41)[0], FLAT[0])


def test_a_line_scan_and_a_file_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="lacks the axis x or y"):
        open_slide(write(tmp_path / "a.lif", {"l": image("l", FLAT, "CZX", ["A", "B"])}))
    with pytest.raises(SlideError, match="holds no image"):
        open_slide(write(tmp_path / "b.lif", {}))


def test_missing_and_truncated_pixels_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"lacks the pixels of image 1"):
        open_slide(write(tmp_path / "m.lif", both(), leave_out="flat"))
    whole = write(tmp_path / "a.lif", both()).read_bytes()
    for cut in (1, STACK.nbytes, STACK.nbytes + 40, STACK.nbytes + FLAT.nbytes, len(whole) - 200, len(whole) - 5):
        (tmp_path / "cut.lif").write_bytes(whole[:-cut])
        with pytest.raises(SlideError, match=r"cut short|lacks the pixels|not a readable LIF"):
            open_slide(tmp_path / "cut.lif")
    xml, data = both()["flat"]
    with pytest.raises(SlideError, match="needs 7380 bytes"):
        open_slide(write(tmp_path / "small.lif", {"flat": (xml.replace('NumberOfElements="30"', 'NumberOfElements="60"'), data)}))


def test_nonsense_calibration_is_missing(tmp_path: Path) -> None:
    (info,) = slide_info(write(tmp_path / "a.lif", {"f": image("f", FLAT, "CYX", ["A", "B"], step=0.0)}))
    assert info.um_per_px is None
