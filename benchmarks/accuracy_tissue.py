"""Outlines of tissue against those of experts: real mouse cords, all channels together and each alone, beside Otsu on the same image.

The images are colour JPEGs of one fluorescence channel each, with frames, margins, scale bars and debris (see the data's README); the
brightest colour of a pixel is its intensity. The outlines are `*_wm1_gm2.png`, white and grey matter. A montage is written to
benchmarks/out/accuracy_tissue.png: green the experts' outline, red ours.

Then whole slides of known truth, of every kind in slides_of_all_kinds.py: cords missed and falsely found, whether all are numbered in slide
order, IoU of their outlines and Dice of their cavities. A montage of the worst of each kind is benchmarks/out/accuracy_tissue_slides.png.

    .venv/bin/python benchmarks/accuracy_tissue.py [--data ../shared/data/cord] [--um 2.0] [--seed 9301] [--slides 4]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from asked import Asked
from scipy import ndimage
from skimage.filters import threshold_otsu
from slides_of_all_kinds import KINDS, Slide, make_slide

from sevhisto.config import ImagingSettings
from sevhisto.imaging.stains import optical_density
from sevhisto.imaging.tissue import find_cavity, find_pieces
from sevhisto.types import BoolArray, FloatArray

HERE = Path(__file__).parent
CHANNELS = ("ChAT", "NeuN", "TH", "nissl")
ASKED = "together: mean >= 0.92, none under 0.85; each channel alone: mean >= 0.85"
STEP = 2


def load(folder: Path, stem: str) -> tuple[dict[str, FloatArray], BoolArray]:
    """Return the channels at overview resolution, and the experts' tissue."""
    drawn = cv2.imread(str(folder / f"{stem}_wm1_gm2.png"), cv2.IMREAD_UNCHANGED)
    drawn = drawn if drawn.ndim == 2 else drawn[..., 0]
    size = drawn.shape[1] // STEP, drawn.shape[0] // STEP
    channels = {}
    for name in CHANNELS:
        colour = cv2.imread(str(folder / f"{stem}_{name}.jpg"), cv2.IMREAD_COLOR)
        channels[name] = cv2.resize(colour.max(axis=2).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return channels, cv2.resize((drawn > 0).astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0


def found(image: FloatArray, um: float) -> BoolArray:
    """Return all tissue that is found."""
    out = np.zeros(image.shape[1:], bool)
    for piece in find_pieces(image, um, ImagingSettings())[0]:
        out[piece.y0 : piece.y1, piece.x0 : piece.x1] |= piece.outline
    return out


def overlap(a: BoolArray, b: BoolArray) -> float:
    """Return intersection over union."""
    return float((a & b).sum() / max((a | b).sum(), 1))


def picture(image: FloatArray, truth: BoolArray, ours: BoolArray) -> np.ndarray:
    """Return the image with both outlines."""
    light = np.log1p(image.mean(axis=0))
    grey = (255 * (light - light.min()) / max(float(np.ptp(light)), 1e-6)).astype(np.uint8)
    rgb = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    for mask, colour in ((truth, (0, 200, 0)), (ours, (0, 0, 255))):
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(rgb, contours, -1, colour, 2)
    return cv2.resize(rgb, (480, 290), interpolation=cv2.INTER_AREA)


@dataclass
class Judged:
    """What was found on one slide: cords, missed, false, whether number and order are right, IoU of each cord found, Dice of cavity."""

    slide: Slide
    found: list[BoolArray]
    missed: int
    false: int
    right: bool
    iou: list[float]
    cavity: float


def judge(slide: Slide, found: list[BoolArray], cavity: BoolArray) -> Judged:
    """Compare pieces in slide order with the truth: a cord is found where a piece overlaps it by half (IoU)."""
    match, iou = {}, []
    for i, cord in enumerate(slide.cords):
        best, j = max(((overlap(f, cord), j) for j, f in enumerate(found)), default=(0.0, -1))
        if best > 0.5:
            match[i] = j
            iou.append(best)
    missed, false = len(slide.cords) - len(match), len(found) - len(set(match.values()))
    right = not missed and not false and list(match.values()) == sorted(match.values())
    true = slide.cavity & slide.inside
    total = int(cavity.sum()) + int(true.sum())
    told = true.sum() * slide.um**2 > 10_000
    return Judged(slide, found, missed, false, right, iou, 2 * float((cavity & true).sum()) / total if told else float("nan"))


def ours_on(slide: Slide) -> tuple[list[BoolArray], BoolArray]:
    """Return the pieces in slide order, and the cavity, as `sevhisto run` finds them."""
    settings = ImagingSettings()
    shown = optical_density(slide.light).max(axis=0, keepdims=True) if slide.brightfield else slide.light
    pieces, mask = find_pieces(np.asarray(shown, np.float32), slide.um, settings)
    cavity, found = np.zeros(mask.shape, bool), []
    for p in pieces:
        box = slice(p.y0, p.y1), slice(p.x0, p.x1)
        found.append(np.zeros(mask.shape, bool))
        found[-1][box] = p.outline
        cavity[box] |= find_cavity(mask[box], p.outline, slide.um, settings)
    return found, cavity


def plain_on(slide: Slide) -> tuple[list[BoolArray], BoolArray]:
    """Return pieces and holes by Otsu's threshold of the mean channel, from the top."""
    mean = -slide.light.mean(axis=0) if slide.brightfield else slide.light.mean(axis=0)
    mask = mean > threshold_otsu(mean)
    labels, n = ndimage.label(ndimage.binary_fill_holes(mask))
    sizes = np.bincount(labels.ravel(), minlength=n + 1) * slide.um**2
    found = [labels == k for k in range(1, n + 1) if sizes[k] >= 2e5]
    return found, np.any([*found, np.zeros(mask.shape, bool)], axis=0) & ~mask


def line(name: str, ours: list[Judged], plain: list[Judged]) -> str:
    """Return one line of the table of slides."""
    iou = [v for j in ours for v in j.iou] or [0.0]
    otsu = [v for j in plain for v in j.iou] or [0.0]
    cavity = [j.cavity for j in ours if not np.isnan(j.cavity)] or [float("nan")]
    n = sum(len(j.slide.cords) for j in ours)
    return (
        f"| {name} | {len(ours)}, {n} | {sum(j.missed for j in ours)} | {sum(j.false for j in ours)} | {sum(j.right for j in ours)} "
        f"| {np.mean(iou):.3f} ({min(iou):.3f}) | {np.mean(cavity):.2f} ({min(cavity):.2f}) "
        f"| {sum(j.missed for j in plain)}, {sum(j.false for j in plain)}, {np.mean(otsu):.3f} |"
    )


def slides(seeds: range, asked: Asked) -> np.ndarray:
    """Print the table of slides of every kind; return a montage of the worst of each."""
    print("\n| slides | slides, cords | missed | false | number and order right | IoU of cords found (worst) | cavity, Dice (worst) "
          "| Otsu: missed, false, IoU |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    worst, ours, plain = [], [], []
    for kind in KINDS:
        made = [make_slide(kind, s) for s in seeds]
        a = [judge(s, *ours_on(s)) for s in made]
        b = [judge(s, *plain_on(s)) for s in made]
        print(line(kind, a, b), flush=True)
        bad = max(a, key=lambda j: (j.missed + j.false, -min(j.iou, default=0)))
        tile = picture(bad.slide.light, bad.slide.inside, np.any([*bad.found, np.zeros_like(bad.slide.cavity)], axis=0))
        cv2.putText(tile, kind, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 255, 255), 1, cv2.LINE_AA)
        worst.append(tile)
        ours += a
        plain += b
        for j in (*a, *b):  # pictures of all kinds do not fit into memory
            j.found.clear()
            j.slide.light = j.slide.light[:, :1, :1]
    print(line("all", ours, plain))
    worst += [np.zeros_like(worst[0])] * (-len(worst) % 4)
    asked.line(
        f"slides of {len(KINDS)} kinds, {len(ours)} of them",
        "cords missed; false",
        "every cord",
        f"{sum(j.missed for j in ours)}; {sum(j.false for j in ours)} of {sum(len(j.slide.cords) for j in ours)}",
        not any(j.missed + j.false for j in ours),
        f"{sum(j.missed for j in plain)}; {sum(j.false for j in plain)}",
    )
    return np.vstack([np.hstack(worst[i : i + 4]) for i in range(0, len(worst), 4)])


def main() -> None:
    """Print a table and write the montage."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data" / "cord")
    ask.add_argument("--um", type=float, default=2.0, help="pixel size of the outlines")
    ask.add_argument("--seed", type=int, default=9301, help="the first seed of the slides")
    ask.add_argument("--slides", type=int, default=4, help="slides of each kind; 0 for none")
    o = ask.parse_args()
    (HERE / "out").mkdir(exist_ok=True)
    asked = Asked(__file__)
    if o.slides:
        cv2.imwrite(str(HERE / "out" / "accuracy_tissue_slides.png"), slides(range(o.seed, o.seed + o.slides), asked))
    rows, alone, together, plain, plain_alone = [], [], [], [], []
    print(f"\nasked: {ASKED}\n\n| section | channels | IoU | Otsu |\n| --- | --- | --- | --- |")
    for path in sorted(o.data.glob("*_wm1_gm2.png")):
        stem = path.name.removesuffix("_wm1_gm2.png")
        channels, truth = load(o.data, stem)
        pictures = []
        for name, chosen in (("all", list(channels.values())), *((n, [c]) for n, c in channels.items())):
            image = np.stack(chosen)
            ours = found(image, o.um * STEP)
            mean = image.mean(axis=0)
            score, otsu = overlap(ours, truth), overlap(mean > threshold_otsu(mean), truth)
            (together if name == "all" else alone).append(score)
            (plain if name == "all" else plain_alone).append(otsu)
            print(f"| {stem} | {name} | {score:.3f} | {otsu:.3f} |")
            pictures.append(picture(image, truth, ours))
        rows.append(np.hstack(pictures))
    if not rows:
        raise SystemExit(f"no cords in {o.data}")
    print(f"\ntogether {np.mean(together):.3f}, worst {min(together):.3f}; alone {np.mean(alone):.3f}; Otsu {np.mean(plain):.3f}")
    met = bool(np.mean(together) >= 0.92 and min(together) >= 0.85)
    said = f"{np.mean(together):.3f}, worst {min(together):.3f}"
    asked.line("data/cord", "IoU, channels together", "mean >= 0.92, each >= 0.85", said, met, f"{np.mean(plain):.3f}")
    said = f"{np.mean(alone):.3f}, worst {min(alone):.3f}"
    asked.line("data/cord", "IoU, each channel alone", "mean >= 0.85", said, bool(np.mean(alone) >= 0.85), f"{np.mean(plain_alone):.3f}")
    asked.close()
    cv2.imwrite(str(HERE / "out" / "accuracy_tissue.png"), np.vstack(rows))


if __name__ == "__main__":
    main()
