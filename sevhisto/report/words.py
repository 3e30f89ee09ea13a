"""Results in plain sentences: the size, its uncertainty and its limits; never "no effect"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from sevhisto.metrics import METRIC_UNITS
from sevhisto.registry import FLAGS, split_flags

UNITS = {
    "um2": "µm²",
    "mm2": "mm²",
    "mm3": "mm³",
    "pct": "%",
    "grey um2": "grey µm²",
    "per_mm2": "per mm²",
    "mm_per_mm2": "mm per mm²",
    "deg": "degrees",
    "um": "µm",
    "score_days": "score × days",
    "ratio": "",
    "p": "",
    "ln_ratio": "ln ratio",
    "day": "days",
    "score": "points",
}
METRICS = {
    "area_um2": "area",
    "fraction_pct": "area fraction",
    "autofluorescent_pct": "area explained by autofluorescence",
    "integrated_density": "integrated density",
    "mean_intensity": "mean intensity",
    "positive_volume_mm3": "volume",
    "positive_volume_ce_m0_pct": "error of the volume (areas in steps)",
    "positive_volume_ce_m1_pct": "error of the volume (smooth areas)",
    "zone_volume_mm3": "volume of the zone",
    "zone_volume_ce_m0_pct": "error of the zone's volume (areas in steps)",
    "zone_volume_ce_m1_pct": "error of the zone's volume (smooth areas)",
    "spared_tissue_mm2": "spared tissue",
    "spared_white_matter_mm2": "spared white matter",
    "count": "cells",
    "count_low": "cells, lower bound",
    "count_high": "cells, upper bound",
    "area_per_cell_um2": "area per cell",
    "density_per_mm2": "cell density",
    "puncta_count": "vesicle spots",
    "puncta_per_mm2": "density of vesicle spots",
    "puncta_per_cd206_pos_cell": "vesicle spots per CD68+ CD206+ cell",
    "puncta_per_cd206_neg_cell": "vesicle spots per CD68+ CD206- cell",
    "cd206_pos_uptake_over_random": "vesicle spots in CD68+ CD206+ cells over random placement",
    "cd206_neg_uptake_over_random": "vesicle spots in CD68+ CD206- cells over random placement",
    "fraction_of_cells_pct": "share of all cells",
    "fraction_of_cd68_pct": "share of CD68+ cells",
    "manders": "colocalisation (Manders)",
    "manders_over_chance": "colocalisation over chance (Manders)",
    "manders_over_scramble": "colocalisation over scrambled blocks (Manders)",
    "manders_over_scramble_low": "colocalisation over scrambled blocks, lower end of the interval",
    "manders_over_scramble_high": "colocalisation over scrambled blocks, upper end of the interval",
    "manders_over_scramble_p": "p of colocalisation over scrambled blocks",
    "free_area_um2": "area not bound to vessels",
    "free_fraction_pct": "area fraction not bound to vessels",
    "alignment": "fibre alignment",
    "angle_to_axis_deg": "angle of fibres to the long axis",
    "border_alignment": "fibre alignment along the lesion border",
    "angle_to_border_deg": "angle of fibres to the lesion border",
    "fibre_width_um": "fibre width",
    "fibre_length_mm_per_mm2": "length of fibres per area",
    "index": "index of volume",
    "auc": "area under the recovery curve",
    "early_auc": "early area under the recovery curve",
    "plateau": "plateau",
    "day1": "day-1 score",
    "onset_day": "day of onset",
    "onset_after_day": "last day before onset",
    "onset_by_day": "first day seen after onset",
    "pooled_auc": "area under the recovery curve, pooled scale",
    "pooled_plateau": "plateau, pooled scale",
}
TISSUE_METRICS = {
    "zone_volume_mm3": "tissue volume",
    "spared_tissue_mm2": "spared tissue",
    "spared_white_matter_mm2": "spared white matter",
    "area_um2": "tissue area",
}
MODELS = {
    "within_arm": "within groups",
    "adjusted": "within groups, adjusted",
    "pooled": "pooled over all animals",
}
_ZONE = re.compile(r"(?:^|_)(core|all|\d+-\d+)(_rostral|_caudal)?(?=_|$)")
_SHARE = re.compile(r"_fraction_of_([0-9a-z_]+)_pct$")


@dataclass(frozen=True)
class Endpoint:
    """An endpoint in words: a label that starts a sentence, the unit as printed, its panel or test, and whether tissue was measured."""

    label: str
    unit: str
    panel: str = ""
    tissue: bool = False

    @property
    def axis(self) -> str:
        """The label of an axis, with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def endpoint_words(name: str) -> Endpoint:
    """Return the words for a column of animals_wide.csv; a name of another form stands for itself."""
    for metric in sorted(METRIC_UNITS, key=len, reverse=True):
        unit = METRIC_UNITS[metric].replace(" ", "_")
        tail = metric if metric.endswith(unit) else f"{metric}_{unit}"
        if name.endswith(f"_{tail}"):
            return _endpoint(name.removesuffix(f"_{tail}"), METRICS[metric], metric)
    share = _SHARE.search(name)
    if share is not None:
        return _endpoint(name[: share.start()], f"share of {share[1]}+ cells", "fraction_pct")
    return Endpoint(name, "")


