"""`compare` and `report` on the tiny study: what the key, an exclusion and an open study do to them; and the demo's own summary."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sevhisto.phantom import load_truth
from sevhisto.pipeline import answering, compare, report, run
from sevhisto.pipeline.demonstrating import accuracy, effects
from sevhisto.pipeline.naming import Names
from sevhisto.types import StudyError
from tests.pipeline.conftest import TELLING


def content(path: Path) -> bytes:
    """What a file says, unpacked."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_csv().encode()
    if path.suffix == ".npz":
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as packed:
            return b"".join(packed.read(name) for name in packed.namelist())
    return path.read_bytes()


def names_told(study) -> dict[str, list[str]]:
    """Files outside results/key/ that hold a name of an animal, group or slide."""
    animals, slides = study.sheet("animals.csv"), study.sheet("slides.csv")
    names = {*animals["animal"], *animals["protocol"], *slides["animal"]} | {f.removesuffix(".ome.tif") for f in slides["file"] if f}
    files = [p for p in study.results.rglob("*") if p.is_file() and "key" not in p.relative_to(study.results).parts]
    assert len(files) > 20
    told = {p.name: sorted(n for n in names if n.encode() in content(p)) for p in files}
    return {name: found for name, found in told.items() if found}


def test_after_opening_animals_and_contrasts_have_their_names(study):
    done = compare(study.root, open_key=True)
    assert not done.blinded
    report(study.root, 1)
    told = names_told(study)
    for name in ("animals.csv", "animals_wide.csv", "sections.csv", "status.csv", "cells.parquet", "comparisons.csv", "report.html"):
        assert name in told, name
    assert set(done.comparisons["contrast"]) == {"mode", "duration", "any_sev"}
    assert not done.comparisons["flags"].str.contains("not_unblinded|changed_after").any()
    balance = study.table("exclusion_balance.csv")
    assert list(balance["group"]) == list(TELLING.values()) and balance["n_animals"].sum() == 4 and not balance["n_animals_excluded"].any()


def test_a_run_after_opening_is_no_change(study):
    """The order of the rows changes with the names; contours, thresholds and exclusions do not."""
    compare(study.root, open_key=True)
    run(study.root, jobs=1)
    compare(study.root)
    for name in ("animals.csv", "comparisons.csv", "relations.csv"):
        assert not study.table(name)["flags"].str.contains("changed_after_unblinding").any(), name


def exclude_first(study):
    animals = study.sheet("animals.csv")
    animals.loc[0, ["excluded", "exclusion_reason"]] = ["yes", "bladder rupture"]
    study.write_sheet("animals.csv", animals)
    return animals.loc[0, "animal"]


def test_an_excluded_animal_is_left_out_of_comparisons_and_keeps_its_rows(study):
    compare(study.root)
    before = study.table("comparisons.csv")
    exclude_first(study)
    run(study.root, jobs=1)
    after = compare(study.root).comparisons
    both = before.merge(after, on=["endpoint", "contrast"], suffixes=("", "_now"))
    n, now = both["n_a"] + both["n_b"], both["n_a_now"] + both["n_b_now"]
    assert (now <= n).all()
    assert set(both["contrast"]) == {"A - B", "A - C", "A - D", "B - C", "B - D", "C - D"}  # no pattern that tells the arms
    assert (n - now).groupby(both["endpoint"]).sum().eq(3).all()  # one arm is smaller, and stands in three pairs
    assert study.table("animals.csv")["animal"].nunique() == 5


def test_an_exclusion_after_opening_is_stamped_without_another_run(study):
    compare(study.root, open_key=True)
    exclude_first(study)
    assert compare(study.root).comparisons["flags"].str.contains("changed_after_unblinding").all()
    page = report(study.root, 1).read_text("utf-8")
    assert "changed after the key was opened" in page
    figures = page.count('role="img"')
    assert page.count("changed after unblinding") == figures > 3
    for path in sorted(study.results.glob("*.csv")):
        table = pd.read_csv(path, keep_default_na=False)
        stamp = table["flags"] if "flags" in table else table["stamp"]
        assert stamp.str.contains("changed_after_unblinding").all(), path.name
    assert set(pd.read_parquet(study.results / "cells.parquet")["stamp"]) == {"changed_after_unblinding"}
    excluded = study.table("exclusions.csv")
    assert excluded[["level", "note", "source"]].to_numpy().tolist() == [["animal", "bladder rupture", "animals.csv"]]
    assert study.table("exclusion_balance.csv")["n_animals_excluded"].sum() == 1


