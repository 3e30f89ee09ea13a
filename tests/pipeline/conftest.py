"""A tiny synthetic study (one panel, one animal per arm), and the same measured once; tests work on copies."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sevhisto import cli
from sevhisto.phantom import SectionSpec, StudySpec, make_study
from sevhisto.pipeline import run

DEFERRED_DELETE = 52
"""QEvent.DeferredDelete, by number: qtpy may not be there."""
TELLING = {"vehicle": "salinegroup", "daily_3d": "dailygroup", "infusion_3d": "shortgroup", "infusion_6d": "longgroup"}
"""Names that occur in no text of the program, so that a search for them tells."""


@dataclass(frozen=True)
class Study:
    """A study folder that a test may change."""

    root: Path

    @property
    def results(self) -> Path:
        return self.root / "results"

    def sheet(self, name: str) -> pd.DataFrame:
        """A CSV of the study as text."""
        return pd.read_csv(self.root / name, dtype=str, keep_default_na=False)

    def write_sheet(self, name: str, frame: pd.DataFrame) -> None:
        frame.to_csv(self.root / name, index=False)

    def table(self, name: str) -> pd.DataFrame:
        """A table of results/."""
        return pd.read_csv(self.results / name, keep_default_na=False)

    def edit(self, old: str, new: str, file: str = "study.toml") -> None:
        """Replace text that is there once or more."""
        text = (self.root / file).read_text("utf-8")
        assert old in text
        (self.root / file).write_text(text.replace(old, new), "utf-8")

    def files(self, but: tuple[str, ...] = ("run.json", "key.csv", "unblinded.json")) -> dict[str, bytes]:
        """All files of results/ by name, without those that hold times or the key."""
        found = sorted(p for p in self.results.rglob("*") if p.is_file() and p.name not in but)
        return {p.relative_to(self.results).as_posix(): p.read_bytes() for p in found}

    def a_sample(self, at: int = 0) -> str:
        """The file of a slide with samples."""
        slides = self.sheet("slides.csv")
        return sorted(slides.loc[slides["role"] == "sample", "file"].unique())[at]


def draw(study: Study, file: str, name: str = "lesion", half_px: float = 20, piece: int = 2) -> None:
    """Draw a square on one piece of a slide."""
    box = json.loads((study.root / "truth" / "outlines.json").read_text("utf-8"))[f"{file}#{piece}"]["box_y0_x0_y1_x1"]
    y, x = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    ring = [[x + half_px * a, y + half_px * b] for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"name": name}}
    (study.root / "corrections").mkdir(exist_ok=True)
    (study.root / "corrections" / f"{file}.geojson").write_text(json.dumps(feature), "utf-8")


def _write(root: Path) -> None:
    section = SectionSpec(cord_um=(700.0, 560.0), margin_um=30.0)
    make_study(root, StudySpec(n_per_arm=1, n_sections=3, um_per_px=4.0, n_batches=1, seed=5, section=section))
    slides = pd.read_csv(root / "slides.csv", dtype=str)
    for file in slides.loc[slides["panel"] == "A", "file"].unique():
        (root / "slides" / file).unlink()
    for name in ("slides.csv", "animals.csv", "motor.csv"):
        sheet = pd.read_csv(root / name, dtype=str, keep_default_na=False)
        sheet["animal"] = sheet["animal"].str.replace(r"^R(\d\d)$", r"Ratte\1", regex=True)
        if "panel" in sheet:
            sheet = sheet[sheet["panel"] == "B"]
        if "protocol" in sheet:
            sheet["protocol"] = sheet["protocol"].map(TELLING)
        sheet.to_csv(root / name, index=False)
    text = (root / "study.toml").read_text("utf-8")
    for old, new in TELLING.items():
        text = re.sub(rf'(?<=protocols\.){old}(?=\])|(?<="){old}(?=")', new, text)
    text = re.sub(r"\[panels\.A\].*?(?=\[panels\.B\])", "", text, flags=re.DOTALL)
    text = text.replace("bleed_through = { CD206 = { CD68 = 0.03 }, ", "bleed_through = { ")
    (root / "study.toml").write_text(text, "utf-8")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "study"
    _write(root)
    return root


@pytest.fixture(scope="session")
def measured(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("measured") / "study"
    shutil.copytree(made, root)
    done = run(root, jobs=1)
    assert (done.failed, done.measured_now) == (0, 15)
    return root


@pytest.fixture
def fresh(made: Path, tmp_path: Path) -> Study:
    """A study that nobody has run."""
    return Study(Path(shutil.copytree(made, tmp_path / "fresh")))


@pytest.fixture
def study(measured: Path, tmp_path: Path) -> Study:
    """A study that was run."""
    return Study(Path(shutil.copytree(measured, tmp_path / "study")))


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str


@pytest.fixture
def sevhisto(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command line in this process."""

    def command(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["sevhisto", *map(str, words)])
        capsys.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = 0 if end.code is None else int(end.code)
        heard = capsys.readouterr()
        return Said(status, heard.out, heard.err)

    return command


@pytest.fixture
def window() -> Iterator[Any]:
    """A napari window under a screen or Xvfb; nothing of it may be left behind."""
    pytest.importorskip("qtpy.QtWidgets", reason="no Qt is installed")
    if not os.environ.get("DISPLAY"):
        pytest.skip("needs a screen, or Xvfb")
    napari = pytest.importorskip("napari", reason="napari is not installed")
    from napari.qt import get_qapp

    app = get_qapp()
    before = set(app.topLevelWidgets())
    viewer = napari.Viewer(show=False)
    yield viewer
    viewer.close()
    del viewer
    for _ in range(3):
        app.processEvents()
        app.sendPostedEvents(None, DEFERRED_DELETE)
        gc.collect()
    left = {w for w in set(app.topLevelWidgets()) - before if "vispy" not in type(w).__module__}
    assert not left, left


def wait_until(so: Callable[[], bool], seconds: float = 300.0) -> None:
    """Let the window live until something is so."""
    from napari.qt import get_qapp

    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, "waited in vain"
        get_qapp().processEvents()
        get_qapp().sendPostedEvents(None, DEFERRED_DELETE)
        time.sleep(0.01)
