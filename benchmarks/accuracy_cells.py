"""How far are the counts of macrophages from what is there, and do their bounds hold it?

Synthetic sections of panel A (DAPI, GFAP, CD68, CD206, blank) of seeds that no test uses and no choice was made on, crowded with foamy
cells that lie over each other. They are measured in memory with the true offset and the true shares of autofluorescence and leaks, so that
the counting is judged and not the controls; the pixels' threshold is 25 grey levels, which is about what controls of such
sections give. What follows is what `sevhisto run` does. accuracy.py goes the whole way, through files and controls.

CD68+ nuclei are compared with the nuclei whose centre lies on a CD68+ cell, its vacuoles included. Two other truths stand beside it: of
these only the nuclei that do not lie on a vacuole (where no CD68 is painted), and the nuclei of the painted CD68+ cells themselves (others
lie over or under those cells, which no measurement in the plane can tell). `held` is in how many sections the bounds hold the truth.

    .venv/bin/python benchmarks/accuracy_cells.py                 # ten seeds, thirty sections: two CPU minutes
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd
from accuracy import show, spread
from asked import Asked
from phantoms import Case, extra, section_spec

from sevhisto.config import ImagingSettings, PanelSettings, StudyConfig, parse_config
from sevhisto.decide.rows import SectionRow
from sevhisto.decide.section_table import section_table
from sevhisto.decide.thresholds import find_thresholds
from sevhisto.imaging.overview import marker_reader, slide_overview
from sevhisto.imaging.plan import plan_section
from sevhisto.imaging.section import measure_section
from sevhisto.phantom import MARKERS, PANEL_A, PhantomSection, make_section
from sevhisto.types import AnyArray, Correction, SectionRecord

SEEDS = tuple(range(6101, 6111))
CASE = Case("transverse 1.3 um/px", 1.3)
ROLES = {"DAPI": "nuclei", "GFAP": "landmark", "CD68": "macrophage", "CD206": "macrophage", "AF": "autofluorescence"}
TRUTHS = {
    "core": {"nuclei on CD68+ cells": "on_cd68_core", "nuclei of CD68+ cells": "cells_cd68_core", "not on a vacuole": "on_paint_core"},
    "all": {"nuclei on CD68+ cells": "on_cd68"},
}


class InMemory:
    """A synthetic section as a source of pixels."""

    def __init__(self, section: PhantomSection) -> None:
        self.image, self.um_per_px = section.image, section.spec.um_per_px
        self.channels, self.shape = tuple(section.spec.markers), section.image.shape[1:]

    def read(self, channels: list[int], y0: int, y1: int, x0: int, x1: int) -> AnyArray:
        """Return a region of some channels."""
        return self.image[list(channels), y0:y1, x0:x1]


def study() -> StudyConfig:
    """Return the settings: thresholds by hand, everything else as it is by default."""
    channels = [{"channel": i, "marker": m, "role": ROLES[m], "threshold": 25.0} for i, m in enumerate(PANEL_A, 1)]
    return parse_config({"study": {"name": "cells", "section_spacing_um": 200}, "panels": {"A": {"channels": channels}}})


def measured(section: PhantomSection, panel: PanelSettings) -> SectionRecord:
    """Return the record of a section, background taken away as it was put there."""
    spec, source = section.spec, InMemory(section)
    mixing = np.eye(len(PANEL_A))
    mixing[:, -1] = [MARKERS[m].af_share / MARKERS["AF"].af_share for m in PANEL_A]
    for into, of in spec.bleed_through.items():
        for origin, share in of.items():
            mixing[PANEL_A.index(into), PANEL_A.index(origin)] += share
    offset = np.full(len(PANEL_A), float(spec.offset + spec.glass))
    shares = {m: float(mixing[i, -1]) for i, m in enumerate(PANEL_A[:-1])}
    correction = Correction(offset, np.linalg.inv(mixing), ("no_primary",) * len(PANEL_A), shares)
    settings, reader = ImagingSettings(), marker_reader(panel, range(len(PANEL_A)), 65535)
    step = max(1, round(settings.overview_um / spec.um_per_px))
    h, w = source.shape
    padded = np.pad(source.image.astype(np.float32), ((0, 0), (0, -h % step), (0, -w % step)), mode="edge")
    small = padded.reshape(len(PANEL_A), padded.shape[1] // step, step, padded.shape[2] // step, step).mean((2, 4))
    overview = slide_overview(small.astype(np.float32), step, spec.um_per_px * step, reader, settings)
    plan = plan_section(overview, source.shape, panel, correction, settings, piece=None)
    return measure_section(source, plan, reader, panel, correction, settings)  # type: ignore[arg-type]


def seed_rows(seed: int, config: StudyConfig) -> list[dict[str, Any]]:
    """Return what was counted and what is true, one row per section of a seed; its sections are one batch."""
    rows, facts = [], {}
    for i, scale in enumerate(s for s in CASE.scales if s):
        section = make_section(section_spec(CASE, "A", seed, scale), 100 * seed + i)
        nuclei = section.truth.nuclei
        facts[f"s{i}"] = extra(section) | {"nuclei": len(nuclei), "nuclei_core": int(nuclei.in_core.sum())}
        record = measured(section, config.panels["A"])
        rows.append(SectionRow("a", f"s{i}", "A", "b", "sample", 400.0 * i, "ok", record=record))
    table = section_table(rows, find_thresholds(rows, config), config).set_index(["section", "zone", "marker"])
    return [{"table": table.loc[name], "truth": truth} for name, truth in facts.items()]


def counts_table(sections: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the errors of counts (%) and of the CD206+ share (points)."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for section in sections:
        table, truth = section["table"], section["truth"]
        n = table["n_cells"]
        both, on68 = table.loc[("core", "CD206"), "n_cells_cd68"], n["core", "CD68"]
        for what, found, true in (
            ("nuclei, section", n["all", "DAPI"], truth["nuclei"]),
            ("nuclei, core", n["core", "DAPI"], truth["nuclei_core"]),
            ("CD68+ nuclei, core", on68, truth["on_cd68_core"]),
            ("CD68+ nuclei, section", n["all", "CD68"], truth["on_cd68"]),
            ("CD206+ of CD68+, core (%)", 100 * both / on68, 100 * truth["on_both_core"] / truth["on_cd68_core"]),
        ):
            lines.setdefault(what, []).append((float(found), float(true)))
    out = []
    for what, pairs in lines.items():
        found, true = (pd.Series(v) for v in zip(*pairs, strict=True))
        points = what.endswith("(%)")
        error, limit = (found - true, 3) if points else (100 * (found / true - 1), 5)
        row = {"what": what, "n": len(found), "true, mean": f"{true.mean():.1f}", "measured": f"{found.mean():.1f}"}
        row |= {"error: mean (worst)": spread(error) + (" points" if points else " %")}
        out.append(row | {"asked": f"{limit} {'points' if points else '%'}", "within": f"{int((error.abs() <= limit).sum())}/{len(found)}"})
    return pd.DataFrame(out)


def bounds_table(sections: list[dict[str, Any]]) -> pd.DataFrame:
    """Return how often the bounds of the CD68+ count hold the truth, and how wide they are."""
    out = []
    for zone, names in TRUTHS.items():
        found = pd.DataFrame([s["table"].loc[(zone, "CD68"), ["n_cells_low", "n_cells", "n_cells_high"]].astype(float) for s in sections])
        for what, column in names.items():
            true = np.array([s["truth"][column] for s in sections], float)
            held = (found["n_cells_low"] <= true) & (true <= found["n_cells_high"])
            row = {"zone": zone, "true": what, "held": f"{held.sum()}/{len(held)}"}
            for name, values in (("true", true), ("low", found["n_cells_low"]), ("high", found["n_cells_high"])):
                share = values / found["n_cells"]
                row[f"{name} / count: mean (range)"] = f"{share.mean():.2f} ({share.min():.2f} to {share.max():.2f})"
            out.append(row)
    return pd.DataFrame(out)


def main() -> None:
    """Make, measure and compare one seed after the other."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    config = study()
    sections = [row for seed in ask.parse_args().seeds for row in seed_rows(seed, config)]
    show("Counts", counts_table(sections))
    bounds = bounds_table(sections)
    show("Bounds of the CD68+ count", bounds)
    asked = Asked(__file__)
    for row in bounds.to_dict("records"):
        held, n = map(int, row["held"].split("/"))
        asked.line(f"phantoms, {row['zone']}, {row['true']}", "bounds of the CD68+ count hold it", ">= 95 %", row["held"], held >= 0.95 * n)
    asked.close()


if __name__ == "__main__":
    main()
