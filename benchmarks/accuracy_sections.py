"""How far is what the program measures from what is really there?

Synthetic sections of seeds that no test uses are written as slides, with control slides of their own (unstained, no primary, uninjured),
into a small study per kind of section, measured by the same function that `sevhisto run` calls, and compared with their truth:

outlines     Dice of tissue, cavity and lesion core with the true polygons, at full resolution; lesions found where there is none
zone areas   tissue of each zone around the lesion
area         share of a zone's tissue that is positive, against the noise-free image at the same threshold
Otsu         the same share if every image were thresholded by Otsu for itself, as is common, in the true zones
counts       nuclei, and CD68+ and CD206+ cells, against nuclei whose centre lies on the painted structure
alignment    of the fibres in the core, against the noise-free image on the painted structure

Every seed is one animal and one stain batch. `worst` is the section that is furthest off; `met` counts sections. Plain counts are those of
scikit-image: Otsu, distance transform, watershed; a nucleus is CD68+ where the mean around it is above Otsu's threshold. Of each case a
montage is written to benchmarks/out/: white is the true outline of tissue, core and cavity, red the core that was measured, blue the
cavity.

    .venv/bin/python benchmarks/accuracy_sections.py            # ten seeds: 20 CPU minutes
    .venv/bin/python benchmarks/accuracy_sections.py --quick    # one seed at 1.3 um/px: one minute
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from asked import Asked, mean_and_worst, show
from phantoms import Case, make, without_blank
from section_pictures import measured_masks, montage, true_masks

from sevhisto.io.records import load_record
from sevhisto.io.store import read_table
from sevhisto.phantom import StudyTruth, load_truth
from sevhisto.pipeline import run
from sevhisto.schema import RECORDS, SECTIONS
from sevhisto.types import BoolArray

OUT = Path(__file__).parent / "out"
KEYS = ["animal", "section", "panel"]
SHARE = "CD206+ of CD68+, core (%)"
SEEDS = tuple(range(9711, 9721))
ENDPOINTS = ("CD68", "CD206", "fibronectin", "collagen_I")
CASES = (
    Case("transverse 1.3 um/px", 1.3),
    Case("sagittal 1.3 um/px", 1.3, "sagittal", (1.0, 0.0)),
    Case("transverse 0.65 um/px", 0.65, scales=(1.0, 0.0)),
)


def dice(a: BoolArray, b: BoolArray) -> float:
    """Return the Dice coefficient; 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def outline_rows(study: Path, truth: StudyTruth, pictures: list[Any]) -> pd.DataFrame:
    """Return Dice and area ratio of each sample section's outlines."""
    records = read_table(study / "results" / "records.csv", RECORDS).set_index(KEYS)
    rows = []
    for piece in truth.sections[truth.sections["role"] == "sample"].to_dict("records"):
        name = records.loc[tuple(piece[k] for k in KEYS), "record"]
        record = load_record(study / "results" / "records" / str(name))
        shapes = truth.outlines[f"{piece['file']}#{piece['piece']}"]
        a, b = shapes["box_y0_x0_y1_x1"], [*record.meta["corner_px"], *record.meta["shape_px"]]
        corner = (min(a[0], b[0]), min(a[1], b[1]))
        shape = (max(a[2], b[0] + b[2]) - corner[0], max(a[3], b[1] + b[3]) - corner[1])
        real, found = true_masks(shapes, corner, shape), measured_masks(record, corner, shape)
        row = {k: piece[k] for k in KEYS} | {"injured": bool(shapes["core"]), "found": bool(found["core"].any())}
        for part in real:
            row[f"{part}_dice"] = dice(real[part], found[part])
            row[f"{part}_ratio"] = found[part].sum() / max(int(real[part].sum()), 1)
        row["flags"] = ";".join(record.meta["flags"])
        rows.append(row)
        pictures.append((f"{piece['animal']} {piece['panel']} {piece['section']}", record, real, found, corner, row["core_dice"]))
    return pd.DataFrame(rows)


