"""Are faults of a section found, and is what is left measured as if they were not there?

Every fault of `sevhisto.phantom.faults` is put into synthetic sections of seeds that no test uses, one at a time, at three strengths, and
the section is measured as `sevhisto run` does it. Of a fault in a part of the section:

found      sections with its flag
covered    share of the spoilt tissue that is masked; beyond: masked tissue that is not spoilt, of all tissue
points     error of the positive share of the whole section, against the clean section; mean of the absolute errors, and the worst marker
unmasked   the same with imaging.mask_faults = false

Faults of the whole section are told from the other sections of the batch: each stands alone among the clean ones of all seeds.

    .venv/bin/python benchmarks/accuracy_quality.py            # ten seeds
    .venv/bin/python benchmarks/accuracy_quality.py --seeds 3
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from sevhisto.config import ChannelSettings, ImagingSettings, PanelSettings, StudyConfig, parse_config
from sevhisto.decide.quality import section_key, verdicts
from sevhisto.decide.rows import SectionRow, SectionSummary, summarise
from sevhisto.decide.thresholds import Threshold
from sevhisto.imaging.quality import clipped_share
from sevhisto.imaging.overview import marker_reader, slide_overview
from sevhisto.imaging.section import measure_section, plan_section
from sevhisto.phantom import MARKERS, PhantomSection, SectionSpec, make_section
from sevhisto.phantom.faults import FAULTS, STRENGTHS, inject
from sevhisto.phantom.spec import PANEL_A, stream
from sevhisto.types import AnyArray, BoolArray, Correction, SectionRecord, decode_thumbnail, snap_threshold

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
ROLE = {"nuclei": "nuclei", "glia": "landmark", "macrophage": "macrophage", "m2": "macrophage", "none": "autofluorescence"}
PANEL = PanelSettings(channels=[ChannelSettings(channel=i + 1, marker=m, role=ROLE[MARKERS[m].kind]) for i, m in enumerate(PANEL_A)])
CORRECTION = Correction(np.full(5, 154.0), np.eye(5), ("no_primary",) * 5)
LIMITS = {"DAPI": 150.0, "GFAP": 100.0, "CD68": 150.0, "CD206": 150.0, "AF": 150.0}


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


def config() -> StudyConfig:
    """Return the settings of a study with this panel."""
    channels = [c.model_dump(mode="json") for c in PANEL.channels]
    return parse_config({"study": {"name": "quality", "section_spacing_um": 200.0}, "panels": {"A": {"channels": channels}}})


def measure(image: AnyArray, um: float, settings: ImagingSettings) -> SectionRecord:
    """Return the record of an image, with what the pipeline adds."""
    source, reader = Source(image, um), marker_reader(PANEL, range(len(image)), 4095)
    step = max(1, round(settings.overview_um / um))
    h, w = source.shape
    padded = np.pad(image, ((0, 0), (0, -h % step), (0, -w % step)), mode="edge").astype(np.float32)
    small = padded.reshape(len(image), padded.shape[1] // step, step, padded.shape[2] // step, step).mean((2, 4))
    overview = slide_overview(small.astype(np.float32), step, um * step, reader, settings)
    plan = plan_section(overview, source.shape, PANEL, CORRECTION, settings, piece=None)
    record = measure_section(source, plan, reader, PANEL, CORRECTION, settings)
    y0, x0 = record.meta["corner_px"]
    part = Source(image[:, y0:, x0:], um)
    solid = (record.masks["tissue"] > 0) & (record.masks["cavity"] == 0) & (record.masks["masked"] == 0)
    if (clipped_share(part, range(len(image)), solid, step) > 0.01).any():
        record.meta["flags"] = [*record.meta["flags"], "clipped"]
    return record


def positive(summary: SectionSummary) -> AnyArray:
    """Return the positive share of each marker over the whole section, in percent."""
    counts = summary.counts[[z.name for z in summary.zones].index("all")]
    edges = [np.searchsorted(_edges(), snap_threshold(LIMITS[m])) + 1 for m in summary.markers]
    return np.array([100 * c[e:].sum() / max(int(c.sum()), 1) for c, e in zip(counts, edges, strict=True)])


def _edges() -> AnyArray:
    from sevhisto.types import INTENSITY_EDGES

    return INTENSITY_EDGES


def section(seed: int) -> PhantomSection:
    """Return a clean section; what differs between sections is drawn from the seed."""
    rng = stream(seed, "quality")
    return make_section(
        SectionSpec(
            lesion_scale=float(rng.choice([0.6, 1.0, 1.6])),
            lesion_position=(float(rng.uniform(-0.1, 0.1)), float(rng.uniform(-0.35, -0.1))),
            rotation_deg=float(rng.uniform(-30, 30)),
        ),
        seed,
        False,
    )


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


def picture(record: SectionRecord, title: str, width: int = 300) -> AnyArray:
    """Return a section with what was masked outlined in white."""
    thumbnail = np.stack([decode_thumbnail(record.masks["thumbnail"][..., k]) for k in (2, 1, 0)], -1)
    image = np.clip(255 * np.sqrt(thumbnail / np.array([500, 400, 600])), 0, 255).astype(np.uint8)
    for name, colour in (("cavity", (90, 160, 255)), ("core", (255, 150, 0)), ("masked", (255, 255, 255))):
        contours, _ = cv2.findContours(record.masks[name].astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, colour, 1)
    image = cv2.resize(image, (width, round(width * 0.8)), interpolation=cv2.INTER_AREA)
    cv2.putText(image, title, (5, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def main() -> None:
    """Print the table and write the montage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=7001)
    parser.add_argument("--strengths", nargs="*", default=list(STRENGTHS))
    parser.add_argument("--faults", nargs="*", default=list(FAULTS))
    asked = parser.parse_args()
    study, on = config(), ImagingSettings()
    off = ImagingSettings(mask_faults=False)
    thresholds = {("A", "b", m): Threshold(snap_threshold(v), "fixed", v, 1, frozenset()) for m, v in LIMITS.items()}

    def row_of(name: str, record: SectionRecord) -> SectionSummary:
        return summarise(SectionRow(name, "s", "A", "b", "sample", 0.0, "ok", "", record), study)

    seeds = range(asked.first, asked.first + asked.seeds)
    clean = {}
    for seed in seeds:
        made = section(seed)
        clean[seed] = row_of(f"R{seed}", measure(made.image, made.spec.um_per_px, on))
    first = verdicts(clean.values(), thresholds, study)
    alarms = [(s, first[section_key(clean[s])].reasons) for s in seeds if first[section_key(clean[s])].verdict != "keep"]
    print(f"clean: {len(alarms)} of {len(clean)} sections flagged {alarms}")
    rows, tiles = [], []
    for name in asked.faults:
        for strength in asked.strengths:
            found, cover, beyond, error, without = [], [], [], [], []
            for seed in seeds:
                made = section(seed)
                bad = inject(made, name, strength, seed)
                record = measure(bad.image, made.spec.um_per_px, on)
                summary = row_of("bad", record)
                others = [clean[s] for s in seeds if s != seed]
                verdict = verdicts([*others, summary], thresholds, study)[section_key(summary)]
                flags = summary.flags.union(*verdict.flags.values())
                found.append(FLAG_OF[name] in flags)
                if name in PARTIAL:
                    tissue = np.asarray(made.truth.anatomy.tissue > 0)
                    a, b = covered(record, bad.area, tissue)
                    cover.append(a)
                    beyond.append(b)
                    error.append(np.abs(positive(summary) - positive(clean[seed])))
                    if strength == "middle":
                        plain = row_of("bad", measure(bad.image, made.spec.um_per_px, off))
                        without.append(np.abs(positive(plain) - positive(clean[seed])))
                if seed == asked.first:
                    tiles.append(picture(record, f"{name} {strength} {'found' if found[-1] else 'missed'}"))
            row: dict[str, Any] = {"fault": name, "strength": strength, "found": f"{sum(found)}/{len(found)}"}
            if cover:
                row |= {"covered": f"{np.mean(cover):.2f}", "beyond %": f"{100 * np.mean(beyond):.1f}"}
                row |= {"points": f"{np.mean(error):.2f}", "worst": f"{np.max(error):.1f}"}
            if without:
                row |= {"unmasked": f"{np.mean(without):.2f}", "its worst": f"{np.max(without):.1f}"}
            rows.append(row)
            print(row, flush=True)
    print(pd.DataFrame(rows).fillna("").to_string(index=False))
    OUT.mkdir(exist_ok=True)
    columns = len(asked.strengths)
    wide = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    cv2.imwrite(str(OUT / "quality.png"), np.vstack(wide)[..., ::-1])


if __name__ == "__main__":
    main()
