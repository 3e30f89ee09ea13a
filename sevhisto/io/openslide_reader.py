"""Brightfield whole slides by the OpenSlide library: MIRAX and Ventana. Never used for fluorescence, which it hands out as colour."""

from __future__ import annotations

import configparser
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sevhisto.io.pixelsize import calibration
from sevhisto.io.scene import RGB, Acquisition, SceneInfo, broken, why
from sevhisto.io.tiff_check import check_tiff
from sevhisto.types import AnyArray

_LARGEST_NOTES = 2**24
_WHITE = (255, 255, 255)


class OpenSlideFile:
    """A slide that OpenSlide reads: one colour scene with its smaller copies.

    What was not scanned has the colour that the file declares as its background, else white.
    """

    def __init__(self, path: Path) -> None:
        import openslide

        self.path = path
        if path.suffix.lower() == ".mrxs":
            check_mrxs(path)
        elif path.suffix.lower() == ".bif":
            check_tiff(path)
        try:
            self._slide = openslide.OpenSlide(str(path))
        except Exception as error:
            raise broken(path, f"is not a slide that OpenSlide reads ({why(error)})", "copy its folder of the same name, too") from error
        facts = self._slide.properties
        if "FLUORESCENCE" in facts.get("mirax.GENERAL.SLIDE_TYPE", "").upper():
            self.close()
            raise broken(path, "is a fluorescence slide, whose channels OpenSlide mixes into colours", "export it as OME-TIFF")
        colour = facts.get("openslide.background-color", "")
        self._background = tuple(bytes.fromhex(colour)) if len(colour) == 6 else _WHITE
        (w, h), *smaller = self._slide.level_dimensions
        power = facts.get("openslide.objective-power", "")
        self.scenes: tuple[SceneInfo, ...] = (
            SceneInfo(
                1,
                (h, w),
                RGB,
                np.dtype(np.uint8),
                (calibration(_number(facts.get("openslide.mpp-x")), _number(facts.get("openslide.mpp-y")), "um", "OpenSlide"),),
                is_rgb=True,
                bit_max=255,
                levels=tuple((height, width) for width, height in smaller),
                acquisition=(Acquisition(objective=f"{power}x"),) * 3 if power else (),
            ),
        )

    def read(self, scene: int, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int = 0) -> AnyArray:
        """Pixels (c, h, w)."""
        f = self._slide.level_downsamples[level]
        try:
            rgba = np.asarray(self._slide.read_region((round(x0 * f), round(y0 * f)), level, (x1 - x0, y1 - y0)))
        except Exception as error:
            raise broken(self.path, f"rows {y0} to {y1} cannot be read ({why(error)})") from error
        alpha = rgba[..., 3:]
        if ((alpha != 0) & (alpha != 255)).any():
            raise broken(self.path, f"is partly transparent in rows {y0} to {y1}")
        pixels = np.where(alpha == 0, np.array(self._background, np.uint8), rgba[..., :3])
        return np.ascontiguousarray(np.moveaxis(pixels, -1, 0)[list(channels)])

    def close(self) -> None:
        """Let go of the file."""
        self._slide.close()


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def check_mrxs(path: Path) -> None:
    """SlideError where the folder beside a MIRAX file, or a file that its Slidedat.ini names, is missing."""
    folder, notes = path.parent / path.stem, path.parent / path.stem / "Slidedat.ini"
    copy = "copy the file and its folder of the same name again"
    if not notes.is_file():
        raise broken(path, f"needs the folder {path.stem!r} with Slidedat.ini, which is not beside it", copy)
    said = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        if notes.stat().st_size > _LARGEST_NOTES:
            raise ValueError("it is too large")
        said.read_string(notes.read_text("utf-8-sig"))
        named = [said["HIERARCHICAL"]["INDEXFILE"], *(v for k, v in said["DATAFILE"].items() if k.startswith("file_") and k[5:].isdigit())]
    except (OSError, ValueError, KeyError, configparser.Error) as error:
        raise broken(path, f"its Slidedat.ini is damaged ({why(error)})", copy) from error
    for name in named:
        if Path(name).name != name or "\\" in name:
            raise broken(path, f"refers to a file in another folder ({name!r})", copy)
        if not (folder / name).is_file() or (folder / name).stat().st_size == 0:
            raise broken(path, f"needs the file {path.stem}/{name}, which is missing or empty", copy)