def test_an_outline_drawn_after_opening_is_stamped(study):
    compare(study.root, open_key=True)
    outlines = json.loads((study.root / "truth" / "outlines.json").read_text("utf-8"))
    file = study.a_sample()
    y0, x0, y1, x1 = outlines[f"{file}#2"]["box_y0_x0_y1_x1"]
    y, x = (y0 + y1) / 2, (x0 + x1) / 2
    ring = [[x - 20, y - 20], [x + 20, y - 20], [x + 20, y + 20], [x - 20, y + 20], [x - 20, y - 20]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"name": "lesion"}}
    (study.root / "corrections").mkdir()
    (study.root / "corrections" / f"{file}.geojson").write_text(json.dumps(feature), "utf-8")
    run(study.root, jobs=1)
    assert study.table("animals.csv")["flags"].str.contains("changed_after_unblinding").all()


def test_a_study_that_is_not_blind_says_so_everywhere(fresh):
    fresh.edit("[study]\n", "[study]\nblind = false\n")
    run(fresh.root, jobs=1)
    done = compare(fresh.root)
    assert not done.blinded
    assert set(fresh.sheet("animals.csv")["animal"]) <= set(fresh.table("animals.csv")["animal"])
    for frame in (fresh.table("animals.csv"), done.comparisons, done.relations):
        assert frame["flags"].str.contains("unblinded_study").all()


def test_a_study_of_one_group_without_treatment_is_related_and_reported_and_says_what_it_cannot(study):
    text = (study.root / "study.toml").read_text("utf-8")
    kept = text[: text.index("[protocols.")]
    (study.root / "study.toml").write_text(kept, "utf-8")
    animals = study.sheet("animals.csv").assign(protocol="")
    study.write_sheet("animals.csv", animals)
    done = compare(study.root, open_key=True)
    assert done.comparisons.empty and len(done.relations)
    assert len([note for note in done.notes if "No group was given anything" in note or "There is one group" in note]) == 2
    assert study.table("exposure.csv").empty and study.table("specifications.csv").empty
    page = report(study.root, 1, pictures=False).read_text("utf-8")
    assert page.count("No group was given anything") == 1 and "differ from" not in page and "all animals" in page


def test_the_key_stays_closed_where_an_endpoint_was_not_measured(study):
    declared = next(line for line in (study.root / "study.toml").read_text("utf-8").splitlines() if line.startswith("primary"))
    study.edit(declared, 'primary = ["B_core_DAPI_spared_tissue_mm2"]')  # of tissue only
    with pytest.raises(StudyError, match="was not measured in this study"):
        compare(study.root, open_key=True)
    assert not (study.results / "key" / "unblinded.json").exists()


def test_contrasts_stay_those_of_the_study_whichever_animal_a_choice_leaves_out(study, monkeypatch):
    text = (study.root / "study.toml").read_text("utf-8")
    declared = text[text.index("[[contrasts]]") :]
    (study.root / "study.toml").write_text(text.replace(declared, ""), "utf-8")
    kept = (TELLING["vehicle"], TELLING["daily_3d"])
    animals = study.sheet("animals.csv")
    gone = ["" if p in ("", *kept) else "died" for p in animals["protocol"]]
    study.write_sheet("animals.csv", animals.assign(excluded=["yes" if g else "" for g in gone], exclusion_reason=gone))
    seen = []

    def curve(results, comparisons, groups, config, *rest):
        seen.extend(config.contrasts)
        raise KeyboardInterrupt

    monkeypatch.setattr(answering, "_curve", curve)
    with pytest.raises(KeyboardInterrupt):
        compare(study.root, open_key=True)
    assert [c.name for c in seen] == ["treated-vehicle"]  # from the groups, which a choice without one animal would not suggest


