"""Does a trained classifier tell apart what a threshold cannot, on slides that it has not seen?

Everything goes the way of a user: slides and outlines are written into small studies, `train` learns, `run` measures, and the area is read
from sections.csv. The mask for Dice is made by the same classifier, and must have the share that the table says.

texture      synthetic: fibres and clumps of the same grey levels, to the last pixel of the histogram; asked for are the fibres
colour       synthetic: two stains as bright as each other in the channel that is thresholded; a second channel is needed to tell them apart
trichrome    Masson tiles (shared/data): learned from what annotator A painted on two, compared with all people on the third
picrosirius  learned on the left half of the tile, compared with the other program's mask on the right half

Synthetic slides are learned from rectangles, strokes and points inside the regions, as a person would draw; real tiles from the painted
masks in squares of 64 pixels, with a pixel as finest scale, since they are small crops of unknown pixel size. Otsu is that of each image
alone: of the first channel, smoothed as far as suits it best on the training slides (synthetic), or of scikit-image's collagen channel.

    .venv/bin/python benchmarks/accuracy_classifier.py [--data ../shared/data]     # 70 s of CPU
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import tifffile
from asked import Asked
from PIL import Image
from skimage import color
from skimage.filters import threshold_otsu

from sevhisto.engine import run_tasks
from sevhisto.imaging.classify import classifier_for
from sevhisto.imaging.measure import blurred
from sevhisto.imaging.overview import marker_reader
from sevhisto.io.models import load_model
from sevhisto.io.slides import open_slide
from sevhisto.io.study import load_study
from sevhisto.pipeline import run, train
from sevhisto.pipeline.running import quiet, slide_tasks
from sevhisto.pipeline.stages import batch_corrections
from sevhisto.types import AnyArray, BoolArray, FloatArray

OUT = Path(__file__).parent / "out"
LEARNED, UNSEEN = (7101, 7102, 7103), (9701, 9702, 9703, 9704)
UM, REAL_UM = 0.65, 0.5
SHAPE, MARGIN = (1000, 1200), 90
STUDY = """
[study]
name = "{name}"
blind = false
orientation = "transverse"
section_spacing_um = 200

[imaging]
mask_faults = false

[panels.P]
{kind}
{classifier}
channels = [{channels}]

