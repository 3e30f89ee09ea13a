from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sevhisto.config import ProtocolSettings
from sevhisto.io.check import check_files, inspect_files
from sevhisto.io.study import Study, load_study
from sevhisto.mistakes import not_toml
from sevhisto.types import StudyError

Change = Callable[[str, str, str], None]


def problems(root: Path) -> list[str]:
    with pytest.raises(StudyError) as error:
        load_study(root)
    return [str(p) for p in error.value.problems]


def only(root: Path, *parts: str) -> None:
    (told,) = problems(root)
    for part in parts:
        assert part in told, told


def test_a_good_study(study_dir: Path) -> None:
    study = load_study(study_dir)
    slides = study.slides
    assert list(slides.index) == [2, 3, 4, 5, 6]
    assert list(slides["piece"]) == [1, 2, 0, 1, 1] and slides["piece"].dtype == np.int64 and set(slides["scene"]) == {1}
    assert list(slides["flipped"]) == [False, True, False, False, False] and slides["flipped"].dtype == bool
    assert list(slides["position_um"][:3]) == [-200, 0, 200] and slides["um_per_px"].isna().all()
    assert slides["file"].iloc[2] == "" and slides["notes"].iloc[2] == "lost"
    assert list(study.animals["excluded"]) == [False, True] and list(study.motor["test"]) == ["BBB"] * 3
    assert study.animals["force_kdyn"].isna().all() and list(study.animals["cage"]) == ["", ""]
    assert inspect_files(study) == ([], [])


@pytest.mark.parametrize(
    ("role", "marker", "told"),
    [
        ("single_stain", "CD68", None),
        ("single_stain", "", "row 6, column marker: is empty"),
        ("single_stain", "CD86", "row 6, column marker: 'CD86' is no stain of panel 'A'\n    -> did you mean 'CD68'?"),
        ("no_primary", "CD68", "row 6, column marker: 'CD68' stands on a slide of role 'no_primary'"),
    ],
)
def test_a_single_stain_names_its_marker(study_dir: Path, role: str, marker: str, told: str | None) -> None:
    lines = (study_dir / "slides.csv").read_text("utf-8").splitlines()
    lines = [lines[0] + ",marker", *(line + "," for line in lines[1:-1]), lines[-1].replace("no_primary", role) + f",{marker}"]
    (study_dir / "slides.csv").write_text("\n".join(lines), "utf-8")
    if told is None:
        assert load_study(study_dir).slides["marker"].tolist() == ["", "", "", "", marker]
    else:
        only(study_dir, told)


def test_motor_is_optional(study_dir: Path) -> None:
    (study_dir / "motor.csv").unlink()
    study = load_study(study_dir)
    assert len(study.motor) == 0 and list(study.motor.columns)[:3] == ["animal", "day", "score"]


def test_not_a_study(study_dir: Path, tmp_path: Path) -> None:
    only(tmp_path / "nowhere", "no such folder")
    only(tmp_path, "sevhisto init")
    (study_dir / "animals.csv").unlink()
    only(study_dir, "animals.csv", "is missing", "sevhisto init")


def test_toml_faults(study_dir: Path, change: Change) -> None:
    change("study.toml", "section_spacing_um = 200", "section_spacing_um = = 200")
    only(study_dir, "not valid TOML", "line 4")
    change("study.toml", "section_spacing_um = = 200", "section_spacing = inf")
    told = problems(study_dir)
    assert any("did you mean 'section_spacing_um'" in t for t in told) and any("not a finite number" in t for t in told)


@pytest.mark.parametrize(
    ("line", "where", "remedy"),
    [
        ("a = 200,5", "line 2", "a number has a point"),
        ("[protocols.EV low]", "line 2", "a name with a space stands in quotes"),
        ("a = i.v.", "line 2", "text stands in quotes"),
        ("a = “PBS”", "line 2", "straight quotes"),
        ("a =", "", "brackets are closed"),
        ("[x]\n[x]", "line 3", "a name is given once"),
    ],
)
def test_what_people_type_into_study_toml_is_told_with_its_line_and_a_remedy(line: str, where: str, remedy: str) -> None:
    text = f"# study\n{line}"
    with pytest.raises(tomllib.TOMLDecodeError) as error:
        tomllib.loads(text)
    problem = not_toml("study.toml", text, str(error.value))
    assert where in problem.where and remedy in problem.remedy and (not where or line.split("\n")[-1] in problem.what)


