"""One small study through the command line: what a user relies on from the first run to the opened key."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sevhisto.phantom import SectionSpec, StudySpec, make_study
from sevhisto.pipeline import run
from sevhisto.types import StudyError

NAMING = ("status.csv", "sections.csv", "profiles.csv", "records.csv", "animals.csv", "animals_wide.csv", "cells.parquet")
"""Tables in which animals have codes, and names once the key is open."""
PROTOCOLS = ("vehicle", "daily_3d", "infusion_3d", "infusion_6d")


def sevhisto(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "sevhisto.cli", *map(str, args)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "study"
    section = SectionSpec(cord_um=(900.0, 700.0), margin_um=40.0)
    make_study(folder, StudySpec(seed=77, name="story", n_per_arm=2, n_sections=2, um_per_px=4.0, section=section))
    return folder


@pytest.fixture(scope="module")
def finished(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(fresh, tmp_path_factory.mktemp("run") / "study")
    done = sevhisto("run", folder, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "study")


def test_nothing_tells_a_name_or_group_before_the_key_is_opened(study: Path) -> None:
    assert sevhisto("compare", study).returncode == 0
    assert sevhisto("report", study, "--jobs", 1).returncode == 0
    slides = pd.read_csv(study / "slides.csv", dtype=str)
    names = {*PROTOCOLS, *slides["animal"], *slides["file"], *(Path(f).stem for f in slides["file"])}
    for path in (p for p in (study / "results").rglob("*") if p.is_file() and p.parent.name not in ("key", "records")):
        data = pd.read_parquet(path).to_csv().encode() if path.suffix == ".parquet" else path.read_bytes()
        text = re.sub(rb"base64,[A-Za-z0-9+/=]+", b"", data)  # a picture's letters may spell anything
        told = sorted(n for n in names if re.search(rb"\b" + re.escape(n.encode()) + rb"\b", text))
        assert not told, f"{path.name} tells {told}"


def test_opening_the_key_names_animals_and_a_later_change_is_stamped(study: Path) -> None:
    assert sevhisto("compare", study, "--unblind").returncode == 0
    opened = {name: (study / "results" / name).read_bytes() for name in NAMING}
    assert run(study, jobs=1).measured_now == 0
    assert {name: (study / "results" / name).read_bytes() for name in NAMING} == opened
    animals = pd.read_csv(study / "results" / "animals.csv")
    assert set(pd.read_csv(study / "animals.csv")["animal"]) <= set(animals["animal"])
    assert set(pd.read_csv(study / "results" / "comparisons.csv")["contrast"]) == {"mode", "duration", "any_sev"}
    assert not animals["flags"].fillna("").str.contains("changed_after_unblinding").any()
    settings = study / "study.toml"
    settings.write_text(settings.read_text() + "\n[thresholds]\npercentile = 97.0\n")
    for command in (("run", "--jobs", 1), ("compare", "--jobs", 1), ("report", "--no-pictures")):
        assert sevhisto(command[0], study, *command[1:]).returncode == 0
    for name in ("animals.csv", "comparisons.csv", "relations.csv"):
        flags = pd.read_csv(study / "results" / name)["flags"].fillna("")
        assert flags.str.contains("changed_after_unblinding").all(), name
    assert "changed after the key was opened" in (study / "results" / "report.html").read_text()


def _edit(name: str, old: str, new: str) -> object:
    def change(study: Path) -> None:
        path = study / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def _no_image(study: Path) -> None:
    next((study / "slides").iterdir()).write_text("this is no image")


@pytest.mark.parametrize(
    ("spoil", "command", "said"),
    [
        (_edit("slides.csv", "position_um", "positon_um"), "run", ["slides.csv", "position_um", "missing"]),
        (_edit("study.toml", '"CD206"]]', '"CD26"]]'), "run", ["panels.A", "CD26", "did you mean 'CD206'"]),
        (_edit("study.toml", "B_core_fibronectin_positive", "B_core_fibronektin_positive"), "run", ["fibronektin", "did you mean"]),
        (_edit("animals.csv", "vehicle", "vehicl"), "check", ["animals.csv", "vehicl", "did you mean 'vehicle'"]),
        (_no_image, "check", ["slides.csv", "row", "TIFF"]),
    ],
)
def test_wrong_input_is_one_clear_message(fresh: Path, tmp_path: Path, spoil: object, command: str, said: list[str]) -> None:
    folder = shutil.copytree(fresh, tmp_path / "study")
    spoil(folder)  # type: ignore[operator]
    done = sevhisto(command, folder)
    assert done.returncode == 1
    assert all(words in done.stderr for words in said), done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "results").exists()


def test_wrong_commands(tmp_path: Path, fresh: Path) -> None:
    missing = sevhisto("run", tmp_path / "nowhere")
    assert missing.returncode == 1 and "no such folder" in missing.stderr
    assert sevhisto("run").returncode == 2
    early = sevhisto("compare", fresh)
    assert early.returncode == 1 and "sevhisto run" in early.stderr
    with pytest.raises(StudyError, match=r"study\.toml"):
        run(tmp_path)


@pytest.mark.parametrize("command", ["", "demo", "init", "check", "run", "compare", "report", "phantom"])
def test_every_command_explains_itself(command: str) -> None:
    done = sevhisto(*([command] if command else []), "--help")
    assert (done.returncode == 0 and "Usage: sevhisto" in done.stdout) or "Usage:" in done.stdout
