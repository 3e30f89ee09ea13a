"""The slide viewer of a study that was run: pixels, places, names, and what happens when things go wrong."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from sevhisto.io.slides import open_slide
from sevhisto.pipeline import run, slides
from sevhisto.pipeline.picturing import listed_sections
from sevhisto.pipeline.slideviewing import slide_links
from sevhisto.types import OutputError, SevhistoError

TELLING = ("salinegroup", "dailygroup", "shortgroup", "longgroup", "Ratte")
UM = 2.0
MARK = (140, 200, 180, 260)  # y0, y1, x0, x1 on the slide, on whole pixels of the overview


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one slide: an ellipse of tissue with a bright square in it, which is drawn as its lesion."""
    root = tmp_path_factory.mktemp("marked") / "study"
    (root / "slides").mkdir(parents=True)
    (root / "corrections").mkdir()
    h, w = 345, 451
    y, x = np.mgrid[:h, :w]
    tissue = ((y - 170) / 130) ** 2 + ((x - 220) / 170) ** 2 < 1
    image = np.random.default_rng(4).poisson(20 + 60 * tissue, (2, h, w)).astype(np.uint16)
    image[1, MARK[0] : MARK[1], MARK[2] : MARK[3]] = 900
    told = {"axes": "CYX", "Channel": {"Name": ["DAPI", "AF568"]}, "PhysicalSizeX": UM, "PhysicalSizeY": UM}
    units = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(root / "slides" / "Ratte1.ome.tif", image, metadata=told | units, photometric="minisblack", tile=(64, 64))
    (root / "study.toml").write_text(
        '[study]\nname = "marked"\norientation = "transverse"\nsection_spacing_um = 400\n[imaging]\nmeninges_um = 0\n[panels.B]\n'
        '[[panels.B.channels]]\nchannel = "DAPI"\nmarker = "DAPI"\nrole = "nuclei"\n'
        '[[panels.B.channels]]\nchannel = "AF568"\nmarker = "fibronectin"\nrole = "ecm"\n[batches.batch1]\n'
        '[protocols.salinegroup]\nroute = "intravenous"\nvehicle = "saline"\ntotal_dose = 0\ndose_unit = "particles"\ninjections_h = [3]\n',
        "utf-8",
    )
    head = "file,animal,section,piece,panel,batch,role,position_um\n"
    (root / "slides.csv").write_text(f"{head}Ratte1.ome.tif,Ratte1,s1,1,B,batch1,sample,100\n,Ratte1,s2,,B,batch1,sample,500\n", "utf-8")
    (root / "animals.csv").write_text("animal,protocol\nRatte1,salinegroup\n", "utf-8")
    (root / "motor.csv").write_text("animal,day,score\n", "utf-8")
    y0, y1, x0, x1 = MARK
    ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"name": "lesion"}}
    (root / "corrections" / "Ratte1.ome.tif.geojson").write_text(json.dumps(feature), "utf-8")
    run(root, jobs=1)
    return root


def told(root: Path, i: int = 0) -> dict[str, Any]:
    """What the script of a section tells the viewer."""
    text = (root / "results" / "slides" / "data" / f"s{i}.js").read_text("utf-8")
    section, drawn = json.loads(f"[{text.removeprefix('window.SEVHISTO_SECTION(').removesuffix(');' + chr(10))}]")
    return {**section, "drawn": drawn}


