"""What each number of a run rests on: run.json for the study, provenance.csv for each section."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto import __version__
from sevhisto.config import StudyConfig, settings_hash
from sevhisto.io.exclusions import Exclusion
from sevhisto.io.key import Key
from sevhisto.io.models import load_model, model_sha256
from sevhisto.io.study import Study
from sevhisto.pipeline.batches import background_tasks, correction_facts
from sevhisto.pipeline.excluding import covering
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.tables import Results, Traced
from sevhisto.pipeline.tasks import PieceOutcome, SlideTask, correction_key, file_sha256, labels_sha256, what_is_read
from sevhisto.schema_evidence import PROVENANCE

_PACKAGES = ("numpy", "scipy", "pandas", "scikit-image", "opencv-python-headless", "tifffile", "imagecodecs")
_COMPARED = ("endpoints", "comparison", "contrasts", "protocols")
"""Settings that only the comparison reads."""


def decided_sha256(config: StudyConfig) -> str:
    """Return the hash of all settings that the tables of a run rest on."""
    return settings_hash(config.model_dump(mode="json", exclude=set(_COMPARED)))


def shown_settings(config: StudyConfig, written: Callable[[str], str], batch: Callable[[str], str]) -> dict[str, Any]:
    """Return the settings for run.json; free text and names of batches as they may be shown."""
    settings: dict[str, Any] = config.model_dump(mode="json")
    for name in ("name", "slides_dir", "labels_dir", "sampling"):
        settings["study"][name] = written(settings["study"][name])
    settings["batches"] = {batch(name): facts for name, facts in settings["batches"].items()}
    for panel in settings["panels"].values():
        for channel in panel["channels"]:
            channel["aliases"] = [written(alias) for alias in channel["aliases"]]
    return settings


def run_facts(
    study: Study,
    names: Names,
    tasks: Sequence[SlideTask],
    tables: Results,
    outcomes: Sequence[PieceOutcome],
    notes: Sequence[str],
    counts: dict[str, int],
    frozen: dict[str, str],
    seconds: float,
) -> dict[str, Any]:
    """Return run.json; `study` must be unaware of its groups, `counts` are sections by status."""
    file_of = {int(str(i)): str(f) for i, f in study.slides["file"].items()}
    hashes = {names.files[file_of[o.row]]: o.sha256 for o in outcomes if o.sha256}
    return {
        "program": {"sevhisto": __version__, "python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
        "system": platform.platform(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "sections": counts,
        "settings": shown_settings(study.config, names.written, names.batch),
        "settings_sha256": settings_hash(study.config),
        "decided_sha256": decided_sha256(study.config),
        "inputs_sha256": dict(sorted(hashes.items())),
        "sheets_sha256": {name: settings_hash(_plain(frame)) for name, frame in (("motor.csv", study.motor), ("slides.csv", study.slides))},
        "background": _backgrounds(study, names, tasks),
        "classifiers": {name: _classifier_facts(path) for name in study.config.panels if (path := study.classifier(name)) is not None},
        "notes": [names.clean(n) for n in [*notes, *tables.notes]],
        "frozen": frozen,
        "blind": study.config.study.blind,
        "thresholds_missing": sorted(_missing(tables)),
    }


def _classifier_facts(path: Path) -> dict[str, Any]:
    model = load_model(path)
    told = {name: value for name, value in model.facts.items() if name != "slides"}
    return {
        "name": path.stem,
        "sha256": model_sha256(path),
        "classes": list(model.classes),
        "inputs": list(model.inputs),
        "scales_um": list(model.scales_um),
        "n_slides": len(model.facts["slides"]),
        **told,
    }


def _plain(frame: pd.DataFrame) -> list[list[str]]:
    return [list(map(str, row)) for row in [frame.columns.tolist(), *frame.to_numpy().tolist()]]


def _backgrounds(study: Study, names: Names, tasks: Sequence[SlideTask]) -> dict[str, dict[str, Any]]:
    slides = {study.slide_path(file): file for file in study.slides["file"] if file}
    found = {}
    for (panel, batch), chosen in sorted(background_tasks(tasks).items()):
        correction = chosen[0].correction
        if correction is not None:
            told = {"sha256": settings_hash(correction_key(correction)), "slides": sorted(names.files[slides[t.path]] for t in chosen)}
            found[f"{panel} / {names.batch(batch)}"] = correction_facts(correction, chosen[0].panel) | told
    return found


def _missing(tables: Results) -> set[str]:
    rows = tables.thresholds
    return {f"{r.panel} / {r.batch} / {r.marker}" for r in rows.itertuples() if math.isnan(float(str(r.threshold)))}


def provenance_table(
    study: Study, names: Names, tasks: Sequence[SlideTask], tables: Results, outcomes: Sequence[PieceOutcome], exclusions: list[Exclusion]
) -> pd.DataFrame:
    """Return `schema_evidence.PROVENANCE`: what each listed section rests on, in the order of the other tables."""
    task_of = {piece.row: task for task in tasks for piece in task.pieces}
    outcome_of = {o.row: o for o in outcomes}
    rows = []
    for index, line in study.slides.iterrows():
        number = int(str(index))
        left = covering(exclusions, line["animal"], line["section"], line["panel"])
        animal, section = names.shown(line["animal"], line["section"])
        outcome = outcome_of.get(number, PieceOutcome(number, None))
        listed = [str(line[c]) for c in ("piece", "scene", "um_per_px", "flipped", "marker", "role")]
        known = {
            "animal": animal,
            "section": section,
            "panel": line["panel"],
            "batch": names.batch(line["batch"]),
            "role": line["role"],
            "position_um": line["position_um"],
            "file": names.files[line["file"]],
            "excluded": "" if left is None else left.reason,
            "listed_sha256": settings_hash(listed),
            "slide_sha256": outcome.sha256,
            "record_sha256": "" if outcome.record is None else outcome.record.name.split(".")[1],
        }
        rows.append({**known, **_of_task(task_of.get(number)), **_of_outline(tables.outlines.get(number))})
    shown = pd.DataFrame(rows, columns=PROVENANCE.names)
    return PROVENANCE.conform(shown.sort_values(["panel", "animal", "position_um", "section"], kind="stable"))


def _of_task(task: SlideTask | None) -> dict[str, str]:
    if task is None:
        return dict.fromkeys(("drawn_sha256", "labels_sha256", "settings_sha256", "background_sha256"), "")
    return {
        "drawn_sha256": "" if task.drawn is None else file_sha256(task.drawn),
        "labels_sha256": "" if task.labels is None else labels_sha256(task.labels),
        "settings_sha256": settings_hash(what_is_read(task.panel), task.imaging, task.longitudinal),
        "background_sha256": "" if task.correction is None else settings_hash(correction_key(task.correction)),
    }


def _of_outline(traced: Traced | None) -> dict[str, str]:
    digest, flags = ("", set()) if traced is None else traced[:2]
    by_flag = {"contour_drawn": "drawn", "contour_carried": "carried", "contour_accepted": "accepted", "contour_unreviewed": "program"}
    return {"outline_sha256": digest, "outline_from": next((word for flag, word in by_flag.items() if flag in flags), "")}


def compared_facts(study: Study, key: Key, opened: str, stamp: set[str]) -> dict[str, Any]:
    """Return key/compared.json: what the comparison read besides the tables of the run, groups and contrasts by their hash."""
    config = study.config
    groups = sorted(zip(study.animals["animal"], study.animals["protocol"], study.animals["block"].astype(str), strict=True))
    return {
        "program": {"sevhisto": __version__, "numpy": version("numpy"), "scipy": version("scipy")},
        "endpoints": config.endpoints.model_dump(mode="json"),
        "comparison": config.comparison.model_dump(mode="json"),
        "motor": config.motor.model_dump(mode="json"),
        "contrasts_sha256": settings_hash([c.model_dump(mode="json") for c in config.contrasts]),
        "protocols_sha256": settings_hash({key.groups[n]: p.model_dump(mode="json") for n, p in config.protocols.items()}),
        "groups_sha256": settings_hash([list(g) for g in groups]),
        "opened": opened,
        "stamp": sorted(stamp),
    }
