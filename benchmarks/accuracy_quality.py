"""Are faults of a section found, and is what is left measured as if they were not there?

Every fault of `sevhisto.phantom.faults` is put into synthetic sections of seeds that no test and no development used, one at a time, at
three strengths, each time in a look drawn by the seed. Even seeds are panel A (CD68) at 2.6 um/px, odd ones panel B (fibronectin) at 4.

found      sections that get the fault's flag, as `sevhisto run` sets it
variance   sections that a plain measure finds: variance of the Laplacian of the nuclei under half of, or over twice, the clean median
covered    share of the spoilt tissue that is masked; beyond: masked tissue that is not spoilt, in percent of the tissue
points     error of the positive share of CD68 or fibronectin in the core and 0 to 250 um, against the clean section: mean of the absolute
           errors and the worst; unmasked: the same with imaging.mask_faults = false. At the middle strength
other      sections that get a flag of another fault too

Faults of the whole section are told from the other sections of the batch: each stands alone among the clean ones of its panel.

    .venv/bin/python benchmarks/accuracy_quality.py            # about ten CPU minutes; goes on where it was interrupted
    .venv/bin/python benchmarks/accuracy_quality.py --quick    # four seeds, middle strength, 20 clean sections
    .venv/bin/python benchmarks/accuracy_quality.py --jobs 2 --fresh
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from asked import Asked

from sevhisto.config import ChannelSettings, ImagingSettings, PanelSettings, StudyConfig, parse_config
from sevhisto.decide.quality import section_key, verdicts
from sevhisto.decide.rows import SectionRow, SectionSummary, summarise
from sevhisto.decide.thresholds import Threshold
from sevhisto.imaging.overview import marker_reader, slide_overview
from sevhisto.imaging.plan import Crop, plan_section
from sevhisto.imaging.quality import closer_look
from sevhisto.imaging.section import measure_section
from sevhisto.phantom import MARKERS, PhantomSection, SectionSpec, make_section
from sevhisto.phantom.faults import FAULTS, STRENGTHS, inject
from sevhisto.phantom.spec import PANEL_A, PANEL_B, stream
from sevhisto.types import INTENSITY_EDGES, AnyArray, BoolArray, Correction, SectionRecord, decode_thumbnail, snap_threshold

OUT = Path(__file__).parent / "out"
FLAG_OF = {
    "defocus": "out_of_focus",
    "defocus_all": "out_of_focus",
    "fold": "folded",
    "bubble": "bubble",
    "tear": "torn",
    "missing": "missing_data",
    "saturated": "saturated",
    "clipped": "clipped",
    "unstained": "unstained",
    "exposure": "exposure_differs",
    "seam_steps": "seams",
    "seam_shift": "seams",
    "empty": "no_tissue",
}
PARTIAL = ("defocus", "fold", "bubble", "tear", "missing")
ROLE = {"nuclei": "nuclei", "glia": "landmark", "macrophage": "macrophage", "m2": "macrophage", "fibres": "ecm", "none": "autofluorescence"}
LIMITS = {"DAPI": 150.0, "GFAP": 100.0, "CD68": 150.0, "CD206": 150.0, "AF": 150.0, "fibronectin": 150.0, "collagen_I": 150.0}
ASKED = {"A": "CD68", "B": "fibronectin"}
FIRST, N_SEEDS, FIRST_CLEAN, N_CLEAN = 70_001, 20, 90_001, 120


@dataclass(frozen=True)
class Source:
    """An image in memory, as a PixelSource."""

    image: AnyArray
    um_per_px: float

    @property
    def channels(self) -> tuple[str, ...]:
        """Numbers of the channels."""
        return tuple(map(str, range(len(self.image))))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[1], self.image.shape[2]

    def read(self, channels: Any, y0: int, y1: int, x0: int, x1: int) -> AnyArray:
        """Return pixels of a box."""
        return self.image[list(channels), y0:y1, x0:x1]


def panel_of(seed: int) -> str:
    """Return the panel of a seed."""
    return "B" if seed % 2 else "A"


def settings_of(markers: Iterable[str]) -> PanelSettings:
    """Return a panel with the roles that the synthetic markers have."""
    channels = [ChannelSettings(channel=i + 1, marker=m, role=ROLE[MARKERS[m].kind]) for i, m in enumerate(markers)]
    return PanelSettings(channels=channels)


@lru_cache
def config() -> StudyConfig:
    """Return the settings of a study with both panels."""
    panels = {
        name: {"channels": [c.model_dump(mode="json") for c in settings_of(markers).channels]}
        for name, markers in (("A", PANEL_A), ("B", PANEL_B))
    }
    return parse_config({"study": {"name": "quality", "section_spacing_um": 200.0}, "panels": panels})


def section(seed: int) -> PhantomSection:
    """Return a clean, injured section; what differs between sections is drawn from the seed."""
    rng = stream(seed, "quality")
    return make_section(
        SectionSpec(
            markers=PANEL_B if seed % 2 else PANEL_A,
            um_per_px=4.0 if seed % 2 else 2.6,
            lesion_scale=float(rng.choice([0.6, 1.0, 1.6])),
            lesion_position=(float(rng.uniform(-0.1, 0.1)), float(rng.uniform(-0.35, -0.1))),
            rotation_deg=float(rng.uniform(-30, 30)),
        ),
        seed,
        False,
    )


def clean_section(seed: int) -> PhantomSection:
    """Return a section without fault: injured or not, along or across, with cysts or without, of several pixel sizes."""
    rng = stream(seed, "quality clean")
    return make_section(
        SectionSpec(
            markers=PANEL_B if rng.random() < 0.5 else PANEL_A,
            orientation="sagittal" if rng.random() < 0.35 else "transverse",
            um_per_px=float(rng.choice([1.3, 2.0, 2.6, 4.0], p=[0.1, 0.2, 0.35, 0.35])),
            lesion_scale=float(rng.choice([0.0, 0.6, 1.0, 1.6])),
            cavity_fraction=float(rng.choice([0.0, 0.18, 0.35])),
            rotation_deg=float(rng.uniform(-30, 30)),
            haze=float(rng.choice([0.0, 0.15])),
            seam=float(rng.choice([0.0, 0.01, 0.02])),
            nuclei_density=float(rng.choice([0.7, 1.0, 1.5])),
        ),
        seed,
        False,
    )


def measure(image: AnyArray, made: PhantomSection, settings: ImagingSettings) -> SectionRecord:
    """Return the record of an image, with what the pipeline adds."""
    panel, um = settings_of(made.spec.markers), made.spec.um_per_px
    source, reader, n = Source(image, um), marker_reader(panel, range(len(image)), 4095), len(image)
    correction = Correction(np.full(n, 154.0), np.eye(n), ("no_primary",) * n)
    step = max(1, round(settings.overview_um / um))
    h, w = source.shape
    padded = np.pad(image, ((0, 0), (0, -h % step), (0, -w % step)), mode="edge").astype(np.float32)
    small = padded.reshape(n, padded.shape[1] // step, step, padded.shape[2] // step, step).mean((2, 4))
    overview = slide_overview(small.astype(np.float32), step, um * step, reader, settings)
    along = made.spec.orientation != "transverse"
    plan = plan_section(overview, source.shape, panel, correction, settings, piece=None, longitudinal=along)
    record = measure_section(source, plan, reader, panel, correction, settings, longitudinal=along)
    found = closer_look(Crop(source, *plan.corner, plan.shape), reader, record)
    record.meta["flags"] = sorted({*record.meta["flags"], *found})
    return record


def positive(summary: SectionSummary) -> AnyArray:
    """Return the positive share of the panel's marker in the core and beside it, in percent."""
    marker = next(m for m in ASKED.values() if m in summary.markers)
    names, found = [z.name for z in summary.zones], []
    for zone in ("core", "0-250"):
        counts = summary.counts[names.index(zone), summary.markers.index(marker)]
        edge = int(np.searchsorted(INTENSITY_EDGES, snap_threshold(LIMITS[marker]))) + 1
        found.append(100 * float(counts[edge:].sum()) / max(int(counts.sum()), 1))
    return np.array(found)