def _endpoint(head: str, said: str, metric: str) -> Endpoint:
    unit = unit_words(METRIC_UNITS[metric])
    zone = _ZONE.search(head)
    if zone is None:
        return Endpoint(f"{head} {said}", unit, head)
    marker = head[zone.end() :].strip("_")
    what = TISSUE_METRICS.get(metric, f"tissue {said}") if marker == "tissue" else f"{marker} {said}"
    label = f"{what} {zone_words(zone.group(1) + (zone.group(2) or ''))}".strip()
    return Endpoint(label[0].upper() + label[1:], unit, head[: zone.start()], tissue=True)


def zone_words(zone: str) -> str:
    """Return where a zone lies, as the end of a sentence."""
    name, _, half = zone.partition("_")
    where = {"core": "in the core", "all": "in all tissue"}.get(name, f"at {name.replace('-', '–')} µm from the core")
    return f"{where}, {half}" if half else where


def unit_words(unit: str) -> str:
    """Return a unit as printed."""
    return UNITS.get(unit, unit)


# ---------------------------------------------------------------- numbers


def finite(value: Any) -> bool:
    """Whether `value` is a number that can be printed."""
    return isinstance(value, Real) and math.isfinite(value)


NEXT_TO_NOTHING = 1e-9


def number(value: Any, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits, spaced thousands, next to nothing as a power of ten; a dash where there is none."""
    if not finite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) < NEXT_TO_NOTHING:
        return f"{value:.0e}".replace("-", "−")
    return fixed(value, digits - 1 - math.floor(math.log10(abs(value))))


def fixed(value: float, decimals: int) -> str:
    """Return `value` rounded to `decimals` (may be negative), thousands apart by a narrow space."""
    text = f"{round(value, decimals):,.{max(decimals, 0)}f}".replace(",", "\u202f")
    zero = not text.strip("-0.\u202f")
    return text.replace("-", "" if zero else "−")


def decimals_for(*values: Any) -> int:
    """Return the decimals that show the spread of `values` with two digits, for an estimate and its interval alike; units stay whole."""
    shown = [v for v in values if finite(v)]
    spread = max(shown, default=0.0) - min(shown, default=0.0)
    width = spread or max((abs(v) for v in shown), default=0.0) or 1.0
    places = 1 - math.floor(math.log10(width))
    return 0 if places == -1 else min(places, 9)


def p_words(p: Any) -> str:
    """Return a p value: two digits, three decimals at most."""
    if not finite(p):
        return "–"
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


# ---------------------------------------------------------------- sentences


@dataclass(frozen=True)
class Finding:
    """One result in words: what was seen, how sure, and what limits it."""

    headline: str
    detail: str
    cautions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([f"{self.headline} ({self.detail}).", *self.cautions])


def comparison_finding(row: Mapping[str, Any]) -> Finding:
    """Return the words for one row of comparisons.csv: the difference of means, on which interval and test are made.

    An interval on both sides of zero is told as the range of differences that it leaves open; it is never called no difference. The ratio
    of geometric means stands beside where it points the same way; where it does not, a caution says so.
    """
    end = endpoint_words(str(row["endpoint"]))
    a, b = group_words(row["group_a"]), group_words(row["group_b"])
    cautions = tuple(_cautions(row))
    if not finite(row["estimate"]):
        return Finding(f"{end.label}: {a} and {b} could not be compared", _counts(row), cautions)
    unit = {"%": " percentage points", "": ""}.get(end.unit, f" {end.unit}")
    size = f"{end.label}: {_size(row, a, b, unit)}"
    parts = [_interval(row, unit), _ratio(row), _p(row), _counts(row)]
    return Finding(size, "; ".join(p for p in parts if p), cautions)


def comparison_sentence(row: Mapping[str, Any]) -> str:
    """Return `comparison_finding` as one line of text."""
    return str(comparison_finding(row))


def group_words(joined: Any) -> str:
    """Return one side of a contrast as people say it."""
    names = str(joined).split("+")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} together"


def _size(row: Mapping[str, Any], a: str, b: str, unit: str) -> str:
    estimate, low, high = row["estimate"], row["ci_low"], row["ci_high"]
    places = places_of(row)
    verb = "lower" if estimate < 0 else "higher"
    size = f"{a} {verb} than {b} by {fixed(abs(estimate), places)}{unit}" if estimate else f"{a} and {b} have equal means"
    if not (finite(low) and finite(high)) or low > 0 or high < 0:
        return size
    return f"{size}; the 95 % interval goes from {_signed(low, places, unit)} to {_signed(high, places, unit)}"


def places_of(row: Mapping[str, Any]) -> int:
    """Return the decimals of a difference and its interval."""
    estimate, *ends = (row[k] for k in ("estimate", "ci_low", "ci_high"))
    places = decimals_for(estimate, *ends)
    least = max((_first_digit(v) for v in ends), default=places)  # "0.000 to 0.010" hides on which side of zero it begins
    return max(places, _first_digit(estimate), min(least, places + 2))  # "by 0.000" tells nothing


def _first_digit(value: Any) -> int:
    """Return the decimals that show the first digit of a number; 0 of none and of zero."""
    return -math.floor(math.log10(abs(value))) if finite(value) and value else 0


def _signed(value: float, places: int, unit: str) -> str:
    return f"{fixed(abs(value), places)}{unit} {'lower' if value < 0 else 'higher'}"


def _interval(row: Mapping[str, Any], unit: str) -> str:
    low, high = row["ci_low"], row["ci_high"]
    if not (finite(low) and finite(high)):
        return "no interval can be given"
    if low <= 0 <= high:  # `_size` tells it
        return ""
    places = places_of(row)
    if high < 0:  # "lower by": the sizes, smallest first
        low, high = -high, -low
    return f"95 % interval {fixed(low, places)} to {fixed(high, places)}{unit}"


def _ratio(row: Mapping[str, Any]) -> str:
    if not tells_ratio(row):
        return ""
    low, high = row.get("ratio_low"), row.get("ratio_high")
    text = f"ratio {ratio_words(row['ratio'])}"
    return f"{text}, {ratio_words(low)} to {ratio_words(high)}" if finite(low) and finite(high) else text


def tells_ratio(row: Mapping[str, Any]) -> bool:
    """Whether the ratio of geometric means is known and points the same way as the difference of means."""
    return finite(row.get("ratio")) and "scales_disagree" not in split_flags(row["flags"])


def ratio_words(ratio: Any) -> str:
    """Return a ratio with two decimals; beyond a hundredfold only that it is."""
    if not finite(ratio):
        return "–"
    return "< 0.01" if ratio < 0.01 else "> 100" if ratio > 100 else f"{ratio:.2f}"


def _p(row: Mapping[str, Any]) -> str:
    if not finite(row["p"]):
        return ""
    adjusted = "Holm" if row.get("role") == "primary" else "Benjamini-Hochberg"
    more = f", {adjusted} {p_words(row['p_adjusted'])}" if finite(row["p_adjusted"]) else ""
    p = p_words(row["p"])
    return f"p {p if p.startswith('<') else '= ' + p}{more}"


def _counts(row: Mapping[str, Any]) -> str:
    return f"n = {int(row['n_a'])} and {int(row['n_b'])} animals"


def _cautions(row: Mapping[str, Any]) -> list[str]:
    flags = split_flags(row["flags"])
    said = []
    if "cannot_reach_0.05" in flags:
        least = f" (the smallest that these group sizes can give is {p_words(row['p_min'])})" if finite(row.get("p_min")) else ""
        said.append(f"Too few animals to reach p < 0.05{least}: a large p is no evidence of equality.")
    if row.get("robustness") in ("fragile", "reverses"):
        more = "its sign changes" if row["robustness"] == "reverses" else "its interval moves on or off zero"
        said.append(f"Depends on a choice: with another threshold, background, border or zone, or without some of the data, {more}.")
    hidden = {"cannot_reach_0.05", "not_unblinded"}
    said += [sentence(FLAGS[f].meaning) for f in FLAGS if f in flags - hidden]
    return said


def sentence(text: str) -> str:
    """Return `text` with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def relation_finding(row: Mapping[str, Any]) -> Finding:
    """Return the words for one row of relations.csv: an association, with what it adjusts for; never a cause."""
    motor = endpoint_words(str(row["motor"]))
    model = MODELS.get(str(row["model"]), str(row["model"]))
    flags = split_flags(row["flags"])
    cautions = tuple(sentence(FLAGS[f].meaning) for f in FLAGS if f in flags - {"not_unblinded"})
    start, n = f"{pair_words(str(row['ecm']), str(row['motor']))}, {model}", f"n = {int(row['n'])} animals"
    if not finite(row["estimate"]):
        return Finding(f"{start}: the slope could not be estimated", n, cautions)
    low, high, estimate = row["ci_low"], row["ci_high"], row["estimate"]
    known = finite(low) and finite(high)
    places, unit = places_of(row), f" {motor.unit}" if motor.unit else ""
    slope = f"{start}: {fixed(abs(estimate), places)}{unit} {'less' if estimate < 0 else 'more'} for each SD more"
    if known and low <= 0 <= high:
        slope += f"; the 95 % interval goes from {fixed(abs(low), places)} less to {fixed(abs(high), places)} more"
        parts = []
    else:
        parts = [f"95 % interval {fixed(low, places)} to {fixed(high, places)}" if known else "no interval can be given"]
    if finite(row.get("correlation")):
        parts.append(f"partial correlation {fixed(row['correlation'], 2)}")
    if finite(row["p"]):
        p = p_words(row["p"])
        parts.append(f"p {p if p.startswith('<') else '= ' + p}")
    if row["model"] == "adjusted" and row.get("covariates"):
        parts.append(f"adjusted for {covariate_words(str(row['covariates']))}")
    return Finding(slope, "; ".join([*parts, n]), cautions)


def pair_words(ecm: str, motor: str) -> str:
    """Return the two endpoints of a relation, as the start of a sentence."""
    return f"{endpoint_words(motor).label} and {_lower(endpoint_words(ecm).label)}"


def covariate_words(joined: str) -> str:
    """Return the covariates of a model in words, ``arm`` left out: all models but the pooled one are within arms."""
    names = [name for name in joined.split(";") if name not in ("", "arm")]
    return ", ".join(_lower(endpoint_words(name).label) for name in names) or "nothing else"


def relation_sentence(row: Mapping[str, Any]) -> str:
    """Return `relation_finding` as one line of text."""
    return str(relation_finding(row))


def _lower(label: str) -> str:
    """Return a label for the middle of a sentence; abbreviations (CD68, GFAP) keep their capitals."""
    return label[0].lower() + label[1:] if label[1:2].islower() else label
