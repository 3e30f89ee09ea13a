"""How well are nuclei and cells found in real images, against labels made by people?

Nuclei are found without any parameter (the pixel sizes are unknown, so a nominal 0.5 um is given), cells of microglia likewise. F1 counts
labels that match a true one with an IoU of 0.5 or more; pooled over the images of a group. Beside it the plain way in scikit-image: Otsu,
distance transform, peaks at least 7 px apart, watershed. Groups are the frame sizes (each is another microscope or sample), and the
fields where nuclei are crowded: the median distance between neighbouring centres is under 1.6 diameters.

No image here is held out: both halves (even and odd places in the index) and the microglia were looked at while methods and constants
were chosen. The halves show the spread between images, not the error on new ones. Montages go to benchmarks/out/: yellow
is what people drew, red what was found.

    .venv/bin/python benchmarks/accuracy_nuclei.py --data ../shared/data     # half a minute
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tifffile
from asked import Asked
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.measure import regionprops_table
from skimage.segmentation import watershed

from sevhisto.imaging.cell_bodies import find_cells
from sevhisto.imaging.nuclear_size import typical_diameter
from sevhisto.imaging.nuclei import find_nuclei
from sevhisto.types import FloatArray, IntArray

OUT = Path(__file__).parent / "out"
UM = 0.5
CROWDED = 1.6


@dataclass
class Field:
    """One image with what people drew, (h, w) each."""

    name: str
    group: str
    image: FloatArray
    truth: IntArray
    half: str


def nuclei_fields(data: Path) -> Iterator[Field]:
    """Yield the fluorescence images of data/nuclei."""
    index = pd.read_csv(data / "nuclei" / "index.csv").dropna(subset=["size_xy"])
    for i, row in enumerate(index.to_dict("records")):
        image = cv2.imread(str(data / "nuclei" / "images" / f"{row['id']}.png"), cv2.IMREAD_UNCHANGED)
        truth = cv2.imread(str(data / "nuclei" / "labels" / f"{row['id']}.png"), cv2.IMREAD_UNCHANGED)
        grey = image if image.ndim == 2 else image[..., :3].max(axis=2)
        yield Field(str(row["id"])[:6], str(row["size_xy"]), grey.astype(np.float32), truth.astype(np.int64), ("even", "odd")[i % 2])
    two = [tifffile.imread(data / "nuclei" / name) for name in ("img2d.tif", "mask2d.tif")]
    yield Field("img2d", "img2d", two[0].astype(np.float32), two[1].astype(np.int64), "")


def microglia_fields(data: Path) -> Iterator[Field]:
    """Yield every frame of data/microglia."""
    for path in sorted((data / "microglia").glob("*-labelMasks.tif")):
        name = path.name.removesuffix("-labelMasks.tif")
        frames, labels = (
            np.atleast_3d(np.moveaxis(a, 0, -1) if a.ndim == 3 else a)
            for a in map(tifffile.imread, (str(path.with_name(name + ".tif")), path))
        )
        for t in range(frames.shape[2]):
            yield Field(f"{name[4:9]} t{t}", name[4:9], frames[..., t].astype(np.float32), labels[..., t].astype(np.int64), "")


def plain(image: FloatArray) -> IntArray:
    """Return labels by Otsu and a distance watershed, as tutorials have it."""
    mask = image > threshold_otsu(image)
    depth = ndimage.distance_transform_edt(mask)
    seeds = np.zeros(mask.shape, np.int64)
    peaks = peak_local_max(depth, min_distance=7, labels=ndimage.label(mask)[0])
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-depth, seeds, mask=mask), np.int64)


def matches(truth: IntArray, found: IntArray) -> tuple[int, int, int]:
    """Return how many true labels are matched with an IoU of 0.5, how many there are, and how many were found."""
    n, m = int(truth.max()) + 1, int(found.max()) + 1
    both = np.bincount((truth * m + found).ravel(), minlength=n * m).reshape(n, m)
    a, b = both.sum(axis=1), both.sum(axis=0)
    iou = both / np.maximum(a[:, None] + b - both, 1)
    return int((iou[1:, 1:] >= 0.5).any(axis=1).sum()), int((a[1:] > 0).sum()), int((b[1:] > 0).sum())


def crowded(truth: IntArray) -> bool:
    """Return whether the median nucleus has a neighbour near by."""
    t = regionprops_table(truth, properties=("centroid", "equivalent_diameter_area"))
    yx = np.column_stack([t["centroid-0"], t["centroid-1"]])
    if len(yx) < 2:
        return False
    near = cKDTree(yx).query(yx, k=2)[0][:, 1]
    return bool(np.median(near) < CROWDED * np.median(t["equivalent_diameter_area"]))


def compare(fields: list[Field], ours: Callable[[FloatArray], IntArray]) -> pd.DataFrame:
    """Return one row per image and method."""
    rows = []
    for f in fields:
        for method, way in (("ours", ours), ("plain", plain)):
            found = way(f.image)
            hit, true, n = matches(f.truth, found)
            rows.append({"name": f.name, "group": f.group, "half": f.half, "method": method, "hit": hit, "true": true, "found": n})
            rows[-1]["crowded"] = crowded(f.truth)
    return pd.DataFrame(rows)


def f1(part: pd.DataFrame) -> float:
    """Return F1 pooled over rows."""
    return float(2 * part["hit"].sum() / max(int(part["true"].sum() + part["found"].sum()), 1))


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return F1 and count error of every group, ours beside the plain way; `worst` is the image with the lowest F1."""
    groups = {"all": rows, "even places": rows[rows["half"] == "even"], "odd places": rows[rows["half"] == "odd"]}
    groups |= {str(name): part for name, part in rows.groupby("group")} | {"crowded": rows[rows["crowded"]]}
    out = []
    for name, part in groups.items():
        if part.empty:
            continue
        row: dict[str, object] = {"group": name, "images": part["name"].nunique(), "labels": int(part["true"].sum()) // 2}
        for method, of in part.groupby("method"):
            each = 2 * of["hit"] / (of["true"] + of["found"])
            row[f"F1 {method}"], row[f"worst {method}"] = f"{f1(of):.3f}", f"{each.min():.2f}"
            row[f"count {method}"] = f"{100 * (of['found'].sum() / of['true'].sum() - 1):+.1f} %"
        out.append(row)
    return pd.DataFrame(out)


def show(title: str, rows: pd.DataFrame) -> None:
    """Print a table as Markdown."""
    print(f"\n### {title}\n\n| " + " | ".join(map(str, rows.columns)) + " |\n|" + "---|" * len(rows.columns))
    for row in rows.to_numpy():
        print("| " + " | ".join(map(str, row)) + " |")


def picture(field: Field, found: IntArray, side: int) -> IntArray:
    """Return the image with the outlines over it, (side, side, 3) uint8 BGR."""
    low, high = np.percentile(field.image, (0.5, 99.5))
    grey = (255 * np.sqrt(np.clip((field.image - low) / max(high - low, 1e-6), 0, 1))).astype(np.uint8)
    scale = side / max(grey.shape)
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    out = np.zeros((side, side, 3), np.uint8)
    image = cv2.cvtColor(cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), cv2.COLOR_GRAY2BGR)
    for labels, colour in ((field.truth, (0, 230, 230)), (found, (60, 60, 255))):
        large = cv2.resize(labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
        image[cv2.dilate(large, np.ones((2, 2), np.uint8)) != large] = colour
    hit, true, n = matches(field.truth, found)
    cv2.putText(image, f"{field.name} F1 {2 * hit / max(true + n, 1):.2f}  {n} of {true}", (4, 14), 0, 0.45, (0, 255, 0), 1, cv2.LINE_AA)
    out[: image.shape[0], : image.shape[1]] = image
    return np.asarray(out)


def montage(path: Path, fields: list[Field], ours: Callable[[FloatArray], IntArray], columns: int = 4, side: int = 480) -> None:
    """Write all fields side by side."""
    tiles = [picture(f, ours(f.image), side) for f in fields]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    cv2.imwrite(str(path), np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]))