def row_of(name: str, panel: str, record: SectionRecord) -> SectionSummary:
    """Return the summary of a record, as a section of an animal of that name."""
    return summarise(SectionRow(name, "s", panel, "b", "sample", 0.0, "ok", "", record), config())


def thresholds() -> dict[tuple[str, str, str], Threshold]:
    """Return fixed thresholds of both panels."""
    return {(p, "b", m): Threshold(snap_threshold(v), "fixed", v, 1, frozenset()) for p in "AB" for m, v in LIMITS.items()}


def variance(image: AnyArray) -> float:
    """Return the variance of the Laplacian of the nuclear stain over its own."""
    plane = image[0].astype(np.float32)
    return float(cv2.Laplacian(plane, cv2.CV_32F).var() / max(float(plane.var()), 1e-6))


@lru_cache(maxsize=4)
def clean_batch(panel: str) -> tuple[list[tuple[int, SectionSummary]], float]:
    """Return the clean sections of a panel with their seeds, and the median of their plain measure; the same for all tasks."""
    seeds = [s for s in range(FIRST, FIRST + N_SEEDS) if panel_of(s) == panel]
    made = [section(s) for s in seeds]
    rows = [row_of(f"R{s}", panel, measure(m.image, m, ImagingSettings())) for s, m in zip(seeds, made, strict=True)]
    return list(zip(seeds, rows, strict=True)), float(np.median([variance(m.image) for m in made]))


