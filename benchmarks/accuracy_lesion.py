"""The lesion core against its truth on injured phantoms, and lesions falsely found in uninjured phantoms and real cords.

Sections are laid out by the function that `sevhisto run` calls, at an overview of 4 um/px. Kinds of injured sections:

plain      area 0.6 to 1.6 of the default, the default's place
small      area 0.1 to 0.3 (0.03 to 0.1 mm2 in a transverse section)
edge       off centre, up to the cord's border
cavity     45 % of the core is cavity
faint      a quarter of the landmark's signal
no DAPI    no nuclear channel

Harder ones, three of each, are in lesions_of_all_kinds.py (the border weak, absent, broken; islands; grey against white matter; shading,
noise, blur; folds, tears, bubbles), besides a section whose side is missing (partial), two lesions side by side (two), and CD68 as one
more cue. "wrong" counts outlines with Dice under 0.85 and lesions missed; of these "untold" are those that say neither
`contour_uncertain` nor `no_lesion`.

Of each section: Dice of the core with the truth, 95th percentile of the distance between the two borders (both ways), beside the plain way
(GFAP smoothed with 20 um, below Otsu's threshold of the tissue, largest blob, holes filled). No injured real cord with a drawn truth is
available. The real cords are uninjured and have no GFAP: each of their channels stands in for it, with Nissl or nothing for the nuclei.
A montage is written to benchmarks/out/accuracy_lesion.png: white the truth, red ours, blue the plain way.

    .venv/bin/python benchmarks/accuracy_lesion.py            # ten seeds, 200 uninjured sections
    .venv/bin/python benchmarks/accuracy_lesion.py --quick    # two seeds, 20 uninjured sections
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from accuracy_tissue import CHANNELS, STEP, load
from asked import Asked
from lesions_of_all_kinds import CHANGES, partial
from scipy import ndimage
from skimage.filters import threshold_otsu

from sevhisto.config import LESION_CUES, ChannelSettings, ImagingSettings, Orientation, PanelSettings
from sevhisto.imaging.geometry import filled
from sevhisto.imaging.overview import marker_reader, slide_overview
from sevhisto.imaging.plan import Drawn, lay_out
from sevhisto.phantom import SectionSpec, make_section
from sevhisto.phantom.spec import stream
from sevhisto.types import BoolArray, Correction, FloatArray

HERE = Path(__file__).parent
ASKED = "Dice mean >= 0.93; border distance (95th percentile) mean <= 25 um; lesions falsely found <= 2 %"
SEEDS = tuple(range(9101, 9111))
MARKERS, ROLES = ("DAPI", "GFAP", "CD68"), {"DAPI": "nuclei", "GFAP": "landmark", "CD68": "macrophage"}
PHANTOM_UM, FACTOR = 2.0, 2
KINDS = ("plain", "small", "edge", "cavity", "faint", "no DAPI")
HARD = (*CHANGES, "partial", "two", "CD68 as cue")
N_HARD = 3  # sections of each
OFFSET = 154.0  # the phantom's camera offset and glass
PICTURES = 4  # of each kind: the worst


@dataclass
class Seen:
    """What one section gave: landmark (h, w), true core, ours, the plain way, contrast and flags."""

    title: str
    landmark: FloatArray
    truth: BoolArray
    ours: BoolArray
    plain: BoolArray
    flags: list[str]
    um: float

    @property
    def dice(self) -> float:
        """Dice of ours."""
        return dice(self.truth, self.ours)


def spec_of(kind: str, orientation: Orientation, seed: int) -> SectionSpec:
    """Return a section of a kind; what differs between sections is drawn from the seed."""
    rng = stream(seed, "lesion", kind, orientation)
    low, high = (0, 0) if "uninjured" in kind else {"small": (0.1, 0.3)}.get(kind, (0.6, 1.6))
    place = (float(rng.uniform(-0.1, 0.1)), float(rng.uniform(-0.35, -0.1)))
    if kind == "edge":
        place = (float(rng.uniform(-0.6, 0.6)), float(rng.choice([-1, 1]) * rng.uniform(0.5, 0.85)))
    rotation = float(rng.uniform(-30, 30))
    if kind == "two":
        low, high, place, rotation = 0.15, 0.45, (-0.5, float(rng.uniform(-0.3, 0.3))), 0.0
    return SectionSpec(
        markers=tuple(m for m in MARKERS if kind != "no DAPI" or m != "DAPI"),
        orientation=orientation,
        um_per_px=PHANTOM_UM,
        lesion_scale=float(rng.uniform(low, high)),
        lesion_position=place,
        cavity_fraction=0.45 if kind == "cavity" else float(rng.uniform(0, 0.28)),
        signal={"GFAP": 150.0 if kind == "faint" else 600.0 * float(np.exp(rng.normal(0, 0.2)))},
        rotation_deg=rotation,
    )


def core_of(
    image: FloatArray, factor: int, um: float, roles: list[str], longitudinal: bool, cues: tuple[str, ...] = ()
) -> tuple[BoolArray, BoolArray, BoolArray, list[str]]:
    """Return core, tissue and cavity on the image, and flags; `image` (n, h, w) is the overview, `um` the size of its pixels."""
    panel = PanelSettings(channels=[ChannelSettings(channel=i + 1, marker=f"m{i}", role=r) for i, r in enumerate(roles)])
    settings = ImagingSettings(lesion_cues=[*LESION_CUES, *cues])
    overview = slide_overview(image, factor, um, marker_reader(panel, range(len(image)), 65535), settings)
    correction = Correction(np.full(len(image), OFFSET), np.eye(len(image)), ("no_primary",) * len(image))
    layout, box, flags, *_ = lay_out(overview, None, panel, correction, Drawn(None, None), settings, longitudinal, False)
    out = []
    for mask in (layout.core, layout.tissue, layout.cavity):
        out.append(np.zeros(image.shape[1:], bool))
        out[-1][box[0] : box[1], box[2] : box[3]] = mask
    return out[0], out[1], out[2], flags


def plain_core(landmark: FloatArray, tissue: BoolArray, um: float) -> BoolArray:
    """Return the core as a threshold alone would have it."""
    soft = cv2.GaussianBlur(landmark, (0, 0), 20.0 / um)
    labels, n = ndimage.label(tissue & (soft < threshold_otsu(soft[tissue])))
    if n == 0:
        return np.zeros(tissue.shape, bool)
    return filled(np.asarray(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]), bool))


def phantom(kind: str, orientation: Orientation, seed: int) -> Seen:
    """Return what is found in one synthetic section."""
    section = make_section(spec_of(kind, orientation, seed), seed, keep_truth_images=False)
    light, core = section.image.astype(np.float32), section.truth.core_mask(with_cavity=True)
    rng = stream(seed, "change", kind, orientation)
    base = kind.removesuffix(", uninjured")
    if base in CHANGES:
        light = CHANGES[base](light - 150.0, section, section.spec.markers.index("GFAP"), rng) + 150.0
    if base == "partial":
        left = partial(core.shape, core, rng)
        light, core = light[:, *left], core[left]
    if base == "two":
        spec = replace(section.spec, lesion_position=(0.5, section.spec.lesion_position[1]))
        other = make_section(spec, seed, keep_truth_images=False)  # of the same outline, with its lesion on the other side
        half = core.shape[1] // 2
        light[:, :, half:], core[:, half:] = other.image[:, :, half:], other.truth.core_mask(with_cavity=True)[:, half:]
    h, w = (n // FACTOR * FACTOR for n in light.shape[1:])

    def small(plane: FloatArray) -> FloatArray:
        return cv2.resize(np.ascontiguousarray(plane[:h, :w], np.float32), (w // FACTOR, h // FACTOR), interpolation=cv2.INTER_AREA)

    image = np.stack([small(p) for p in np.clip(light, 0, 65535)])
    um = PHANTOM_UM * FACTOR
    roles = [ROLES[m] for m in section.spec.markers]
    cues = (f"m{roles.index('macrophage')}",) if base == "CD68 as cue" else ()
    ours, tissue, _, flags = core_of(image, FACTOR, um, roles, orientation != "transverse", cues)
    landmark = image[roles.index("landmark")]
    truth = small(core.astype(np.float32)) >= 0.5
    return Seen(f"{kind} {orientation} {seed}", landmark, truth, ours, plain_core(landmark, tissue, um), flags, um)


def cords(folder: Path) -> list[Seen]:
    """Return what is found in the real cords, each channel as the landmark, with Nissl or nothing as the nuclei."""
    found = []
    for path in sorted(folder.glob("*_wm1_gm2.png")):
        stem = path.name.removesuffix("_wm1_gm2.png")
        channels, _ = load(folder, stem)
        for landmark in CHANNELS:
            for nuclei in (None, "nissl") if landmark != "nissl" else (None,):
                chosen = [channels[landmark] + OFFSET] + ([channels[nuclei] + OFFSET] if nuclei else [])
                um = 2.0 * STEP
                ours, tissue, _, flags = core_of(np.stack(chosen), STEP, um, ["landmark", "nuclei"][: len(chosen)], False)
                title = f"{stem} {landmark}{' + nissl' if nuclei else ''}"
                plain = plain_core(chosen[0], tissue, um) if tissue.any() else tissue
                found.append(Seen(title, chosen[0], np.zeros_like(ours), ours, plain, flags, um))
    return found


def dice(a: BoolArray, b: BoolArray) -> float:
    """Return the Dice coefficient; 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def border_um(a: BoolArray, b: BoolArray, um: float) -> float:
    """Return the 95th percentile of the distances between two borders, both ways; inf where one is empty."""
    if not a.any() or not b.any():
        return float("inf")
    edges = [m & ~ndimage.binary_erosion(m) for m in (a, b)]
    away = [ndimage.distance_transform_edt(~e) for e in edges]
    return float(np.percentile(np.concatenate([away[1][edges[0]], away[0][edges[1]]]), 95)) * um