def sizes(fields: list[Field]) -> str:
    """Return how far the estimated diameter is from that of the median true nucleus, in words."""
    ratios = []
    for f in fields:
        areas = np.bincount(f.truth.ravel())[1:]
        ratios.append(typical_diameter([f.image], UM) / UM / np.median(np.sqrt(4 / np.pi * areas[areas > 0])))
    low, middle, high = np.percentile(ratios, (5, 50, 95))
    return f"estimated over true median diameter: {middle:.2f} (5th to 95th percentile {low:.2f} to {high:.2f})"


def main() -> None:
    """Compare both kinds of image."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    data = ask.parse_args().data
    OUT.mkdir(exist_ok=True)

    def nuclei(image: FloatArray) -> IntArray:
        return find_nuclei(image, UM)

    def microglia(image: FloatArray) -> IntArray:
        return find_cells(image, 0.755)

    started = time.process_time()
    fields = list(nuclei_fields(data))
    asked = Asked(__file__)
    found = compare(fields, nuclei)
    show("Nuclei", table(found))
    ours, plainly = (found[found["method"] == m] for m in ("ours", "plain"))
    groups = [(f1(part), f1(plainly[plainly["group"] == g])) for g, part in ours.groupby("group")]
    for what, wanted, (a, b) in (
        ("F1 at IoU 0.5, pooled", 0.85, (f1(ours), f1(plainly))),
        ("F1, crowded like tissue", 0.75, (f1(ours[ours["crowded"]]), f1(plainly[plainly["crowded"]]))),
        ("F1, hardest group", 0.5, min(groups)),
    ):
        asked.line("data/nuclei, 57 images, no parameter", what, f">= {wanted}", f"{a:.3f}", a >= wanted, f"{b:.3f}")
    print(f"\n{sizes(fields)}")
    for k in range(0, len(fields), 20):
        montage(OUT / f"accuracy_nuclei_{k // 20 + 1}.png", fields[k : k + 20], nuclei)
    fields = list(microglia_fields(data))
    rows = compare(fields, microglia)
    show("Microglia, whole cells", table(rows))
    a, b = (f1(rows[rows["method"] == m]) for m in ("ours", "plain"))
    asked.line("data/microglia, 4 frames", "F1 at IoU 0.5", ">= 0.7", f"{a:.3f}", a >= 0.7, f"{b:.3f}")
    montage(OUT / "accuracy_microglia.png", fields, microglia, 2, 900)
    asked.close()
    print(f"\n{time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main()
