"""One file per channel: a slide that slides.csv names by a pattern with one star, such as ``R12_s3_*.tif``."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import unescape

import numpy as np

from sevhisto.io.dicom_index import series_files
from sevhisto.io.markers import guess_marker
from sevhisto.io.scene import SceneInfo, SlideFile, broken
from sevhisto.io.tiff_check import first_description
from sevhisto.types import AnyArray, SlideError

_COUNTED = re.compile(r"(?:c|ch|chan|channel|w)(\d{1,2})", re.IGNORECASE)


_QUOTES = {"&apos;": "'", "&quot;": '"'}


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
    """Return a file and what belongs to the same image: files beside it, or a folder of its name."""
    name = path.name.lower()
    if not path.is_file():
        return [path]
    folder = {".vsi": f"_{path.stem}_", ".mrxs": path.stem}.get(path.suffix.lower())
    if folder is not None:
        return [path, *sorted(p for p in (path.parent / folder).rglob("*") if p.is_file())]
    try:
        if name.endswith(".dcm"):
            return series_files(path)
        if name.endswith((".tif", ".tiff", ".btf")):
            text = first_description(path)
            named = re.findall(r"""FileName\s*=\s*["']([^"'/\\\\]+)["']""", text) if "<OME" in text[:4096] else []
            return sorted({path, *(p for p in (path.parent / unescape(n, _QUOTES) for n in named) if p.is_file())})
    except (OSError, ValueError, SlideError):
        pass  # what is wrong with the file is told where it is opened
    return [path]


def _star(pattern: Path, path: Path) -> str:
    before, after = pattern.name.split("*")
    return path.name[len(before) : len(path.name) - len(after)]


def channel_sets(images: Mapping[Path, SceneInfo]) -> dict[Path, list[Path]]:
    """Return patterns, each with the files that it joins: grey images whose names differ only in a word that names a channel.

    Parameters
    ----------
    images : path and facts of files with one scene

    Returns
    -------
    sets : pattern with one star -> its files, of one size and pixel type; no file is in two

    Notes
    -----
    A word names a channel if it is a known marker, a dye or a wavelength, or a counted channel (``ch00``, ``w1DAPI``). ``C1`` alone is
    one only where the counting starts at 0 or 1 without a gap, since ``C4`` and ``C5`` are levels of the cord. A pattern that also
    fits another file is not proposed.
    """
    groups: dict[Path, dict[str, Path]] = {}
    for path, info in images.items():
        if len(info.channels) == 1 and not info.is_rgb:
            for word in re.finditer(r"[^ _-]+", path.name[: _stem_length(path.name)]):
                if _names_channel(word[0]):
                    pattern = path.with_name(f"{path.name[: word.start()]}*{path.name[word.end() :]}")
                    groups.setdefault(pattern, {})[word[0]] = path
    found: dict[Path, list[Path]] = {}
    taken: set[Path] = set()
    for pattern, words in sorted(groups.items(), key=lambda group: -len(group[1])):
        files = slide_files(pattern)
        alike = {(images[p].shape, images[p].dtype) for p in words.values()}
        if len(words) < 2 or len(alike) > 1 or set(files) != set(words.values()) or taken & set(files) or not _counted(list(words)):
            continue
        found[pattern] = files
        taken |= set(files)
    return found


def _stem_length(name: str) -> int:
    return len(re.sub(r"(\.ome)?\.[A-Za-z0-9]{2,5}$", "", name, flags=re.IGNORECASE))


def _names_channel(word: str) -> bool:
    if _COUNTED.fullmatch(word) or re.fullmatch(r"w\d[A-Za-z].*|\d{3}nm", word, re.IGNORECASE):
        return True
    marker, role = guess_marker(word)
    return role not in ("?", "other") or (marker == "?" and re.search("[A-Za-z]{3}", word) is not None and word.lower() != "channel")


def _counted(words: Sequence[str]) -> bool:
    """Return whether counted channels start at 0 or 1 and leave none out; words that are names pass."""
    counts = sorted(int(m[1]) for m in map(_COUNTED.fullmatch, words) if m)
    return not counts or (len(counts) == len(words) and counts in (list(range(len(counts))), list(range(1, len(counts) + 1))))


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
