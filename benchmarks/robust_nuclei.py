"""Do nuclei stay found when real images are changed as microscopes, cameras and dirt change them?

Every image of data/nuclei is changed in one way, and found nuclei are compared with the (equally scaled) labels of people as in
accuracy_nuclei.py, beside the plain way on the same changed image. Half of the images are held out: a hash of their name decides, and no
choice of method was made on scores of that half alone (all images had been looked at before the split was made: see RESULTS.md).
Images without any nucleus are made of their background; what is found there is false.

    .venv/bin/python benchmarks/robust_nuclei.py --data ../shared/data     # two CPU minutes
    .venv/bin/python benchmarks/robust_nuclei.py --only few,fibre
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from accuracy_nuclei import UM, Field, f1, matches, montage, nuclei_fields, plain, show

from sevhisto.imaging.nuclei import find_nuclei
from sevhisto.types import FloatArray, IntArray

OUT = Path(__file__).parent / "out"
Change = Callable[[FloatArray, IntArray, np.random.Generator], tuple[FloatArray, IntArray]]


def held_out(field: Field) -> bool:
    """Return whether an image is of the half that is held out."""
    return hashlib.sha256(field.name.encode()).digest()[0] % 2 == 1


def spread(image: FloatArray) -> float:
    """Return the contrast of an image, from its darkest to its brightest hundredth."""
    low, high = np.percentile(image, (1, 99))
    return float(max(high - low, 1.0))


def scaled(factor: float) -> Change:
    """Return the change of pixel size."""

    def change(image: FloatArray, truth: IntArray, _: np.random.Generator) -> tuple[FloatArray, IntArray]:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        labels = cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
        return np.maximum(cv2.resize(image, size, interpolation=how), 0), labels.astype(np.int64)

    return change


def pixels(change: Callable[[FloatArray, np.random.Generator], FloatArray]) -> Change:
    """Return a change that leaves the labels alone."""
    return lambda image, truth, rng: (np.maximum(change(image, rng), 0).astype(np.float32), truth)


def uneven(image: FloatArray, _: np.random.Generator) -> FloatArray:
    """Let light fall off from one corner to the other, to a third."""
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    return image * (1 - 2 / 3 * (y / image.shape[0] + x / image.shape[1]) / 2)


def glow(image: FloatArray, _: np.random.Generator) -> FloatArray:
    """Add a wide glow as bright as the nuclei."""
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    far = ((y / image.shape[0] - 0.3) ** 2 + (x / image.shape[1] - 0.6) ** 2) / (2 * 0.35**2)
    return image + spread(image) * np.exp(-far)


def fibre(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Lay a bright fibre across the image, five times as bright as the nuclei, and two bright flecks."""
    out = np.zeros(image.shape, np.float32)
    h, w = image.shape
    cv2.line(out, (0, int(h * rng.uniform(0.2, 0.8))), (w, int(h * rng.uniform(0.2, 0.8))), 1.0, max(h // 60, 2), cv2.LINE_AA)
    for _ in range(2):
        cv2.circle(out, (int(rng.uniform(0, w)), int(rng.uniform(0, h))), max(h // 25, 3), 1.0, -1, cv2.LINE_AA)
    return image + 5 * spread(image) * cv2.GaussianBlur(out, (0, 0), 1.0)


def few(image: FloatArray, truth: IntArray, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Keep three nuclei and what is close around them; all else is background."""
    ids = np.unique(truth[truth > 0])
    kept = np.where(np.isin(truth, rng.choice(ids, min(3, len(ids)), replace=False)), truth, 0)
    near = cv2.dilate((kept > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return np.where(near, image, background(image, truth, rng)).astype(np.float32), kept


def empty(image: FloatArray, truth: IntArray, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Leave background only."""
    return background(image, truth, rng), np.zeros_like(truth)


def background(image: FloatArray, truth: IntArray, rng: np.random.Generator) -> FloatArray:
    """Return an image drawn from the darker half of the pixels far from nuclei."""
    far = image[cv2.dilate((truth > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0]
    dark = far[far <= np.median(far)] if far.size else np.percentile(image, [1.0])
    return rng.choice(dark, image.shape).astype(np.float32)


CHANGES: dict[str, Change] = {
    "as they are": pixels(lambda i, _: i),
    "half as many pixels across": scaled(0.5),
    "twice as many": scaled(2.0),
    "16 bits (x 257 + 300)": pixels(lambda i, _: i * 257 + 300),
    "a tenth of the contrast, on 200": pixels(lambda i, _: np.rint(200 + 0.1 * i)),
    "square roots (gamma 0.5)": pixels(lambda i, _: np.sqrt(i)),
    "squares (gamma 2)": pixels(lambda i, _: i**2),
    "noise of 10 % of the contrast": pixels(lambda i, rng: i + 0.10 * spread(i) * rng.standard_normal(i.shape)),
    "noise of 25 %": pixels(lambda i, rng: i + 0.25 * spread(i) * rng.standard_normal(i.shape)),
    "blurred, sigma 2 px": pixels(lambda i, _: cv2.GaussianBlur(i, (0, 0), 2.0)),
    "light falls to a third": pixels(uneven),
    "glow as bright as nuclei": pixels(glow),
    "bright fibre and flecks": pixels(fibre),
    "three nuclei left": few,
    "no nuclei": empty,
}


def changed(field: Field, name: str) -> Field:
    """Return a field after a change; the same each time."""
    seed = int.from_bytes(hashlib.sha256(f"{field.name} {name}".encode()).digest()[:8])
    image, truth = CHANGES[name](field.image.copy(), field.truth, np.random.default_rng(seed))
    return Field(field.name, field.group, image.astype(np.float32), truth, field.half)


def rows(fields: list[Field], name: str) -> pd.DataFrame:
    """Return hits of both ways on every changed image."""
    out = []
    for field in fields:
        now = changed(field, name)
        for method, found in (("ours", find_nuclei(now.image, UM)), ("plain", plain(now.image))):
            hit, true, n = matches(now.truth, found)
            out.append({"method": method, "held": held_out(field), "hit": hit, "true": true, "found": n})
    return pd.DataFrame(out)


def main() -> None:
    """Print one row per change."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, default=Path("../shared/data"))
    ask.add_argument("--only", default="", help="changes whose name holds one of these words, with a montage of each")
    o = ask.parse_args()
    words = [w for w in o.only.split(",") if w]
    fields = [f for f in nuclei_fields(o.data) if f.group != "img2d"]
    table = []
    for name in CHANGES:
        if words and not any(w in name for w in words):
            continue
        found = rows(fields, name)
        row: dict[str, object] = {"change": name}
        for method, of in found.groupby("method"):
            if of["true"].sum() == 0:
                row[f"{method}: chosen on"] = row[f"{method}: held out"] = ""
                row[f"{method}: false, images with any"] = f"{of['found'].sum()}, {(of['found'] > 0).sum()} of {len(of)}"
                continue
            row |= {f"{method}: chosen on": f"{f1(of[~of['held']]):.3f}", f"{method}: held out": f"{f1(of[of['held']]):.3f}"}
            row[f"{method}: false, images with any"] = ""
        table.append(row)
        if words:
            OUT.mkdir(exist_ok=True)
            montage(OUT / f"robust_nuclei_{words[0]}.png", [changed(f, name) for f in fields[:20]], lambda i: find_nuclei(i, UM))
    show("F1 at IoU 0.5, pooled, after a change", pd.DataFrame(table).fillna(""))


if __name__ == "__main__":
    main()