def covered(record: SectionRecord, area: BoolArray, tissue: BoolArray) -> tuple[float, float]:
    """Return the share of the spoilt tissue that is masked (or not taken as tissue), and masked tissue beyond it, of all tissue."""
    (y0, x0), (h, w), f = record.meta["corner_px"], record.meta["shape_px"], record.meta["overview_factor"]
    masked = np.zeros(area.shape, bool)
    examined = np.zeros(area.shape, bool)
    for name, into in (("masked", masked), ("tissue", examined)):
        full = record.masks[name].repeat(f, axis=0).repeat(f, axis=1)[:h, :w] > 0
        into[y0 : y0 + h, x0 : x0 + w] = full
    spoilt = area & tissue
    return float((spoilt & (masked | ~examined)).sum() / max(int(spoilt.sum()), 1)), float((masked & ~area).sum() / tissue.sum())


def one(task: tuple[str, str, int]) -> dict[str, Any]:
    """Return the figures of one section with one fault."""
    fault, strength, seed = task
    panel, made = panel_of(seed), section(seed)
    bad = inject(made, fault, strength, seed)
    batch, usual = clean_batch(panel)
    record = measure(bad.image, made, ImagingSettings())
    summary = row_of("bad", panel, record)
    told = verdicts([*(row for s, row in batch if s != seed), summary], thresholds(), config())[section_key(summary)]
    flags = summary.flags.union(*told.flags.values())
    plain = variance(bad.image) / usual
    out: dict[str, Any] = {
        "look": bad.look,
        "found": FLAG_OF[fault] in flags,
        "other": sorted(flags & set(FLAG_OF.values()) - {FLAG_OF[fault]}),
        "variance": not 0.5 < plain < 2,
        "verdict": told.verdict,
        "reasons": told.reasons,
    }
    if fault in PARTIAL:
        tissue = np.asarray(made.truth.anatomy.tissue > 0)
        out["covered"], out["beyond"] = covered(record, bad.area, tissue)
        if strength == "middle":
            truth = positive(dict(batch)[seed])
            out["error"] = np.abs(positive(summary) - truth).tolist()
            off = row_of("bad", panel, measure(bad.image, made, ImagingSettings(mask_faults=False)))
            out["unmasked"] = np.abs(positive(off) - truth).tolist()
    return out


def clean(task: tuple[str, str, int]) -> dict[str, Any]:
    """Return what is found in a section without fault."""
    made = clean_section(task[2])
    flags = sorted(set(measure(made.image, made, ImagingSettings()).meta["flags"]) & {*FLAG_OF.values(), "cavity_open"})
    return {"flags": flags, "kind": f"{made.spec.orientation} {made.spec.um_per_px} um/px lesion {made.spec.lesion_scale}"}