[protocols.none]
route = "none"
total_dose = 0
dose_unit = "particles"
injections_h = [0]
"""


@dataclass
class Picture:
    """One image, its true or painted masks, its batch, and outlines to learn from: (class, GeoJSON geometry)."""

    name: str
    image: AnyArray
    masks: list[BoolArray]
    batch: str = "b"
    lessons: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    tissue: BoolArray | None = None

    def share(self, mask: BoolArray) -> float:
        """Return how much of the tissue a mask covers."""
        return float(mask.mean() if self.tissue is None else mask[self.tissue].mean())


@dataclass
class Result:
    """What was measured on one unseen picture."""

    task: str
    picture: Picture
    share: float
    ours: BoolArray
    plain: BoolArray


# ---------------------------------------------------------------- synthetic


def noise(rng: np.random.Generator, across_um: float, along_um: float, deg: float = 0.0) -> FloatArray:
    """Return smooth noise with grains of a size, elongated along a direction."""
    white = rng.normal(size=SHAPE).astype(np.float32)
    size = int(3 * along_um / UM) * 2 + 1
    grid = (np.mgrid[:size, :size] - size // 2) * UM
    c, s = np.cos(np.radians(deg)), np.sin(np.radians(deg))
    u, v = c * grid[1] + s * grid[0], -s * grid[1] + c * grid[0]
    kernel = np.exp(-0.5 * ((u / along_um) ** 2 + (v / across_um) ** 2)).astype(np.float32)
    return cv2.filter2D(white, -1, kernel / np.sqrt((kernel**2).sum()))


def same_histogram(image: FloatArray, like: FloatArray, inside: BoolArray) -> FloatArray:
    """Return an image inside a mask with exactly the grey levels of another, in its own order."""
    out = np.zeros_like(image)
    levels = np.sort(np.random.default_rng(0).choice(like.ravel(), int(inside.sum()), replace=False))
    out[inside] = levels[np.argsort(np.argsort(image[inside], kind="stable"), kind="stable")]
    return out


def regions(rng: np.random.Generator) -> AnyArray:
    """Return (h, w): 0 tissue, 1 what is asked for, 2 what looks alike; patches of 60 to 300 um."""
    a = blurred(rng.normal(size=SHAPE).astype(np.float32), 45 / UM)
    low, high = np.quantile(a, [rng.uniform(0.1, 0.3), 1 - rng.uniform(0.1, 0.3)])
    return 1 * (a > high) + 2 * (a < low)


def synthetic(task: str, seed: int) -> Picture:
    """Return a slide of task ``texture`` (one channel and a nuclear one) or ``colour`` (two), camera noise included."""
    rng = np.random.default_rng(seed)
    place = regions(rng)
    levels = np.exp(0.45 * noise(rng, 2.0, 2.0)) * 900
    deg = rng.uniform(0, 180)
    fibres = same_histogram(noise(rng, 1.2, 12.0, deg), levels, place == 1)
    clumps = same_histogram(noise(rng, 3.0, 3.0), levels, place == 2)
    faint = 250 * np.exp(0.3 * noise(rng, 2.0, 2.0))
    first = np.where(place == 0, faint, fibres + clumps)
    second = faint.copy()
    if task == "colour":
        first = np.where(place == 0, faint, levels)
        second = np.where(place == 2, levels[::-1] * 0.6, faint)  # the other stain shows in a second channel too, which alone tells little
        second += np.where(noise(rng, 4.0, 4.0) > 1.0, 500, 0)
    clean = np.stack([first, second]) + 150
    clean = np.pad(clean, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), constant_values=110)
    place = np.pad(place, MARGIN, constant_values=-1)
    image = rng.poisson(clean / 4) * 4 + rng.normal(0, 6, clean.shape)
    picture = Picture(f"{task}{seed}", np.clip(np.rint(image), 0, 65535).astype(np.uint16), [place == 1], tissue=place >= 0)
    picture.lessons = scribbles(rng, place)
    return picture


def scribbles(rng: np.random.Generator, place: AnyArray) -> list[tuple[str, dict[str, Any]]]:
    """Return rectangles, strokes and points inside the regions, 6 um and more from their borders: twelve to a region."""
    drawn = []
    for name, here in (("asked", place == 1), ("other", place == 2), ("other", place == 0)):
        inside = cv2.erode(here.astype(np.uint8), np.ones((19, 19), np.uint8))
        y, x = np.nonzero(inside)
        for k, at in enumerate(rng.choice(len(y), 12)):
            a, b = float(x[at]), float(y[at])
            if k < 6:
                ring = [[a - 9, b - 9], [a + 9, b - 9], [a + 9, b + 9], [a - 9, b + 9], [a - 9, b - 9]]
                drawn.append((name, {"type": "Polygon", "coordinates": [ring]}))
            elif k < 10:
                drawn.append((name, {"type": "LineString", "coordinates": [[a - 7, b - 5], [a, b + 5], [a + 7, b]]}))
            else:
                drawn.append((name, {"type": "MultiPoint", "coordinates": [[a, b], [a + 5, b - 5]]}))
    return drawn


# ---------------------------------------------------------------- real


def painted(mask: BoolArray, side: int = 64) -> list[tuple[str, dict[str, Any]]]:
    """Return a painted mask and what is not painted, as outlines in squares."""
    drawn = []
    for name, here in (("collagen", mask), ("other", ~mask)):
        for y in range(0, mask.shape[0], side):
            for x in range(0, mask.shape[1], side):
                part = here[y : y + side, x : x + side].astype(np.uint8)
                if part.mean() < 0.02:
                    continue
                # drawn at twice the size, so that the outline runs along the borders of pixels
                rings, tree = cv2.findContours(np.kron(part, np.ones((2, 2), np.uint8)), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
                polygons: dict[int, list[Any]] = {}
                for i, ring in enumerate(rings):
                    points = ((ring[:, 0] + 0.5) / 2 + [x, y]).tolist()
                    if len(points) > 3:
                        parent = int(tree[0, i, 3])
                        polygons.setdefault(i if parent < 0 else parent, []).insert(0 if parent < 0 else 9999, [*points, points[0]])
                if polygons:
                    drawn.append((name, {"type": "MultiPolygon", "coordinates": list(polygons.values())}))
    return drawn


def trichrome(data: Path) -> list[Picture]:
    """Return the tiles with the masks of all people; lessons are what annotator A painted."""
    found = []
    for path in sorted((data / "ecm/trichrome").glob("*.png")):
        masks = [np.asarray(Image.open(m).convert("L")) > 127 for m in sorted(path.parent.glob(f"{path.stem}_annotator_*.png"))]
        if masks:
            rgb = np.asarray(Image.open(path).convert("RGB"))
            found.append(Picture(path.stem, rgb, masks, path.stem.rpartition("_")[0], painted(masks[0])))
    return found


def picrosirius(data: Path) -> list[Picture]:
    """Return the halves of the tile."""
    found = []
    for path in sorted((data / "ecm/picrosirius").glob("*_mask.jpg")):
        rgb = np.asarray(Image.open(path.with_name(path.name.replace("_mask", ""))).convert("RGB"))
        mask = np.asarray(Image.open(path).convert("L")) > 127
        half = rgb.shape[1] // 2
        for name, part in (("left", slice(0, half)), ("right", slice(half, None))):
            found.append(Picture(name, rgb[:, part], [mask[:, part]], "psr", painted(mask[:, part])))
    return found


# ---------------------------------------------------------------- through the program


def study_of(root: Path, task: str, pictures: Sequence[Picture], learned: Sequence[str]) -> None:
    """Write a study of these pictures; those that are learned from get their outlines."""
    real = pictures[0].image.ndim == 3 and pictures[0].image.shape[-1] == 3
    stain = {"trichrome": "masson", "picrosirius": "picrosirius"}.get(task, "")
    one = '{{ channel = {0}, marker = "{1}", role = "{2}" }}'
    files = [one.format('"collagen"', "dye", "other")] if real else [one.format(1, "first", "other"), one.format(2, "second", "other")]
    wanted = f'{{ channel = "{"collagen" if real else "asked"}", marker = "class", role = "ecm", source = "classifier" }}'
    kind = f'kind = "brightfield"\nstain = "{stain}"' if real else ""
    said = {"name": task, "kind": kind}
    (root / "slides").mkdir(parents=True)
    (root / "training").mkdir()
    rows = ["file,animal,section,panel,batch,role,position_um,um_per_px"]
    for p in pictures:
        file = f"{p.name}.{'png' if real else 'tif'}"
        if real:
            Image.fromarray(p.image).save(root / "slides" / file)
        else:
            tifffile.imwrite(root / "slides" / file, p.image, photometric="minisblack", metadata={"axes": "CYX"})
        rows.append(f"{file},{p.name},s1,P,{p.batch},sample,0,{REAL_UM if real else UM}")
        if p.name in learned:
            made = [{"type": "Feature", "geometry": g, "properties": {"classification": {"name": c}}} for c, g in p.lessons]
            (root / "training" / f"{file}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": made}), "utf-8")
    (root / "slides.csv").write_text("\n".join([*rows, ""]), "utf-8")
    (root / "animals.csv").write_text("animal,protocol\n" + "".join(f"{p.name},none\n" for p in pictures), "utf-8")
    (root / "study.toml").write_text(STUDY.format(**said, classifier="", channels=", ".join(files)), "utf-8")
    done = train(root, "trained", who="benchmark", finest_um=REAL_UM if real else None, jobs=1)
    print(f"\n{task}, learned from {', '.join(learned)}\n" + "\n".join(done.lines))
    (root / "study.toml").write_text(
        STUDY.format(**said, classifier='classifier = "trained"', channels=", ".join([*files, wanted])), "utf-8"
    )


def measured(task: str, pictures: Sequence[Picture], learned: Sequence[str], plain: Any) -> list[Result]:
    """Learn from some pictures and measure the others."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "study"
        study_of(root, task, pictures, learned)
        summary = run(root, jobs=1)
        assert not summary.failures, summary.failures
        table = pd.read_csv(root / "results/sections.csv")
        table = table[(table["zone"] == "all") & (table["marker"] == "class")].set_index("animal")
        found = []
        for p in pictures:
            if p.name not in learned:
                row = table.loc[p.name]
                share = float(row["positive_um2"] / row["zone_um2"])
                ours = mask_of(root, p, float(row["threshold"]))
                assert abs(p.share(ours) - share) < 0.01, (p.name, p.share(ours), share)  # the picture shows what the table says
                found.append(Result(task, p, share, ours, plain(p)))
        shutil.rmtree(root)
    return found


