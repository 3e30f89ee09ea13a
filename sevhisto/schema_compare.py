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

SHAPES = Table(
    "shapes.csv",
    "ECM endpoint x motor endpoint",
    (
        _t("ecm", "column of animals_wide.csv, or of composite.csv"),
        _t("motor", "motor endpoint"),
        _w("n", "animals"),
        _n("aicc_none", "AICc of arms alone"),
        _n("aicc_linear", "AICc with a line within arms"),
        _n("aicc_curved", "AICc with a parabola within arms"),
        _n("quadratic", "second-order term: motor units per squared SD of the ECM endpoint"),
        _n("ci_low", "95 % interval"),
        _n("ci_high", "95 % interval"),
        _n("p", "two-sided, t distribution"),
        _n("turning_point", "ECM value at which the parabola turns"),
        _t(
            "shape",
            "the simplest within 2 of the best AICc: none, linear, curved, non_monotonic (slopes of two signs, by test)",
        ),
        _t("flags", "flags, joined by ;"),
    ),
    key=("ecm", "motor"),
)

MEDIATION = Table(
    "mediation.csv",
    "contrast x mediator x outcome",
    (
        _t("contrast", "contrast, a minus b"),
        _t("mediator", "what may stand between"),
        _t("outcome", "what may follow"),
        _w("n", "animals"),
        _n("a", "contrast on mediator"),
        _n("p_a", "its p, two-sided by t"),
        _n("b", "mediator on outcome, given the contrast"),
        _n("p_b", "its p, two-sided by t"),
        _n("direct", "contrast on outcome, given the mediator"),
        _n("total", "contrast on outcome"),
        _n("indirect", "a times b, in the outcome's unit"),
        _n("ci_low", "95 % percentile interval, animals drawn anew within the sides"),
        _n("ci_high", "95 % percentile interval"),
        _n("p_joint", "the larger of p_a and p_b (joint significance)"),
        _n(
            "rho_zero",
            "correlation of errors at which nothing is left: a factor behind both must load on each with its root",
        ),
        _t("covariates", "what both equations adjust for"),
        _t("flags", "flags, joined by ;"),
    ),
    key=("contrast", "mediator", "outcome"),
)

SENSITIVITY = Table(
    "mediation_sensitivity.csv",
    "contrast x mediator x outcome x correlation of errors",
    (
        _t("contrast", "contrast, a minus b"),
        _t("mediator", "what may stand between"),
        _t("outcome", "what may follow"),
        _n("rho", "assumed correlation of the errors of mediator and outcome: what an unmeasured factor would make"),
        _n("indirect", "a times b if it were so"),
        _n("ci_low", "95 % percentile interval"),
        _n("ci_high", "95 % percentile interval"),
    ),
    key=("contrast", "mediator", "outcome", "rho"),
)

COMPOSITE_TABLE = Table(
    "composite.csv",
    "animal x marker",
    (
        _t("animal", "animal (code until unblinding)"),
        _t("marker", "matrix marker, or composite: their mean"),
        _n("index", "ln of positive volume in the core over the geometric mean of the reference"),
        _t("reference", "whose mean is 0: vehicle, or all animals where groups are not known or none is a vehicle"),
        _t("flags", "flags, joined by ;"),
    ),
    key=("animal", "marker"),
)

SPREAD = Table(
    "spread",
    "animal x panel x zone x marker x metric",
    (
        _t("animal", "animal"),
        _t("panel", "panel"),
        _t("zone", "zone"),
        _t("marker", "marker"),
        _t("metric", "metric of the animal table"),
        _w("n_sections", "sections with a value of their own"),
        _n("mean", "their mean"),
        _n("sum_squares", "their sum of squared differences from it"),
        _n("n_positive_cells", "positive cells behind a share of cells"),
        _n("n_cells", "all cells behind it"),
    ),
    key=("animal", "panel", "zone", "marker", "metric"),
)
"""How sections differ, one row per animal; in memory only."""