def test_what_was_left_open(study_dir: Path, change: Change) -> None:
    change("study.toml", "section_spacing_um = 200", 'section_spacing_um = "?"')
    change("study.toml", 'marker = "CD206", role = "macrophage"', 'marker = "?", role = "?"')
    change("slides.csv", "R01,1,1,A,1,sample,-200", "R01,1,1,?,?,sample,?")
    change("animals.csv", "R02,daily", "R02,?")
    told = problems(study_dir)
    assert all("is still to be filled in" in t for t in told)
    assert [t.split(": is still")[0] for t in told] == [
        "study.toml: study.section_spacing_um",
        "study.toml: panels.A.channels.4.marker",
        "study.toml: panels.A.channels.4.role",
        "slides.csv, row 2, column panel",
        "slides.csv, row 2, column batch",
        "slides.csv, row 2, column position_um",
        "animals.csv, row 3, column protocol",
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("slides.csv", "R02,1,1,A", "R02,1,1,B", ["row 5, column panel", "'B' is not in study.toml", "known: A"]),
        ("slides.csv", "1,no_primary", "1,noprimary", ["column role", "did you mean 'no_primary'"]),
        ("slides.csv", "tif,R02,", "tif,R20,", ["row 5, column animal", "not in animals.csv", "did you mean"]),
        ("slides.csv", "sub/R02_s1.tif", "/etc/passwd", ["row 5, column file", "leaves the folder"]),
        ("slides.csv", "sub/R02_s1.tif", "../slides/control.tif", ["leaves the folder"]),
        ("slides.csv", "sub/R02_s1.tif", "sub/R02_s2.tif", ["there is no file", "did you mean 'sub/R02_s1.tif'"]),
        ("slides.csv", "R01,2,2,A", "R01,2,1,A", ["rows 2, 3", "file R01_s1.tif, scene 1, piece 1"]),
        ("slides.csv", "R01,2,2,A", "R01,1,2,A", ["rows 2, 3", "animal R01, section 1, panel A"]),
        ("slides.csv", "R01,2,2,A", "R01,02,2,A", []),
        ("slides.csv", "R01,2,2,A", "R01,01,2,A", ["'1' (slides.csv, row 2) and '01' (slides.csv, row 3)"]),
        ("slides.csv", "sample,0,,,yes", "sample,,,,yes", ["row 3, column position_um", "is empty"]),
        ("slides.csv", "R01,2,2,A", "R01,2,2.5,A", ["row 3, column piece", "whole number"]),
        ("slides.csv", "sample,0,,,yes", "sample,0,0,,yes", ["row 3, column scene", "whole number"]),
        ("slides.csv", "sample,0,,,yes", "sample,0,,-1,yes", ["row 3, column um_per_px", "above 0"]),
        ("slides.csv", "sample,0,,,yes", "sample,0,,,maybe", ["row 3, column flipped", "yes nor no"]),
        ("slides.csv", "sample,0,,,yes", "sample,0um,,,yes", ["row 3, column position_um", "not a number"]),
        ("slides.csv", "A,1,no_primary", "A,,no_primary", ["row 6, column batch", "is empty"]),
        ("slides.csv", "control.tif,K1", "control.tif,=K1", ["row 6, column animal", "no id"]),
        ("animals.csv", "R02,daily", "R02,dayly", ["row 3, column protocol", "did you mean 'daily'"]),
        ("animals.csv", "R02,daily", "R02,", ["row 3, column protocol", "is empty"]),
        ("animals.csv", "28,yes,died early", "28,yes,", ["exclusion_reason", "is empty"]),
        ("animals.csv", "R02,daily,f", "R02,daily,f,28,,\nR02,vehicle,f", ["rows 3, 4", "'R02' is in two protocols: daily, vehicle"]),
        ("motor.csv", "R01,7,8", "R01,7,22", ["row 3, column score", "0 to 21"]),
        ("motor.csv", "R01,7,8,BBB", "R01,7,22,BMS", []),
        ("motor.csv", "R01,7,8,BBB", "R01,7,8,bbb", ["'bbb' (motor.csv, row 3) and 'BBB' (motor.csv, row 4; study.toml: motor.test)"]),
        ("motor.csv", "R02,1,1", "R2,1,1", ["'R02' (slides.csv, row 5; animals.csv, row 3) and 'R2' (motor.csv, row 4)"]),
        ("motor.csv", "R02,1,1", "R77,1,1", ["row 4, column animal", "not in animals.csv"]),
        ("motor.csv", "R01,7,8", "R01,1,8", ["rows 2, 3", "day 1"]),
        ("motor.csv", "R01,7,8", "R01,7,", ["row 3, column score", "is empty"]),
    ],
)
def test_cross_checks(study_dir: Path, change: Change, name: str, old: str, new: str, told: list[str]) -> None:
    change(name, old, new)
    if not told:
        load_study(study_dir)
        return
    found = problems(study_dir)
    for part in told:
        assert any(part in t and name.split(".")[0] in t for t in found), found
    assert len(found) <= 2


