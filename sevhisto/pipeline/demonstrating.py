"""`sevhisto demo`: a study with known truth, run to the end, and how far the result is from the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sevhisto.io.store import read_table
from sevhisto.phantom import StudySpec, StudyTruth, load_truth, make_study
from sevhisto.pipeline.answering import CompareSummary, compare, report
from sevhisto.pipeline.running import RunSummary, quiet, run
from sevhisto.pipeline.stages import Progress
from sevhisto.schema import SECTIONS
from sevhisto.types import Problem, StudyError

MEASURED = ("CD68", "CD206", "fibronectin", "collagen_I")


@dataclass(frozen=True)
class DemoSummary:
    """What the demo made, and its distance from the truth.

    Attributes
    ----------
    accuracy : rows marker, zone, measured_pct, true_pct, error_points; means over sections with a lesion
    effects : rows endpoint, contrast, declared, measured, low, high, inside
    """

    study: Path
    run: RunSummary
    compared: CompareSummary
    report: Path
    accuracy: pd.DataFrame
    effects: pd.DataFrame


def demo(folder: Path, spec: StudySpec | None = None, jobs: int = 2, progress: Progress = quiet) -> DemoSummary:
    """Write a synthetic study to `folder`, measure it, open its key, compare, report, and hold the result against the truth.

    A folder that holds a complete synthetic study is taken up as it is. StudyError if it holds anything else.
    """
    progress("synthetic study", 0, 1)
    if not (folder / "truth" / "animals.csv").is_file():  # the last file that is written
        if folder.exists() and any(folder.iterdir()):
            raise StudyError(Problem(str(folder), "exists, and holds no complete synthetic study", "name a new folder, or delete this one"))
        make_study(folder, spec or StudySpec(), jobs)
    progress("synthetic study", 1, 1)
    ran = run(folder, jobs, progress=progress)
    compared = compare(folder, open_key=True)
    progress("report", 0, 1)
    page = report(folder, jobs)
    progress("report", 1, 1)
    truth = load_truth(folder)
    sections = read_table(folder / "results" / "sections.csv", SECTIONS)
    return DemoSummary(folder, ran, compared, page, accuracy(sections, truth), effects(compared.comparisons, truth))


def accuracy(sections: pd.DataFrame, truth: StudyTruth) -> pd.DataFrame:
    """Return the measured against the true positive fraction (% of the examined tissue), per marker and zone.

    The truth is the noise-free image at the threshold that was applied.

    Parameters
    ----------
    sections : `schema.SECTIONS`, under true names
    """
    both = joined(sections, truth)
    rows = []
    for (marker, zone), part in both.groupby(["marker", "zone"], sort=False):
        measured = 100 * part["positive_um2"].sum() / max(part["zone_um2"].sum(), 1)
        true = 100 * part["positive_um2_true"].sum() / max(part["zone_um2_true"].sum(), 1)
        rows.append((marker, zone, measured, true, measured - true, len(part)))
    return pd.DataFrame(rows, columns=["marker", "zone", "measured_pct", "true_pct", "error_points", "sections"])


def joined(sections: pd.DataFrame, truth: StudyTruth) -> pd.DataFrame:
    """Return the sections with a lesion, measured and true side by side (``_true``), for the markers that treatments may change."""
    chosen = sections[sections["marker"].isin(MEASURED)]
    first = chosen.drop_duplicates(["marker", "batch"])
    thresholds = {(str(r["marker"]), str(r["batch"])): float(r["threshold"]) for r in first.to_dict("records")}
    table = truth.table(thresholds)
    lesioned = table[(table["zone"] == "core") & (table["zone_um2"] > 0) & (table["role"] == "sample")]
    keys = ["animal", "section", "panel"]
    table = table.merge(lesioned[keys].drop_duplicates(), on=keys)
    return table.merge(chosen, on=[*keys, "zone", "marker"], suffixes=("_true", ""))


def effects(comparisons: pd.DataFrame, truth: StudyTruth) -> pd.DataFrame:
    """Return the declared effects beside the measured ones: ratios of matrix volume in the core, and differences of the motor AUC."""
    rows = []
    for name, contrast in truth.declared["contrasts"].items():
        here = comparisons[comparisons["contrast"] == name].set_index("endpoint")
        for marker, ratio in contrast["ecm_ratio"].items():
            endpoint = f"B_core_{marker}_positive_volume_mm3"
            if endpoint in here.index:
                r = here.loc[endpoint]
                rows.append((endpoint, name, "ratio", ratio, r["ratio"], r["ratio_low"], r["ratio_high"]))
        if "BBB_auc_score_days" in here.index:
            r = here.loc["BBB_auc_score_days"]
            rows.append(
                ("BBB_auc_score_days", name, "difference", contrast["bbb_auc_difference"], r["estimate"], r["ci_low"], r["ci_high"])
            )
    table = pd.DataFrame(rows, columns=["endpoint", "contrast", "scale", "declared", "measured", "low", "high"])
    return table.assign(inside=np.where((table["low"] <= table["declared"]) & (table["declared"] <= table["high"]), "yes", "no"))