def run(tasks: list[tuple[str, str, int]], jobs: int, store: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Return the figures of all tasks; those that the store holds are not made again."""
    done = {}
    if store.is_file():
        for line in store.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            done[tuple(entry["task"])] = entry["found"]
    rest = [t for t in tasks if t not in done]
    with store.open("a", encoding="utf-8") as log, ProcessPoolExecutor(jobs) as pool:
        for task, found in zip(rest, pool.map(_work, rest, chunksize=4), strict=True):
            done[task] = found
            log.write(json.dumps({"task": task, "found": found}) + "\n")
            log.flush()
    return done


def _work(task: tuple[str, str, int]) -> dict[str, Any]:
    cv2.setNumThreads(1)
    return clean(task) if task[0] == "clean" else one(task)


def table(done: dict[tuple[str, str, int], dict[str, Any]], tasks: list[tuple[str, str, int]]) -> pd.DataFrame:
    """Return one row per fault and strength."""
    rows = []
    for fault, strength in dict.fromkeys((t[0], t[1]) for t in tasks if t[0] != "clean"):
        got = [done[t] for t in tasks if t[:2] == (fault, strength)]
        missed = sorted({g["look"] for g in got if not g["found"]})
        row = {"fault": fault, "strength": strength, "found": f"{sum(g['found'] for g in got)}/{len(got)}"}
        row |= {"missed looks": " ".join(missed), "variance": f"{sum(g['variance'] for g in got)}/{len(got)}"}
        row["other"] = str(sum(bool(g["other"]) for g in got))
        row["kept"] = str(sum(g["verdict"] == "keep" for g in got))
        number: Callable[[str], AnyArray] = lambda key, got=got: np.array([g[key] for g in got])  # noqa: E731
        if fault in PARTIAL:
            row |= {"covered": f"{number('covered').mean():.2f}", "beyond %": f"{100 * number('beyond').mean():.1f}"}
            if strength == "middle":
                for name, key in (("points", "error"), ("unmasked", "unmasked")):
                    values = number(key)
                    within = f"{int((values.max(axis=1) <= 3).sum())}/{len(got)} within 3"
                    row |= {name: f"{values.mean():.2f} (worst {values.max():.1f}; {within})"}
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def picture(record: SectionRecord, title: str, width: int = 320) -> AnyArray:
    """Return a section with what was masked outlined in white, cavities in blue, the core in orange."""
    thumbnail = np.stack([decode_thumbnail(record.masks["thumbnail"][..., k]) for k in (2, 1, 0)], -1)
    image = np.clip(255 * np.sqrt(np.maximum(thumbnail, 0) / np.array([500, 400, 600])), 0, 255).astype(np.uint8)
    image = cv2.resize(image, (width, round(width * 0.8)), interpolation=cv2.INTER_AREA)
    for name, colour in (("cavity", (90, 160, 255)), ("core", (255, 150, 0)), ("masked", (255, 255, 255))):
        mask = cv2.resize(record.masks[name].astype(np.uint8), (width, round(width * 0.8)), interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, colour, 1)
    cv2.putText(image, title, (5, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def montage(seed: int) -> AnyArray:
    """Return one example of each look of each fault at middle strength, with what was masked and what was flagged."""
    tiles, made = [], section(seed)
    for fault in FAULTS:
        for look in FAULTS[fault].looks:
            record = measure(inject(made, fault, "middle", seed, look).image, made, ImagingSettings())
            flags = sorted(set(record.meta["flags"]) & set(FLAG_OF.values()))
            tiles.append(picture(record, f"{fault} {look}: {' '.join(flags) or '-'}"))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 5)
    return np.vstack([np.hstack(tiles[i : i + 5]) for i in range(0, len(tiles), 5)])


def main() -> None:
    """Print the table and write the montage."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--quick", action="store_true")
    ask.add_argument("--jobs", type=int, default=1)
    ask.add_argument("--fresh", action="store_true", help="forget what was found before")
    ask.add_argument("--faults", nargs="*", default=list(FAULTS))
    o = ask.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    OUT.mkdir(exist_ok=True)
    store = OUT / "quality.jsonl"
    if o.fresh:
        store.unlink(missing_ok=True)
    strengths, n, n_clean = (("middle",), 4, 20) if o.quick else (STRENGTHS, N_SEEDS, N_CLEAN)
    tasks = [(f, s, seed) for f in o.faults for s in strengths for seed in range(FIRST, FIRST + n)]
    tasks += [("clean", "", seed) for seed in range(FIRST_CLEAN, FIRST_CLEAN + n_clean)]
    done = run(tasks, o.jobs, store)
    alarms = [(done[t]["kind"], done[t]["flags"]) for t in tasks if t[0] == "clean" and done[t]["flags"]]
    print(table(done, tasks).to_string(index=False))
    print(f"clean sections with a flag: {len(alarms)} of {n_clean} {alarms}")
    asked = Asked(__file__)
    for fault in o.faults:
        got = [done[t] for t in tasks if t[:2] == (fault, "middle")]
        found, plain = (sum(g[k] for g in got) for k in ("found", "variance"))
        said = f"{found} of {len(got)}"
        asked.line(f"phantoms, {fault}, middle strength", "detected", ">= 95 %", said, found >= 0.95 * len(got), f"{plain} of {len(got)}")
        if fault in PARTIAL:
            points, unmasked = (np.array([g[k] for g in got]).mean(axis=0).max() for k in ("error", "unmasked"))
            asked.line(f"phantoms, {fault}, middle strength", "area, points off", "<= 3", f"{points:.2f}", points <= 3, f"{unmasked:.2f}")
    said = f"{len(alarms)} of {n_clean}"
    asked.line("clean phantoms", "with a flag of a fault", "<= 2 %", said, len(alarms) <= 0.02 * n_clean)
    asked.close()
    cv2.imwrite(str(OUT / "quality.png"), montage(FIRST + 1)[..., ::-1])


if __name__ == "__main__":
    main()
