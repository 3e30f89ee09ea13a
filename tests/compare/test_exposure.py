"""What animals were exposed to: the table of the specification, and what animals.csv changes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as given_values
from hypothesis import settings
from hypothesis import strategies as st

from sevhisto.compare import kinetics
from sevhisto.compare.exposure import dose_differences, exposure, exposure_notes, given, profiles, unmatched_contrasts
from sevhisto.compare.kinetics import Delivery, segments
from sevhisto.compare.protocols import contrast_flags, default_contrasts, dose_problems
from sevhisto.config import parse_config
from sevhisto.schema import EXPOSURE
from sevhisto.types import StudyError

BOLUS = Delivery((0.0, 24.0, 48.0), (1.0, 1.0, 1.0), 0.0, 72.0)
PUMP_3, PUMP_6 = Delivery((), (), 0.0, 72.0, 3.0), Delivery((), (), 0.0, 144.0, 3.0)


# science: total dose 3, three boluses, 72 h and 144 h of pump, volume 1; level: half of the plateau of 144 h
@pytest.mark.parametrize(
    ("half_life_h", "peaks", "auc", "above"),
    [
        (2 / 60, (1.0000, 0.00200, 0.00100), 0.1443, (1.1, 72.1, 144)),
        (7 / 60, (1.0000, 0.00701, 0.00351), 0.5049, (3.2, 72.2, 144)),
        (0.5, (1.0000, 0.03006, 0.01503), 2.164, (10.6, 72.8, 144)),
        (2.5, (1.0013, 0.15028, 0.07514), 10.82, (35.5, 76.0, 144)),
        (13.2, (1.3640, 0.77539, 0.39653), 57.1, (84.7, 92.5, 144)),
    ],
)
def test_the_table_of_half_lives(half_life_h, peaks, auc, above):
    found = [segments(d, half_life_h) for d in (BOLUS, PUMP_3, PUMP_6)]
    level = 0.5 * 3 / 144 / (math.log(2) / half_life_h)
    assert [kinetics.peak(s) for s in found] == pytest.approx(peaks, abs=6e-5)
    assert [kinetics.area(s) for s in found] == pytest.approx([3 * half_life_h / math.log(2)] * 3)
    assert kinetics.area(found[0]) == pytest.approx(auc, rel=1e-3)
    assert [kinetics.time_above(s, level) for s in found] == pytest.approx(above, abs=0.06)


DOSES = st.lists(st.tuples(st.floats(0, 200), st.floats(0.01, 5)), min_size=1, max_size=4)


@given_values(DOSES, st.floats(0, 5), st.floats(0.3, 20), st.floats(0.01, 2))
@settings(deadline=None, max_examples=20)
def test_closed_forms_agree_with_a_fine_grid(doses, infused, half_life_h, level):
    times, amounts = zip(*sorted(doses), strict=True)
    delivery = Delivery(times, amounts, 5.0, 55.0, infused)
    s = segments(delivery, half_life_h)
    hours = np.unique([*np.linspace(0, 260 + 25 * half_life_h, 20_001), *np.repeat(times, 2) - np.tile([1e-9, 0], len(times))])
    amount = s.at(hours)
    assert kinetics.area(s) == pytest.approx(np.trapezoid(amount, hours), rel=2e-3)
    assert kinetics.area(s) == pytest.approx(delivery.dose * half_life_h / math.log(2), rel=1e-9)
    assert kinetics.uptake(s, level) == pytest.approx(np.trapezoid(amount / (level + amount), hours), rel=2e-3, abs=0.02)
    assert kinetics.time_above(s, level) == pytest.approx(np.trapezoid(1.0 * (amount >= level), hours), abs=0.2)
    assert kinetics.peak(s) >= amount.max() - 1e-9


def test_residence_trough_and_activity_in_the_pump():
    s = segments(PUMP_3, 2.5)
    assert kinetics.residence(s, PUMP_3) == pytest.approx(36 + 2.5 / math.log(2))
    assert kinetics.trough(s, PUMP_3) == pytest.approx(s.at(np.array([36.0]))[0])
    s = segments(BOLUS, 13.2)
    assert kinetics.trough(s, BOLUS) == pytest.approx(s.at(np.array([48 - 1e-9, 72.0])).min())
    assert math.isnan(kinetics.trough(segments(Delivery((3.0,), (1.0,), 3.0, 3.0), 1.0), Delivery((3.0,), (1.0,), 3.0, 3.0)))
    # science: half-life 3 d over 3 and 6 d, 10 d likewise
    shares = [kinetics.active_share(24 * h, 24 * t) for h in (3, 10) for t in (3, 6)]
    assert shares == pytest.approx([0.721, 0.541, 0.903, 0.818], abs=5e-4)


def pumped(make_study, **changes):
    data = make_study().model_dump(exclude_unset=True)
    for name in ("P3", "P6"):
        data["protocols"][name]["infusion"] |= {
            "rate_ul_h": 72 / data["protocols"][name]["infusion"]["duration_h"],
            "loaded_volume_ul": 100,
        }
        data["protocols"][name] |= changes
    return parse_config(data)


def person(**known):
    return pd.Series({"weight_g": 250.0, **known})


def test_what_the_sheet_says_goes_before_the_plan(make_study):
    config = pumped(make_study)
    p3, d3 = config.protocols["P3"], config.protocols["D3"]
    plain = given(p3, person())
    assert (plain.delivery.dose, plain.source, set(plain.flags)) == (3e9, "protocol", {"delivery_unverified"})
    half = given(p3, person(delivered_volume_ul=36.0))
    assert (half.delivery.dose, half.source, set(half.flags)) == (1.5e9, "delivered_volume_ul", set())
    short = given(p3, person(infusion_h=24.0))
    assert (short.delivery.dose, short.delivery.end_h - short.delivery.start_h) == (1e9, 24)
    blocked = given(p3, person(patent="no"))
    assert math.isnan(blocked.delivery.dose) and {"patency_lost", "dose_unknown"} <= blocked.flags
    assert given(p3, person(patent="no", delivered_dose=2e9)).flags == {"patency_lost"}
    two = given(d3, person(doses_given=2.0, treatment_start_h=30.0))
    assert (two.delivery.times_h, two.delivery.dose, two.administrations) == ((30.0, 54.0), 2e9, 2)
    none = given(d3, person(doses_given=0.0))
    assert none.delivery.dose == 0 and kinetics.peak(segments(none.delivery, 1.0)) == 0
    heavy = d3.model_copy(update={"per_kg": True})
    assert given(heavy, person(weight_g=500.0)).delivery.dose == 1.5e9
    assert "dose_unknown" in given(heavy, person(weight_g=math.nan)).flags


GROUPS = pd.Series({"v": "V", "d": "D3", "p": "P3", "q": "P6"})
PEOPLE = pd.DataFrame({"weight_g": 250.0, "delivered_volume_ul": [math.nan, math.nan, 72, 72]}, index=list(GROUPS.index))


def test_matched_doses_differ_in_everything_but_area(make_study):
    config = pumped(make_study)
    t = exposure(PEOPLE, GROUPS, config)
    assert EXPOSURE.problems(t) == []
    assert len(t) == 4 * 3
    main = t[t["half_life_min"] == 7].set_index("animal")
    assert main.loc["v", ["dose", "peak", "auc", "uptake_h", "time_above_h"]].tolist() == [0, 0, 0, 0, 0]
    assert np.ptp(main.loc[["d", "p", "q"], "auc"]) == pytest.approx(0, abs=1)
    assert main.loc["d", "peak"] / main.loc["p", "peak"] == pytest.approx(142.6, rel=1e-3)
    assert main.loc["q", "time_above_h"] > main.loc["p", "time_above_h"] > main.loc["d", "time_above_h"]
    assert main.loc["q", "uptake_h"] > main.loc["p", "uptake_h"] > main.loc["d", "uptake_h"]
    assert main.loc["p", "dose_per_kg"] == pytest.approx(12e9)
    (note,) = exposure_notes(t, config)
    assert "AUC is the same for every schedule and cannot explain" in note
    assert set(profiles(config)["protocol"]) == {"D3", "P3", "P6"}


def test_doses_that_differ_are_told_with_the_groups(make_study):
    config = pumped(make_study)
    people = PEOPLE.assign(delivered_volume_ul=[math.nan, math.nan, 72, 36])
    t = exposure(people, GROUPS, config)
    assert set(t.loc[t["animal"] == "q", "flags"]) == {"dose_off_plan"}
    (told,) = dose_differences(t, config, ["D3", "P3", "P6"])
    assert "P6 got 1.5e+09" in told and "50.0 % apart" in told
    assert dose_differences(t, config, ["D3", "P3"]) == []
    assert unmatched_contrasts(t, config, default_contrasts(config)) == {"P6-P3", "P6-D3"}
    mixed = pumped(make_study, dose_unit="ug", total_dose=30.0)
    (told,) = dose_differences(exposure(PEOPLE, GROUPS, mixed), mixed, ["D3", "P3"])
    assert "cannot be matched in one unit" in told
    both = pumped(make_study, dose_unit="ug", total_dose=30.0, other_dose=3e9)
    assert [p.what for p in dose_problems(both) if "D3" in p.what] == []


def test_an_unknown_dose_is_empty_and_named(make_study):
    config = pumped(make_study)
    t = exposure(PEOPLE.assign(delivered_volume_ul=math.nan, patent=["", "", "no", ""]), GROUPS, config)
    lost = t[t["animal"] == "p"]
    assert lost[["dose", "peak", "auc", "time_above_h"]].isna().all(axis=None)
    assert lost["flags"].str.contains("dose_unknown").all()
    assert any(n == "Animals with an unknown dose: p." for n in exposure_notes(t, config))


def test_what_a_contrast_confounds(make_study):
    config = make_study()
    flags = {c.name: contrast_flags(config, c) for c in default_contrasts(config)}
    assert flags == {
        "P3-D3": {"surgery_confounded"},
        "P6-P3": set(),
        "treated-vehicle": {"surgery_confounded"},
        "P6-D3": {"surgery_confounded", "duration_confounded"},
    }
    protocols = {n: p.model_copy(update={"double_dummy": True}) for n, p in config.protocols.items()}
    dummy = config.model_copy(update={"protocols": protocols})
    assert contrast_flags(dummy, default_contrasts(dummy)[0]) == set()
    other = config.protocols | {"P6": config.protocols["P6"].model_copy(update={"vehicle": "plasma", "total_dose": 6e9})}
    changed = config.model_copy(update={"protocols": other})
    assert contrast_flags(changed, default_contrasts(changed)[1]) == {"dose_unmatched", "route_or_vehicle_differs"}


def test_a_pump_cannot_deliver_more_than_it_holds(make_study):
    data = make_study().model_dump(exclude_unset=True)
    data["protocols"]["P6"]["infusion"] |= {"rate_ul_h": 1.0, "loaded_volume_ul": 100}
    with pytest.raises(StudyError, match="144 ul, more than loaded_volume_ul"):
        parse_config(data)
