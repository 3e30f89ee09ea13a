"""What a design allows to conclude."""

from __future__ import annotations

import pytest

from sevhisto.compare.protocols import (
    contrast_flags,
    default_contrasts,
    design_notes,
    dose_problems,
    duration_h,
    dye_notes,
    planned_contrasts,
)


def shape(contrasts):
    return [(c.name, c.a, c.b, c.planned) for c in contrasts]


def test_default_contrasts_of_a_delivery_study(make_study):
    assert shape(default_contrasts(make_study())) == [
        ("P3-D3", ["P3"], ["D3"], True),
        ("P6-P3", ["P6"], ["P3"], True),
        ("treated-vehicle", ["D3", "P3", "P6"], ["V"], True),
        ("P6-D3", ["P6"], ["D3"], False),
    ]
    assert shape(default_contrasts(make_study(), {"V", "P6"})) == [("treated-vehicle", ["P6"], ["V"], True)]
    assert default_contrasts(make_study(), {"P6"}) == []


def test_duration_of_daily_injections(make_study):
    protocols = make_study().protocols
    assert duration_h(protocols["D3"]) == 72
    assert duration_h(protocols["P6"]) == 144
    assert duration_h(protocols["D3"].model_copy(update={"injections_h": [24.0]})) == 0


def changed(make_study, name, **update):
    config = make_study()
    protocols = {**config.protocols, name: config.protocols[name].model_copy(update=update)}
    return config.model_copy(update={"protocols": protocols})


def test_matched_doses_give_no_warning(make_study):
    assert dose_problems(make_study()) == []
    assert dose_problems(changed(make_study, "P6", total_dose=3.15e9)) == []  # 4.8 % of the larger


@pytest.mark.parametrize(("update", "text"), [({"total_dose": 3.2e9}, "more than 5 %"), ({"dose_unit": "ug"}, "cannot be compared")])
def test_unmatched_doses_name_the_groups(make_study, update, text):
    problems = dose_problems(changed(make_study, "P6", **update))
    assert len(problems) == 2
    assert text in problems[0].what
    assert "D3" in problems[0].what
    assert "P6" in problems[0].what


def test_notes_name_what_is_confounded(make_study):
    notes = design_notes(make_study())
    assert [n for n in notes if "P6-D3" in n] == ["Contrast P6-D3 confounds the mode of delivery with its duration: exploratory only."]
    assert any("No vehicle group was given by intravenous infusion" in n and "P3, P6" in n and "surgery and pump" in n for n in notes)
    assert not any("injection:" in n for n in notes)


def with_tracer(config):
    channel = config.panels["A"].channels[3].model_copy(update={"role": "tracer", "marker": "sEV"})
    panel = config.panels["A"].model_copy(update={"channels": [*config.panels["A"].channels[:3], channel]})
    return config.model_copy(update={"panels": {**config.panels, "A": panel}})


def test_a_tracer_asks_for_a_group_that_got_its_dye_only(make_study):
    config = make_study()
    assert dye_notes(config) == []
    (note,) = dye_notes(with_tracer(config))
    assert "dye_only" in note and note in design_notes(with_tracer(config))
    assert dye_notes(with_tracer(changed(make_study, "V", dye_only=True))) == []
    assert dye_notes(with_tracer(config).model_copy(update={"protocols": {}})) == []


def test_groups_that_were_given_nothing_are_held_against_the_first(make_study):
    config = make_study(protocols={"sham": {}, "injury": {}})
    assert [(c.name, c.a, c.b) for c in default_contrasts(config)] == [("injury-sham", ["injury"], ["sham"])]
    assert design_notes(config) == ["No group was given anything: nothing is said of doses, exposure or the way of delivery."]
    assert contrast_flags(config, default_contrasts(config)[0]) == set()


def test_a_sham_group_is_no_vehicle(make_study):
    protocols = make_study().protocols
    config = make_study(protocols={"sham": {}, **{n: protocols[n].model_dump(exclude_unset=True) for n in ("V", "D3")}})
    assert [(c.a, c.b) for c in default_contrasts(config)] == [(["D3"], ["V"])]


def test_one_group_has_no_contrast_and_that_is_no_fault(make_study):
    config = make_study(protocols={"all": {}})
    assert planned_contrasts(config, {"all"}) == []
    assert "There is one group: nothing is compared between groups." in design_notes(config)
