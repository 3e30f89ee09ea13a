"""Pixel size in micrometres, from what a file says: never guessed, and nonsense counts as missing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from sevhisto.types import Problem, SlideError

TOLERANCE = 0.01
"""Two pixel sizes agree within 1 %."""
SHEET = "slides.csv"
_UM = {
    "µm": 1.0,  # micro sign
    "μm": 1.0,  # Greek mu
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "meter": 1e6,
    "å": 1e-4,
    "inch": 25400.0,
    "inches": 25400.0,
    "in": 25400.0,
}
_SCREEN_DPI = (72, 96, 100, 150, 200, 300, 600)  # what paint and layout programs write when they know nothing
_SMALLEST_UM, _LARGEST_UM = 0.005, 100.0  # beyond these lies no light microscope


@dataclass(frozen=True)
class Calibration:
    """A pixel size that a file states (`um`, None if it is no calibration), where, and why it does not count."""

    um: float | None
    source: str
    note: str = ""

    def agrees(self, other: float | None) -> bool:
        """Whether `other` is the same pixel size, within 1 %."""
        return self.um is not None and other is not None and abs(self.um - other) <= TOLERANCE * max(self.um, other)

    def __str__(self) -> str:
        return f"{self.source}: {self.note}" if self.um is None else f"{self.um:.6g} um ({self.source})"


def unit_um(unit: str | None) -> float | None:
    """Return the length of a unit in um; None for "pixel", no unit, and unknown ones."""
    text = (unit or "").strip().replace("\\u00B5", "µ").replace("\\u00b5", "µ")
    return _UM.get(text) or _UM.get(text.lower())


def calibration(x: float | None, y: float | None, unit: str | None, source: str) -> Calibration:
    """Return the calibration for pixels `x` by `y` of `unit`; both must be positive, plausible and equal within 1 %."""
    if x is None or y is None:
        return Calibration(None, source, "has no pixel size")
    scale = unit_um(unit)
    if scale is None:
        return Calibration(None, source, f"unit {unit!r} is no length")
    if not (math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0):
        return Calibration(None, source, f"pixel size {x:g} x {y:g}")
    if abs(x - y) > TOLERANCE * max(x, y):
        return Calibration(None, source, f"pixels are not square ({x:g} x {y:g} {unit})")
    um = (x + y) / 2 * scale
    if not _SMALLEST_UM <= um <= _LARGEST_UM:
        return Calibration(None, source, f"{um:g} um is no pixel size of a light microscope")
    return Calibration(um, source)


def from_resolution(x: float | None, y: float | None, unit: str | None, source: str) -> Calibration:
    """Return the calibration for a resolution of `x` by `y` pixels per `unit`; 1 x 1 and screen resolutions are none."""
    if not x or not y or not (math.isfinite(x) and math.isfinite(y)):
        return Calibration(None, source, "has no resolution")
    scale = unit_um(unit)
    if scale is not None and scale >= 1e4:  # per cm or inch: written by programs that know nothing of microscopes, too
        dpi = x * 25400.0 / scale
        if x == 1 or any(abs(dpi - known) <= 0.005 * known for known in _SCREEN_DPI):
            return Calibration(None, source, f"{dpi:.4g} dpi is a screen or print setting, no calibration")
    return calibration(1 / x, 1 / y, unit, source)


def from_aperio(description: str) -> Calibration | None:
    """Return the calibration in an Aperio description (``MPP = 0.499``; a decimal comma occurs), None if there is none."""
    found = re.search(r"\bMPP\s*=\s*(\d+(?:[.,]\d+)?)", description)
    if not description.startswith("Aperio") or not found:
        return None
    value = float(found.group(1).replace(",", "."))
    return calibration(value, value, "um", "Aperio MPP")


def reconcile(path: Path, found: tuple[Calibration, ...], sheet: float | None) -> Calibration:
    """Return the one pixel size to use.

    Parameters
    ----------
    path : the slide, for the message
    found : every pixel size that the file states
    sheet : um per pixel from slides.csv, None if not given

    Raises
    ------
    SlideError
        No pixel size, or two that disagree by more than 1 %; each is named with the place where it was found.
    """
    good = [c for c in found if c.um is not None]
    if sheet is not None:
        stated = calibration(sheet, sheet, "um", SHEET)
        if stated.um is None:
            raise SlideError(Problem(path.name, f"um_per_px in {SHEET}: {stated.note}", "give micrometres per pixel, such as 0.65"))
        agreeing = [c for c in good if c.agrees(sheet)]
        if good and not agreeing:
            raise _disagree(path, [*good, stated])
        return agreeing[0] if agreeing else stated
    if not good:
        reasons = "; ".join(str(c) for c in found)
        raise SlideError(
            Problem(path.name, "the file holds no pixel size" + (f" ({reasons})" if reasons else ""), f"fill um_per_px for it in {SHEET}")
        )
    if not all(c.agrees(good[0].um) for c in good):
        raise _disagree(path, good)
    return good[0]


def _disagree(path: Path, values: list[Calibration]) -> SlideError:
    return SlideError(
        Problem(path.name, f"pixel sizes disagree: {' but '.join(str(c) for c in values)}", f"find out which is right; correct {SHEET}")
    )