def row(kind: str, seen: list[Seen]) -> str:
    """Return one line of the table of injured sections."""
    ours, plain = [s.dice for s in seen], [dice(s.truth, s.plain) for s in seen]
    far = np.array([border_um(s.truth, s.ours, s.um) for s in seen])
    far_plain = np.array([border_um(s.truth, s.plain, s.um) for s in seen])
    missed = int(np.isinf(far).sum())
    unsure = sum("contour_uncertain" in s.flags for s in seen)
    with np.errstate(invalid="ignore"):
        mean = float(far[np.isfinite(far)].mean()) if missed < len(far) else float("nan")
    wrong = [s for s in seen if s.dice < 0.85]
    untold = sum(not {"contour_uncertain", "no_lesion"} & set(s.flags) for s in wrong)
    return (
        f"| {kind} | {len(seen)} | {np.mean(ours):.3f} ({min(ours):.3f}) | {mean:.1f} ({far.max():.1f}) | {missed} | {unsure} "
        f"| {len(wrong)}, {untold} "
        f"| {np.mean(plain):.3f}, {far_plain[np.isfinite(far_plain)].mean():.0f} um |"
    )


def picture(seen: Seen) -> np.ndarray:
    """Return the landmark with the outlines."""
    low, high = np.percentile(seen.landmark, (1, 99.5))
    grey = (255 * np.clip((seen.landmark - low) / max(high - low, 1), 0, 1) ** 0.6).astype(np.uint8)
    scale = min(460 / grey.shape[1], 330 / grey.shape[0])
    size = max(round(grey.shape[1] * scale), 1), max(round(grey.shape[0] * scale), 1)
    tile = np.zeros((360, 470, 3), np.uint8)
    tile[24 : 24 + size[1], 4 : 4 + size[0]] = cv2.cvtColor(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
    for mask, colour in ((seen.plain, (255, 120, 60)), (seen.truth, (255, 255, 255)), (seen.ours, (60, 60, 255))):
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        moved = [np.rint(c * scale + (4, 24)).astype(np.int32) for c in contours]
        cv2.drawContours(tile, moved, -1, colour, 1)
    cv2.putText(tile, f"{seen.title} {seen.dice:.3f}", (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def main() -> None:
    """Print tables and write the montage."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--quick", action="store_true")
    ask.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data" / "cord")
    ask.add_argument("--seed", type=int, default=SEEDS[0], help="the first of the seeds")
    o = ask.parse_args()
    seeds = range(o.seed, o.seed + (2 if o.quick else len(SEEDS)))
    shown: list[list[Seen]] = []
    asked = Asked(__file__)
    print(f"asked: {ASKED}\n")
    print("| kind | n | Dice mean (min) | border, um mean (worst) | missed | uncertain | wrong, untold | Otsu |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind in (*KINDS, *HARD):
        for orientation in ("transverse", "sagittal"):
            seen = [phantom(kind, orientation, s) for s in (seeds if kind in KINDS else seeds[:N_HARD])]
            print(row(f"{kind}, {orientation}", seen), flush=True)
            mean, far = float(np.mean([s.dice for s in seen])), [border_um(s.truth, s.ours, s.um) for s in seen]
            said = f"{mean:.3f} (worst {min(s.dice for s in seen):.3f}); {np.mean(far):.0f} um"
            plain = f"{np.mean([dice(s.truth, s.plain) for s in seen]):.3f}"
            on = f"phantoms, {kind}, {orientation}, n = {len(seen)}"
            asked.line(on, "core: Dice; border", ">= 0.93; <= 25 um", said, bool(mean >= 0.93 and np.mean(far) <= 25), plain)
            shown.append(sorted(seen, key=lambda s: s.dice)[:PICTURES])
    n = 10 if o.quick else 100
    whole, changed = [], []
    for s in range(n):
        orientation: Orientation = ("transverse", "sagittal")[s % 2]
        whole.append(phantom("uninjured", orientation, 20_000 + o.seed + s))
        changed.append(phantom(f"{list(CHANGES)[s % len(CHANGES)]}, uninjured", orientation, 30_000 + o.seed + s))
    real = cords(o.data)
    print("\n| uninjured | n | lesion falsely found | with a shape found by Otsu |\n| --- | --- | --- | --- |")
    for name, group in (("phantoms", whole), ("phantoms, changed", changed), ("real cords", real)):
        wrong = [s for s in group if s.ours.any()]
        names = f" ({', '.join(s.title for s in wrong[:6])})" if wrong else ""
        print(f"| {name} | {len(group)} | {len(wrong)}{names} | {sum(s.plain.any() for s in group)} |")
        shown.append((wrong + [s for s in group if not s.ours.any()])[:PICTURES])
        said = f"{len(wrong)} of {len(group)}"
        plain = f"{sum(s.plain.any() for s in group)}"
        asked.line(f"uninjured: {name}", "lesion falsely found", "<= 2 %", said, len(wrong) <= 0.02 * len(group), plain)
    asked.close()
    (HERE / "out").mkdir(exist_ok=True)
    tiles = [np.hstack([*map(picture, r), *[np.zeros((360, 470, 3), np.uint8)] * (PICTURES - len(r))]) for r in shown]
    cv2.imwrite(str(HERE / "out" / "accuracy_lesion.png"), np.vstack(tiles))


if __name__ == "__main__":
    main()
