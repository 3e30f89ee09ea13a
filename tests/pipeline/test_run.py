"""`sevhisto run`: the same bytes however it is run, failures as rows, and nothing read twice."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import tifffile

from sevhisto.io.files import read_sealed
from sevhisto.pipeline import check, run

SECTIONS_OF_A_SLIDE = 3


def same(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if a[name] != b[name]] == []


def test_two_processes_give_the_same_bytes(fresh, study, sevhisto):
    said = sevhisto("run", fresh.root, "--jobs", 2)
    assert said.status == 0, said.err
    assert "15 sections" in said.out
    assert "15 measured now" in said.out
    same(fresh.files(), study.files())
    one, two = (read_sealed(s.results / "run.json") for s in (fresh, study))
    for facts in (one, two):
        for changing in ("finished", "seconds"):
            del facts[changing]
    assert one == two


def test_a_rerun_reads_no_slide_and_a_resume_measures_what_is_gone_or_damaged(study):
    before = study.files()
    told = []
    again = run(study.root, jobs=1, progress=lambda *said: told.append(said))
    assert (again.measured_now, again.failed) == (0, 0)
    assert [said for said in told if said[0] == "sections"][-1] == ("sections", 15, 15, 0, 15)  # none failed, all were there before
    same(study.files(), before)
    records = sorted((study.results / "records").glob("*.npz"))
    records[0].unlink()
    records[4].unlink()
    data = bytearray(records[2].read_bytes())
    data[len(data) // 2] ^= 0xFF
    records[2].write_bytes(data)
    records[7].write_bytes(records[7].read_bytes()[:-100])
    resumed = run(study.root, jobs=1)
    assert (resumed.measured_now, resumed.failed) == (4, 0)
    same(study.files(), before)


def test_a_threshold_set_by_hand_reads_no_slide(study):
    study.edit('marker = "fibronectin"\n', 'marker = "fibronectin"\nthreshold = 123.0\nantibody = "ab2413"\n')
    done = run(study.root, jobs=1)
    assert done.measured_now == 0
    rows = study.table("sections.csv").query("marker == 'fibronectin'")
    assert rows["threshold"].unique() == pytest.approx([123.0], rel=0.03)  # moved to an edge of the bins
    assert rows["flags"].str.contains("threshold_fixed").all()


def test_a_phenotype_reads_no_slide_and_has_rows_of_its_own(study):
    study.edit("[panels.B]\n", '[panels.B]\nphenotypes = { glia = "GFAP" }\n')
    done = run(study.root, jobs=1)
    assert done.measured_now == 0
    rows = study.table("sections.csv").query("marker == 'glia'")
    assert rows["n_cells"].notna().any() and rows["positive_um2"].notna().any()
    assert {"count", "density_per_mm2", "fraction_of_cells_pct"} <= set(study.table("animals.csv").query("marker == 'glia'")["metric"])


def test_a_change_of_imaging_reads_the_slides_again(study):
    study.edit("[endpoints]", "[imaging]\nblur_um = 5\n\n[endpoints]")
    assert run(study.root, jobs=1).measured_now == 15


def without_pooled(table):
    """A table without what is made from all samples of a batch: the cut of positive cells, and verdicts against the batch."""
    table = table.drop(columns=[c for c in table if c.startswith(("cell_threshold", "n_cells", "verdict", "reasons"))], errors="ignore")
    if "metric" in table:
        table = table[~table["metric"].str.contains("count|density|cd68")]
    return table.reset_index(drop=True)


def test_a_broken_slide_costs_its_own_sections_only(study, sevhisto):
    before = {name: study.table(name) for name in ("status.csv", "sections.csv", "animals.csv")}
    file = study.a_sample()
    path = study.root / "slides" / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said = sevhisto("run", study.root, "--jobs", 1)
    assert said.status == 3
    assert f"{SECTIONS_OF_A_SLIDE} failed" in said.out
    assert f"{SECTIONS_OF_A_SLIDE} failed" in next(line for line in said.err.splitlines() if line.startswith("sections: 15/15"))
    assert said.out.count("  failed: ") == SECTIONS_OF_A_SLIDE
    assert "slide_0" not in said.out + said.err
    status = study.table("status.csv")
    assert len(status) == 15
    broken = status[status["status"] == "failed"]
    assert len(broken) == SECTIONS_OF_A_SLIDE
    assert (broken["reason"].str.len() > 20).all()
    told = [line for line in said.err.splitlines() if " failed: " in line]  # one line for the slide, when it fails
    assert len(told) == 1 and told[0].startswith(f"{broken['file'].iloc[0]} (") and told[0].endswith(broken["reason"].iloc[0])
    assert said.err.index(told[0]) < said.err.index("sections: 15/15")
    said = sevhisto("run", study.root, "--jobs", 1, "--json")
    assert json.loads(said.out)["failed"] == SECTIONS_OF_A_SLIDE and told[0] in said.err
    animal = broken["animal"].iloc[0]
    for name, frame in before.items():
        now = study.table(name)
        now, kept = (without_pooled(t[t["animal"] != animal]) for t in (now, frame))
        pd.testing.assert_frame_equal(now, kept, obj=name)
    keys = ["animal", "panel", "zone", "marker", "metric"]
    assert set(map(tuple, study.table("animals.csv")[keys].to_numpy())) == set(map(tuple, before["animals.csv"][keys].to_numpy()))
    lost = study.table("animals.csv").query("animal == @animal and panel == 'B'")
    assert (lost["n_sections"] == 0).all()
    assert (lost["n_expected"] == SECTIONS_OF_A_SLIDE).all()
    assert (lost["flags"] != "").all()


def test_a_slide_that_is_damaged_in_the_middle_costs_its_own_sections_only(study, sevhisto):
    before = study.table("sections.csv")
    file = study.a_sample()
    path = study.root / "slides" / file
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        at = page.dataoffsets[len(page.dataoffsets) // 2] + page.databytecounts[len(page.dataoffsets) // 2] // 2
    data = bytearray(path.read_bytes())
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(data)
    assert sevhisto("check", study.root, "--accept", file).status == 0  # else it is refused before a pixel is read
    said = sevhisto("run", study.root, "--jobs", 1)
    assert said.status == 3
    broken = study.table("status.csv").query("status == 'failed'")
    assert 1 <= len(broken) <= SECTIONS_OF_A_SLIDE
    assert broken["reason"].str.contains("cannot be decoded").all(), broken["reason"].iloc[0]
    assert len(set(broken["animal"])) == 1
    animal, now = broken["animal"].iloc[0], study.table("sections.csv")
    now, kept = (without_pooled(t[t["animal"] != animal]) for t in (now, before))
    pd.testing.assert_frame_equal(now, kept)


def test_when_every_slide_is_broken_there_are_still_tables(fresh, sevhisto):
    for path in (fresh.root / "slides").iterdir():
        path.write_bytes(path.read_bytes()[:2000])
    said = sevhisto("run", fresh.root, "--jobs", 1)
    assert said.status == 3
    assert "15 failed" in said.out
    assert (fresh.table("status.csv")["status"] == "failed").all()
    assert len(fresh.table("sections.csv")) == 0
    assert len(fresh.table("animals_wide.csv")) == 5  # four, and the uninjured control


def test_a_lost_section_is_a_failed_row(study):
    slides = study.sheet("slides.csv")
    row = slides.index[(slides["role"] == "sample") & (slides["section"] == "s02")][0]
    slides.loc[row, ["file", "piece"]] = ""
    study.write_sheet("slides.csv", slides)
    done = run(study.root, jobs=1)
    assert (done.failed, done.measured_now) == (1, 0)
    lost = study.table("status.csv").query("status == 'failed'")
    assert lost["reason"].str.contains("lost").all()
    animals = study.table("animals.csv")
    rows = animals[(animals["animal"] == lost["animal"].iloc[0]) & (animals["metric"] == "fraction_pct") & (animals["zone"] == "all")]
    assert (rows["n_sections"] <= 2).all()
    assert (rows["n_expected"] == 3).all()
    assert rows["flags"].str.contains("sections_missing").any()


def test_a_section_without_a_lesion_is_zero_not_missing(study):
    sections = study.table("sections.csv")
    status = study.table("status.csv")
    without = status[status["flags"].str.contains("no_lesion") & (status["status"] != "failed")]
    without = without[~without["section"].isin(["no_primary", "unstained", "uninjured"])]
    assert len(without)
    both = sections.merge(without[["animal", "section", "panel"]], on=["animal", "section", "panel"])
    core = both[both["zone"] == "core"]
    assert len(core) == len(without) * both["marker"].nunique()
    for column in ("zone_um2", "cavity_um2", "positive_um2", "signal_sum", "n_cells"):
        assert (core[column].astype(float) == 0).all(), column
    assert (both.loc[both["zone"] == "all", "zone_um2"] > 0).all()


def true_core(study, file, piece):
    outlines = json.loads((study.root / "truth" / "outlines.json").read_text("utf-8"))
    ring = outlines[f"{file}#{piece}"]["core"]
    ring = [[x + 0.5, y + 0.5] for x, y in ring]  # GeoJSON counts from the pixel's corner
    return ring, {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        "properties": {"objectType": "annotation", "classification": {"name": "lesion"}},
    }


def polygon_area(ring):
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True))) / 2


def test_a_drawn_outline_wins_and_reads_its_slide_only(study):
    before = {name: data for name, data in study.files().items() if name.startswith("records/")}
    outlines = json.loads((study.root / "truth" / "outlines.json").read_text("utf-8"))
    slides = study.sheet("slides.csv")
    samples = slides[slides["role"] == "sample"]
    chosen = next(r for r in samples.to_dict("records") if outlines[f"{r['file']}#{r['piece']}"]["core"])
    ring, feature = true_core(study, chosen["file"], chosen["piece"])
    (study.root / "corrections").mkdir()
    path = study.root / "corrections" / f"{chosen['file'].removesuffix('.ome.tif')}.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), "utf-8")
    assert check(study.root)[0] == []
    done = run(study.root, jobs=1)
    assert (done.measured_now, done.failed) == (SECTIONS_OF_A_SLIDE, 0)
    status = study.table("status.csv")
    drawn = status[status["flags"].str.contains("contour_drawn")]
    assert drawn["section"].tolist() == [chosen["section"]]
    assert not drawn["flags"].str.contains("contour_unreviewed").any()
    sections = study.table("sections.csv").merge(drawn[["animal", "section"]], on=["animal", "section"])
    core = sections.query("zone == 'core' and marker == 'DAPI'").iloc[0]
    assert core["zone_um2"] + core["cavity_um2"] == pytest.approx(polygon_area(ring) * 16, rel=0.03)
    after = study.files()
    assert all(after[name] == data for name, data in before.items())


def test_a_dask_cluster_gives_the_same_bytes(fresh, study):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp") as cluster:
        run(fresh.root, scheduler=cluster.scheduler_address)
    same(fresh.files(), study.files())


def test_a_scheduler_that_is_not_there_is_told(fresh, sevhisto, monkeypatch):
    pytest.importorskip("distributed")
    from sevhisto.engine import cluster

    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    said = sevhisto("run", fresh.root, "--scheduler", "tcp://127.0.0.1:9")
    assert said.status == 1
    assert "cannot be reached" in said.err
    assert "dask scheduler" in said.err
    assert "Traceback" not in said.err
