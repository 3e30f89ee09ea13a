"""Colocalisation over scrambled blocks: a ratio of sums, with an interval and p from the sections."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sevhisto.decide.animal_table import animal_table
from sevhisto.decide.section_table import section_table
from sevhisto.decide.thresholds import find_thresholds
from sevhisto.schema import STATUS


def animal_of(record_of, row_of, config, together, n=6, seed=0):
    """Sections of random pixels: the second marker lies on the first in a share of them; scrambled pairs are independent."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        cd68 = np.where(rng.random(4000) < 0.2, 200.0, 0.0)
        cd206 = np.where(rng.random(4000) < 0.1, 160.0, 0.0)
        on = rng.random(4000) < together
        cd206 = np.where(on, np.where(cd68 > 0, 160.0, 0.0) * (rng.random(4000) < 0.5), cd206)
        record = record_of({"CD68": cd68, "CD206": cd206}, pairs=(("CD206", "CD68"),))
        apart = record_of({"CD68": rng.permutation(cd68)[::8], "CD206": cd206[::8]}, pairs=(("CD206", "CD68"),))
        record.scrambled = dict(apart.joint)
        rows.append(row_of(record, "a", f"s{k}", position_um=200.0 * k))
    names = [r.section for r in rows]
    status = pd.DataFrame([{**dict.fromkeys(STATUS.names, ""), "animal": "a", "section": s, "panel": "A", "status": "ok"} for s in names])
    status = status.assign(core_confidence=np.nan, position_um=[r.position_um for r in rows], role="sample")
    table = section_table(rows, find_thresholds(rows, config), config)
    animals = animal_table(table, status, config)
    mine = animals[(animals["zone"] == "all") & (animals["marker"] == "CD206")]
    return mine.set_index("metric")


@pytest.fixture
def config(config_of):
    return config_of(("CD68", "CD206"), channels={m: {"threshold": 50.0} for m in ("CD68", "CD206")})


def test_what_goes_together_stands_out_and_what_does_not_holds_one(record_of, row_of, config):
    apart, together = (animal_of(record_of, row_of, config, t)["value"] for t in (0.0, 0.6))
    name = "manders_over_scramble"
    assert apart[f"{name}_low"] < 1 < apart[f"{name}_high"] and apart[f"{name}_p"] > 0.05
    assert together[f"{name}_low"] > 2 and together[f"{name}_p"] < 0.001
    assert together[f"{name}_low"] < together[name] < together[f"{name}_high"]
    assert together[name] == pytest.approx(together["manders_over_chance"], rel=0.2)  # nothing crowds here: both chances are the same


def test_the_interval_holds_one_as_often_as_it_says(record_of, row_of, config):
    """Twelve animals without association: at 95 % four or more miss once in 500 times."""
    missed = 0
    for seed in range(12):
        value = animal_of(record_of, row_of, config, 0.0, seed=seed + 10)["value"]
        missed += not value["manders_over_scramble_low"] < 1 < value["manders_over_scramble_high"]
    assert missed <= 3


def test_two_sections_have_a_ratio_and_no_interval_and_records_without_it_say_so(record_of, row_of, config):
    two = animal_of(record_of, row_of, config, 0.6, n=2)
    assert two.loc["manders_over_scramble", "value"] > 1
    assert np.isnan(two.loc["manders_over_scramble_p", "value"]) and "too_few_sections" in two.loc["manders_over_scramble_p", "flags"]
