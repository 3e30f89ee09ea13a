"""Rows of comparisons.csv: what is computed, what is corrected, what is flagged."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from sevhisto.compare import compare, contrast
from sevhisto.compare.effects import benjamini_hochberg, holm
from sevhisto.schema import COMPARISONS
from sevhisto.types import SevhistoError, StudyError

ARMS = ("V", "D3", "P3", "P6")
GROUPS = pd.Series({f"{g}{i}": g for g in ARMS for i in range(5)})
FN, AUC, CD68 = "B_core_fibronectin_fraction_pct", "BBB_auc_score_days", "A_core_CD68_fraction_pct"


def numbers(seed: int, **shift: float) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    return {a: 20 + shift.get(g, 0.0) + rng.normal() for a, g in GROUPS.items()}


@pytest.fixture
def animals(make_rows):
    return pd.concat(
        [
            make_rows(numbers(1, P3=-4, P6=-9)),
            make_rows(numbers(2), panel="A", marker="CD68"),
            make_rows(numbers(3, P6=5), panel="BBB", zone="", marker="", metric="auc"),
        ],
        ignore_index=True,
    )


@pytest.fixture
def config(make_study):
    return make_study(endpoints={"primary": [FN], "secondary": [CD68, AUC]})


def cell(table, endpoint, name, column="flags"):
    return table[(table["endpoint"] == endpoint) & (table["contrast"] == name)][column].item()


def test_every_row_with_its_numbers(animals, config):
    t = compare(animals, GROUPS, config)
    assert COMPARISONS.problems(t) == []
    assert list(zip(t["endpoint"], t["contrast"], strict=True)) == [
        (e, c) for e in (FN, CD68, AUC) for c in ("P3-D3", "P6-P3", "treated-vehicle", "P6-D3")
    ]
    v = pd.Series(numbers(1, P3=-4, P6=-9)).groupby(GROUPS)
    arm = {g: v.get_group(g).to_numpy() for g in ARMS}
    row = t[(t["endpoint"] == FN) & (t["contrast"] == "treated-vehicle")].iloc[0]
    truth = contrast([arm["D3"], arm["P3"], arm["P6"]], [arm["V"]])
    assert (row["estimate"], row["ci_low"], row["p"], row["ratio"]) == pytest.approx(
        (truth.estimate, truth.ci_low, truth.p, truth.ratio), rel=1e-9
    )
    assert (row["n_a"], row["n_b"], row["group_a"], row["group_b"], row["unit"]) == (15, 5, "D3+P3+P6", "V", "pct")
    assert set(t["role"]) == {"primary", "secondary"}
    assert (t["robustness"] == "").all()


def test_corrections_within_their_families(animals, config):
    t = compare(animals, GROUPS, config)
    first = t[t["endpoint"] == FN].set_index("contrast")
    planned = ["P3-D3", "P6-P3", "treated-vehicle"]
    assert first.loc[planned, "p_adjusted"].to_numpy() == pytest.approx(holm(first.loc[planned, "p"]))
    assert math.isnan(first.loc["P6-D3", "p_adjusted"])
    assert first.loc["P6-D3", "flags"] == "exploratory"
    rest = t[t["role"] == "secondary"]
    assert rest["p_adjusted"].to_numpy() == pytest.approx(benjamini_hochberg(rest["p"]))


def test_order_of_rows_does_not_matter(animals, config):
    shuffled = animals.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(compare(shuffled, GROUPS.sample(frac=1, random_state=4), config), compare(animals, GROUPS, config))


def test_declared_contrasts_replace_the_default(animals, make_study):
    one = make_study(endpoints={"secondary": [FN]}, contrasts=[{"name": "x", "a": ["P6"], "b": ["V", "D3"]}])
    t = compare(animals, GROUPS, one)
    assert list(t["contrast"]) == ["x"]
    twice = make_study(contrasts=[{"name": "x", "a": ["P6"], "b": ["V"]}, {"name": "x", "a": ["P3"], "b": ["V"]}])
    with pytest.raises(StudyError, match="two contrasts are called 'x'"):
        compare(animals, GROUPS, twice)


def test_missing_and_excluded_animals(animals, config):
    gone = animals[~((animals["animal"] == "P30") & (animals["marker"] == "fibronectin"))].copy()
    gone.loc[(gone["animal"] == "D31") & (gone["marker"] == "fibronectin"), "value"] = math.nan
    t = compare(gone, GROUPS, config)
    assert (cell(t, FN, "P3-D3", "n_a"), cell(t, FN, "P3-D3", "n_b")) == (4, 4)
    assert cell(t, FN, "P3-D3") == "missing_animals"
    assert cell(t, CD68, "P3-D3") == ""
    out = compare(gone, GROUPS, config, excluded=["P30", "D31"])
    assert cell(out, FN, "P3-D3") == ""
    assert cell(out, CD68, "P3-D3", "n_a") == 4


def test_a_group_without_animals_leaves_a_row(animals, make_study):
    one = make_study(endpoints={"primary": [FN]}, contrasts=[{"name": "x", "a": ["P6"], "b": ["V"]}])
    t = compare(animals, GROUPS[GROUPS != "V"], one)
    assert math.isnan(cell(t, FN, "x", "estimate"))
    assert cell(t, FN, "x") == "too_few_animals"
    assert cell(t, FN, "x", "n_b") == 0


def test_different_dpi_are_never_compared(animals, config):
    dpi = pd.Series({a: 42.0 if g == "P6" else 28.0 for a, g in GROUPS.items()})
    t = compare(animals, GROUPS, config, dpi=dpi)
    assert math.isnan(cell(t, FN, "P6-P3", "estimate"))
    assert math.isnan(cell(t, FN, "P6-P3", "p"))
    assert cell(t, FN, "P6-P3") == "dpi_mixed"
    assert cell(t, FN, "P6-P3", "n_a") == 5
    assert cell(t, FN, "P3-D3") == ""


def test_batches_of_one_side(animals, config):
    by_arm = pd.DataFrame({"animal": GROUPS.index, "batch": ["d1" if g in ("V", "D3") else "d2" for g in GROUPS]})
    t = compare(animals, GROUPS, config, batches=by_arm)
    assert cell(t, FN, "P3-D3") == "batch_confounded"
    assert cell(t, FN, "P6-P3") == ""
    assert cell(t, AUC, "P3-D3") == ""  # motor scores were never stained
    mixed = by_arm.assign(batch=[f"d{int(a[-1]) % 2}" for a in GROUPS.index])
    assert "batch_confounded" not in ";".join(compare(animals, GROUPS, config, batches=mixed)["flags"])
    # of three treated arms, two share a batch without vehicle
    arms = [GROUPS[a] == "P3" or a in ("D30", "D31") for a in GROUPS.index]
    pooled = compare(animals, GROUPS, config, batches=by_arm.assign(batch=["d1" if x else "d2" for x in arms]))
    assert cell(pooled, FN, "treated-vehicle") == "batch_confounded"
    only_a = by_arm.assign(panel="A")
    assert cell(compare(animals, GROUPS, config, batches=only_a), FN, "P3-D3") == ""
    assert cell(compare(animals, GROUPS, config, batches=only_a), CD68, "P3-D3") == "batch_confounded"


def test_flags_of_animals_are_carried(animals, make_study, make_rows):
    onset = make_rows({a: 10.0 + i for i, a in enumerate(GROUPS.index)}, panel="BBB", zone="", marker="", metric="onset_day")
    onset.loc[onset["animal"] == "P62", "flags"] = "not_reached;missing_visits"
    marked = animals.copy()
    marked.loc[(marked["animal"] == "D32") & (marked["marker"] == "fibronectin"), "flags"] = "contour_unreviewed;few_sections"
    config = make_study(endpoints={"secondary": [FN, "BBB_onset_day"]})
    t = compare(pd.concat([marked, onset]), GROUPS, config)
    assert cell(t, FN, "P3-D3") == "contour_unreviewed"
    assert cell(t, FN, "P6-P3") == ""
    assert cell(t, "BBB_onset_day", "P6-P3") == "censored_values"
    assert cell(t, "BBB_onset_day", "P3-D3") == ""


def test_blocks(animals, config):
    blocks = pd.Series({a: a[-1] for a in GROUPS.index})
    t = compare(animals, GROUPS, config, blocks=blocks)
    assert cell(t, FN, "P3-D3", "method") == "Welch t interval within blocks; exact permutation within blocks (32)"  # 2 ** 5
    empty = compare(animals, GROUPS, config, blocks=pd.Series("", index=GROUPS.index))
    assert cell(empty, FN, "P3-D3", "method") == "Welch t interval; exact permutation (252)"
    with pytest.raises(StudyError, match=r"without a block.*: V0"):
        compare(animals, GROUPS, config, blocks=blocks.drop("V0"))


def test_nothing_to_compare_and_wrong_tables_are_said(animals, config):
    assert compare(animals, GROUPS[GROUPS == "V"], config).empty
    alike = config.model_copy(update={"protocols": dict.fromkeys(("D3", "P3"), config.protocols["P3"])})
    with pytest.raises(StudyError, match="none are declared and the groups suggest none"):
        compare(animals, GROUPS[GROUPS.isin(["D3", "P3"])], alike)
    with pytest.raises(SevhistoError, match="the animal is the unit"):
        compare(animals.assign(section="1"), GROUPS, config)


def test_nan_never_stands_without_a_flag(animals, config):
    few = GROUPS[[a for a in GROUPS.index if a[-1] == "0"]]
    flat = animals.assign(value=3.0)
    for table in (compare(animals, few, config), compare(flat, GROUPS, config), compare(animals, GROUPS, config)):
        incomplete = table[table.drop(columns="flags").isna().any(axis=1)]
        assert (incomplete["flags"] != "").all()


def test_a_tracer_without_a_dye_only_group_is_flagged(make_rows, make_study, animals):
    config = make_study()
    spots = config.panels["A"].channels[3].model_copy(update={"role": "tracer", "marker": "sEV"})
    panel = config.panels["A"].model_copy(update={"channels": [*config.panels["A"].channels[:3], spots]})
    config = config.model_copy(update={"panels": {**config.panels, "A": panel}})
    wanted = {"secondary": ["A_core_sEV_puncta_per_mm2", CD68]}
    config = config.model_copy(update={"endpoints": config.endpoints.model_copy(update=wanted)})
    table = pd.concat([animals, make_rows(numbers(4), panel="A", marker="sEV", metric="puncta_per_mm2")], ignore_index=True)
    told = compare(table, GROUPS, config)
    assert ["no_dye_control" in f for f in told["flags"]] == [e == "A_core_sEV_puncta_per_mm2" for e in told["endpoint"]]
    protocols = {**config.protocols, "V": config.protocols["V"].model_copy(update={"dye_only": True})}
    told = compare(table, GROUPS, config.model_copy(update={"protocols": protocols}))
    assert not told["flags"].str.contains("no_dye_control").any()


def test_sides_that_differ_on_day_1_and_a_full_scale_are_flagged(make_rows, make_study):
    config = make_study(endpoints={"primary": [AUC], "secondary": [CD68]})
    curve = {"panel": "BBB", "zone": "", "marker": ""}
    apart = {a: v + (3.0 if g == "P3" else 0.0) for (a, v), g in zip(numbers(4).items(), GROUPS, strict=True)}
    area = make_rows(numbers(3), metric="auc", **curve)
    area.loc[area["animal"] == "V0", "flags"] = "ceiling"
    parts = [area, make_rows(apart, metric="day1", **curve), make_rows(numbers(2), panel="A", marker="CD68")]
    t = compare(pd.concat(parts, ignore_index=True), GROUPS, config)
    assert "day1_imbalance" in cell(t, AUC, "P3-D3")
    assert "ceiling_effect" in cell(t, AUC, "treated-vehicle") and "ceiling_effect" not in cell(t, AUC, "P3-D3")
    assert "day1_imbalance" not in cell(t, CD68, "P3-D3")
