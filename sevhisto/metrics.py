"""What is measured per animal: every metric with its unit, and how an endpoint is called in the wide table."""

from __future__ import annotations

import re
from functools import cache

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
    "fraction_of_cells_pct": "pct",
    "fraction_of_cd68_pct": "pct",
    "puncta_count": "spots",
    "puncta_per_mm2": "per_mm2",
    "puncta_per_cd206_pos_cell": "spots",
    "puncta_per_cd206_neg_cell": "spots",
    "cd206_pos_uptake_over_random": "ratio",
    "cd206_neg_uptake_over_random": "ratio",
    "manders": "ratio",
    "manders_over_chance": "ratio",
    "manders_over_scramble": "ratio",
    "manders_over_scramble_low": "ratio",
    "manders_over_scramble_high": "ratio",
    "manders_over_scramble_p": "p",
    "alignment": "ratio",
    "angle_to_axis_deg": "deg",
    "border_alignment": "ratio",
    "angle_to_border_deg": "deg",
    "fibre_width_um": "um",
    "fibre_length_mm_per_mm2": "mm_per_mm2",
    "index": "ln_ratio",
    "auc": "score_days",
    "early_auc": "score_days",
    "plateau": "score",
    "day1": "score",
    "onset_day": "day",
    "onset_after_day": "day",
    "onset_by_day": "day",
    "pooled_auc": "score_days",
    "pooled_plateau": "score",
}
"""Unit of every metric of animals.csv; of phenotypes there are also `fraction_of` other markers than CD68."""
SECONDARY_MOTOR = ("auc", "early_auc", "plateau", "day1", "onset_day")
"""Motor metrics that are secondary endpoints where none are declared."""
MOTOR_METRICS = (*SECONDARY_MOTOR, "onset_after_day", "onset_by_day", "pooled_auc", "pooled_plateau")
COMPOSITE_PANEL, COMPOSITE = "ecm", "composite"
"""Panel and marker of the composite matrix index, which is made over panels when groups are compared."""
TISSUE = "tissue"
"""The marker of rows of animals.csv that measure tissue itself."""


def fraction_of(marker: str) -> str:
    """Return the metric that is a share of the cells positive for a marker: ``fraction_of_cd206_pct``."""
    return f"fraction_of_{re.sub(r'[^0-9a-z]+', '_', marker.lower()).strip('_')}_pct"


@cache
def unit_of(metric: str) -> str | None:
    """Return the unit of a metric of animals.csv; None for one that nobody knows."""
    return METRIC_UNITS.get(metric, "pct" if re.fullmatch(r"fraction_of_[0-9a-z_]+_pct", metric) else None)


def metric_rank(metric: str) -> tuple[int, str]:
    """Return where a metric stands in tables."""
    names = list(METRIC_UNITS)
    return names.index(metric if metric in METRIC_UNITS else "fraction_of_cd68_pct"), metric


def endpoint_name(panel: str, zone: str, marker: str, metric: str) -> str:
    """Return the column of animals_wide.csv: ``panel_zone_marker_metric_unit``, the unit once only.

    Motor endpoints have neither zone nor marker: ``BBB_auc_score_days``.
    """
    unit = METRIC_UNITS.get(metric, "pct").replace(" ", "_")
    parts = [p for p in (panel, zone, marker, metric) if p]
    return "_".join(parts if metric.endswith(unit) else [*parts, unit])
