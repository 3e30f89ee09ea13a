"""How long it takes to decide a study again: 288 sections of 5 channels, no pixel read.

python benchmarks/decide.py [--out DIR] [--jobs N]

A small synthetic study is measured (a minute), then every animal is listed six times: 24 animals, 6 sections, 2 panels. Timed are the
animal table with other thresholds, another zone edge and another phenotype, and the whole specification curve. Counts are held against
a recount of the dense tally of the records, bin by bin. The coefficient of error of a
Cavalieri volume is held against 500 simulated lesions. Thresholds from a control and those of each image are tried on sections whose stain
grows fainter.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sevhisto.compare.endpoints import choose_endpoints, wide
from sevhisto.compare.specifications import specification_curve
from sevhisto.config import StudyConfig, parse_config
from sevhisto.decide.animal_table import animal_table
from sevhisto.decide.cavalieri import coefficient_of_error
from sevhisto.decide.rows import SectionRow, SectionSummary, summarise
from sevhisto.decide.section_table import section_table
from sevhisto.decide.thresholds import find_thresholds, scale_thresholds
from sevhisto.decide.zones import section_zones
from sevhisto.io.key import codes
from sevhisto.io.records import load_record, load_tallies
from sevhisto.io.store import read_table
from sevhisto.io.study import Study, load_study
from sevhisto.phantom import PhantomSection, StudySpec, make_section
from sevhisto.phantom.spec import SectionSpec
from sevhisto.phantom.study import make_study
from sevhisto.pipeline import run
from sevhisto.pipeline.deciding import decide
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.robustness import LastRun, specifications
from sevhisto.pipeline.running import unaware
from sevhisto.pipeline.tables import write_results
from sevhisto.pipeline.tasks import PieceOutcome
from sevhisto.schema import RECORDS
from sevhisto.types import DISTANCE_EDGES_UM, INTENSITY_EDGES, N_DISTANCE, N_INTENSITY, SectionRecord

COPIES = 6
FACTORS = (0.7, 1.0, 1.3)
SECTION = SectionSpec(cord_um=(2400.0, 1900.0), margin_um=40.0)
SPEC = StudySpec(seed=3, n_per_arm=1, n_sections=6, um_per_px=3.0, section=SECTION)


def make(root: Path) -> None:
    """Measure the small study at `root`, unless it is there."""
    if not (root / "results" / "run.json").is_file():
        make_study(root, SPEC, 1)
        run(root, jobs=1)


def many(study: Study, n_copies: int = COPIES) -> tuple[Study, list[PieceOutcome]]:
    """Return a study that lists every animal `n_copies` times, and its records: those of the small one, shared by the copies."""

    def copied(frame: pd.DataFrame) -> pd.DataFrame:
        ours = frame[frame["animal"].str.startswith("R")]
        copies = [ours.assign(animal=ours["animal"] + f"copy{i}") for i in range(1, n_copies)]
        return pd.concat([frame, *copies], ignore_index=True)

    key = codes(study)
    listed = read_table(study.results_dir / "records.csv", RECORDS)
    records = listed.set_index(["animal", "section", "panel"])["record"]
    more = replace(study, slides=copied(study.slides), animals=copied(study.animals), motor=copied(study.motor))
    outcomes = []
    for i, line in more.slides.iterrows():
        name = records[key.animals[line["animal"].partition("copy")[0]], line["section"], line["panel"]]
        outcomes.append(PieceOutcome(int(str(i)), study.results_dir / "records" / name, ""))
    return more, outcomes


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Print the time that `work` takes, and return what it gives."""
    start, cpu = time.perf_counter(), time.process_time()
    found = work()
    print(f"{what:<66} {time.perf_counter() - start:6.2f} s, {time.process_time() - cpu:6.2f} CPU s", flush=True)
    return found


def rows_of(last: LastRun) -> list[SectionRow]:
    """Return every section with its tallies."""
    rows = []
    for line in last.listed.to_dict("records"):
        facts = [line[n] for n in ("animal", "section", "panel", "batch", "role", "position_um")]
        rows.append(SectionRow(*facts, status="ok", record=load_tallies(last.records / line["record"])))
    return rows


def animals(summaries: list[SectionSummary], config: StudyConfig, status: pd.DataFrame, factor: float = 1.0) -> pd.DataFrame:
    """Return the animal table of these sections."""
    thresholds = scale_thresholds(find_thresholds(summaries, config), factor)
    return animal_table(section_table(summaries, thresholds, config), status, config)


