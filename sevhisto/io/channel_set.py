"""One file per channel: a slide that slides.csv names by a pattern with one star, such as ``R12_s3_*.tif``."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import unescape

import numpy as np
import tifffile

from sevhisto.io.scene import SceneInfo, SlideFile, broken
from sevhisto.types import AnyArray


def slide_files(path: Path) -> list[Path]:
    """Return the files of a slide: those that fit a pattern, in the natural order of what its star stands for; else the file itself.

    The star stands for one or more characters of a file name, never of a folder's. Several stars fit nothing. A DICOM file brings
    the files of its series, an OME-TIFF those beside it that its XML refers to.
    """
    if "*" not in path.name or path.exists():
        return _with_companions(path)
    if path.name.count("*") != 1 or "*" in str(path.parent):
        return []
    before, after = path.name.split("*")
    fitting = (p for p in path.parent.glob(f"{glob.escape(before)}*{glob.escape(after)}") if p.is_file() and p.name != before + after)
    return sorted(fitting, key=lambda p: [int(s) if s.isdecimal() else s.casefold() for s in re.split(r"(\d+)", _star(path, p))])


def _with_companions(path: Path) -> list[Path]:
    """Return a file and those beside it that hold parts of the same image; where their library is absent, the file alone."""
    try:
        if path.name.lower().endswith(".dcm") and path.is_file():
            from sevhisto.io.dicom import series_files

            return series_files(path)
        if path.name.lower().endswith((".tif", ".tiff", ".btf")) and path.is_file():
            with tifffile.TiffFile(path) as file:
                text = file.pages.first.description if len(file.pages) else ""
            names = set(re.findall(r'FileName="([^"/\\\\]+)"', text)) if "<OME" in text[:4096] else set()
            return sorted({path, *(path.parent / unescape(name) for name in names if (path.parent / unescape(name)).is_file())})
    except (ImportError, OSError, ValueError, tifffile.TiffFileError):
        pass  # what is wrong with the file is told where it is opened
    return [path]


def _star(pattern: Path, path: Path) -> str:
    before, after = pattern.name.split("*")
    return path.name[len(before) : len(path.name) - len(after)]


class ChannelSetFile:
    """Files of one grey channel each, alike in size and type, as one slide; the star of the pattern names the channels.

    Parameters
    ----------
    path : the pattern
    open_file : opens one of the files
    """

    def __init__(self, path: Path, open_file: Callable[[Path], SlideFile]) -> None:
        self.path = path
        found = slide_files(path)
        if not found:
            raise broken(path, "no file fits the pattern", "one star stands for the channel, as in R12_s3_*.tif, and never for a folder")
        self._files: list[SlideFile] = []
        try:
            for file in found:
                self._files.append(open_file(file))
            self._check(found)
        except BaseException:
            self.close()
            raise
        infos = [file.scenes[0] for file in self._files]
        first = infos[0]
        self.scenes: tuple[SceneInfo, ...] = (
            replace(
                first,
                channels=tuple(_star(path, file).strip(" _-") or _star(path, file) for file in found),
                calibrations=tuple(c for info in infos for c in info.calibrations),
                bit_max=max(info.bit_max for info in infos),
                levels=first.levels if all(info.levels == first.levels for info in infos) else (),
                acquisition=tuple(a for info in infos for a in info.acquisition) if all(info.acquisition for info in infos) else (),
            ),
        )

    def _check(self, found: Sequence[Path]) -> None:
        first = self._files[0].scenes[0]
        for path, file in zip(found, self._files, strict=True):
            info = file.scenes[0]
            if len(file.scenes) != 1 or len(info.channels) != 1 or info.is_rgb:
                what = f"{path.name} holds {len(file.scenes)} scene(s) of {len(info.channels)} channel(s)"
                raise broken(
                    self.path, f"{what}, and one grey channel is expected", "make the pattern fit the files of single channels only"
                )
            for name, mine, other in (
                ("size", info.shape, first.shape),
                ("pixel type", info.dtype, first.dtype),
                ("number of planes", (info.n_z, info.n_t), (first.n_z, first.n_t)),
            ):
                if mine != other:
                    raise broken(self.path, f"its files differ in {name}: {found[0].name} {other}, {path.name} {mine}", "export them alike")

    def read(self, scene: int, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int = 0) -> AnyArray:
        """Pixels (c, h, w) of plane `z`."""
        return np.concatenate([self._files[c].read(1, [0], z, y0, y1, x0, x1, level) for c in channels])

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.close()