@pytest.mark.parametrize(
    ("message", "cleaned"),
    [
        ("/home/me/study/slides/R1/1.tif: is damaged", "/home/me/study/slides/S-1: is damaged"),
        ("1.tif, page 1: only 1 of 11 tiles", "S-1, page 1: only 1 of 11 tiles"),
        ("corrections/1.geojson, outline 1: has no name", "corrections/S-1.geojson, outline 1: has no name"),
        ("corrections/big_1_scene2.roi: is empty", "corrections/S-2_scene2.roi: is empty"),
        ("big_1.ome.tif and 11.tif", "S-2 and 11.tif"),
    ],
)
def test_a_message_is_cleaned_of_file_names_and_of_nothing_else(message, cleaned):
    assert Names({}, {"": "", "R1/1.tif": "S-1", "big_1.ome.tif": "S-2"}).clean(message) == cleaned


def test_accuracy_compares_the_same_sections_at_the_same_threshold(study):
    compare(study.root, open_key=True)
    truth = load_truth(study.root)
    truth.sections["animal"] = truth.sections["animal"].str.replace(r"^R(\d\d)$", r"Ratte\1", regex=True)
    table = accuracy(study.table("sections.csv"), truth)
    assert set(table["marker"]) == {"fibronectin", "collagen_I"}
    assert np.allclose(table["error_points"], table["measured_pct"] - table["true_pct"])
    core = table[table["zone"] == "core"]
    assert core["true_pct"].between(1, 90).all()
    assert core["error_points"].abs().max() < 8  # at 4 um a pixel, which no lab would use
    assert core["sections"].min() >= 4


def test_effects_stand_beside_what_was_declared(study):
    truth = load_truth(study.root)
    endpoint = "B_core_fibronectin_positive_volume_mm3"
    row = {"estimate": 1.0, "ci_low": 0.0, "ci_high": 2.0, "ratio": 0.9, "ratio_low": 0.2, "ratio_high": 3.0}
    table = effects(pd.DataFrame([{"endpoint": endpoint, "contrast": "duration", **row}]), truth)
    assert table[["endpoint", "contrast", "scale", "inside"]].to_numpy().tolist() == [[endpoint, "duration", "ratio", "yes"]]
    assert table["declared"].iloc[0] == pytest.approx(0.60 / 0.75)
    far = effects(pd.DataFrame([{"endpoint": endpoint, "contrast": "duration", **row, "ratio_low": 0.85}]), truth)
    assert far["inside"].tolist() == ["no"]


def estimates_of(table, choice, variant=""):
    """Estimates by endpoint and contrast under one choice."""
    rows = table[(table["choice"] == choice) & (table["variant"] == variant)]
    return rows.set_index(["endpoint", "contrast"])["estimate"].pipe(pd.to_numeric)


def test_a_choice_in_the_curve_is_what_a_run_with_that_setting_gives(study):
    """Rings and a threshold: the curve's line, and the study analysed again with the setting itself."""
    compare(study.root)
    curve = study.table("specifications.csv")
    found = study.table("thresholds.csv").set_index("marker")["raw"].astype(float)
    text = (study.root / "study.toml").read_text("utf-8")
    (study.root / "study.toml").write_text(f"{text}\n[zones]\nedges_um = [0, 200, 400, 800, 1600]\n", "utf-8")
    run(study.root, jobs=1)
    compare(study.root)
    rings = estimates_of(study.table("specifications.csv"), "as analysed").rename(lambda e: e.replace("0-200", "0-250"), level=0)
    expected = estimates_of(curve, "zone edges", "x 0.8")
    assert len(expected) > 10
    pd.testing.assert_series_equal(expected.sort_index(), rings.sort_index())
    for marker, value in found.items():
        text = text.replace(f'marker = "{marker}"', f'marker = "{marker}"\nthreshold = {1.3 * value}')
    (study.root / "study.toml").write_text(text, "utf-8")
    run(study.root, jobs=1)
    compare(study.root)
    higher = estimates_of(study.table("specifications.csv"), "as analysed")
    pd.testing.assert_series_equal(estimates_of(curve, "threshold", "x 1.3").sort_index(), higher.sort_index())
