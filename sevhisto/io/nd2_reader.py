"""Nikon ND2, by the nd2 library: one frame at a time; positions are scenes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.io.nd2_check import check_nd2
from sevhisto.io.pixelsize import Calibration, calibration
from sevhisto.io.scene import RGB, Acquisition, SceneInfo, broken, checked_dtype, named, top_of_range, why
from sevhisto.types import AnyArray, SlideError


class Nd2SlideFile:
    """An ND2 file. A frame holds every channel of one plane at one position."""

    def __init__(self, path: Path) -> None:
        import nd2

        self.path = path
        self._held = check_nd2(path)
        try:
            self._file = nd2.ND2File(path)
        except Exception as error:
            raise broken(path, f"is not a readable ND2 file ({why(error)})") from error
        try:
            self._frames = self._frame_numbers()
            self.scenes = self._scenes()
        except Exception as error:
            self._file.close()
            raise error if isinstance(error, SlideError) else broken(path, f"its ND2 metadata cannot be read ({why(error)})") from error
        self._last: tuple[int, AnyArray] | None = None

    def _frame_numbers(self) -> dict[tuple[int, int], int]:
        loops = list(self._file.loop_indices) or [{}]
        unknown = {axis for loop in loops for axis in loop} - {"P", "Z", "T"}
        if unknown:
            raise broken(self.path, f"has axes that are not known here: {', '.join(sorted(unknown))}")
        if len(loops) != self._file.attributes.sequenceCount:
            raise broken(self.path, f"declares {len(loops)} frames but holds {self._file.attributes.sequenceCount}")
        attributes = self._file.attributes
        if len(loops) > self._held[0]:
            raise broken(self.path, f"declares {len(loops)} frames but holds {self._held[0]}")
        if not attributes.compressionType and (attributes.widthBytes or 0) * attributes.heightPx > self._held[1]:
            raise broken(self.path, f"has a frame of {self._held[1]} bytes, which is less than its pixels need")
        return {(loop.get("P", 0), loop.get("Z", 0)): i for i, loop in enumerate(loops) if loop.get("T", 0) == 0}

    def _scenes(self) -> tuple[SceneInfo, ...]:
        f = self._file
        sizes, attributes = dict(f.sizes), f.attributes
        dtype = checked_dtype(self.path, f.dtype)
        rgb = bool(f.is_rgb)
        if rgb and sizes.get("S", 3) != 3:
            raise broken(self.path, f"has {sizes['S']} colours")
        channels = [c.channel.name for c in (f.metadata.channels or [])]
        n = sizes.get("C", 1)
        if rgb and n > 1:
            raise broken(self.path, "mixes a colour camera with other channels", "export each as a file of its own")
        info = {
            "shape": (int(attributes.heightPx), int(attributes.widthPx or sizes["X"])),
            "channels": RGB if rgb else named(channels, n),
            "dtype": dtype,
            "calibrations": (self._calibration(),),
            "is_rgb": rgb,
            "n_z": sizes.get("Z", 1),
            "n_t": sizes.get("T", 1),
            "bit_max": top_of_range(dtype, attributes.bitsPerComponentSignificant),
            "acquisition": self._acquisition(3 if rgb else n),
        }
        made: dict[str, Any] = info
        return tuple(SceneInfo(scene=i, **made) for i in range(1, sizes.get("P", 1) + 1))

    def _acquisition(self, n: int) -> tuple[Acquisition, ...]:
        """How each channel was imaged: the lens from the metadata, the exposure from the description; colour shares one."""
        channels = self._file.metadata.channels or []
        times = exposures_ms(self._file.text_info.get("description", ""), [c.channel.name for c in channels])
        found = [Acquisition(t, None, None, _lens(c.microscope)) for t, c in zip(times, channels, strict=True)]
        found = found * n if len(found) == 1 else found
        return tuple(found) if len(found) == n and any(a != Acquisition() for a in found) else ()

    def _calibration(self) -> Calibration:
        channels = self._file.metadata.channels or []
        if not channels or not all(channels[0].volume.axesCalibrated[:2]):  # the library then reports 1.0
            return Calibration(None, "ND2", "the microscope was not calibrated")
        x, y, _ = channels[0].volume.axesCalibration
        return calibration(x, y, "um", "ND2")

    def read(self, scene: int, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int = 0) -> AnyArray:
        """Pixels (c, h, w) of plane `z`."""
        number = self._frames.get((scene - 1, z))
        if number is None:
            raise broken(self.path, f"plane {z + 1} of position {scene} is missing")
        frame = self._frame(number)
        return np.ascontiguousarray(frame[list(channels), y0:y1, x0:x1])

    def _frame(self, number: int) -> AnyArray:
        if self._last is None or self._last[0] != number:
            try:
                frame = np.asarray(self._file.read_frame(number))
            except Exception as error:
                raise broken(self.path, f"frame {number + 1} cannot be read ({why(error)})") from error
            info = self.scenes[0]
            if info.is_rgb:
                frame = np.moveaxis(frame.reshape(*info.shape, 3), -1, 0)
            elif frame.size == len(info.channels) * info.shape[0] * info.shape[1]:
                frame = frame.reshape(len(info.channels), *info.shape)
            else:
                raise broken(self.path, f"frame {number + 1} has {frame.size} pixels, not what its header says")
            self._last = (number, frame)
        return self._last[1]

    def close(self) -> None:
        """Let go of the file."""
        self._last = None
        self._file.close()


_MS = {"s": 1e3, "ms": 1.0, "µs": 1e-3, "us": 1e-3}


def exposures_ms(description: str, names: Sequence[str]) -> list[float | None]:
    """Return the exposure of each channel that an ND2 description states; None where it states none, or not of this channel."""
    blocks = re.split(r"Plane #\d+:", description)
    blocks = blocks[1:] if len(blocks) > 1 else blocks
    if len(blocks) != len(names):
        return [None] * len(names)
    found: list[float | None] = []
    for name, block in zip(names, blocks, strict=True):
        time = re.search(r"\bExposure:\s*(\d+(?:[.,]\d+)?)\s*(\S+)", block)
        own = len(names) == 1 or re.search(rf"\bName:\s*{re.escape(name)}\s*$", block, re.MULTILINE)
        scale = _MS.get(time.group(2).replace("μ", "µ")) if time and own else None
        found.append(float(time.group(1).replace(",", ".")) * scale if time and scale else None)
    return found


def _lens(microscope: Any) -> str:
    power, aperture = microscope.objectiveMagnification, microscope.objectiveNumericalAperture
    return f"{power:g}x/{aperture:g}" if power and aperture else microscope.objectiveName or ""
