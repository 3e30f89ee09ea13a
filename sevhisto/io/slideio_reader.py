"""Zeiss CZI and Olympus VSI, by the slideio library: level 0 only, channel by channel, from the scene's own (0, 0)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.io.czi_check import check_czi
from sevhisto.io.ome import inside, parse_xml
from sevhisto.io.pixelsize import calibration
from sevhisto.io.scene import Acquisition, SceneInfo, broken, checked_dtype, named, top_of_range, why
from sevhisto.io.vsi_check import check_vsi
from sevhisto.types import AnyArray, SlideError


class SlideioFile:
    """A CZI or VSI file; its label and preview pictures are not scenes. Colour is refused: its order is not certain."""

    def __init__(self, path: Path, driver: str) -> None:
        import slideio

        self.path, self._driver = path, driver
        if driver == "VSI":
            check_vsi(path)
        else:
            check_czi(path)
        try:
            self._file = slideio.open_slide(str(path), driver)
        except Exception as error:
            raise broken(path, f"is not a readable {driver} file ({why(error)})") from error
        try:
            kinds = set(re.findall(r"<PixelType>\s*(\w+)", self._file.raw_metadata))
            if any(k.startswith("Bgr") for k in kinds):
                # slideio hands such pixels back as blue, green, red in some files; no real file was at hand to settle it
                raise broken(path, "is a colour CZI, whose colour order is not certain", "export it from ZEN as OME-TIFF")
            self._scenes = [self._file.get_scene(i) for i in range(self._file.num_scenes)]
            self.scenes = tuple(self._info(i, s) for i, s in enumerate(self._scenes, 1))
        except Exception as error:
            self.close()
            raise (
                error if isinstance(error, SlideError) else broken(path, f"its {driver} metadata cannot be read ({why(error)})")
            ) from error

    def _info(self, number: int, scene: Any) -> SceneInfo:
        n = int(scene.num_channels)
        kinds = {np.dtype(scene.get_channel_data_type(c)) for c in range(n)}
        if len(kinds) != 1:
            raise broken(self.path, f"scene {number} has channels of different types ({', '.join(sorted(k.name for k in kinds))})")
        dtype = checked_dtype(self.path, kinds.pop())
        bits = {int(b) for b in re.findall(r"<ComponentBitCount>\s*(\d+)", self._file.raw_metadata)}
        x, y = (1e6 * float(v) for v in scene.resolution)  # metres
        _, _, w, h = scene.rect  # its origin is in file coordinates; blocks are counted from 0
        if n == 3 and dtype == np.uint8 and self._driver == "VSI":
            raise broken(self.path, "is a colour VSI, whose colour order is not certain", "export it from the microscope as OME-TIFF")
        return SceneInfo(
            scene=number,
            shape=(int(h), int(w)),
            channels=named([scene.get_channel_name(c) for c in range(n)], n),
            dtype=dtype,
            calibrations=(calibration(x, y, "um", self._driver),),
            n_z=max(1, int(scene.num_z_slices)),
            n_t=max(1, int(scene.num_t_frames)),
            bit_max=top_of_range(dtype, max(bits) if bits else None),
            acquisition=czi_acquisition(self._file.raw_metadata, self.path, n) if self._driver == "CZI" else (),
        )

    def read(self, scene: int, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int = 0) -> AnyArray:
        """Pixels (c, h, w) of plane `z`; one channel at a time, which the library does many times faster."""
        rect, size = (x0, y0, x1 - x0, y1 - y0), (x1 - x0, y1 - y0)
        out = np.empty((len(channels), y1 - y0, x1 - x0), self.scenes[scene - 1].dtype)
        for i, channel in enumerate(channels):
            try:
                block = self._scenes[scene - 1].read_block(rect, size=size, channel_indices=[channel], slices=(z, z + 1), frames=(0, 1))
            except Exception as error:
                raise broken(self.path, f"rows {y0} to {y1} of channel {channel + 1} cannot be read ({why(error)})") from error
            out[i] = np.asarray(block).reshape(out.shape[1:])
        return out

    def close(self) -> None:
        """Let go of the file."""
        self._scenes = []
        self._file = None


def czi_acquisition(text: str, path: Path, n: int) -> tuple[Acquisition, ...]:
    """Return how each of `n` channels was imaged, after the metadata of a CZI; nothing where these tell nothing, or of other channels."""
    root = parse_xml(text, path, "CZI metadata")
    information = next(inside(root, "Information"), None)
    listed = None if information is None else next(inside(information, "Channels"), None)
    channels = [] if listed is None else [c for c in listed if c.tag == "Channel"]
    if information is None or len(channels) != n:
        return ()
    lenses = [e for e in inside(information, "Objective") if len(e)]
    used = next((e.get("Id") for e in inside(information, "ObjectiveRef")), None)
    lens = next((e for e in lenses if e.get("Id") == used), lenses[0] if len(lenses) == 1 else None)
    power, aperture = (None, None) if lens is None else (_first(lens, "NominalMagnification"), _first(lens, "LensNA"))
    objective = f"{power:g}x/{aperture:g}" if power and aperture else ""
    found = []
    for channel in channels:
        nanoseconds, gain = _first(channel, "ExposureTime"), _first(channel, "Gain")
        lights = list(inside(channel, "LightSourceSettings"))
        less = _first(lights[0], "Attenuation") if len(lights) == 1 else None
        light = _first(lights[0], "Intensity") if len(lights) == 1 else None
        light = 100 * (1 - less) if light is None and less is not None and 0 <= less <= 1 else light
        found.append(Acquisition(nanoseconds / 1e6 if nanoseconds else None, gain, light, objective))
    return tuple(found) if any(a != Acquisition() for a in found) else ()


def _first(element: Any, name: str) -> float | None:
    """Number of the first element called `name`, with or without a per cent sign; None where there is none."""
    text = next((e.text for e in inside(element, name) if e.text), "")
    try:
        value = float((text or "nan").strip().removesuffix("%"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
