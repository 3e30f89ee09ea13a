"""Were the files of one batch imaged alike? Intensities at another exposure, gain or light cannot be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sevhisto.config import PanelSettings
from sevhisto.io.channels import match_channels
from sevhisto.io.scene import NO_TOP, Acquisition, SceneInfo

SAME = 0.01
"""Relative difference up to which two exposures, gains or powers count as one: they are stated rounded."""
FILES_SHOWN = 3


@dataclass(frozen=True)
class Imaged:
    """How one marker of one file was imaged.

    Attributes
    ----------
    marker : "" for all stains of a brightfield image, which is one exposure
    bit_max : largest grey level that can occur; 0 where unknown
    """

    batch: str
    panel: str
    marker: str
    file: str
    acquisition: Acquisition
    bit_max: int = 0


def imaged(info: SceneInfo, panel: PanelSettings, name: str, batch: str, file: str) -> list[Imaged]:
    """Return one `Imaged` per marker of a file; SlideError where the panel's channels are not in it."""
    places = match_channels(panel, info.channels)
    markers = panel.stained.markers if panel.kind == "fluorescence" else [""]
    stated = info.acquisition or (Acquisition(),) * len(info.channels)
    return [Imaged(batch, name, marker, file, stated[place], info.bit_max) for marker, place in zip(markers, places, strict=False)]


def differences(files: Sequence[Imaged]) -> list[str]:
    """Return one sentence for each property in which files of one batch, panel and marker differ; markers that agree share one."""
    markers: dict[tuple[str, str, str], list[str]] = {}  # by batch, panel and what is said
    for batch, panel, marker in dict.fromkeys((f.batch, f.panel, f.marker) for f in files):
        group = [f for f in files if (f.batch, f.panel, f.marker) == (batch, panel, marker)]
        for name, value_of in _PROPERTIES.items():
            said = _difference(name, [(f.file, value_of(f)) for f in group])
            if said:
                markers.setdefault((batch, panel, said), []).append(marker)
    return [_place(batch, panel, [m for m in named if m]) + said for (batch, panel, said), named in markers.items()]


def _place(batch: str, panel: str, markers: list[str]) -> str:
    of = f", marker{'s' * (len(markers) > 1)} {', '.join(markers)}" if markers else ""
    return f"batch {batch}, panel {panel}{of}: "


def _difference(name: str, stated: list[tuple[str, float | str | None]]) -> str:
    known = [(file, value) for file, value in stated if value not in (None, "")]
    alike: list[tuple[float | str, list[str]]] = []
    for file, value in sorted(known, key=lambda pair: (isinstance(pair[1], str), pair[1])):
        if alike and _same(alike[-1][0], value):
            alike[-1][1].append(file)
        else:
            alike.append((value, [file]))
    if len(alike) < 2:
        return ""
    values = "; ".join(f"{_shown(name, value)} ({_listed(found)})" for value, found in alike)
    silent = len(stated) - len(known)
    return f"{name} differs, so intensities cannot be compared: {values}" + (f"; {_counted(silent)} not say" if silent else "")


def _same(a: float | str, b: float | str) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return abs(b - a) <= SAME * max(abs(a), abs(b))


def _shown(name: str, value: float | str) -> str:
    return str(value) if isinstance(value, str) else f"{value:.4g}{_UNITS.get(name, '')}"


def _listed(files: Sequence[str]) -> str:
    shown = sorted(dict.fromkeys(files))
    more = len(shown) - FILES_SHOWN
    return ", ".join(shown[:FILES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _counted(n: int) -> str:
    return "1 file does" if n == 1 else f"{n} files do"


def _depth(file: Imaged) -> str:
    if file.bit_max == NO_TOP:
        return "floating point"
    return f"{file.bit_max.bit_length()} bit" if file.bit_max else ""


_PROPERTIES: dict[str, Callable[[Imaged], float | str | None]] = {
    "exposure": lambda f: f.acquisition.exposure_ms,
    "gain": lambda f: f.acquisition.gain,
    "light power": lambda f: f.acquisition.light_pct,
    "objective": lambda f: f.acquisition.objective,
    "bit depth": _depth,
}
_UNITS = {"exposure": " ms", "light power": " %"}
