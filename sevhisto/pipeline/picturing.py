"""Every section of the study for the report: drawn from its record, with one contrast per panel, batch and marker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.engine import run_tasks
from sevhisto.io.records import load_view
from sevhisto.io.store import read_table
from sevhisto.io.study import Study
from sevhisto.pipeline.stages import Progress
from sevhisto.report.canvas import stamp_figures
from sevhisto.report.gallery import SectionCard
from sevhisto.report.overlay import batch_contrast, overlay_image, tissue_histograms
from sevhisto.schema import RECORDS, SECTIONS, STATUS

Contrast = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class _Picture:
    """What is needed to draw one section."""

    record: Path
    contrast: Contrast
    zones_um: tuple[float, ...]
    roles: dict[str, str]
    stamp: tuple[str, ...]


def _draw(picture: _Picture) -> bytes:
    with stamp_figures(picture.stamp):
        return overlay_image(load_view(picture.record, cells=False), picture.contrast, picture.zones_um, picture.roles)


def _look(record: Path) -> dict[str, Any]:
    return tissue_histograms(load_view(record, cells=False, masks=("tissue", "thumbnail")))


def section_cards(study: Study, stamp: Sequence[str], pictures: bool, jobs: int, progress: Progress) -> list[SectionCard]:
    """Return a card for every listed section, in the order of records.csv by panel and batch; `pictures` : with what was measured drawn."""
    results = study.results_dir
    listed = listed_sections(results)
    told = {(s["animal"], s["section"], s["panel"]): s for s in read_table(results / "status.csv", STATUS).to_dict("records")}
    cores = _cores(read_table(results / "sections.csv", SECTIONS))
    drawn = _pictures(study, listed, tuple(stamp), jobs, progress) if pictures else {}
    cards = []
    for i, row in enumerate(listed.to_dict("records")):
        key = (row["animal"], row["section"], row["panel"])
        line = told[key]
        facts = {name: str(row[name]) for name in ("animal", "section", "panel", "role", "batch")}
        known = {name: str(line[name]) for name in ("status", "verdict", "reasons", "reason", "flags")}
        core = cores.get(key, float("nan"))
        cards.append(SectionCard(**facts, **known, position_um=float(row["position_um"]), core_um2=core, picture=drawn.get(i, b"")))
    return cards


def listed_sections(results: Path) -> pd.DataFrame:
    """Return records.csv in the order in which pages list sections: by panel and batch."""
    return read_table(results / RECORDS.name, RECORDS).sort_values(["panel", "batch"], kind="stable", ignore_index=True)


def _cores(sections: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """Return the area of each section's lesion core with its cavity and what is masked in it (um2)."""
    rows = sections[sections["zone"] == "core"].drop_duplicates(["animal", "section", "panel"])
    areas = rows["zone_um2"] + rows["cavity_um2"] + rows["masked_um2"]
    return dict(zip(zip(rows["animal"], rows["section"], rows["panel"], strict=True), areas, strict=True))


def _pictures(study: Study, listed: pd.DataFrame, stamp: tuple[str, ...], jobs: int, progress: Progress) -> dict[int, bytes]:
    folder = study.results_dir / "records"
    own = listed[listed["record"] != ""]
    contrasts = batch_contrasts(own, folder, jobs)
    pictures = []
    for row in own.to_dict("records"):
        roles: dict[str, str] = {c.marker: c.role for c in study.config.panels[str(row["panel"])].channels}
        contrast = contrasts[str(row["panel"]), str(row["batch"])]
        pictures.append(_Picture(folder / row["record"], contrast, tuple(study.config.zones.edges_um), roles, stamp))
    found: dict[int, bytes] = {}
    for i, image in run_tasks(_draw, pictures, jobs):
        if isinstance(image, BaseException):
            raise image
        found[int(own.index[i])] = image
        progress("pictures of sections", len(found), len(pictures))
    return found


def batch_contrasts(listed: pd.DataFrame, folder: Path, jobs: int) -> dict[tuple[str, str], Contrast]:
    """Return the display range of each marker of each panel and batch; `listed` : rows of records.csv that have a record in `folder`."""
    histograms: dict[int, dict[str, Any]] = {}
    for i, found in run_tasks(_look, [folder / name for name in listed["record"]], jobs):
        if isinstance(found, BaseException):
            raise found
        histograms[i] = found
    members: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for i, key in enumerate(zip(listed["panel"], listed["batch"], strict=True)):
        members.setdefault(key, []).append(histograms[i])
    return {key: batch_contrast(own) for key, own in members.items()}
