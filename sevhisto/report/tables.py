"""Tables of the report as text cells, with units in the heads and no more digits than the numbers carry."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sevhisto.metrics import endpoint_name, unit_of
from sevhisto.registry import FLAGS, split_flags
from sevhisto.report.figures import group_order
from sevhisto.report.words import (
    endpoint_words,
    finite,
    fixed,
    number,
    p_words,
    pair_words,
    places_of,
    ratio_words,
    sentence,
    tells_ratio,
)


@dataclass(frozen=True)
class TextTable:
    """Heads, which columns are numbers (set right), and rows of text."""

    heads: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]


def text_table(columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> TextTable | None:
    """Return a table from heads, each with whether its column holds numbers, and rows; None without rows."""
    cells = tuple(tuple(r) for r in rows)
    return TextTable(tuple(h for h, _ in columns), tuple(n for _, n in columns), cells) if cells else None


def plural(n: int, word: str) -> str:
    """Return ``1 animal``, ``2 animals``."""
    return f"{n} {word}{'' if n == 1 else 's'}"


def flag_meaning(flag: str) -> str:
    """Return what a flag means, as a sentence; a flag that nobody registered stands for itself."""
    return sentence(FLAGS[flag].meaning) if flag in FLAGS else flag


def flag_list(cell: str) -> list[tuple[str, str]]:
    """Return the flags of a cell with their meanings, in registry order."""
    flags = split_flags(cell)
    return [(f, flag_meaning(f)) for f in [*(f for f in FLAGS if f in flags), *sorted(flags - set(FLAGS))]]


def comparison_table(rows: pd.DataFrame | None) -> TextTable | None:
    """Return one row per comparison: difference with interval, g, ratio, p, adjusted p, n and flags."""
    if rows is None:
        return None
    columns = [("endpoint", False), ("contrast", False), ("difference (95 % interval)", True), ("g", True)]
    columns += [("ratio", True), ("p", True), ("adjusted p", True), ("n", True), ("flags", False)]
    return text_table(columns, (_comparison_row(r) for r in rows.to_dict("records")))


def with_values(rows: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return the comparisons for which one side at least has an animal with a value."""
    return None if rows is None else rows[(rows["n_a"] > 0) | (rows["n_b"] > 0)]


def _comparison_row(r: Mapping[Any, Any]) -> list[str]:
    end = endpoint_words(str(r["endpoint"]))
    unit = "pp" if end.unit == "%" else end.unit
    g = fixed(r["hedges_g"], 2) if finite(r["hedges_g"]) else "–"
    ratio = ratio_words(r["ratio"]) if tells_ratio(r) else "–"
    label = f"{end.label} [{end.panel}]" if end.panel and not end.label.startswith(end.panel) else end.label
    p = [p_words(r["p"]), p_words(r["p_adjusted"])]
    return [label, str(r["contrast"]), estimate_words(r, unit), g, ratio, *p, f"{int(r['n_a'])}, {int(r['n_b'])}", _shown_flags(r)]


def relation_table(rows: pd.DataFrame | None) -> TextTable | None:
    """Return one row per relation and model: slope with interval, partial correlation, p, n and flags."""
    if rows is None:
        return None
    columns = [("endpoints", False), ("model", False), ("slope per SD (95 % interval)", True), ("partial r", True), ("p", True)]
    return text_table([*columns, ("n", True), ("flags", False)], (_relation_row(r) for r in rows.to_dict("records")))


def _relation_row(r: Mapping[Any, Any]) -> list[str]:
    ecm, motor = str(r["ecm"]), str(r["motor"])
    partial = fixed(r["correlation"], 2) if finite(r["correlation"]) else "–"
    slope = estimate_words(r, endpoint_words(motor).unit)
    return [pair_words(ecm, motor), str(r["model"]), slope, partial, p_words(r["p"]), str(int(r["n"])), _shown_flags(r)]


def common_flags(comparisons: pd.DataFrame | None, relations: pd.DataFrame | None) -> list[str]:
    """Return the flags that every result on tissue carries: they are said once, at the top, and not at each result."""
    cells = [] if relations is None else [str(c) for c in relations["flags"]]
    if comparisons is not None:
        tissue = [endpoint_words(str(e)).tissue for e in comparisons["endpoint"]]
        cells += [str(c) for c in comparisons["flags"][tissue]]
    if len(cells) < 2:
        return []
    shared = set.intersection(*(split_flags(c) for c in cells)) - {"not_unblinded"}
    return [f for f, _ in flag_list(";".join(shared))]