def mask_of(root: Path, picture: Picture, threshold: float) -> BoolArray:
    """Return which pixels were positive."""
    study = load_study(root)
    tasks = slide_tasks(study)
    task = next(t for t in tasks if t.path.stem == picture.name)
    corrections, _ = batch_corrections(tasks, run_tasks, quiet)
    correction = corrections[task.panel_name, task.batch_name]
    with open_slide(task.path, task.scene, task.um_per_px) as slide:
        reader = marker_reader(task.panel, range(2), slide.bit_max, correction.stain_vectors)
        model = load_model(root / "classifiers/trained.npz")
        classifier = classifier_for(model, task.panel, reader, correction, slide.um_per_px, slide.shape)
        box = (0, slide.shape[0], 0, slide.shape[1])
        plane = classifier.planes(box, slide.read(reader.channels, *box), (0, 0))["class"]
    return np.asarray(blurred(plane, 0.3 / slide.um_per_px) >= threshold)


def dice(a: BoolArray, b: BoolArray) -> float:
    """Return the Dice coefficient."""
    return 2 * int((a & b).sum()) / max(int(a.sum()) + int(b.sum()), 1)


def otsu_of(learned: Sequence[Picture]) -> Any:
    """Return Otsu of the first channel, smoothed as far as gives the best Dice on the training slides."""

    def found(p: Picture, sigma: float) -> BoolArray:
        soft = blurred(p.image[0].astype(np.float32), sigma / UM)
        return np.asarray(soft > threshold_otsu(soft))

    best = max((0.0, 1.0, 2.0, 4.0, 8.0, 16.0), key=lambda s: np.mean([dice(found(p, s), p.masks[0]) for p in learned]))
    return lambda p: found(p, best)