def recount(last: LastRun, sections: pd.DataFrame, config: StudyConfig) -> None:
    """Count positive pixels of every 12th section again, from the dense tally of its record, and hold the table against them."""
    listed = last.listed.iloc[::12]
    zones = {z.name: z for z in section_zones(config)}
    checked = wrong = 0
    for line in listed.to_dict("records"):
        record = load_record(last.records / line["record"])
        mine = (sections["animal"] == line["animal"]) & (sections["section"] == line["section"]) & (sections["panel"] == line["panel"])
        for row in sections[mine & sections["positive_um2"].notna()].to_dict("records"):
            tally = record.counts[record.marker_index(row["marker"])].sum(axis=0)[zones[row["zone"]].bins]
            above = np.concatenate([[False], row["threshold"] <= INTENSITY_EDGES])  # bin i + 1 begins at edge i
            wrong += int(tally[:, above].sum()) * np.float64(record.px_um2) != row["positive_um2"]
            checked += 1
    print(f"positive areas counted again from records: {checked}, of which other than in the table: {wrong}")


def lesions(n_lesions: int = 500, seed: int = 5) -> None:
    """Print the coefficient of error told by one series of sections beside the true one, over simulated lesions of random shape."""
    rng = np.random.default_rng(seed)
    x = np.arange(-3000, 3001, 5.0)
    print("sections   error of the volume: true, told with m = 0, with m = 1 (rms, %)   95 % interval holds the truth: m = 0, m = 1")
    for n in (3, 5, 8, 12):
        rows = []
        for _ in range(n_lesions):
            sd, lopsided = rng.uniform(300, 800), rng.uniform(-0.4, 0.4)
            rough = np.cumsum(rng.normal(size=len(x)))
            profile = np.exp(-0.5 * (x / (sd * (1 + lopsided * np.sign(x)))) ** 2) * (1 + 0.15 * rough / np.abs(rough).max())
            profile[profile < 0.05] = 0
            step = round(np.count_nonzero(profile) / n)
            area = profile[rng.integers(step) :: step]
            error = area.sum() * step / profile.sum() - 1
            told = [coefficient_of_error(area, m) for m in (0, 1)]
            rows.append((error, *told, *(abs(error) <= 1.96 * t * (1 + error) for t in told)))
        found = np.array(rows, np.float64)
        rms = 100 * np.sqrt(np.mean(found[:, :3] ** 2, axis=0))
        print(f"{n:8d}   {rms[0]:.2f}, {rms[1]:.2f}, {rms[2]:.2f}   {found[:, 3].mean():.3f}, {found[:, 4].mean():.3f}")


def fainter(signals: Sequence[float] = (240, 120, 60, 30, 15), seed: int = 77, marker: str = "fibronectin") -> None:
    """Print the positive share of the core by a control's threshold and by Otsu's on the image itself, as the stain grows fainter.

    Three sections and one no_primary control per signal, with true outlines: only the threshold differs.
    """
    panel = {"channel": 1, "marker": marker, "role": "ecm"}
    data = {"study": {"name": "fainter", "section_spacing_um": 200}, "panels": {"B": {"channels": [panel]}}}
    by_control, by_image = (parse_config(data | {"thresholds": {"per_image": own}}) for own in (False, True))
    print("signal   at the control's threshold (its value): true, measured;   by Otsu of each image;   painted: mean of 3 sections, %")
    for signal in signals:
        spec = SectionSpec(markers=("DAPI", "GFAP", marker), um_per_px=2.0, cord_um=(1600.0, 1200.0), signal={marker: signal})
        control = make_section(replace(spec, role="no_primary"), seed)
        offset = float(np.median(control.image[2][control.truth.anatomy.tissue > 0]))
        sections = [make_section(spec, seed + k) for k in (1, 2, 3)]
        rows = [_row_of(s, marker, offset, f"s{k}", "sample") for k, s in enumerate(sections)]
        rows.append(_row_of(control, marker, offset, "control", "no_primary"))
        shares, applied = [], []
        for config in (by_control, by_image):
            table = section_table(rows, find_thresholds(rows, config), config)
            core = table[(table["zone"] == "core") & (table["section"] != "control")]
            shares.append(100 * (core["positive_um2"] / core["zone_um2"]).mean())
            applied.append(core["threshold"].mean())
        truth = [s.truth.optical(marker)[s.truth.core_mask()] >= applied[0] for s in sections]
        painted = [(s.truth.structure(marker))[s.truth.core_mask()] for s in sections]
        true, drawn = (100 * float(np.mean([v.mean() for v in values])) for values in (truth, painted))
        print(
            f"{signal:6g}   {true:.1f}, {shares[0]:.1f} ({applied[0]:.1f});   {shares[1]:.1f} ({applied[1]:.1f});   {drawn:.1f}", flush=True
        )