def without_flags(frame: pd.DataFrame | None, flags: Sequence[str]) -> pd.DataFrame | None:
    """Return a copy of the table in which `flags` do not stand."""
    if frame is None:
        return None
    kept = [";".join(f for f, _ in flag_list(str(c)) if f not in flags) for c in frame["flags"]]
    return frame.assign(**{"flags": kept})  # `flags` is also an attribute of every DataFrame


def _shown_flags(r: Mapping[Any, Any]) -> str:
    return ", ".join(f for f, _ in flag_list(str(r["flags"])) if f != "not_unblinded")


def estimate_words(r: Mapping[Any, Any], unit: str) -> str:
    """Return an estimate with its interval; a dash where there is none."""
    if not finite(r["estimate"]):
        return "–"
    places = places_of(r)
    interval = "no interval"
    if finite(r["ci_low"]) and finite(r["ci_high"]):
        interval = f"{fixed(r['ci_low'], places)} to {fixed(r['ci_high'], places)}"
    return f"{fixed(r['estimate'], places)} ({interval}) {unit}".strip()


def animal_table(animals: pd.DataFrame, wide: pd.DataFrame, groups: pd.Series, shown: Sequence[str]) -> TextTable | None:
    """Return one row per animal: group, the shown endpoints, sections measured of those expected, and flags."""
    ends = [endpoint_words(e) for e in shown]
    columns = [("animal", False), ("group", False), *((e.axis, True) for e in ends)]
    columns += [("sections, measured / listed", True), ("flags", False)]
    flags = _flags_of(animals, shown)
    sections = _sections(animals)
    rows = []
    for group in group_order(groups):
        for animal in groups.index[groups.astype(str).to_numpy() == group]:
            values = [number(wide.loc[animal, e]) if animal in wide.index else "–" for e in shown]
            own = ", ".join(f for f, _ in flag_list(flags.get(str(animal), "")))
            rows.append([str(animal), group, *values, sections.get(str(animal), "0"), own])
    return text_table(columns, rows)


def _flags_of(animals: pd.DataFrame, shown: Sequence[str]) -> dict[str, str]:
    """Return the flags of each animal that belong to the shown endpoints; those of all others stand in animals.csv."""
    names = [
        endpoint_name(*(str(r[k]) for k in ("panel", "zone", "marker", "metric"))) if unit_of(str(r["metric"])) else ""
        for r in animals[["panel", "zone", "marker", "metric"]].drop_duplicates().to_dict("records")
    ]
    keys = animals[["panel", "zone", "marker", "metric"]].drop_duplicates().assign(endpoint=names)
    own = animals.merge(keys[keys["endpoint"].isin(list(shown))], on=["panel", "zone", "marker", "metric"])
    return {str(a): ";".join(str(f) for f in rows) for a, rows in own.groupby("animal")["flags"]}


def _sections(animals: pd.DataFrame) -> dict[str, str]:
    """Return sections over all panels, measured / listed; rows of motor tests (no zone) hold none."""
    tissue = animals[animals["zone"].astype(str) != ""]
    per_panel = tissue.groupby(["animal", "panel"])[["n_sections", "n_expected"]].max()
    total = per_panel.groupby(level="animal").sum()
    return {str(a): f"{int(r['n_sections'])} / {int(r['n_expected'])}" for a, r in total.iterrows()}


def threshold_table(thresholds: pd.DataFrame | None) -> TextTable | None:
    """Return the thresholds that were applied, and which controls gave them."""
    if thresholds is None:
        return None
    columns = [("panel", False), ("batch", False), ("marker", False), ("threshold (grey levels)", True)]
    columns += [("from", False), ("controls", False), ("bridge factor (95 % interval)", True), ("flags and doubts", False)]
    return text_table(columns, (_threshold_row(r) for r in thresholds.to_dict("records")))


def _threshold_row(r: Mapping[Any, Any]) -> list[str]:
    controls = str(r.get("controls", ""))
    told = controls if r["source"] != "batch" and controls else plural(int(r["n_controls"]), "section")
    bridge, low, high = (float(r.get(f"bridge_{name}", math.nan)) for name in ("factor", "low", "high"))
    factor = fixed(bridge, 2) if finite(bridge) else "–"
    if finite(bridge):
        factor += f" ({fixed(low, 2)} to {fixed(high, 2)})" if finite(low) and finite(high) else " (no interval)"
    doubts = "; ".join(t for t in (", ".join(f for f, _ in flag_list(str(r.get("flags", "")))), str(r.get("doubts", ""))) if t)
    threshold = "of each image" if r["source"] == "per_image" else number(r["threshold"], 4)
    return [str(r["panel"]), str(r["batch"]), str(r["marker"]), threshold, str(r["source"]), told, factor, doubts]


