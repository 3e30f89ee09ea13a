"""The slide viewer: pages that show every section with its outlines in a browser, from a file or from a plain web server.

What a page needs lies in scripts beside it, since browsers let no page from a file read other files. All text is set as text.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from PIL import Image

from sevhisto.report import gallery
from sevhisto.report.gallery import SectionCard
from sevhisto.report.html import content_policy, part
from sevhisto.report.words import number
from sevhisto.types import BoolArray, DoubleArray

ASSETS = {
    "view.js": "view.js",
    "view.css": "view.css",
    "openseadragon.min.js": "openseadragon/openseadragon.min.js",
    "OPENSEADRAGON_LICENSE.txt": "openseadragon/LICENSE.txt",
}
"""Files of the viewer, and where they are in the package."""
BESIDE = "'self' file:"
"""What lies beside the page: browsers differ in whether a page from a file is its own origin."""


class Channel(NamedTuple):
    """A channel as it is shown: the grey levels that are black and full colour, and the colour (red, green, blue; 0 to 1)."""

    marker: str
    low: float
    high: float
    colour: Sequence[float]


@dataclass(frozen=True)
class Picture:
    """A part of a slide as tiles.

    Attributes
    ----------
    folder : name of the folder of its tiles
    box : the part of the slide, y0, x0, y1, x1 in pixels of the slide
    size : height and width in pixels of the picture
    factor : pixels of the slide that make one of the picture, along each side
    slide_um_per_px : size of a pixel of the slide
    tile_px : side of a tile
    channels : in the order of their tiles; none for a colour picture
    """

    folder: str
    box: list[int]
    size: list[int]
    factor: int
    slide_um_per_px: float
    tile_px: int
    channels: Sequence[Channel]

    @property
    def um_per_px(self) -> float:
        """Size of a pixel of the picture."""
        return self.slide_um_per_px * self.factor

    def placed(self, points: DoubleArray) -> DoubleArray:
        """Return points (n, 2) y, x of the slide in pixels of the picture; 0 is a pixel's corner in both."""
        return (points - np.array(self.box[:2], np.float64)) / self.factor

    def told(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {**asdict(self), "channels": [c._asdict() for c in self.channels]}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Picture:
        """Return what `told` gave; TypeError, KeyError or AttributeError where it is something else."""
        return cls(**{**told, "channels": [Channel(**c) for c in told["channels"]]})


@dataclass(frozen=True)
class Drawn:
    """What is drawn on a picture, in its pixels.

    Attributes
    ----------
    outlines : tissue, cavity, masked, lesion: polygons, each an outer ring and its holes, (n, 2) y, x
    zones : distance from the core (um) to lines
    cells : (n, 2) y, x of their centres
    radii : (n,) of circles with their areas
    positive : marker to which cells are positive, (n,) bool
    areas : marker to where it is positive on the overview, (h, w) bool
    areas_at : y, x of the first corner of these, and how many pixels of the picture make one of theirs
    """

    outlines: Mapping[str, Sequence[Sequence[DoubleArray]]] = field(default_factory=dict)
    zones: Mapping[float, Sequence[DoubleArray]] = field(default_factory=dict)
    cells: DoubleArray | None = None
    radii: DoubleArray | None = None
    positive: Mapping[str, BoolArray] = field(default_factory=dict)
    areas: Mapping[str, BoolArray] = field(default_factory=dict)
    areas_at: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def as_json(self) -> str:
        """Return all of it as JSON: x, y, x, y, ..., in tenths of a pixel."""
        cells = [] if self.cells is None else _tenths(self.cells)
        told = {
            "outlines": {n: [[_tenths(ring) for ring in polygon] for polygon in p] for n, p in self.outlines.items()},
            "zones": [[edge, [_tenths(line) for line in lines]] for edge, lines in self.zones.items()],
            "cells": cells,
            "radii": [] if self.radii is None else np.rint(self.radii * 10).astype(int).tolist(),
            "areas": [[m, mask_png(mask)] for m, mask in self.areas.items() if mask.any()],
            "areas_at": list(self.areas_at),
            "positive": [[m, np.flatnonzero(which).tolist()] for m, which in self.positive.items()],
        }
        return _json(told)


def mask_png(mask: BoolArray) -> str:
    """Return a mask as a picture inside a text (data:), black where it is true and clear elsewhere."""
    picture, out = Image.fromarray(mask.astype(np.uint8)), io.BytesIO()
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(out, "PNG", bits=1, transparency=0, optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def _tenths(points: DoubleArray) -> list[int]:
    found: list[int] = np.rint(points[:, ::-1] * 10).astype(int).ravel().tolist()
    return found


@dataclass(frozen=True)
class SlidesPage:
    """What the pages tell of the study.

    Attributes
    ----------
    study : its name
    banners : bold word and sentence
    finished : when the run ended that they show
    resolution : a sentence on the pictures' pixel size
    """

    study: str
    banners: Sequence[tuple[str, str]]
    finished: str
    resolution: str


def index_page(page: SlidesPage, cards: Sequence[SectionCard], pictures: Sequence[Picture | None]) -> str:
    """Return the page that lists every section, with its small picture where it has one."""
    shown = [gallery.card_context(card, i) for i, card in enumerate(cards)]
    for context, card, picture in zip(shown, cards, pictures, strict=True):
        context |= {"animal": card.animal, "src": f"tiles/{picture.folder}/small.jpg" if picture else ""}
    animals = sorted({c.animal for c in cards})
    filters = [("animal", "Animal", [(a, sum(c.animal == a for c in cards)) for a in animals]), *gallery.choices(cards)]
    script = part("report.js") + part("slides.js")
    return _rendered("slides.html.j2", page, script=script, style=part("report.css"), gallery=shown, filters=filters)


def view_page(page: SlidesPage) -> str:
    """Return the page that shows one section, named after # in its address; what it shows comes from `study_script`."""
    return _rendered("view.html.j2", page, script="")


def _rendered(template: str, page: SlidesPage, script: str, **shown: Any) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    policy = content_policy(script, f"{BESIDE} data:") if script else view_policy()
    return environment.from_string(part(template)).render(policy=policy, script=script, page=page, **shown)


def view_policy() -> str:
    """Return the policy of the viewer: nothing is loaded but what lies beside the page, and no text is run."""
    own = f"img-src {BESIDE} data:; style-src {BESIDE}; script-src {BESIDE}"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"


def study_script(page: SlidesPage, cards: Sequence[SectionCard], pictures: Sequence[Picture | None]) -> str:
    """Return the script that tells the viewer which sections there are, in the order of the index."""
    sections = []
    for i, (card, picture) in enumerate(zip(cards, pictures, strict=True)):
        context = gallery.card_context(card, i)
        told = {n: context[n] for n in ("id", "title", "panel", "role", "status", "verdict", "flag_names", "words")}
        sections.append({**told, "animal": card.animal, "picture": picture is not None})
    return f"window.SEVHISTO_STUDY = {_json({'study': page.study, 'sections': sections})};\n"


def section_script(card: SectionCard, index: int, picture: Picture, drawn: str, numbers: Mapping[str, Any]) -> str:
    """Return the script that tells the viewer all of one section; `drawn` : of `Drawn.as_json`."""
    context = gallery.card_context(card, index)
    told = {n: context[n] for n in ("id", "title", "panel", "status", "verdict", "facts", "reasons", "flags")}
    shown = {**picture.told(), "um_per_px": picture.um_per_px}
    return f"window.SEVHISTO_SECTION({_json({**told, 'picture': shown, 'numbers': numbers})}, {drawn});\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=True)


def section_numbers(rows: pd.DataFrame, nuclei: str | None) -> dict[str, Any]:
    """Return the main numbers of a section as text: zone by zone its area, and of each marker the share that is positive and the cells.

    Zones that the section does not have are left out.

    Parameters
    ----------
    rows : of sections.csv, of one section; halves of zones are left out
    nuclei : the nuclear marker, of which all cells are counted
    """
    rows = rows[~rows["zone"].str.endswith(("_rostral", "_caudal"))]
    markers = list(dict.fromkeys(rows["marker"]))
    zones = []
    for zone, own in rows.groupby("zone", sort=False):
        found = {str(r["marker"]): r for r in own.to_dict("records")}
        area = float(own["zone_um2"].iloc[0])
        if math.isnan(area):
            continue
        shares = [number(100 * float(found[m]["positive_um2"]) / area) if m in found and area else "" for m in markers]
        counts = [_count(found[m]["n_cells"]) if m in found else "" for m in markers]
        zones.append({"zone": str(zone), "area": number(area * 1e-6), "shares": shares, "counts": counts})
    counted = any(c for z in zones for c in z["counts"])
    return {"markers": markers, "zones": zones, "counted": counted, "nuclei": nuclei}


def _count(value: Any) -> str:
    return "" if pd.isna(value) or math.isnan(float(value)) else f"{int(value)}"