DESIGN = Table(
    "design.csv",
    "endpoint x contrast",
    (
        _t("endpoint", "column of animals_wide.csv"),
        _t("contrast", "contrast, a minus b"),
        _w("n_animals", "animals in the contrast"),
        _w("n_sections", "their sections with the zone"),
        _n("sections_per_animal", "mean over all arms"),
        _n("between", "variance between animals of one arm, of the section's value"),
        _n("within", "variance between sections of one animal; the lesion's own course along the cord is in it"),
        _n("icc", "intraclass correlation of sections in animals, pooled over arms"),
        _n("icc_low", "95 % interval"),
        _n("icc_high", "95 % interval"),
        _n("design_effect", "1 + (sections per animal - 1) x ICC"),
        _n("n_effective", "independent sections that these sections are worth"),
        _n("p", "the right p, of comparisons.csv"),
        _n("p_sections", "what counting sections as animals would have claimed: not a result"),
        _n("n_cells", "cells behind a share of cells"),
        _n("p_cells", "what counting cells as animals would have claimed: not a result"),
        _t("flags", "flags, joined by ;"),
    ),
    key=("endpoint", "contrast"),
)

PLAN = Table(
    "plan.csv",
    "endpoint x sections x animals per arm",
    (
        _t("endpoint", "column of animals_wide.csv"),
        _t("unit", "unit of the difference"),
        _n("difference", "difference of two arms that should be found; of volumes: of the section's area"),
        _w("sections", "sections per animal; 1 where none stand behind the endpoint"),
        _w("animals_per_arm", "animals in each of two arms"),
        _n("power", "power of a two-sided t test at 0.05"),
        _t("enough", "yes at the fewest animals that reach the wanted power"),
    ),
    key=("endpoint", "sections", "animals_per_arm"),
)


COMPARISONS = Table(
    "comparisons.csv",
    "endpoint x contrast",
    (
        _t("endpoint", "column of animals_wide.csv"),
        _t("contrast", "contrast, a minus b"),
        _w("n_a", "animals in a"),
        _w("n_b", "animals in b"),
        _n("estimate", "mean of a minus mean of b, in the endpoint's unit"),
        _n("ci_low", "95 % interval"),
        _n("ci_high", "95 % interval"),
        _n("hedges_g", "standardised difference, small-sample corrected"),
        _n("p", "permutation p, two-sided"),
        _n("p_adjusted", "Holm over the contrasts of a primary endpoint; Benjamini-Hochberg over secondary ones"),
        _t("method", "how the interval and p were made"),
        _t("robustness", "the worst verdict in specifications.csv: robust, fragile or reverses; empty where there is no interval"),
        _t("flags", "flags, joined by ;"),
        _n("ratio", "ratio of geometric means, a over b"),
        _n("ratio_low", "95 % interval"),
        _n("ratio_high", "95 % interval"),
        _t("role", "primary or secondary"),
        _t("group_a", "groups in a, joined by +"),
        _t("group_b", "groups in b, joined by +"),
        _t("unit", "unit of the estimate"),
        _n("p_min", "smallest p that these group sizes can give"),
        _n("p_welch", "p of Welch's t for the same contrast, two-sided; beside p, never instead of it", required=False),
    ),
    key=("endpoint", "contrast"),
)


SPECIFICATIONS = Table(
    "specifications.csv",
    "endpoint x contrast x choice x variant",
    (
        _t("endpoint", "column of animals_wide.csv"),
        _t("contrast", "contrast, a minus b"),
        _t("choice", "what was chosen otherwise; as analysed for the study as it is"),
        _t("variant", "how; of animals left out, one by one, only those that have a part in the contrast"),
        _w("n_a", "animals in a"),
        _w("n_b", "animals in b"),
        _n("estimate", "mean of a minus mean of b, in the endpoint's unit"),
        _n("ci_low", "95 % interval"),
        _n("ci_high", "95 % interval"),
        _t(
            "verdict",
            "robust, fragile (the interval moves on or off zero), reverses (the sign changes) or not made (the endpoint has no such form); "
            "empty without interval",
        ),
    ),
    key=("endpoint", "contrast", "choice", "variant"),
)


RELATIONS = Table(
    "relations.csv",
    "ECM endpoint x motor endpoint x model",
    (
        _t("ecm", "column of animals_wide.csv"),
        _t("motor", "motor endpoint"),
        _t("model", "within_arm, adjusted or pooled"),
        _w("n", "animals"),
        _n("estimate", "slope: motor units per SD of the ECM endpoint within arms"),
        _n("ci_low", "95 % interval"),
        _n("ci_high", "95 % interval"),
        _n("p", "two-sided, t distribution"),
        _t("flags", "flags, joined by ;"),
        _n("correlation", "partial correlation under the model"),
        _t("covariates", "what the model adjusts for"),
    ),
    key=("ecm", "motor", "model"),
)