def area_rows(study: Path, truth: StudyTruth, more: pd.DataFrame) -> pd.DataFrame:
    """Return, per sample section with a lesion, marker and zone, what was measured and what is true."""
    sections = read_table(study / "results" / "sections.csv", SECTIONS)
    parts = []
    for panel, mine in sections.groupby("panel"):
        used = mine.drop_duplicates(["marker", "batch"])
        table = truth.table({(r["marker"], r["batch"]): float(r["threshold"]) for r in used.to_dict("records")})
        parts.append(table[(table["panel"] == panel) & (table["role"] == "sample")])
    both = pd.concat(parts).merge(sections, on=[*KEYS, "zone", "marker"], suffixes=("_true", ""))
    both["measured_pct"] = 100 * both["positive_um2"] / both["zone_um2"].clip(lower=1)
    both["true_pct"] = 100 * both["positive_um2_true"] / both["zone_um2_true"].clip(lower=1)
    lesioned = more[more["lesion_scale"] > 0]
    both = both.merge(lesioned, on=KEYS)
    both["otsu_pct"] = [r.get(f"otsu|{r['marker']}|{r['zone']}", np.nan) for r in both.to_dict("records")]
    return both[both["marker"] != "AF"]


def close_enough(part: pd.DataFrame) -> pd.Series:
    """Return which sections are within 1.5 points and, where the truth is 5 % or more, within 10 % of it."""
    points = (part["measured_pct"] - part["true_pct"]).abs()
    return (points <= 1.5) & ((part["true_pct"] < 5) | (points <= 0.1 * part["true_pct"]))


def area_table(both: pd.DataFrame) -> pd.DataFrame:
    """Return one row per panel, marker and zone; a section meets what is asked within 1.5 points and, from 5 % up, 10 %."""
    rows = []
    for (panel, marker, zone), part in both[both["zone"].isin(["core", "0-250", "250-500"])].groupby(
        ["panel", "marker", "zone"], sort=False
    ):
        points = part["measured_pct"] - part["true_pct"]
        relative = 100 * (part["measured_pct"] / part["true_pct"] - 1)
        large = part["true_pct"] >= 5
        otsu = part["otsu_pct"] - part["true_pct"]
        rows.append(
            {
                "panel": panel,
                "marker": marker,
                "zone": zone,
                "n": len(part),
                "threshold": f"{part['threshold'].mean():.0f}",
                "true %": f"{part['true_pct'].mean():.1f}",
                "points: mean (worst)": mean_and_worst(points),
                "rel. % where true >= 5: mean (worst)": mean_and_worst(relative[large]) if large.any() else "",
                "met": f"{int(close_enough(part).sum())}/{len(part)}",
                "Otsu, points": mean_and_worst(otsu) if otsu.notna().any() else "",
            }
        )
    return pd.DataFrame(rows)


def zone_table(both: pd.DataFrame) -> pd.DataFrame:
    """Return the relative error of each zone's tissue area."""
    once = both[both["marker"] == "DAPI"]
    rows = []
    for zone, part in once[once["zone_um2_true"] > 0].groupby("zone", sort=False):
        rows.append({"zone": zone, "n": len(part), "area, rel. %": mean_and_worst(100 * (part["zone_um2"] / part["zone_um2_true"] - 1))})
    return pd.DataFrame([r for r in rows if not str(r["zone"]).endswith(("rostral", "caudal"))])


def outline_table(outlines: pd.DataFrame) -> pd.DataFrame:
    """Return Dice and area of the outlines, and lesions falsely found."""
    rows = []
    for panel, part in outlines.groupby("panel"):
        hurt, whole = part[part["injured"]], part[~part["injured"]]
        row = {"panel": panel, "n": len(hurt)}
        for name in ("tissue", "cavity", "core"):
            row[f"{name} Dice mean (min)"] = f"{hurt[f'{name}_dice'].mean():.3f} ({hurt[f'{name}_dice'].min():.3f})"
            row[f"{name} area %"] = mean_and_worst(100 * (hurt[f"{name}_ratio"] - 1))
        row["core >= 0.93"] = f"{int((hurt['core_dice'] >= 0.93).sum())}/{len(hurt)}"
        row["false lesions"] = f"{int(whole['found'].sum())}/{len(whole)}"
        rows.append(row)
    return pd.DataFrame(rows)


