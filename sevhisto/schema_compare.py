"""The tables that `sevhisto compare` writes beside comparisons, relations and specifications, column by column."""

from __future__ import annotations

from sevhisto.columns import Table
from sevhisto.columns import number as _n
from sevhisto.columns import text as _t
from sevhisto.columns import whole as _w

EXPOSURE = Table(
    "exposure.csv",
    "animal x half-life",
    (
        _t("animal", "animal"),
        _t("protocol", "treatment protocol"),
        _t("mode", "injection or infusion"),
        _n("half_life_min", "half-life that is assumed: as set, and both ends of the range", "min"),
        _w("administrations", "injections given; 1 for an infusion"),
        _n("start_h", "first dose after injury", "h"),
        _n("duration_h", "how long the delivery lasted; injections: number times mean interval", "h"),
        _t("dose_unit", "unit of dose, peak, trough and level"),
        _n("dose", "what was delivered"),
        _t("dose_source", "what the delivered dose rests on: protocol, doses_given, infusion_h, delivered_volume_ul or delivered_dose"),
        _n("delivered_pct", "delivered of planned dose", "pct"),
        _n("particles", "delivered dose in particles; empty where not known in particles"),
        _n("ug", "delivered dose in ug; empty where not known in ug", "ug"),
        _n("dose_per_kg", "delivered dose per body weight; empty without weight_g"),
        _n("active_pct", "of the delivered dose, what kept its activity in the pump (exposure.pump_half_life_h)", "pct"),
        _n("peak", "largest amount in circulation"),
        _n("trough", "lowest amount in the second half of the delivery; empty for one injection"),
        _n("level", "the level of time_above_h"),
        _n("time_above_h", "time at or above the level", "h"),
        _n("auc", "area under the amount: dose times half-life / ln 2, whatever the schedule (dose x h)"),
        _n("residence_h", "mean time from the first dose until a particle is gone", "h"),
        _n("uptake_h", "saturable uptake, as hours of full uptake", "h"),
        _t("flags", "flags, joined by ;"),
    ),
    key=("animal", "half_life_min"),
)

MODELS = Table(
    "models.csv",
    "outcome x model x term x contrast",
    (
        _t("outcome", "motor test"),
        _t("model", "linear_mixed, ordinal_mixed, ordinal_mixed_slope or onset_interval; sensitivity, beside the per-animal summaries"),
        _t("term", "level (at the mean of the visits), slope (per ln day) or later (onset)"),
        _t("contrast", "contrast, a minus b"),
        _w("n_animals", "animals in the contrast"),
        _w("n_scores", "their scores"),
        _n("estimate", "a minus b; onset: share of pairs in which a is later less that in which b is"),
        _n("se", "standard error"),
        _n("df", "degrees of freedom of the interval"),
        _n("ci_low", "95 % interval"),
        _n("ci_high", "95 % interval"),
        _n("p", "two-sided"),
        _t("unit", "unit of the estimate"),
        _t("method", "how interval and p were made"),
        _n("intercept_sd", "SD of the animals' levels"),
        _n("slope_sd", "SD of the animals' changes per ln day; empty without random slopes"),
        _t("covariates", "what the model adjusts for"),
        _t("flags", "flags, joined by ;"),
    ),
    key=("outcome", "model", "term", "contrast"),
)
