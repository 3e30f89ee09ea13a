"""What is measured per animal: every metric with its unit, and how an endpoint is called in the wide table."""

from __future__ import annotations

METRIC_UNITS: dict[str, str] = {
    "area_um2": "um2",
    "fraction_pct": "pct",
    "autofluorescent_pct": "pct",
    "free_area_um2": "um2",
    "free_fraction_pct": "pct",
    "integrated_density": "grey um2",
    "mean_intensity": "grey",
    "positive_volume_mm3": "mm3",
    "positive_volume_ce_m0_pct": "pct",
    "positive_volume_ce_m1_pct": "pct",
    "zone_volume_mm3": "mm3",
    "zone_volume_ce_m0_pct": "pct",
    "zone_volume_ce_m1_pct": "pct",
    "spared_tissue_mm2": "mm2",
    "spared_white_matter_mm2": "mm2",
    "count": "cells",
    "count_low": "cells",
    "count_high": "cells",
    "area_per_cell_um2": "um2",
    "density_per_mm2": "per_mm2",
    "fraction_of_cd68_pct": "pct",
    "puncta_count": "spots",
    "puncta_per_mm2": "per_mm2",
    "puncta_per_cd206_pos_cell": "spots",
    "puncta_per_cd206_neg_cell": "spots",
    "cd206_pos_uptake_over_random": "ratio",
    "cd206_neg_uptake_over_random": "ratio",
    "manders": "ratio",
    "manders_over_chance": "ratio",
    "alignment": "ratio",
    "angle_to_axis_deg": "deg",
    "border_alignment": "ratio",
    "angle_to_border_deg": "deg",
    "fibre_width_um": "um",
    "fibre_length_mm_per_mm2": "mm_per_mm2",
    "auc": "score_days",
    "early_auc": "score_days",
    "plateau": "score",
    "day1": "score",
    "onset_day": "day",
}
"""Unit of every metric of animals.csv."""
MOTOR_METRICS = ("auc", "early_auc", "plateau", "day1", "onset_day")
TISSUE = "tissue"
"""The marker of rows of animals.csv that measure tissue itself."""


def endpoint_name(panel: str, zone: str, marker: str, metric: str) -> str:
    """Return the column of animals_wide.csv: ``panel_zone_marker_metric_unit``, the unit once only.

    Motor endpoints have neither zone nor marker: ``BBB_auc_score_days``.
    """
    unit = METRIC_UNITS[metric].replace(" ", "_")
    parts = [p for p in (panel, zone, marker, metric) if p]
    return "_".join(parts if metric.endswith(unit) else [*parts, unit])