def count_rows(study: Path, truth: StudyTruth, more: pd.DataFrame) -> pd.DataFrame:
    """Return, per sample section, what was counted, what is true, and what the plain way counts; shares of cells in percent."""
    sections = read_table(study / "results" / "sections.csv", SECTIONS)
    keyed = sections.set_index([*KEYS, "zone", "marker"])
    facts = truth.sections.merge(more, on=KEYS)
    rows = []
    for piece in facts.to_dict("records"):
        key = tuple(piece[k] for k in KEYS)

        def n(zone: str, marker: str, column: str = "n_cells", key: tuple[Any, ...] = key) -> float:
            return float(keyed.loc[(*key, zone, marker), column])

        def add(what: str, measured: float, true: float, plain: float, panel: str = piece["panel"]) -> None:
            rows.append({"panel": panel, "what": what, "measured": measured, "true": true, "plain": plain})

        add("nuclei, section", n("all", "DAPI"), piece["n_nuclei"], piece["plain_nuclei"])
        if piece["lesion_scale"] == 0:
            continue
        add("nuclei, core", n("core", "DAPI"), piece["n_nuclei_core"], piece["plain_nuclei_core"])
        if piece["panel"] == "A":
            add("CD68+ nuclei, core", n("core", "CD68"), piece["on_cd68_core"], piece["plain_cd68_core"])
            add("CD68+ nuclei, section", n("all", "CD68"), piece["on_cd68"], piece["plain_cd68"])
            add("CD68+ cells as painted, core", n("core", "CD68"), piece["cells_cd68_core"], np.nan)
            both = 100 * n("core", "CD206", "n_cells_cd68") / n("core", "CD68")
            plain = 100 * piece["plain_both_core"] / max(piece["plain_cd68_core"], 1)
            add(SHARE, both, 100 * piece["on_both_core"] / piece["on_cd68_core"], plain)
    return pd.DataFrame(rows)


def count_table(counted: pd.DataFrame) -> pd.DataFrame:
    """Return the relative error of counts."""
    out = []
    for (panel, what), part in counted.groupby(["panel", "what"], sort=False):
        relative, plain = (100 * (part[k] / part["true"] - 1) for k in ("measured", "plain"))
        row = {"panel": panel, "what": what, "n": len(part), "true, mean": f"{part['true'].mean():.1f}"}
        row |= {"measured": f"{part['measured'].mean():.1f}", "rel. %: mean (worst)": mean_and_worst(relative)}
        out.append(row | {"within 5 %": f"{int((relative.abs() <= 5).sum())}/{len(part)}", "plain, rel. %": mean_and_worst(plain)})
    return pd.DataFrame(out)


def alignment_table(both: pd.DataFrame) -> pd.DataFrame:
    """Return measured and true coherency of the fibres in the core."""
    core = both[(both["zone"] == "core") & both["marker"].isin(["fibronectin", "collagen_I"])].copy()
    xx, yy, xy = core["fibre_xx"], core["fibre_yy"], core["fibre_xy"]
    core["measured"] = np.hypot(yy - xx, 2 * xy) / (xx + yy)
    core["true"] = [r[f"alignment|{r['marker']}"] for r in core.to_dict("records")]
    rows = []
    for marker, part in core.groupby("marker", sort=False):
        error = part["measured"] - part["true"]
        rows.append(
            {
                "marker": marker,
                "n": len(part),
                "true": part["true"].mean(),
                "measured": part["measured"].mean(),
                "error": mean_and_worst(error),
            }
        )
    return pd.DataFrame(rows).round(3)


