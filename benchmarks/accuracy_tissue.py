"""Outlines of tissue against those of experts: real mouse cords, all channels together and each alone, beside Otsu on the same image.

The images are colour JPEGs of one fluorescence channel each, with frames, margins, scale bars and debris (see the data's README); the
brightest colour of a pixel is its intensity. The outlines are `*_wm1_gm2.png`, white and grey matter. A montage is written to
benchmarks/out/accuracy_tissue.png: green the experts' outline, red ours.

    .venv/bin/python benchmarks/accuracy_tissue.py [--data ../shared/data/cord] [--um 2.0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from sevhisto.config import ImagingSettings
from sevhisto.imaging.tissue import find_pieces
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


def main() -> None:
    """Print a table and write the montage."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data" / "cord")
    ask.add_argument("--um", type=float, default=2.0, help="pixel size of the outlines")
    o = ask.parse_args()
    rows, alone, together, plain = [], [], [], []
    print(f"asked: {ASKED}\n\n| section | channels | IoU | Otsu |\n| --- | --- | --- | --- |")
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
            plain.append(otsu)
            print(f"| {stem} | {name} | {score:.3f} | {otsu:.3f} |")
            pictures.append(picture(image, truth, ours))
        rows.append(np.hstack(pictures))
    if not rows:
        raise SystemExit(f"no cords in {o.data}")
    print(f"\ntogether {np.mean(together):.3f}, worst {min(together):.3f}; alone {np.mean(alone):.3f}; Otsu {np.mean(plain):.3f}")
    (HERE / "out").mkdir(exist_ok=True)
    cv2.imwrite(str(HERE / "out" / "accuracy_tissue.png"), np.vstack(rows))


if __name__ == "__main__":
    main()
