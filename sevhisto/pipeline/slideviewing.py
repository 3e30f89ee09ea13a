"""`sevhisto report --slides`: every section as tiles, and the pages that show them in a browser."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.engine import default_jobs, run_tasks
from sevhisto.export.given import cell_limits
from sevhisto.io.files import all_together, remove_unfinished, write_bytes_atomic, write_json
from sevhisto.io.key import codes
from sevhisto.io.lock import held
from sevhisto.io.records import load_view
from sevhisto.io.store import read_table
from sevhisto.io.study import Study, load_study
from sevhisto.pipeline.facts import last_facts
from sevhisto.pipeline.measuring import reason_of
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.opening import need_unchanged
from sevhisto.pipeline.picturing import batch_contrasts, listed_sections, section_cards
from sevhisto.pipeline.running import current_stamp, is_open, quiet, slide_tasks, unaware
from sevhisto.pipeline.slide_tiles import SectionJob, ShownSection, read_seal, show_section, tile_key
from sevhisto.pipeline.sources import compared_sources, with_sources
from sevhisto.pipeline.stages import Progress, batch_corrections
from sevhisto.pipeline.tasks import SlideTask
from sevhisto.report.gallery import SectionCard
from sevhisto.report.html import banners, part
from sevhisto.report.overlay import channel_colours
from sevhisto.report.slides import ASSETS, Picture, SlidesPage, index_page, section_numbers, section_script, study_script, view_page
from sevhisto.report.tiles import n_pixels, reduction
from sevhisto.schema import SECTIONS
from sevhisto.types import OutputError, Problem, StudyError

FOLDER = "slides"
INDEX = "index.html"
LISTED = "slides.json"
"""Which section has which picture, for the report, which links to them."""
FINEST_UM = 1.0
"""Pixels of pictures are this large or a little smaller, if not asked for otherwise: nuclei are seven across, a study is some gigabytes."""
BYTES_PER_PX = {"fluorescence": 0.15, "brightfield": 0.5}
"""Of one channel's JPEG, and of a colour picture's, to say how much it will be; measured (benchmarks/RESULTS.md) and rounded up."""


@dataclass(frozen=True)
class SlidesSummary:
    """What was made: the index page, sections with a picture, those of them whose tiles are new, size of all, and what has no picture."""

    index: Path
    shown: int
    new: int
    n_bytes: int
    resolution: str
    failures: tuple[str, ...]
    seconds: float


def slides(root: Path, jobs: int | None = None, finest_um: float | None = None, progress: Progress = quiet) -> SlidesSummary:
    """Write results/slides/: pages and tiles that show every section in a browser.

    Tiles of a section whose record, resolution and contrast are as before are not made again. The pages of before stay until all tiles
    are there.

    Parameters
    ----------
    jobs : processes; one per core where None
    finest_um : pixels of the pictures are no larger than this; FINEST_UM where None, 0 is full resolution

    Raises
    ------
    SevhistoError
        A study that was not run, or changed since; a disk that is full. Sections that cannot be shown are listed with the reason.
    """
    started = time.monotonic()
    study = load_study(root)
    facts = last_facts(study.results_dir)
    need_unchanged(unaware(study), facts)
    with held(study.results_dir):
        return _slides(study, facts, jobs or default_jobs(), FINEST_UM if finest_um is None else finest_um, progress, started)


def _slides(study: Study, facts: Mapping[str, Any], jobs: int, finest_um: float, progress: Progress, started: float) -> SlidesSummary:
    folder = study.results_dir / FOLDER
    remove_unfinished(folder / "tiles")
    names = Names.of(codes(study), is_open(study))
    listed = listed_sections(study.results_dir)
    planned = _jobs(study, listed, names, finest_um, jobs)
    planned, label = _ready(study, planned, jobs, progress)
    shown: dict[int, ShownSection] = {}
    numbers = list(planned)
    progress(label, 0, len(planned))
    for i, found in run_tasks(show_section, [planned[n] for n in numbers], jobs):
        if isinstance(found, OutputError):
            raise found
        shown[numbers[i]] = ShownSection(None, reason=reason_of(found)) if isinstance(found, BaseException) else found
        progress(label, len(shown), len(planned), sum(bool(s.reason) for s in shown.values()))
    shown = {i: replace(s, reason=names.clean(s.reason)) for i, s in shown.items()}
    page = _page(study, facts, names, shown)
    _publish(study, folder, page, listed, shown)
    pictures = [s.picture for s in shown.values() if s.picture is not None]
    failures = tuple(_line(listed, i, s.reason) for i, s in sorted(shown.items()) if s.reason)
    n_bytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    new = sum(s.new for s in shown.values())
    return SlidesSummary(folder / INDEX, len(pictures), new, n_bytes, page.resolution, failures, time.monotonic() - started)


def _line(listed: pd.DataFrame, i: int, reason: str) -> str:
    row = listed.loc[i]
    return f"{row['animal']}, section {row['section']}, panel {row['panel']}: {reason}"


# ---------------------------------------------------------------- what is to be made


def _jobs(study: Study, listed: pd.DataFrame, names: Names, finest_um: float, jobs: int) -> dict[int, SectionJob]:
    """Return what is needed to show each listed section that was measured, by its place in the list."""
    results = study.results_dir
    own = listed[listed["record"] != ""]
    contrasts = batch_contrasts(own, results / "records", jobs)
    sections = read_table(results / SECTIONS.name, SECTIONS)
    limits, thresholds = cell_limits(sections, study.config), _thresholds(sections)
    rows = {(*names.shown(r["animal"], r["section"]), r["panel"]): int(str(i)) for i, r in study.slides.iterrows()}
    tasks = {piece.row: task for task in slide_tasks(study) for piece in task.pieces}
    config, found = unaware(study).config, {}
    for i, line in zip(own.index, own.to_dict("records"), strict=True):
        place = (line["animal"], line["section"], line["panel"])
        task = tasks.get(rows.get(place, -1))
        if task is None:
            raise StudyError(Problem("slides.csv", "lists other sections than the last run", "run `sevhisto run` again"))
        record = results / "records" / line["record"]
        contrast, um = contrasts[line["panel"], line["batch"]], float(load_view(record).meta["um_per_px"])
        look = _colours(task), reduction(um, finest_um)
        folder = results / FOLDER / "tiles" / tile_key(line["record"], look[1], contrast, look[0])
        found[int(i)] = SectionJob(task, record, folder, look[1], contrast, look[0], config, limits.get(place), thresholds.get(place, {}))
    return found


def _thresholds(sections: pd.DataFrame) -> dict[tuple[str, str, str], dict[str, float]]:
    """Return the threshold of every marker of every section of the table."""
    rows = sections.loc[sections["zone"] == "all", ["animal", "section", "panel", "marker", "threshold"]]
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for animal, section, panel, marker, threshold in rows.itertuples(index=False):
        found.setdefault((animal, section, panel), {})[marker] = float(threshold)
    return found


def _colours(task: SlideTask) -> dict[str, tuple[float, float, float]]:
    """Return the colour of each channel that is shown, as in the report; none for a colour picture."""
    if task.panel.kind == "brightfield":
        return {}
    return channel_colours(task.panel.stained.markers, {c.marker: c.role for c in task.panel.channels})


def _ready(study: Study, planned: dict[int, SectionJob], jobs: int, progress: Progress) -> tuple[dict[int, SectionJob], str]:
    """Return the jobs with what those need whose tiles must be made: images held against first sight, and the background of each batch.

    The second is what is done, in words, with how much it will be.
    """
    missing = {i: job for i, job in planned.items() if read_seal(job.folder) is None}
    if not missing:
        return planned, "sections for the slide viewer"
    n_bytes = sum(_expected_bytes(job) for job in missing.values())
    free = shutil.disk_usage(study.results_dir).free
    if n_bytes > free:
        what = f"{len(missing)} sections need about {_gigabytes(n_bytes)}, and {_gigabytes(free)} are free"
        raise OutputError(Problem(str(study.results_dir / FOLDER), what, "make room, or larger pixels: --slides-um-per-px 2"))
    run_all = partial(run_tasks, jobs=jobs)
    now, wrong = compared_sources(study, run_all, progress)
    groups = {(job.task.panel_name, job.task.batch_name) for job in missing.values()}
    tasks = with_sources([t for t in slide_tasks(study) if (t.panel_name, t.batch_name) in groups], now, wrong)
    corrections, _ = batch_corrections(tasks, run_all, progress)
    whole = {_scene(t): replace(t, correction=corrections.get((t.panel_name, t.batch_name))) for t in tasks}
    ready = {i: replace(job, task=whole[_scene(job.task)]) for i, job in missing.items()}
    return planned | ready, f"sections for the slide viewer (about {_gigabytes(n_bytes)} new)"


def _scene(task: SlideTask) -> tuple[Path, int, str, str]:
    return task.path, task.scene, task.panel_name, task.batch_name


def _expected_bytes(job: SectionJob) -> float:
    h, w = load_view(job.record).meta["shape_px"]
    each = n_pixels((-(-h // job.factor), -(-w // job.factor)))
    return each * max(1, len(job.colours)) * BYTES_PER_PX[job.task.panel.kind]


def _gigabytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{max(n_bytes / 1e6, 1):.0f} MB"


# ---------------------------------------------------------------- pages


def _page(study: Study, facts: Mapping[str, Any], names: Names, shown: Mapping[int, ShownSection]) -> SlidesPage:
    opened = is_open(study)
    said = banners(not opened, sorted(current_stamp(study)))
    pictures = [s.picture for s in shown.values() if s.picture is not None]
    return SlidesPage(names.written(study.config.study.name), said, str(facts["finished"]), resolution_words(pictures))


def resolution_words(pictures: Sequence[Picture]) -> str:
    """Return in a sentence how large the pixels of the pictures are."""
    if not pictures:
        return "No section has a picture."
    sizes = sorted({round(p.um_per_px, 3) for p in pictures})
    size = f"{sizes[0]:g}" if len(sizes) == 1 else f"{sizes[0]:g} to {sizes[-1]:g}"
    if all(p.factor == 1 for p in pictures):
        return f"Pictures are at full resolution: {size} µm per pixel."
    slide = sorted({round(p.slide_um_per_px, 3) for p in pictures})
    full = f"{slide[0]:g}" if len(slide) == 1 else f"{slide[0]:g} to {slide[-1]:g}"
    return f"Pictures have {size} µm per pixel; the slides have {full}, as have pictures made with --slides-um-per-px 0."


def _publish(study: Study, folder: Path, page: SlidesPage, listed: pd.DataFrame, shown: Mapping[int, ShownSection]) -> None:
    """Write the pages as one, over those of before, and then take away what no page shows any more."""
    cards = [_card(c, shown.get(i)) for i, c in enumerate(section_cards(study, (), False, 1, quiet))]
    pictures = [s.picture if (s := shown.get(i)) else None for i in range(len(cards))]
    sections = read_table(study.results_dir / SECTIONS.name, SECTIONS)
    by_place = dict(iter(sections.groupby(["animal", "section", "panel"], sort=False)))
    texts = {INDEX: index_page(page, cards, pictures), "view.html": view_page(page), "study.js": study_script(page, cards, pictures)}
    texts |= {name: part(source) for name, source in ASSETS.items()}
    for i, s in shown.items():
        if s.picture is not None:
            card = cards[i]
            rows = by_place.get((card.animal, card.section, card.panel), sections[:0])
            numbers = section_numbers(rows, study.config.panels[card.panel].marker_of_role("nuclei"))
            texts[f"data/s{i}.js"] = section_script(card, i, s.picture, s.drawn, numbers)
    kept = [
        {"animal": card.animal, "section": card.section, "panel": card.panel, "record": str(record), "id": f"s{i}"}
        for i, (card, record) in enumerate(zip(cards, listed["record"], strict=True))
        if pictures[i] is not None
    ]
    with all_together(folder / INDEX):
        for name, text in texts.items():
            write_bytes_atomic(folder / name, text.encode("utf-8"))
        write_json(folder / LISTED, {"sections": kept})
    _tidy(folder, {p.folder for p in pictures if p is not None}, {n.removeprefix("data/") for n in texts})


def _card(card: SectionCard, shown: ShownSection | None) -> SectionCard:
    """Return the card; with why it has no picture, where it should have one."""
    if shown is None or not shown.reason:
        return card
    return card._replace(reasons="; ".join(t for t in (card.reasons, f"no picture: {shown.reason}") if t))


def _tidy(folder: Path, tiles: set[str], scripts: set[str]) -> None:
    for path in (folder / "tiles").glob("*"):
        if path.name not in tiles:
            shutil.rmtree(path, ignore_errors=True)
    for path in (folder / "data").glob("*.js"):
        if path.name not in scripts:
            path.unlink(missing_ok=True)


def slide_links(results: Path, listed: pd.DataFrame) -> dict[int, str]:
    """Return the address of each listed section's page in the slide viewer, seen from results/, where it shows the same record."""
    try:
        kept = json.loads((results / FOLDER / LISTED).read_text("utf-8"))["sections"]
        known = {(s["animal"], s["section"], s["panel"], s["record"]): str(s["id"]) for s in kept}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    places = listed[["animal", "section", "panel", "record"]].itertuples(index=False, name=None)
    return {i: f"{FOLDER}/view.html#section={known[place]}" for i, place in enumerate(places) if place in known}