def hand_in(asked: Asked, on: str, outlines: pd.DataFrame, both: pd.DataFrame, counted: pd.DataFrame) -> None:
    """Add the lines of one case: means over sections, the worst one in brackets."""
    hurt, whole = outlines[outlines["injured"]], outlines[~outlines["injured"]]
    found = f"{hurt['core_dice'].mean():.3f} (worst {hurt['core_dice'].min():.3f})"
    asked.line(on, "lesion core, Dice", ">= 0.93", found, bool(hurt["core_dice"].mean() >= 0.93))
    asked.line(on, "lesions where there is none", "<= 2 %", f"{int(whole['found'].sum())} of {len(whole)}", whole["found"].mean() <= 0.02)
    for marker in ENDPOINTS:
        for zone in ("core", "0-250"):
            part = both[(both["marker"] == marker) & (both["zone"] == zone)]
            points, plain = part["measured_pct"] - part["true_pct"], part["otsu_pct"] - part["true_pct"]
            good = int(close_enough(part).sum())
            measured = f"{mean_and_worst(points)} of {part['true_pct'].mean():.1f} %; {good} of {len(part)} sections within"
            met = abs(points.mean()) <= (1.5 if part["true_pct"].mean() < 5 else min(1.5, 0.1 * part["true_pct"].mean()))
            asked.line(on, f"{marker} area, {zone}, points", "1.5; 10 % of it from 5 %", measured, met, mean_and_worst(plain))
    for what, part in counted.groupby("what", sort=False):
        if what == SHARE:
            error, plain = (part[k] - part["true"] for k in ("measured", "plain"))
            asked.line(on, what, "3 points", mean_and_worst(error), abs(error.mean()) <= 3, mean_and_worst(plain))
        elif "painted" not in what:
            error, plain = (100 * (part[k] / part["true"] - 1) for k in ("measured", "plain"))
            asked.line(on, f"{what}, %", "5 %", mean_and_worst(error), abs(error.mean()) <= 5, mean_and_worst(plain))


def measure(name: str, study: Path, more: pd.DataFrame, jobs: int, asked: Asked) -> None:
    """Run a study, print its tables, write its montage and hand in its lines."""
    ran = run(study, jobs)
    if ran.failed:
        raise SystemExit(f"{name}: {ran.failed} sections failed: {ran.failures[0]}")
    truth = load_truth(study)
    pictures: list[Any] = []
    outlines, both, counted = outline_rows(study, truth, pictures), area_rows(study, truth, more), count_rows(study, truth, more)
    file = name.replace(" ", "_").replace("/", "_per_").replace(",", "")
    outlines.to_csv(OUT / f"accuracy_{file}_outlines.csv", index=False)
    both.to_csv(OUT / f"accuracy_{file}_areas.csv", index=False)
    montage(OUT / f"accuracy_{file}.png", pictures)
    show(f"{name}: outlines", outline_table(outlines))
    show(f"{name}: zone areas", zone_table(both))
    show(f"{name}: positive area", area_table(both))
    show(f"{name}: counts", count_table(counted))
    show(f"{name}: alignment of fibres in the core", alignment_table(both))
    hand_in(asked, f"phantoms, {name}, n = {int(outlines['injured'].sum())}", outlines, both, counted)


def main() -> None:
    """Make, measure and compare every case."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    ask.add_argument("--jobs", type=int, default=2)
    ask.add_argument("--quick", action="store_true", help="first seed, transverse at 1.3 um/px only")
    ask.add_argument("--without-blank", action="store_true", help="measure the first case also without its blank channel")
    o = ask.parse_args()
    OUT.mkdir(exist_ok=True)
    seeds, cases = (o.seeds[:1], CASES[:1]) if o.quick else (o.seeds, CASES)
    asked = Asked(__file__)
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="sevhisto-accuracy-") as folder:
            study = Path(folder) / "study"
            chosen = seeds[:2] if case.um_per_px < 1 else seeds
            more = make(study, case, chosen, o.jobs)
            measure(case.name, study, more, o.jobs, asked)
            if o.without_blank and case is CASES[0]:
                bare = Path(folder) / "bare"
                without_blank(bare, study)
                ran = run(bare, o.jobs)
                assert not ran.failed
                bare_rows = area_rows(bare, load_truth(bare), more)
                show(f"{case.name}, no blank channel: positive area", area_table(bare_rows[bare_rows["marker"] != "DAPI"]))
    asked.close()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"\n{sum(u.ru_utime + u.ru_stime for u in used):.0f} CPU s, making the sections included")


if __name__ == "__main__":
    main()
