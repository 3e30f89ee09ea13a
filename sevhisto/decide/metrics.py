"""What an animal's sums mean: every ratio is made here, once, as a ratio of sums."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sevhisto.config import CELL_ROLES, ChannelSettings, PanelSettings
from sevhisto.decide.fibres import coherency, fibre_angle
from sevhisto.decide.rows import REFERENCE, SUBSET

Measured = tuple[str, float, set[str]]
"""Metric, value, and the flags that belong to this value alone."""

FIBRE_METRICS = (
    "alignment",
    "angle_to_axis_deg",
    "border_alignment",
    "angle_to_border_deg",
    "fibre_width_um",
    "fibre_length_mm_per_mm2",
)
SCRAMBLE_METRICS = ("manders_over_scramble", "manders_over_scramble_low", "manders_over_scramble_high", "manders_over_scramble_p")
"""Made of the sections one by one: see decide.scrambled."""
FREE_METRICS = ("free_area_um2", "free_fraction_pct")
FEW, TOO_FEW = 5, 3


def metric_names(channel: ChannelSettings, panel: PanelSettings) -> list[str]:
    """Return the metrics that a marker has, in table order."""
    names = ["area_um2", "fraction_pct"]
    if panel.marker_of_role("autofluorescence") not in (None, channel.marker):
        names.append("autofluorescent_pct")
    names += ["integrated_density", "mean_intensity", "positive_volume_mm3"]
    if channel.role in CELL_ROLES and panel.cell_marker:
        names += ["count", "density_per_mm2"]
        if channel.role == "macrophage":
            names += ["count_low", "count_high"] if channel.cell_compartment != "nucleus" else []
            names.append("area_per_cell_um2")
        if channel.role == "macrophage" and channel.marker != REFERENCE and REFERENCE in panel.markers:
            names.append("fraction_of_cd68_pct")
    if channel.marker != REFERENCE and any({channel.marker, REFERENCE} == set(pair) for pair in panel.pairs):
        names += ["manders", "manders_over_chance", *SCRAMBLE_METRICS]
    if channel.role == "ecm":
        names += FIBRE_METRICS
        names += FREE_METRICS if panel.marker_of_role("vessel") else ()
    if channel.role == "tracer":
        names += ["puncta_count", "puncta_per_mm2"]
        if panel.cell_marker and {REFERENCE, SUBSET} <= set(panel.markers):
            names += ["puncta_per_cd206_pos_cell", "puncta_per_cd206_neg_cell"]
            names += ["cd206_pos_uptake_over_random", "cd206_neg_uptake_over_random"]
    return names


def volume(um3_over_spacing: float, spacing_um: float, n_sections: int, metric: str) -> Measured:
    """Return a Cavalieri volume (mm3): the spacing of the analysed sections times the sum of their areas; NaN below 3 sections."""
    if n_sections < TOO_FEW:
        return metric, math.nan, {"too_few_sections"}
    flags = {"few_sections"} if n_sections < FEW else set()
    return metric, spacing_um * um3_over_spacing * 1e-9, flags


def marker_metrics(
    names: list[str],
    sums: dict[str, float],
    cd68_cells: float,
    weighted_positive_um2: float,
    spacing_um: float,
    n: int,
    section_flags: set[str],
) -> Iterator[Measured]:
    """Yield the metrics of one marker in one zone.

    Parameters
    ----------
    names : metrics wanted
    sums : columns of the section table, summed over the sections of the zone
    cd68_cells : CD68-positive cells in the zone
    weighted_positive_um2 : positive area summed with the weights of the volume
    spacing_um : distance between neighbouring sections
    n : sections summed
    section_flags : what the sections carry
    """
    tissue = sums["zone_um2"]
    m1 = over(sums["signal_in_cd68"], sums["signal_joint"])
    chance = over(sums["cd68_joint_um2"], tissue)
    values = {
        "area_um2": sums["positive_um2"],
        "fraction_pct": 100 * over(sums["positive_um2"], tissue),
        "autofluorescent_pct": 100 * over(sums["autofluorescent_um2"], sums["positive_um2"] + sums["autofluorescent_um2"]),
        "free_area_um2": sums["positive_free_um2"],
        "free_fraction_pct": 100 * over(sums["positive_free_um2"], tissue),
        "integrated_density": sums["signal_sum"],
        "mean_intensity": over(sums["signal_sum"], tissue),
        "count": sums["n_cells"],
        "count_low": sums["n_cells_low"],
        "count_high": sums["n_cells_high"],
        "area_per_cell_um2": over(sums["positive_um2"], sums["n_cells"]),
        "density_per_mm2": 1e6 * over(sums["n_cells"], tissue),
        "fraction_of_cd68_pct": 100 * over(sums["n_cells_cd68"], cd68_cells),
        "manders": m1,
        "manders_over_chance": over(m1, chance),
        **_fibres(sums, section_flags),
        "puncta_count": sums["n_puncta"],
        "puncta_per_mm2": 1e6 * over(sums["n_puncta"], tissue),
        **{f"puncta_per_{g}_cell": over(sums[f"{g}_puncta"], sums[f"{g}_cells"]) for g in ("cd206_pos", "cd206_neg")},
        **{f"{g}_uptake_over_random": over(sums[f"{g}_puncta"], sums[f"{g}_expected"]) for g in ("cd206_pos", "cd206_neg")},
    }
    for name in names:
        if name in SCRAMBLE_METRICS:
            continue
        if name == "positive_volume_mm3":
            yield volume(weighted_positive_um2, spacing_um, n, name)
        else:
            yield name, values[name], _why(name, values[name], sums, section_flags)


def _fibres(sums: dict[str, float], section_flags: set[str]) -> dict[str, float]:
    xx, yy, xy, nn, tt, nt = (sums[f"fibre_{name}"] for name in ("xx", "yy", "xy", "nn", "tt", "nt"))
    return {
        "alignment": coherency(xx, yy, xy),
        "angle_to_axis_deg": math.nan if "axis_uncertain" in section_flags else fibre_angle(xx, yy, xy),
        "border_alignment": coherency(tt, nn, nt),
        "angle_to_border_deg": fibre_angle(tt, nn, nt),
        "fibre_width_um": 2 * over(sums["fibre_um2"], sums["fibre_outline_um"]),
        "fibre_length_mm_per_mm2": 1e3 * over(sums["fibre_outline_um"] / 2, sums["zone_um2"]),
    }


def over(a: float, b: float) -> float:
    """Return a ratio; NaN where its denominator is 0."""
    return a / b if b != 0 else math.nan


def _why(name: str, value: float, sums: dict[str, float], section_flags: set[str]) -> set[str]:
    """Return the flag that says why a value is NaN."""
    if not math.isnan(value):
        return set()
    if name in ("manders", "manders_over_chance"):
        if math.isnan(sums["signal_joint"]):
            return {"not_tallied"}
        return {"no_signal"} if sums["signal_joint"] == 0 else {"empty_denominator"}
    if name == "autofluorescent_pct" and math.isnan(sums["autofluorescent_um2"]) and not math.isnan(sums["positive_um2"]):
        return {"not_tallied"}
    if name in FREE_METRICS and math.isnan(sums["positive_free_um2"]) and not math.isnan(sums["positive_um2"]):
        return {"not_tallied"} if math.isnan(sums["fibre_xx"]) else {"no_threshold"}
    if name in FIBRE_METRICS:
        return _why_no_fibres(name, sums, section_flags)
    puncta = "puncta" in name or "uptake" in name
    in_cells = "cd206_pos" in name or "cd206_neg" in name
    if in_cells and math.isnan(sums["cd206_pos_cells"]) and not math.isnan(sums["n_puncta"]):
        return {"not_tallied"}
    if math.isnan(sums["n_puncta"] if puncta else sums["positive_um2"]):
        return (section_flags & {"puncta_unresolved"} if puncta else set()) or {"no_threshold"}
    return {"empty_denominator"}


def _why_no_fibres(name: str, sums: dict[str, float], section_flags: set[str]) -> set[str]:
    if math.isnan(sums["fibre_xx"]):
        return {"not_tallied"}
    if "border" in name and sums["fibre_xx"] + sums["fibre_yy"] > 0:
        return {"no_lesion"}
    uncertain = name == "angle_to_axis_deg" and "axis_uncertain" in section_flags
    return {"axis_uncertain"} if uncertain else {"no_signal"}
