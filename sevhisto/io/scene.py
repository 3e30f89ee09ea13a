"""What a slide reader gives: the facts of each scene, and planes of pixels by region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sevhisto.io.pixelsize import Calibration
from sevhisto.types import AnyArray, Problem, SlideError

RGB = ("R", "G", "B")
NO_TOP = 2**31 - 1
"""`bit_max` of floating-point images: they have no top of range."""
_KINDS = ("uint8", "uint16", "uint32", "float32", "float64")


@dataclass(frozen=True)
class Acquisition:
    """How one channel was imaged; None or "" where the file does not say.

    Attributes
    ----------
    exposure_ms : exposure of the camera, or dwell of a scanner, in milliseconds
    gain : gain of camera or detector, as the file states it
    light_pct : power of laser or lamp, per cent of its most
    objective : name, or magnification and aperture
    """

    exposure_ms: float | None = None
    gain: float | None = None
    light_pct: float | None = None
    objective: str = ""


@dataclass(frozen=True)
class SceneInfo:
    """The facts of one scene, read without touching its pixels.

    Attributes
    ----------
    scene : from 1, in file order
    shape : (height, width) in pixels
    channels : names in file order; ("R", "G", "B") for colour
    calibrations : every pixel size that the file states, with the place where it stands
    n_z, n_t : planes in depth and in time
    bit_max : largest grey level that can occur, as far as the file tells
    levels : (height, width) of the smaller copies that the file holds of the scene, largest first
    acquisition : one per channel, or none at all
    refused : why the scene cannot be measured; "" where it can
    """

    scene: int
    shape: tuple[int, int]
    channels: tuple[str, ...]
    dtype: np.dtype[Any]
    calibrations: tuple[Calibration, ...] = ()
    is_rgb: bool = False
    n_z: int = 1
    n_t: int = 1
    bit_max: int = 0
    levels: tuple[tuple[int, int], ...] = ()
    acquisition: tuple[Acquisition, ...] = ()
    refused: str = ""

    @property
    def um_per_px(self) -> float | None:
        """Pixel size, or None where the file has none or several that disagree."""
        good = [c for c in self.calibrations if c.um is not None]
        return good[0].um if good and all(c.agrees(good[0].um) for c in good) else None

    @property
    def um_source(self) -> str:
        """Where the pixel size stands, or why there is none."""
        if self.um_per_px is not None:
            return next(c.source for c in self.calibrations if c.um is not None)
        return "; ".join(str(c) for c in self.calibrations) or "not in the file"


class SlideFile(Protocol):
    """An open image file of one format; not for use by several threads at once."""

    scenes: tuple[SceneInfo, ...]

    def read(self, scene: int, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int = 0) -> AnyArray:
        """Pixels (c, h, w) of plane `z` of scene number `scene` (from 1); the region lies inside the scene.

        `level` : 0 for full resolution, k for the k-th of the scene's smaller copies; the region is in pixels of that copy.
        """

    def close(self) -> None:
        """Let go of the file."""


def broken(path: Path, what: str, remedy: str = "copy the file again from the microscope, or save it again as OME-TIFF") -> SlideError:
    """Return the error that says what is wrong with a file."""
    return SlideError(Problem(path.name, what, remedy))


def why(error: BaseException) -> str:
    """Return the first line of a library's message, for use inside a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def checked_dtype(path: Path, dtype: Any) -> np.dtype[Any]:
    """Return a pixel type that can be measured; SlideError for signed, complex, 1-bit and other types."""
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind.name not in _KINDS:
        raise broken(path, f"its pixels are of type {kind.name}, which is no plain intensity", f"save it as one of {', '.join(_KINDS)}")
    return kind


def top_of_range(dtype: np.dtype[Any], bits: int | None = None) -> int:
    """Return the largest grey level of `dtype`, or of the `bits` that the file declares significant."""
    if dtype.kind == "f":
        return NO_TOP
    full = 8 * dtype.itemsize
    return int(2 ** (bits if bits and 1 < bits <= full else full) - 1)


def named(names: Sequence[str | None], n: int) -> tuple[str, ...]:
    """Return `n` channel names; "channel 1" and so on where the file has none."""
    given = [*names, *[None] * n][:n]
    return tuple((name or "").strip() or f"channel {i}" for i, name in enumerate(given, 1))
