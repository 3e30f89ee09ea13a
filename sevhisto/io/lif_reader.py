"""Leica LIF, by the liffile library: images are scenes; regions are read from the file where they stand, which is never compressed."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.io.lif_check import check_lif
from sevhisto.io.ome import inside
from sevhisto.io.pixelsize import Calibration, calibration, unit_um
from sevhisto.io.scene import RGB, Acquisition, SceneInfo, broken, checked_dtype, named, top_of_range, why
from sevhisto.types import AnyArray, SlideError

_X, _Y, _Z, _T, _TILES = 1, 2, 3, 4, 10
_AXES = {5: "emission wavelength", 6: "rotation", 7: "slices of a line", 8: "slices of time", 9: "excitation wavelength", 11: "loop"}
_COLOURS = ["1", "2", "3"]
"""Channel tags of red, green and blue; 0 is grey."""
_RECOPY = "copy the file again from the microscope"


@dataclass(frozen=True)
class _Axis:
    """One axis of an image: elements, bytes from one to the next, and the step between them."""

    n: int
    stride: int
    step: float
    unit: str


@dataclass(frozen=True)
class _Place:
    """Where the pixels of an image stand: memory block, and strides in bytes along z, y and x and from channel to channel."""

    offset: int
    size: int
    channels: tuple[int, ...]
    strides: tuple[int, int, int]


class LifSlideFile:
    """A LIF file. Images that are no picture of a section (lines, spectra, tiles that were not merged) are scenes that are refused."""

    def __init__(self, path: Path) -> None:
        import liffile

        self.path = path
        check_lif(path)
        try:
            with liffile.LifFile(path) as file:
                found = [self._scene(i, image, dict(file.memory_blocks)) for i, image in enumerate(file.images, 1)]
        except SlideError:
            raise
        except Exception as error:
            raise broken(path, f"is not a readable LIF file ({why(error)})", _RECOPY) from error
        if not found:
            raise broken(path, "holds no image")
        self.scenes = tuple(info for info, _ in found)
        self._places = [place for _, place in found]
        self._maps: dict[int, AnyArray] = {}

    def _scene(self, number: int, image: Any, blocks: dict[str, Any]) -> tuple[SceneInfo, _Place]:
        element: ET.Element = image.xml_element
        if image.is_flim:
            refused = "is a lifetime image"
            return SceneInfo(number, (1, 1), ("channel 1",), np.dtype(np.uint8), refused=refused), _Place(0, 0, (), (0, 0, 0))
        channels = list(element.iterfind("./Data/Image/ImageDescription/Channels/ChannelDescription"))
        axes = {int(d.attrib["DimID"]): _axis(d) for d in element.iterfind("./Data/Image/ImageDescription/Dimensions/DimensionDescription")}
        kinds = {_dtype(c) for c in channels}
        if len(kinds) != 1:
            raise broken(self.path, f"image {number} has channels of {len(kinds)} pixel types")
        dtype = checked_dtype(self.path, kinds.pop())
        none = _Axis(1, dtype.itemsize, 0.0, "")
        x, y, z = (axes.get(a, none) for a in (_X, _Y, _Z))
        tags = [c.get("ChannelTag", "0") for c in channels]
        rgb = sorted(tags) == _COLOURS
        if rgb:
            channels = [channels[tags.index(tag)] for tag in _COLOURS]
        place = self._place(number, element, blocks, [int(c.attrib["BytesInc"]) for c in channels], (z, y, x), dtype)
        info = SceneInfo(
            scene=number,
            shape=(y.n, x.n),
            channels=RGB if rgb else named(_names(element, channels), len(channels)),
            dtype=dtype,
            calibrations=(_calibration(x, y),),
            is_rgb=rgb,
            n_z=z.n,
            n_t=axes.get(_T, none).n,
            bit_max=top_of_range(dtype, max(int(c.attrib["Resolution"]) for c in channels)),
            acquisition=_acquisition(element, channels),
            refused=_refused(axes),
        )
        return info, place

    def _place(
        self, number: int, element: ET.Element, blocks: dict[str, Any], channels: list[int], axes: Sequence[_Axis], dtype: np.dtype[Any]
    ) -> _Place:
        memory = element.find("./Memory")
        name = "" if memory is None else memory.get("MemoryBlockID", "")
        block = blocks.get(name)
        if block is None:
            raise broken(self.path, f"lacks the pixels of image {number} (memory block {name!r})", _RECOPY)
        if block.offset + block.size > self.path.stat().st_size:
            raise broken(self.path, f"is cut short: the pixels of image {number} are incomplete", _RECOPY)
        if any(a.n < 1 or (a.n > 1 and a.stride < dtype.itemsize) for a in axes) or min(channels) < 0:
            raise broken(self.path, f"image {number} has a size or a stride of nothing")
        last = max(channels) + sum((a.n - 1) * a.stride for a in axes) + dtype.itemsize
        if last > block.size:
            raise broken(self.path, f"image {number} needs {last} bytes of pixels, and the file holds {block.size} of it", _RECOPY)
        z, y, x = (a.stride for a in axes)
        return _Place(block.offset, block.size, tuple(channels), (z, y, x))

    def read(self, scene: int, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int = 0) -> AnyArray:
        """Pixels (c, h, w) of plane `z`; only the region is read."""
        info, place = self.scenes[scene - 1], self._places[scene - 1]
        if scene not in self._maps:
            try:
                self._maps[scene] = np.memmap(self.path, np.uint8, "r", offset=place.offset, shape=(place.size,))
            except (OSError, ValueError) as error:
                raise broken(self.path, f"the pixels of image {scene} cannot be read ({why(error)})", _RECOPY) from error
        shape = (info.n_z, *info.shape)
        out = np.empty((len(channels), y1 - y0, x1 - x0), info.dtype)
        for i, channel in enumerate(channels):
            stored = info.dtype.newbyteorder("<")
            stack: AnyArray = np.ndarray(shape, stored, self._maps[scene].data, place.channels[channel], place.strides)
            out[i] = stack[z, y0:y1, x0:x1]
        return out

    def close(self) -> None:
        """Let go of the file."""
        self._maps.clear()


def _axis(element: ET.Element) -> _Axis:
    """Length is from the centre of the first element to that of the last."""
    n = int(element.attrib["NumberOfElements"])
    length = float(element.get("Length", "nan"))
    return _Axis(n, int(element.attrib["BytesInc"]), abs(length) / (n - 1) if n > 1 else math.nan, element.get("Unit", ""))


def _dtype(channel: ET.Element) -> str:
    bits = int(channel.attrib["Resolution"])
    size = next(s for s in (1, 2, 4, 8) if bits <= 8 * s)
    return ("f" if channel.get("DataType", "0") == "1" else "u") + str(size)


def _calibration(x: _Axis, y: _Axis) -> Calibration:
    factor = unit_um(x.unit)
    if x.unit != y.unit or factor is None:
        return Calibration(None, "LIF", f"units {x.unit!r} and {y.unit!r} are no lengths")
    return calibration(x.step * factor, y.step * factor, "um", "LIF")


def _refused(axes: dict[int, _Axis]) -> str:
    long = {a for a, axis in axes.items() if axis.n > 1}
    if _TILES in long:
        return f"is made of {axes[_TILES].n} tiles that were not merged; merge them in LAS X and take the merged image"
    if not {_X, _Y} <= long:
        return "is no picture: it lacks the axis x or y"
    odd = sorted(long - {_X, _Y, _Z, _T})
    return f"has an axis of {', '.join(_AXES.get(a, f'unknown kind {a}') for a in odd)}" if odd else ""


def _properties(channel: ET.Element) -> dict[str, str]:
    pairs = ((p.findtext("Key") or "", (p.findtext("Value") or "").strip()) for p in channel.iterfind("./ChannelProperty"))
    return dict(pairs)


def _widefield(element: ET.Element, n: int) -> list[ET.Element]:
    """What the camera wrote of each channel; nothing where the counts differ."""
    camera = next((c for c in inside(element, "WideFieldChannelConfigurator")), None)
    found = [] if camera is None else [c for c in camera.iterfind("./WideFieldChannelInfo") if c.get("Active", "1") != "0"]
    return found if len(found) == n else []


def _names(element: ET.Element, channels: list[ET.Element]) -> list[str | None]:
    """Dyes, else what the user or the filter cube called the channel, else its lookup table; none where they do not tell all apart."""
    cubes = _widefield(element, len(channels)) or [ET.Element("none")] * len(channels)
    tables = [c.get("LUTName", "").strip() for c in channels]
    dyes = [
        _properties(c).get("DyeName", "").removeprefix("Leica/")
        or w.get("UserDefName", "").strip()
        or w.get("FluoCubeName", "").strip()
        or t
        for c, w, t in zip(channels, cubes, tables, strict=True)
    ]
    for names in (dyes, tables):
        if all(names) and len(set(names)) == len(names):
            return [*names]
    return [None] * len(channels)


def _number(text: str | None, scale: float = 1.0) -> float | None:
    try:
        value = float(text or "nan") * scale
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _acquisition(element: ET.Element, channels: list[ET.Element]) -> tuple[Acquisition, ...]:
    settings = [*inside(element, "ATLCameraSettingDefinition"), *inside(element, "ATLConfocalSettingDefinition")]
    objective = next((" ".join(s.get("ObjectiveName", "").split()) for s in settings if s.get("ObjectiveName", "").strip()), "")
    cameras = _widefield(element, len(channels))
    found = []
    for i, channel in enumerate(channels):
        if cameras:
            exposure, gain = _number(cameras[i].get("ExposureTime"), 1e3), _number(cameras[i].get("Gain"))  # seconds
            found.append(Acquisition(exposure, gain, None, objective))
        else:
            found.append(_confocal(element, _properties(channel), objective))
    return tuple(found) if any(a != Acquisition() for a in found) else ()


def _confocal(element: ET.Element, channel: dict[str, str], objective: str) -> Acquisition:
    """Gain of the channel's detector; light where one laser line alone was on during the channel's sequence."""
    lists = list(inside(element, "LDM_Block_Sequential_List"))
    steps = list(inside(lists[0], "ATLConfocalSettingDefinition")) if lists else list(inside(element, "ATLConfocalSettingDefinition"))[:1]
    turn = channel.get("SequentialSettingIndex", "0")
    if not turn.isdecimal() or int(turn) >= len(steps):
        return Acquisition(objective=objective)
    step = steps[int(turn)]
    gains = [d.get("Gain") for d in inside(step, "Detector") if d.get("Name") == channel.get("DetectorName") and d.get("IsActive") != "0"]
    lines = [v for v in (_number(line.get("IntensityDev")) for line in inside(step, "LaserLineSetting")) if v is not None]
    return Acquisition(None, _number(gains[0]) if len(gains) == 1 else None, lines[0] if len(lines) == 1 else None, objective)