def test_every_problem_at_once(study_dir: Path, change: Change) -> None:
    change("study.toml", "section_spacing_um = 200", "section_spacing_um = -1")
    change("slides.csv", "1,no_primary", "1,noprimary")
    change("animals.csv", "R02,daily,f,28", "R02,daily,f,xx")
    change("motor.csv", "R02,1,1", "R77,1,1")
    (study_dir / "slides" / "control.tif").unlink()
    assert len(problems(study_dir)) == 4  # the folder of the slides is not known without settings, so the missing file comes next
    change("study.toml", "section_spacing_um = -1", "section_spacing_um = 100")
    assert len(problems(study_dir)) == 4


def test_links_must_stay_inside(study_dir: Path, tmp_path: Path) -> None:
    slide = study_dir / "slides" / "control.tif"
    slide.rename(tmp_path / "elsewhere.tif")
    slide.symlink_to(tmp_path / "elsewhere.tif")
    only(study_dir, "is a link that leaves")


def test_slides_beside_study_toml(study_dir: Path, change: Change) -> None:
    change("study.toml", 'name = "tiny"', 'name = "tiny"\nslides_dir = "."')
    assert len(problems(study_dir)) == 3
    for path in (study_dir / "slides").iterdir():
        path.rename(study_dir / path.name)
    study = load_study(study_dir)
    assert study.slide_path("sub/R02_s1.tif").is_file() and check_files(study) == []


def test_blinded_study_cannot_tell_the_groups(study_dir: Path, change: Change) -> None:
    change("animals.csv", "sex,dpi", "arm,dpi")
    change("animals.csv", ",f,", ",daily,")
    study = load_study(study_dir)
    hidden = study.blinded()
    assert "protocol" in study.animals and "arm" in study.animals
    text = hidden.animals.to_csv() + hidden.slides.to_csv() + hidden.motor.to_csv() + hidden.config.model_dump_json()
    assert "daily" not in text and "vehicle" not in text and len(hidden.motor) == 0
    assert len(study.motor) == 3 and study.config.protocols


def test_corrections(study_dir: Path, change: Change) -> None:
    folder = study_dir / "corrections" / "sub"
    folder.mkdir(parents=True)
    geojson = (
        '{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[0,0],[9,0],[9,9],[0,0]]]}, "properties": {"name": "NAME"}}'
    )
    (folder / "R02_s1.geojson").write_text(geojson.replace("NAME", "lesion"))
    study = load_study(study_dir)
    assert study.corrections("sub/R02_s1.tif") == folder / "R02_s1.geojson"
    assert study.corrections("sub/R02_s1.tif", 2) is None and study.corrections("R01_s1.tif") is None
    assert check_files(study) == []
    (folder / "R02_s1.geojson").write_text(geojson.replace("NAME", "legion"))
    (told,) = check_files(study)
    assert "did you mean 'lesion'" in told.remedy
    (folder / "R02_s1.tif.zip").write_bytes(b"")
    with pytest.raises(StudyError, match="both for"):
        study.corrections("sub/R02_s1.tif")
    (folder / "R02_s1.tif.zip").unlink()
    (study_dir / "corrections" / "R02_s1.geojson").write_text(geojson)
    only(study_dir, "corrections/R02_s1.geojson", "belongs to no slide", "did you mean")


def test_scene_corrections_and_ome_names(study_dir: Path, change: Change) -> None:
    (study_dir / "slides" / "control.tif").rename(study_dir / "slides" / "control.ome.tif")
    change("slides.csv", "control.tif,K1,1,1,A,1,no_primary,,,", "control.ome.tif,K1,1,1,A,1,no_primary,,2,")
    (study_dir / "corrections").mkdir()
    (study_dir / "corrections" / "control_scene2.geojson").write_text("[]")
    study = load_study(study_dir)
    assert study.corrections("control.ome.tif", 2) == study_dir / "corrections" / "control_scene2.geojson"
    assert study.corrections("control.ome.tif", 1) is None


