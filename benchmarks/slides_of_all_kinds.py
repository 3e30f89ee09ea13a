"""Whole slides of known truth, of every kind that a scanner hands over, at overview resolution; accuracy_tissue.py scores them.

Cords are phantoms (sevhisto.phantom) without noise. What a slide adds (dust, lint, strands of meninges, the edge of the coverslip, uneven
background, camera, frames and marks of an export) is made here. All sizes are invented, in the order of what slides show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import cv2
import numpy as np

from sevhisto.phantom import SectionSpec, make_section
from sevhisto.phantom.geometry import fill_polygon, harmonics
from sevhisto.phantom.slide import slide_layout
from sevhisto.phantom.spec import stream
from sevhisto.types import BoolArray, DoubleArray, FloatArray

OFFSET = 150.0
PANELS = (("DAPI", "GFAP", "CD68"), ("DAPI", "GFAP"), ("DAPI", "fibronectin", "AF"), ("GFAP",), ("DAPI",))
BEER = np.array([[0.65, 0.70, 0.29], [0.27, 0.57, 0.78]])  # optical density of hematoxylin and DAB in red, green, blue [Ruifrok 2001]


@dataclass
class Slide:
    """A slide in the making, then made.

    Attributes
    ----------
    light : (c, h, w) float32, grey levels above the camera's offset; at last the image itself
    cords : (h, w) bool each, filled outlines as an expert draws them, in slide order
    outlines : (N, 2) x, y in px of the same
    cavity : (h, w) bool
    um : pixel size
    tissue : (c,) median light of tissue
    noise : sd of the camera's noise over glass, as a share of `tissue` of the strongest channel
    """

    light: FloatArray
    cords: list[BoolArray]
    outlines: list[DoubleArray]
    cavity: BoolArray
    um: float
    tissue: FloatArray
    noise: float = 0.03
    brightfield: bool = False

    @property
    def inside(self) -> BoolArray:
        """All cords."""
        return np.asarray(np.any(self.cords, axis=0), bool)

    def add(self, where: FloatArray, rng: np.random.Generator, low: float, high: float) -> None:
        """Add light of `where` (0 to 1) in a random choice of channels, `low` to `high` times that of tissue."""
        chosen = rng.random(len(self.light)) < 0.6
        chosen[rng.integers(len(chosen))] = True
        times = np.exp(rng.uniform(math.log(low), math.log(high), len(chosen))) * chosen
        self.light += (times * self.tissue)[:, None, None].astype(np.float32) * where


@dataclass(frozen=True)
class Kind:
    """One kind of slide: how many cords (from, to), what they are, how near they lie, and what is done to the slide, in order."""

    cords: tuple[int, int] = (1, 6)
    spec: Mapping[str, object] = field(default_factory=dict)
    gap_um: tuple[float, float] = (150.0, 400.0)
    um: tuple[float, ...] = (4.0,)
    done: tuple[Callable[[Slide, np.random.Generator], None], ...] = ()
    channels: tuple[tuple[str, ...], ...] = PANELS


def _cord(kind: Kind, um: float, gap_um: float, markers: tuple[str, ...], rng: np.random.Generator) -> SectionSpec:
    spec = SectionSpec(
        markers=markers,
        um_per_px=um,
        lesion_scale=float(rng.choice([0.0, 0.5, 1.2])),
        cavity_fraction=float(rng.uniform(0, 0.4)),
        rotation_deg=float(rng.uniform(0, 360)),
        margin_um=gap_um / 2,
        read_noise=0.0,
        electrons_per_grey=1e9,
        shading=0.0,
        seam=0.0,
        glass=0.0,
        offset=0.0,
        saturation=65535,
    )
    longitudinal = kind.spec.get("orientation", "transverse") != "transverse"
    turn = {"rotation_deg": float(rng.choice([0, 180]) + rng.uniform(-20, 20))} if longitudinal else {}
    return replace(spec, **{**turn, **kind.spec})  # type: ignore[arg-type]


def make_slide(name: str, seed: int) -> Slide:
    """Return a slide of a kind; everything that differs between slides is drawn from the seed."""
    kind, rng = KINDS[name], stream(seed, "slide", name)
    um, gap = float(rng.choice(kind.um)), float(rng.uniform(*kind.gap_um))
    n = int(rng.integers(kind.cords[0], kind.cords[1] + 1))
    markers = kind.channels[rng.integers(len(kind.channels))]
    sections = [make_section(_cord(kind, um, gap, markers, rng), 1000 * seed + i, False) for i in range(n)]
    columns = int(rng.integers(1, n + 1)) if n < 4 else int(rng.integers(2, math.ceil(n / 2) + 1))
    shape, corners = slide_layout([s.image.shape[1:] for s in sections], columns, round(0.5 * gap / um) + 2)
    slide = Slide(np.zeros((len(markers), *shape), np.float32), [], [], np.zeros(shape, bool), um, np.ones(len(markers), np.float32))
    for section, (y, x) in zip(sections, corners, strict=True):
        h, w = section.image.shape[1:]
        slide.light[:, y : y + h, x : x + w] += section.image
        outline = np.zeros(shape, np.uint8)
        slide.outlines.append(section.truth.anatomy.outline + np.array([x, y]))
        fill_polygon(outline, slide.outlines[-1])
        slide.cords.append(outline > 0)
        slide.cavity[y : y + h, x : x + w] |= (outline[y : y + h, x : x + w] > 0) & (section.truth.anatomy.tissue == 0)
    slide.tissue = np.array([max(float(np.median(p[slide.inside & ~slide.cavity])), 10.0) for p in slide.light], np.float32)
    slide.light += 0.15 * slide.tissue[:, None, None]
    for step in kind.done:
        step(slide, rng)
    if not any(step in FINISHERS for step in kind.done):
        camera(slide, rng)
    return slide


# ------------------------------------------------------------------------------------------------ what lies on the slide


def dust(slide: Slide, rng: np.random.Generator) -> None:
    """Specks of 10 to 80 um, also on the cords."""
    h, w = slide.cavity.shape
    for _ in range(int(rng.integers(20, 80))):
        centre, theta = rng.uniform(0, 1, 2) * (w, h), np.linspace(0, 2 * np.pi, 24)
        radius = np.exp(rng.uniform(np.log(10), np.log(80))) / slide.um * np.clip(1 + harmonics(rng, theta, 2, 5, 0.25), 0.3, 2)
        slide.add(_drawn(slide, centre + radius[:, None] * np.stack([np.cos(theta), np.sin(theta)], 1)), rng, 0.4, 6)


def lint(slide: Slide, rng: np.random.Generator) -> None:
    """Fibres of 8 to 25 um, up to 4 mm long, that may lie on cords and join them."""
    h, w = slide.cavity.shape
    for _ in range(int(rng.integers(2, 6))):
        steps = int(rng.integers(20, 160))
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.15, steps))
        path = rng.uniform(0, 1, 2) * (w, h) + np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), axis=0) * 25 / slide.um
        slide.add(_line(slide, path, float(rng.uniform(8, 25))), rng, 0.5, 5)


def coverslip(slide: Slide, rng: np.random.Generator) -> None:
    """One or two straight bright edges across the slide, and glue beyond them."""
    h, w = slide.cavity.shape
    for _ in range(int(rng.integers(1, 3))):
        angle, away = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.03), rng.uniform(-0.48, 0.48)
        normal = np.array([np.cos(angle), np.sin(angle)])
        middle = np.array([w / 2, h / 2]) + away * normal * (w, h)
        along = np.array([-normal[1], normal[0]]) * (w + h)
        slide.add(_line(slide, np.stack([middle - along, middle + along]), float(rng.uniform(10, 40))), rng, 0.4, 4)
        y, x = np.mgrid[0:h, 0:w]
        beyond = ((x - middle[0]) * normal[0] + (y - middle[1]) * normal[1]) * np.sign(away) > 0
        slide.light += (rng.uniform(0.02, 0.2) * slide.tissue)[:, None, None] * beyond.astype(np.float32)


def meninges(slide: Slide, rng: np.random.Generator) -> None:
    """Loose strands of 15 to 50 um along the cords, 20 to 150 um away, with an end that may hang on to them."""
    for outline in slide.outlines:
        centre = outline.mean(axis=0)
        for _ in range(int(rng.integers(1, 4))):
            n = len(outline)
            arc = (rng.integers(n) + np.arange(int(n * rng.uniform(0.06, 0.33)))) % n
            points = outline[arc] - centre
            length = np.linalg.norm(points, axis=1)
            away = rng.uniform(20, 150) * np.clip(1 + harmonics(rng, np.linspace(0, 2, len(arc)), 1, 4, 0.3), 0.1, 2)
            if rng.random() < 0.5:
                away *= np.linspace(0, 1, len(arc)) ** 0.5
            path = centre + points * ((length + away / slide.um) / length)[:, None]
            slide.add(_line(slide, path, float(rng.uniform(15, 50))), rng, 0.3, 1.5)


def uneven(slide: Slide, rng: np.random.Generator) -> None:
    """Background that changes across the slide by up to 0.8 times the light of tissue, and illumination by 2."""
    slide.light += (rng.uniform(0.2, 0.8) * slide.tissue)[:, None, None] * _slope(slide, rng)
    slide.light *= 0.65 + 0.7 * _slope(slide, rng)


def bright_glass(slide: Slide, rng: np.random.Generator) -> None:
    """Glass of 1 to 4 times the light of tissue."""
    slide.light += (rng.uniform(1, 4) * slide.tissue)[:, None, None]


def black_glass(slide: Slide, rng: np.random.Generator) -> None:
    """Glass without light or noise."""
    slide.light = np.maximum(slide.light - 0.15 * slide.tissue[:, None, None], 0)
    slide.noise = 0.0


def noisy(slide: Slide, rng: np.random.Generator) -> None:
    """Tissue stands 1 to 2 standard deviations of a pixel above the glass."""
    slide.noise = float(rng.uniform(0.5, 1.0))


def weak(slide: Slide, rng: np.random.Generator) -> None:
    """A tenth of the stain, on the same glass and camera."""
    glass = 0.15 * slide.tissue[:, None, None]
    slide.light = 0.1 * (slide.light - glass) + 0.3 * glass
    slide.tissue *= 0.1
    slide.noise = 0.15


def cut_off(slide: Slide, rng: np.random.Generator) -> None:
    """The image ends on one or two sides within cords."""
    h, w = slide.cavity.shape
    y0, y1, x0, x1 = 0, h, 0, w
    rows, columns = (np.flatnonzero(slide.inside.any(axis=a)) for a in (1, 0))
    for side in rng.choice(4, int(rng.integers(1, 3)), replace=False):
        part = rng.uniform(80, 500) / slide.um
        y0, y1 = (round(rows[0] + part), y1) if side == 0 else (y0, round(rows[-1] - part)) if side == 1 else (y0, y1)
        x0, x1 = (round(columns[0] + part), x1) if side == 2 else (x0, round(columns[-1] - part)) if side == 3 else (x0, x1)
    here = slice(y0, y1), slice(x0, x1)
    slide.light, slide.cavity = slide.light[:, *here].copy(), slide.cavity[here].copy()
    kept = [
        (c[here].copy(), o - np.array([x0, y0]))
        for c, o in zip(slide.cords, slide.outlines, strict=True)
        if c[here].sum() * slide.um**2 > 3e5
    ]
    slide.cords, slide.outlines = [c for c, _ in kept], [o for _, o in kept]


def open_cyst(slide: Slide, rng: np.random.Generator) -> None:
    """A cyst of 150 to 300 um in every cord that opens to the outside through a gap of 30 to 100 um."""
    for cord, outline in zip(slide.cords, slide.outlines, strict=True):
        k = int(rng.integers(len(outline)))
        inwards = outline.mean(axis=0) - outline[k]
        inwards = inwards / np.linalg.norm(inwards)
        radius, theta = rng.uniform(75, 150) / slide.um, np.linspace(0, 2 * np.pi, 60, endpoint=False)
        r = radius * np.clip(1 + harmonics(rng, theta, 2, 5, 0.12), 0.5, 1.5)
        middle = outline[k] + inwards * (radius * 1.2 + rng.uniform(30, 100) / slide.um)
        hole = _drawn(slide, middle + r[:, None] * np.stack([np.cos(theta), np.sin(theta)], 1)) > 0.5
        hole |= _line(slide, np.stack([outline[k] - 3 * inwards, middle]), float(rng.uniform(30, 100))) > 0.5
        slide.light = np.where(hole & cord, 0.15 * slide.tissue[:, None, None], slide.light).astype(np.float32)
        slide.cavity |= hole & cord


# ------------------------------------------------------------------------------------------------ camera, frames and marks


def camera(slide: Slide, rng: np.random.Generator) -> None:
    """Blur of 4 um, shot and read noise, offset."""
    top = float(slide.tissue.max())
    for plane in slide.light:
        plane[:] = cv2.GaussianBlur(plane, (0, 0), 4 / slide.um)
        sd = slide.noise * top * np.sqrt(0.5 + 0.5 * np.maximum(plane, 0) / top)
        plane += OFFSET * (slide.noise > 0) + sd * rng.standard_normal(plane.shape, np.float32)
    slide.light = np.clip(np.rint(slide.light), 0, 65535).astype(np.float32)


def eight_bit(slide: Slide, rng: np.random.Generator) -> None:
    """Camera, then an export of 8 bits stretched from the glass to the brightest hundredth."""
    camera(slide, rng)
    for plane in slide.light:
        low, high = np.percentile(plane, (1, 99.5))
        plane[:] = np.clip(np.rint((plane - low) / max(high - low, 1) * 255), 0, 255)


def absorbed(slide: Slide, rng: np.random.Generator) -> None:
    """Brightfield: two stains on white glass, 8 bits of red, green, blue."""
    slide.brightfield = True
    amount = np.stack([cv2.GaussianBlur(p, (0, 0), 4 / slide.um) / (6 * t) for p, t in zip(slide.light, slide.tissue, strict=True)])
    colour = BEER[np.arange(len(amount)) % 2] * rng.uniform(0.4, 1.2, (len(amount), 1))
    density = np.tensordot(colour.T, np.clip(amount, 0, 1.5), 1)
    seen = (200 + 45 * _slope(slide, rng)) * np.power(10.0, -density)
    slide.light = np.clip(np.rint(seen + rng.normal(0, 2.5, seen.shape)), 0, 255).astype(np.float32)


def tiles_only(slide: Slide, rng: np.random.Generator) -> None:
    """The scanner looked at tissue only: what lies outside its fields of 700 um is black, or white in brightfield."""
    if not slide.brightfield:
        camera(slide, rng)
    side, near = round(700 / slide.um), cv2.dilate(slide.inside.astype(np.uint8), np.ones((61, 61), np.uint8))
    h, w = near.shape
    seen = np.zeros((h, w), bool)
    for y in range(0, h, side):
        for x in range(0, w, side):
            seen[y : y + side, x : x + side] = near[y : y + side, x : x + side].any()
    slide.light[:, ~seen] = 255.0 if slide.brightfield else 0.0


def turned_frame(slide: Slide, rng: np.random.Generator) -> None:
    """An export that was turned: corners in black."""
    if not slide.brightfield:
        camera(slide, rng)
    _framed(slide, 0.0, float(rng.uniform(4, 25)) * float(rng.choice([-1, 1])), 0.0)


def page(slide: Slide, rng: np.random.Generator) -> None:
    """The image as a picture on a white page, with its scale bar and lettering on both."""
    eight_bit(slide, rng)
    _framed(slide, 255.0, float(rng.uniform(-8, 8)), float(rng.uniform(0.04, 0.2)))
    _marks(slide, rng, 255.0)
    _marks(slide, rng, 0.0)


def marked(slide: Slide, rng: np.random.Generator) -> None:
    """A scale bar and lettering burned into the image."""
    eight_bit(slide, rng)
    _marks(slide, rng, 255.0)


FINISHERS = (camera, eight_bit, absorbed, tiles_only, turned_frame, page, marked)


def _framed(slide: Slide, value: float, degrees: float, margin: float) -> None:
    """Turn the image on a page of one value that is wide enough for it, and the truth with it."""
    h, w = slide.cavity.shape
    turn, (c, s) = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1.0), np.abs([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    wide, high = math.ceil((w * c + h * s) * (1 + 2 * margin)), math.ceil((w * s + h * c) * (1 + 2 * margin))
    turn[:, 2] += (wide / 2 - w / 2, high / 2 - h / 2)

    def laid(plane: FloatArray, edge: float) -> FloatArray:
        moved = cv2.warpAffine(plane, turn, (wide, high), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=edge)
        return np.asarray(moved, np.float32)

    slide.light = np.stack([laid(p, value) for p in slide.light])
    slide.cords = [laid(p.astype(np.float32), 0) > 0.5 for p in slide.cords]
    slide.cavity = laid(slide.cavity.astype(np.float32), 0) > 0.5
    slide.outlines = [o @ turn[:, :2].T + turn[:, 2] for o in slide.outlines]


def _marks(slide: Slide, rng: np.random.Generator, value: float) -> None:
    h, w = slide.cavity.shape
    y, x = int(h * rng.choice([0.04, 0.93])), int(w * rng.uniform(0.03, 0.6))
    thick, long = max(round(rng.uniform(15, 50) / slide.um), 1), round(rng.choice([200, 500, 1000]) / slide.um)
    mark = np.zeros((h, w), np.uint8)
    mark[y : y + thick, x : x + long] = 1
    cv2.putText(mark, f"{long * slide.um:.0f} um", (x, y + thick + 26), cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.5, 1.0), 1, 2)
    slide.light[:, mark > 0] = value


def _drawn(slide: Slide, polygon: DoubleArray) -> FloatArray:
    where = np.zeros(slide.cavity.shape, np.float32)
    cv2.fillPoly(where, [np.rint(polygon * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    return where


def _line(slide: Slide, path: DoubleArray, width_um: float) -> FloatArray:
    where = np.zeros(slide.cavity.shape, np.float32)
    cv2.polylines(where, [np.rint(path * 16).astype(np.int32)], False, 1.0, max(round(width_um / slide.um), 1), cv2.LINE_8, 4)
    return where


def _slope(slide: Slide, rng: np.random.Generator) -> FloatArray:
    """Return a smooth surface from 0 to 1 over the slide."""
    coarse = rng.random((3, 3), dtype=np.float32)
    h, w = slide.cavity.shape
    smooth = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    return np.asarray((smooth - smooth.min()) / max(float(np.ptp(smooth)), 1e-6), np.float32)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "plain": Kind(),
        "eight, close together": Kind(cords=(6, 8), gap_um=(20.0, 80.0)),
        "cut off by the image": Kind(cords=(2, 6), done=(cut_off,)),
        "dust": Kind(done=(dust,)),
        "lint": Kind(done=(lint,)),
        "coverslip edge": Kind(done=(coverslip,)),
        "loose meninges": Kind(done=(meninges,)),
        "uneven light": Kind(done=(uneven,)),
        "bright glass": Kind(done=(bright_glass,)),
        "black glass, 8 bits": Kind(done=(black_glass, eight_bit)),
        "weak stains": Kind(done=(weak,)),
        "noisy": Kind(done=(noisy,)),
        "8 bits, marks": Kind(done=(marked,)),
        "white page, marks": Kind(done=(page,)),
        "fields on black": Kind(done=(tiles_only,)),
        "turned on black": Kind(done=(turned_frame,)),
        "brightfield": Kind(channels=PANELS[:2], done=(absorbed,)),
        "brightfield, fields on white": Kind(channels=PANELS[:2], done=(absorbed, tiles_only)),
        "brightfield, dust, lint": Kind(channels=PANELS[:2], done=(dust, lint, absorbed)),
        "large cysts": Kind(spec={"lesion_scale": 1.6, "cavity_fraction": 0.6}),
        "open cysts": Kind(done=(open_cyst,)),
        "sagittal": Kind(cords=(1, 4), spec={"orientation": "sagittal"}),
        "horizontal, meninges, dust": Kind(cords=(1, 4), spec={"orientation": "horizontal"}, done=(meninges, dust)),
        "2.5 um pixels": Kind(um=(2.5,), cords=(1, 3)),
        "10 um pixels": Kind(um=(10.0,)),
        "all of it": Kind(done=(dust, lint, coverslip, meninges, uneven, open_cyst, cut_off, marked)),
    }
)
"""Every kind of slide by its name."""