def otsu_collagen(p: Picture) -> BoolArray:
    """Return scikit-image's published vectors and Otsu: methyl blue of Masson, or fast red for picrosirius."""
    channel = color.separate_stains(p.image, color.bpx_from_rgb if p.batch != "psr" else color.rbd_from_rgb)[..., 0]
    return np.asarray(channel > threshold_otsu(channel))


def row(result: Result) -> dict[str, str]:
    """Return what is asked, ours and Otsu's, as text."""
    masks = result.picture.masks
    shares = sorted(100 * result.picture.share(m) for m in masks)
    between = [dice(a, b) for i, a in enumerate(masks) for b in masks[:i]]
    return {
        "task": result.task,
        "unseen": result.picture.name,
        "true %": f"{shares[0]:.1f}" if len(shares) == 1 else f"{shares[0]:.1f} to {shares[-1]:.1f}",
        "ours %": f"{100 * result.share:.1f}",
        "Dice": f"{np.mean([dice(result.ours, m) for m in masks]):.3f}",
        "between people": f"{np.mean(between):.3f}" if between else "",
        "Otsu %": f"{100 * result.picture.share(result.plain):.1f}",
        "Otsu Dice": f"{np.mean([dice(result.plain, m) for m in masks]):.3f}",
    }


def montage(results: Sequence[Result], path: Path) -> None:
    """Write one line per picture: it, the truth (grey: how many people), ours, Otsu."""
    lines = []
    for r in results:
        image = r.picture.image
        if image.shape[-1] != 3:
            scaled = [np.clip((c.astype(np.float32) - 150) / 2200 * 255, 0, 255) for c in image]
            image = np.stack([scaled[0], scaled[1], scaled[0] * 0], axis=-1).astype(np.uint8)
        masks = (np.mean(r.picture.masks, axis=0), r.ours.astype(float), r.plain.astype(float))
        grey = [np.repeat((255 * m[..., None]).astype(np.uint8), 3, axis=2) for m in masks]
        lines.append(np.hstack([cv2.resize(p, (480, 400), interpolation=cv2.INTER_AREA) for p in (image, *grey)]))
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.vstack(lines)).save(path)


def main() -> None:
    """Learn, measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--only", default="", help="one task")
    parser.add_argument("--unseen", type=int, nargs="*", default=UNSEEN, help="seeds of the synthetic slides that are scored")
    given = parser.parse_args()
    results: list[Result] = []
    for task in ("texture", "colour"):
        if given.only in ("", task):
            learned, unseen = ([synthetic(task, s) for s in seeds] for seeds in (LEARNED, given.unseen))
            results += measured(task, [*learned, *unseen], [p.name for p in learned], otsu_of(learned))
    tiles = trichrome(given.data) if given.only in ("", "trichrome") else []
    for test in tiles:
        others = [p.name for p in tiles if p is not test]
        results += measured("trichrome", tiles, others, otsu_collagen)
    halves = picrosirius(given.data) if given.only in ("", "picrosirius") else []
    if halves:
        results += measured("picrosirius", halves, ["left"], otsu_collagen)
    print()
    print(pd.DataFrame([row(r) for r in results]).to_string(index=False))
    montage(results, OUT / "classifier.png")
    asked = Asked(__file__)
    for said in map(row, results):
        ours, plain = float(said["Dice"]), float(said["Otsu Dice"])
        asked.line(
            f"{said['task']}: {said['unseen']}",
            "Dice; area %",
            f"better than Otsu; {said['true %']}",
            f"{ours:.3f}; {said['ours %']}",
            ours > plain,
            f"{plain:.3f}; {said['Otsu %']}",
        )
    asked.close()


if __name__ == "__main__":
    main()