def _row_of(section: PhantomSection, marker: str, offset: float, name: str, role: str) -> SectionRow:
    """Return a section as a record of one marker over its true tissue, the core's pixels 5 um inside of its border, the others far out."""
    tissue, core = section.truth.anatomy.tissue > 0, section.truth.core_mask()
    counts = np.zeros((1, 2, N_DISTANCE, N_INTENSITY), np.int64)
    for place, here in ((-5.0, tissue & core), (1900.0, tissue & ~core)):
        values = section.image[section.spec.markers.index(marker)][here].astype(np.float64) - offset
        at = int(np.searchsorted(DISTANCE_EDGES_UM, place, side="right"))
        counts[0, 0, at] = np.bincount(np.searchsorted(INTENSITY_EDGES, values, side="right"), minlength=N_INTENSITY)
    nothing = np.zeros((2, N_DISTANCE), np.int64)
    meta = {"um_per_px": section.spec.um_per_px, "has_core": True, "flags": [], "offsets": {marker: offset}}
    record = SectionRecord(meta, (marker,), counts, np.zeros_like(counts), nothing, nothing)
    return SectionRow("a", name, "B", "b", role, 0.0, "ok", record=record)


def main() -> None:
    """Make the study, and time what a person would change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "decide", help="where the study is kept")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    lesions()
    fainter()
    make(args.out)
    small = load_study(args.out)
    study, outcomes = many(small)
    config, out = study.config, args.out / "many"
    out.mkdir(exist_ok=True)
    names = Names.of(codes(study), False)
    timed("all tables, with cells and profiles", lambda: write_results(out, decide(unaware(study), outcomes, names, [], {}), set()))
    last = replace(LastRun.of(out), records=small.results_dir / "records")
    print(f"{len(last.listed)} sections, {int(last.listed['role'].eq('sample').sum())} of them of animals")
    status = last.status.assign(position_um=last.listed["position_um"], role=last.listed["role"])
    wider = config.model_copy(update={"zones": config.zones.model_copy(update={"edges_um": [0, 310, *config.zones.edges_um[2:]]})})

    def summed(settings: StudyConfig, rows: list[SectionRow]) -> list[SectionSummary]:
        return [summarise(r, settings) for r in rows]

    rows = timed("tallies from disk", lambda: rows_of(last))
    plain = timed("sums over zones", lambda: summed(config, rows))
    timed("animal table, thresholds x 1.15", lambda: animals(plain, config, status, 1.15))
    timed("animal table, zone edge 310 um", lambda: animals(summed(wider, rows), wider, status))
    rules = {"double": "CD68 and CD206", "cd68_only": "CD68 and not CD206", "neither": "not (CD68 or CD206)"}
    panels = {name: p.model_copy(update={"phenotypes": rules if "CD206" in p.markers else {}}) for name, p in config.panels.items()}
    ruled = config.model_copy(update={"panels": panels})
    timed("animal table, three phenotypes", lambda: animals(plain, ruled, status))
    timed("animal table, thresholds x 1.15, all from disk", lambda: animals(summed(config, rows_of(last)), config, status, 1.15))
    for factor in FACTORS:
        thresholds = scale_thresholds(find_thresholds(plain, config), factor)
        recount(last, section_table(plain, thresholds, config), config)
    groups = study.animals.set_index("animal")["protocol"].rename(index=names.animals)
    groups = groups[groups.isin(list(config.protocols))]
    endpoints = [name for role in choose_endpoints(config, wide(last.animals).columns) for name in role]
    curve = timed("specifications", lambda: list(specifications(last, config, args.jobs)))
    timed(f"intervals of {len(endpoints)} endpoints", lambda: specification_curve(curve, groups, config, endpoints))


if __name__ == "__main__":
    main()