def autofluorescence_table(animals: pd.DataFrame) -> TextTable | None:
    """Return how much of the area that would be positive autofluorescence explains: median and range over animals, by marker and zone."""
    own = animals[(animals["metric"] == "autofluorescent_pct") & animals["value"].notna() & animals["zone"].isin(["core", "all"])]
    columns = [("panel", False), ("marker", False), ("zone", False), ("explained by autofluorescence (%)", True)]
    columns += [("lowest to highest animal", True), ("animals", True)]
    rows = []
    for (panel, marker, zone), part in own.groupby(["panel", "marker", "zone"], sort=False):
        low, high = (fixed(float(v), 1) for v in (part["value"].min(), part["value"].max()))
        rows.append([str(panel), str(marker), str(zone), fixed(float(part["value"].median()), 1), f"{low} to {high}", str(len(part))])
    return text_table(columns, rows)


def exposure_table(exposure: pd.DataFrame | None) -> TextTable | None:
    """Return one row per group at the half-life that is set: means over its animals, and how many carry which flag."""
    if exposure is None or exposure.empty:
        return None
    main = exposure[exposure["half_life_min"] == exposure["half_life_min"].iloc[0]]
    numbers = ("administrations", "duration_h", "dose", "peak", "trough", "time_above_h", "auc", "residence_h", "uptake_h")
    heads = ["given", "duration (h)", "dose", "peak", "trough", "above level (h)", "AUC", "residence (h)", "saturable uptake (h)"]
    rows = []
    for group, own in main.groupby("protocol", sort=False):
        counts = Counter(f for cell in own["flags"] for f in split_flags(cell))
        told = ", ".join(f"{f} ({counts[f]})" for f, _ in flag_list(";".join(counts)))
        rows.append([str(group), str(own["mode"].iloc[0]), *(number(own[c].mean()) for c in numbers), str(len(own)), told])
    columns = [("group", False), ("mode", False), *((h, True) for h in heads), ("animals", True), ("flags", False)]
    return text_table(columns, rows)


def model_table(models: pd.DataFrame | None) -> TextTable | None:
    """Return one row per contrast and model of the recovery curves."""
    if models is None:
        return None
    columns = [("model", False), ("contrast", False), ("difference (95 % interval)", True), ("p", True), ("df", True), ("animals", True)]
    rows = []
    for r in models.to_dict("records"):
        name = f"{str(r['model']).replace('_', ' ')}, {r['term']}"
        df = fixed(r["df"], 1) if finite(r["df"]) else "–"
        rows.append(
            [name, str(r["contrast"]), estimate_words(r, str(r["unit"])), p_words(r["p"]), df, str(int(r["n_animals"])), _shown_flags(r)]
        )
    return text_table([*columns, ("flags", False)], rows)


def shape_table(shapes: pd.DataFrame | None) -> TextTable | None:
    """Return one row per pair of endpoints: AICc of none, line and parabola, and which is taken."""
    if shapes is None:
        return None
    columns = [("endpoints", False), ("AICc none", True), ("line", True), ("parabola", True), ("shape", False), ("turns at", True)]
    rows = []
    for r in shapes.to_dict("records"):
        values = [fixed(r[k], 1) if finite(r[k]) else "–" for k in ("aicc_none", "aicc_linear", "aicc_curved")]
        turn = number(r["turning_point"]) if r["shape"] == "non_monotonic" else "–"
        pair = pair_words(str(r["ecm"]), str(r["motor"]))
        rows.append([pair, *values, str(r["shape"]).replace("_", "-"), turn, str(int(r["n"])), _shown_flags(r)])
    return text_table([*columns, ("animals", True), ("flags", False)], rows)