def shown(root: Path, channel: int, picture: dict[str, Any], level: int = 0) -> np.ndarray:
    """A channel put together from its tiles."""
    rows, side = [], picture["tile_px"]
    folder = root / "results" / "slides" / "tiles" / picture["folder"] / str(channel) / str(level)
    for y in range(-(-(picture["size"][0] >> level) // side)):
        row = [np.asarray(Image.open(folder / f"{x}_{y}.jpg")) for x in range(-(-(picture["size"][1] >> level) // side))]
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows).astype(int)


@pytest.mark.parametrize("factor", [1, 3])
def test_pixels_and_outlines_are_those_of_the_slide(marked: Path, tmp_path: Path, factor: int) -> None:
    root = Path(shutil.copytree(marked, tmp_path / "s"))
    done = slides(root, 1, finest_um=UM * factor)
    assert (done.shown, done.new, done.failures) == (1, 1, ())
    section = told(root)
    picture = section["picture"]
    y0, x0, y1, x1 = picture["box"]
    assert (picture["factor"], picture["um_per_px"]) == (factor, UM * factor) and y0 % factor == x0 % factor == 0
    with open_slide(root / "slides" / "Ratte1.ome.tif") as slide:
        raw = slide.read([1], y0, y1, x0, x1)[0].astype(float)
    ys, xs = (np.arange(0, n, factor) for n in raw.shape)
    sums = np.add.reduceat(np.add.reduceat(raw, ys, axis=0), xs, axis=1)
    counts = np.add.reduceat(np.add.reduceat(np.ones_like(raw), ys, axis=0), xs, axis=1)
    channel = picture["channels"][1]
    facts = json.loads((root / "results" / "run.json").read_text("utf-8"))
    offset = next(iter(facts["background"].values()))["offset"]["fibronectin"]
    wanted = 255 * np.clip((sums / counts - offset - channel["low"]) / (channel["high"] - channel["low"]), 0, 1)
    mine = shown(root, 1, picture)
    assert mine.shape == wanted.shape == tuple(picture["size"])
    assert np.abs(mine - wanted).mean() < 3 and channel["marker"] == "fibronectin"
    ring = np.array(section["drawn"]["outlines"]["lesion"][0][0]).reshape(-1, 2) / 10 * factor + (x0, y0)
    assert (
        np.abs([ring[:, 1].min() - MARK[0], ring[:, 1].max() - MARK[1], ring[:, 0].min() - MARK[2], ring[:, 0].max() - MARK[3]]).max()
        <= 0.5
    )
    bright = np.argwhere(mine > 128)
    edges = [*(bright.min(axis=0) * factor + (y0, x0)), *((bright.max(axis=0) + 1) * factor + (y0, x0))]
    assert np.abs(np.subtract(edges, [MARK[0], MARK[2], MARK[1], MARK[3]])).max() <= factor


def test_the_outline_lies_on_the_mark_in_the_browser(marked: Path, tmp_path: Path, browser: Any) -> None:
    root = Path(shutil.copytree(marked, tmp_path / "s"))
    slides(root, 1)
    page = browser.new_page(viewport={"width": 1366, "height": 768}, reduced_motion="reduce")
    page.goto((root / "results" / "slides" / "view.html").as_uri())
    page.wait_for_timeout(500)
    for key in "1tzxvfh+++":
        page.keyboard.press(key)
    page.wait_for_timeout(700)
    lined = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)[:, :1020]
    page.keyboard.press("o")
    page.wait_for_timeout(300)
    bare = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)[:, :1020]
    page.close()
    bare[:130, :170] = 0  # the small map
    bright = np.argwhere((bare[..., 0] > 200) & (bare[..., 2] < 90))  # yellow where it is brightest
    orange = np.argwhere((lined[..., 0] > 225) & (np.abs(lined[..., 1] - 149) < 12) & (lined[..., 2] < 25))
    scale = 1.5**3
    width = MARK[3] - MARK[2]
    assert abs(np.ptp(bright[:, 1]) + 1 - width * scale) <= scale
    for side in (np.min, np.max):
        assert np.abs(side(bright, axis=0) - side(orange, axis=0)).max() <= scale + 1.5  # a pixel, and half of the line


def test_lost_sections_are_listed_without_a_picture(marked: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(marked, tmp_path / "s"))
    slides(root, 1)
    page = (root / "results" / "slides" / "index.html").read_text("utf-8")
    assert page.count('<a class="frame"') == 1 and "Not measured" in page and "lost" in page.lower()


def test_codes_only_while_blind_and_the_same_bytes_with_any_number_of_workers(study: Any, tmp_path: Path) -> None:
    other = Path(shutil.copytree(study.root, tmp_path / "other"))
    done = slides(study.root, 1)
    assert (done.shown, done.new) == (15, 15)
    slides(other, 2)
    folders = (study.results / "slides", other / "results" / "slides")
    one, two = ({p.relative_to(f): p.read_bytes() for p in sorted(f.rglob("*")) if p.is_file()} for f in folders)
    assert one == two
    for path, data in one.items():
        for name in TELLING:
            assert name.encode() not in data and name not in str(path)


def test_only_what_changed_is_made_again(marked: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(marked, tmp_path / "s"))
    tiles = root / "results" / "slides" / "tiles"
    assert slides(root, 1).new == 1
    before = {p: p.stat().st_mtime_ns for p in tiles.rglob("*.jpg")}
    assert slides(root, 1).new == 0
    assert before == {p: p.stat().st_mtime_ns for p in tiles.rglob("*.jpg")}
    next(iter(before)).unlink()  # a folder that is not whole is made anew
    assert slides(root, 1).new == 1
    assert slides(root, 1, finest_um=4.0).new == 1
    assert not set(before) & set(tiles.rglob("*.jpg"))  # what no page shows is gone


def test_the_report_links_to_pictures_of_the_same_record_under_the_same_name(
    marked: Path, tmp_path: Path, sevhisto: Callable[..., Any]
) -> None:
    root = Path(shutil.copytree(marked, tmp_path / "s"))
    results = root / "results"
    listed = listed_sections(results)
    assert slide_links(results, listed) == {}
    said = sevhisto("report", root, "--slides", "--slides-um-per-px", 4, "--no-pictures", "--jobs", 1, "--json")
    answer = json.loads(said.out)
    assert said.status == 0 and answer["slides"]["sections"] == answer["slides"]["new"] == 1
    assert "Pictures have 4 µm per pixel; the slides have 2, as have pictures made with --slides-um-per-px 0." in answer["lines"][0]
    assert (results / "report.html").read_text("utf-8").count('href="slides/view.html#section=s') == 1
    assert len(slide_links(results, listed)) == 1
    assert slide_links(results, listed.assign(animal="Ratte1")) == {}  # once the key is open: those under codes are not linked
    assert slide_links(results, listed.assign(record="other.npz")) == {}


def test_an_image_that_changed_has_no_picture_and_the_others_have(study: Any, sevhisto: Callable[..., Any]) -> None:
    file = study.a_sample()
    path = study.root / "slides" / file
    path.write_bytes(path.read_bytes() + b"\0")
    said = sevhisto("report", study.root, "--slides", "--no-pictures", "--jobs", 1)
    rows = int((study.sheet("slides.csv")["file"] == file).sum())
    assert said.status == 3 and f"{15 - rows} sections" in said.out and said.out.count("no picture: ") == rows
    assert "changed since it was first seen" in said.out and "Ratte" not in said.out
    page = (study.results / "slides" / "index.html").read_text("utf-8")
    assert page.count("no picture: ") == 2 * rows and "Ratte" not in page  # to read, and to search


def test_a_full_disk_leaves_the_pages_of_before(marked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(shutil.copytree(marked, tmp_path / "s"))
    folder = root / "results" / "slides"
    slides(root, 1)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    written = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".jpg" and path.parts[-3] == "1":
            raise OSError(28, "No space left on device")
        return written(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        slides(root, 1, finest_um=12.0)
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1))  # type: ignore[attr-defined]
    with pytest.raises(OutputError, match="make room, or larger pixels"):
        slides(root, 1, finest_um=12.0)


def test_a_study_that_changed_since_its_run_is_told_to_run_again(study: Any, fresh: Any, sevhisto: Callable[..., Any]) -> None:
    with pytest.raises(SevhistoError, match="no finished run"):
        slides(fresh.root, 1)
    rows = study.sheet("slides.csv")
    study.write_sheet("slides.csv", pd.DataFrame(rows[rows["file"] != study.a_sample()]))
    with pytest.raises(SevhistoError, match="run `sevhisto run` again"):
        slides(study.root, 1)
    said = sevhisto("report", study.root, "--slides-um-per-px", 2)
    assert said.status == 1 and "add --slides" in said.err
