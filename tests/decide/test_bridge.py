"""Bridge sections: the factor that a batch was made brighter by is found, with its error; unlike bridges say so."""

from __future__ import annotations

import numpy as np
import pytest

from sevhisto.decide.bridge import Levels, add_levels, bridge_factors
from sevhisto.decide.pools import summaries_of
from sevhisto.decide.section_table import section_rows
from sevhisto.decide.thresholds import find_thresholds, scale_thresholds

GAIN = {"b1": 1.0, "b2": 1.5, "b3": 0.8}


@pytest.fixture
def bridged(record_of, row_of):
    """Bridge sections of several animals, each with its own amount of stain, in batches that are brighter or darker; and a control each."""

    def make(animals=("x", "y", "z"), spread=0.03, gain=GAIN, odd=1.0):
        rng = np.random.default_rng(4)
        rows = []
        for k, animal in enumerate(animals):
            tissue = rng.gamma(1, 40 * (1 + k), 4000)
            for batch, g in gain.items():
                factor = g * np.exp(rng.normal(0, spread)) * (odd if (animal, batch) == ("x", "b2") else 1)
                values = np.rint((tissue * factor + rng.normal(0, 2, 4000)) * 16) / 16
                rows.append(row_of(record_of({"FN": values}), animal, f"s{batch}", role="bridge", batch=batch))
        for batch in gain:
            noise = np.rint(rng.normal(0, 4, 4000) * 16) / 16
            rows.append(row_of(record_of({"FN": noise}), "c", f"c{batch}", role="no_primary", batch=batch))
        return rows

    return make


def factors(rows, config):
    levels = Levels()
    for summary in summaries_of(rows, config):
        add_levels(levels, summary)
    return {batch: b for (_, batch, _), b in bridge_factors(levels).items()}


def test_the_gain_of_each_batch_is_found_and_its_interval_holds_it(bridged, config_of):
    found = factors(bridged(), config_of(("FN",)))
    centre = np.exp(np.mean(np.log(list(GAIN.values()))))
    for batch, gain in GAIN.items():
        b = found[batch]
        assert b.factor == pytest.approx(gain / centre, rel=0.06)
        assert b.low < gain / centre < b.high and b.high / b.low < 1.3 and b.agree
        assert b.sections == (f"x/s{batch}", f"y/s{batch}", f"z/s{batch}")


def test_a_bridge_that_a_batch_lacks_does_not_count_as_a_difference(bridged, config_of):
    rows = [r for r in bridged(spread=0.0) if (r.animal, r.batch) != ("z", "b2")]  # z is the brightest
    found = factors(rows, config_of(("FN",)))
    assert found["b2"].factor / found["b1"].factor == pytest.approx(1.5, rel=0.02)


def test_one_bridge_has_no_interval_and_one_batch_no_factor(bridged, config_of):
    one = factors(bridged(animals=("x",)), config_of(("FN",)))
    assert np.isnan(one["b1"].low) and one["b2"].factor / one["b1"].factor == pytest.approx(1.5, rel=0.1)
    assert factors(bridged(gain={"b1": 1.0}), config_of(("FN",))) == {}


def test_batches_that_no_animal_joins_are_left_alone(bridged, config_of):
    rows = [r for r in bridged() if (r.batch == "b3") == (r.animal == "z")]
    assert set(factors(rows, config_of(("FN",)))) == {"b1", "b2"}


def test_bridges_that_disagree_are_told_in_the_thresholds(bridged, config_of):
    thresholds = find_thresholds(bridged(odd=2.0), config_of(("FN",)))
    assert "bridges_disagree" in thresholds["A", "b2", "FN"].flags
    assert all("bridges_disagree" not in t.flags for t in find_thresholds(bridged(), config_of(("FN",))).values())


def test_applied_a_threshold_means_the_same_in_every_batch(bridged, config_of):
    rows, config = bridged(spread=0.0), config_of(("FN",), thresholds={"use_bridge": True})
    plain = find_thresholds(rows, config_of(("FN",)))
    found = find_thresholds(rows, config)
    assert all("bridge_applied" in t.flags for t in found.values()) and not any("bridge_applied" in t.flags for t in plain.values())
    value = {batch: t.value for (_, batch, _), t in found.items()}
    assert value["b2"] / value["b1"] == pytest.approx(1.5, rel=0.05) and value["b3"] / value["b1"] == pytest.approx(0.8, rel=0.05)

    def of(thresholds, column):
        tables = [section_rows(r, thresholds, config) for r in rows if r.animal == "y"]
        return [t.loc[t["zone"] == "all", column].iloc[0] for t in tables]

    assert np.ptp(of(found, "positive_um2")) < 0.05 * 4000 < 3 * np.ptp(of(plain, "positive_um2"))
    signal, before = of(found, "signal_sum"), of(plain, "signal_sum")
    assert max(signal) / min(signal) < 1.02 < 1.8 < max(before) / min(before)
    assert scale_thresholds(found, 1.0)["A", "b2", "FN"].value == value["b2"]