def mediation_table(mediation: pd.DataFrame | None) -> TextTable | None:
    """Return one row per chain: both paths with p, their product with its interval, and what would take it away."""
    if mediation is None:
        return None
    columns = [("contrast", False), ("through", False), ("to", False), ("path a, p", True), ("path b, p", True)]
    columns += [("product (95 % interval)", True), ("nothing left at correlation", True), ("animals", True), ("flags", False)]
    rows = []
    for r in mediation.to_dict("records"):
        ends = [endpoint_words(str(r[k])) for k in ("mediator", "outcome")]
        product = estimate_words({"estimate": r["indirect"], "ci_low": r["ci_low"], "ci_high": r["ci_high"]}, ends[1].unit)
        rho = fixed(r["rho_zero"], 2) if finite(r["rho_zero"]) else "–"
        paths = [p_words(r["p_a"]), p_words(r["p_b"])]
        rows.append([str(r["contrast"]), *(e.label for e in ends), *paths, product, rho, str(int(r["n"])), _shown_flags(r)])
    return text_table(columns, rows)


def design_table(design: pd.DataFrame | None, shown: Sequence[str]) -> TextTable | None:
    """Return the shown endpoints, and those with counted cells, with the p that sections or cells would have claimed."""
    if design is None:
        return None
    own = design[design["endpoint"].isin(list(shown)) | design["p_cells"].notna()]
    columns = [("endpoint", False), ("contrast", False), ("ICC (95 % interval)", True), ("design effect", True), ("p, animals", True)]
    columns += [("p if sections counted", True), ("p if cells counted", True), ("animals", True), ("sections", True), ("cells", True)]
    rows = []
    for r in own.to_dict("records"):
        icc = f"{fixed(r['icc'], 2)} ({fixed(r['icc_low'], 2)} to {fixed(r['icc_high'], 2)})" if finite(r["icc"]) else "–"
        effect = fixed(r["design_effect"], 1) if finite(r["design_effect"]) else "–"
        p = [p_words(r[k]) for k in ("p", "p_sections", "p_cells")]
        counts = [f"{int(r[k])}" if finite(r[k]) else "–" for k in ("n_animals", "n_sections", "n_cells")]
        rows.append([endpoint_words(str(r["endpoint"])).label, str(r["contrast"]), icc, effect, *p, *counts])
    return text_table(columns, rows)


def section_table(status: pd.DataFrame, which: str) -> TextTable | None:
    """Return the sections of one status with the reason."""
    own = status[status["status"] == which]
    names = ("animal", "section", "panel", "file", "reason")
    return text_table([(n, False) for n in names], ([str(r[n]) for n in names] for r in own.to_dict("records")))


def count_table(status: pd.DataFrame) -> TextTable | None:
    """Return how many sections of each panel are ok, flagged, failed, excluded."""
    states = ("ok", "flagged", "failed", "excluded")
    columns = [("panel", False), *((s, True) for s in states), ("all", True)]
    rows = (
        [str(panel), *(str(int((own["status"] == s).sum())) for s in states), str(len(own))]
        for panel, own in status.groupby("panel", sort=True)
    )
    return text_table(columns, rows)


def flag_table(status: pd.DataFrame, animals: pd.DataFrame, *results: pd.DataFrame | None) -> TextTable | None:
    """Return every flag that stands in a table: how many sections, animals and results carry it, and what it means."""
    sections = Counter(f for cell in status["flags"] for f in split_flags(cell))
    pairs = {(str(a), f) for a, cell in zip(animals["animal"], animals["flags"], strict=True) for f in split_flags(cell)}
    of_animals = Counter(f for _, f in pairs)
    of_results = Counter(f for frame in results if frame is not None for cell in frame["flags"] for f in split_flags(cell))
    known = flag_list(";".join({*sections, *of_animals, *of_results}))
    columns = [("flag", False), ("sections", True), ("animals", True), ("results", True), ("meaning", False)]
    return text_table(columns, ([f, *(str(c[f]) for c in (sections, of_animals, of_results)), meaning] for f, meaning in known))


def run_table(run: Mapping[str, Any]) -> TextTable | None:
    """Return entries of run.json as rows of name and value; nested entries are joined by dots."""
    return text_table([("what", False), ("value", False)], _flat(run, ""))


def in_short(run: Mapping[str, Any], wanted: bool) -> dict[str, Any]:
    """Return what of run.json a reader looks for first (when, how many, by which versions), or all the rest of it."""
    return {k: v for k, v in run.items() if (not isinstance(v, Mapping) or k in ("program", "sections")) == wanted}


def _flat(value: Any, name: str) -> list[list[str]]:
    if isinstance(value, Mapping) and value:
        return [row for k, v in value.items() for row in _flat(v, f"{name}.{k}" if name else str(k))]
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, Mapping) for v in value):
        return [row for i, v in enumerate(value, 1) for row in _flat(v, f"{name}.{i}")]
    plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return [[name, plain]]