def checked(root: Path) -> tuple[Study, list[str]]:
    study = load_study(root)
    return study, [str(p) for p in check_files(study)]


def test_file_faults(study_dir: Path, change: Change, tiff: Callable[..., None], rgb: Callable[[Path], None]) -> None:
    slides = study_dir / "slides"
    tiff(slides / "R01_s1.tif", um=None)
    tiff(slides / "sub" / "R02_s1.tif", channels=("DAPI", "Cy3", "CD68", "CD206"))
    rgb(slides / "control.tif")
    _, told = checked(study_dir)
    assert len(told) == 3
    assert "row 2, file R01_s1.tif" in told[0] and "um_per_px" in told[0]
    assert "row 5, file sub/R02_s1.tif" in told[1] and "'GFAP'" in told[1] and "'Cy3'" in told[1]
    assert "row 6, file control.tif" in told[2] and "colour" in told[2]
    change("slides.csv", "-200,,,,", "-200,,0.5,,")
    tiff(slides / "sub" / "R02_s1.tif")
    (slides / "control.tif").write_bytes(b"<html>")
    _, told = checked(study_dir)
    assert len(told) == 1 and "row 6, file control.tif" in told[0]


def test_pixel_size_conflict_and_scene(study_dir: Path, change: Change) -> None:
    change("slides.csv", "R02,1,1,A,1,sample,0,,,", "R02,1,1,A,1,sample,0,,0.51,")
    change("slides.csv", "K1,1,1,A,1,no_primary,,,", "K1,1,1,A,1,no_primary,,3,")
    _, told = checked(study_dir)
    assert len(told) == 2
    assert "0.5 um" in told[0] and "0.51 um" in told[0] and "row 5" in told[0]
    assert "scene 3 is not there: the file has 1" in told[1]


def test_sizes_that_differ_are_noted(study_dir: Path, tiff: Callable[..., None]) -> None:
    tiff(study_dir / "slides" / "control.tif", um=0.7)
    found, notes = inspect_files(load_study(study_dir))
    assert not found and len(notes) == 1 and "0.5 um" in notes[0] and "0.7 um" in notes[0]


@given(st.sampled_from(["slides.csv", "animals.csv", "motor.csv", "study.toml"]), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_sheet_is_told_never_a_traceback(study_dir: Path, name: str, data: st.DataObject) -> None:
    path = study_dir / name
    good = path.read_bytes()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 30)))
    path.write_bytes(
        good[:start] + data.draw(st.one_of(st.binary(max_size=8), st.text("\"',;\n?./=", max_size=8).map(str.encode))) + good[end:]
    )
    try:
        load_study(study_dir)
    except StudyError as error:
        assert all(p.where and p.what for p in error.problems)
    finally:
        path.write_bytes(good)


def test_a_study_without_treatment_needs_no_protocol(study_dir: Path, change: Change) -> None:
    text = (study_dir / "study.toml").read_text("utf-8")
    kept = text[: text.index("[protocols")]
    (study_dir / "study.toml").write_text(kept, "utf-8")
    assert any("declare [protocols.daily]" in p for p in problems(study_dir))  # names that nobody explained
    (study_dir / "study.toml").write_text(f"{kept}[protocols.vehicle]\n[protocols.daily]\n", "utf-8")
    assert all(p.untreated for p in load_study(study_dir).config.protocols.values())
    (study_dir / "study.toml").write_text(kept, "utf-8")
    for name in ("daily", "vehicle"):
        change("animals.csv", f",{name},", ",,")
    study = load_study(study_dir)
    assert list(study.config.protocols) == ["all animals"] and study.config.protocols["all animals"].untreated
    assert set(study.animals["protocol"]) == {"all animals"}


@pytest.mark.parametrize("given", ['route = "intravenous"', "total_dose = 3e9", "injections_h = [24]"])
def test_a_protocol_is_whole_or_empty(given: str) -> None:
    with pytest.raises(ValueError, match="leave the whole table empty only where the group was given nothing"):
        ProtocolSettings(**tomllib.loads(given))
