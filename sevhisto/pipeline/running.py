"""`sevhisto run`: slides to records to tables."""

from __future__ import annotations

import math
import platform
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from sevhisto import __version__
from sevhisto.compare.protocols import dose_problems, dye_notes
from sevhisto.config import BatchSettings, settings_hash
from sevhisto.engine import default_jobs, run_tasks
from sevhisto.imaging.stains import stains
from sevhisto.io.check import inspect_files
from sevhisto.io.files import write_json
from sevhisto.io.key import Key, codes, unblinded, write_key
from sevhisto.io.study import Study, load_study
from sevhisto.pipeline.batches import background_tasks, batch_correction, correction_facts
from sevhisto.pipeline.contours import contour_notes, takes_contours, with_contours
from sevhisto.pipeline.excluding import left_out
from sevhisto.pipeline.measuring import PieceOutcome, PieceTask, SlideTask, measure_slide, reason_of
from sevhisto.pipeline.own_segmenter import segmenter_problems
from sevhisto.pipeline.tables import Names, Results, decide, write_results
from sevhisto.registry import did_you_mean
from sevhisto.types import Correction, Problem, StudyError

_PACKAGES = ("numpy", "scipy", "pandas", "scikit-image", "opencv-python-headless", "tifffile", "imagecodecs", "statsmodels")


class Progress(Protocol):
    """What is told while a run goes on."""

    def __call__(self, what: str, done: int, total: int, failed: int = 0, skipped: int = 0) -> None:
        """Hear what is being done, how much is done and how much there is; and of the done, how much failed or was there before."""


@dataclass(frozen=True)
class RunSummary:
    """How a run ended: counts of sections by status, and where the results are."""

    results: Path
    ok: int
    flagged: int
    failed: int
    measured_now: int
    seconds: float
    failures: tuple[str, ...]
    excluded: int = 0


def quiet(what: str, done: int, total: int, failed: int = 0, skipped: int = 0) -> None:
    """Show no progress."""


def check(root: Path) -> tuple[list[Problem], list[str]]:
    """Return every problem of a study and its image files, and notes that are no fault, before a pixel is read.

    StudyError where the sheets and settings themselves are wrong.
    """
    study = load_study(root)
    problems, notes = inspect_files(study)
    problems = registry_problems(study) + problems
    return problems, [
        *notes,
        *contour_notes(study),
        *(f"{p.where}: {p.what}" for p in dose_problems(study.config)),
        *dye_notes(study.config),
    ]


def registry_problems(study: Study) -> list[Problem]:
    """Return a problem for every segmenter, stain or stain component that study.toml names and nobody registered."""
    found = segmenter_problems(study.config.imaging, study.root)
    for panel, settings in study.config.panels.items():
        if settings.kind != "brightfield":
            continue
        where = f"study.toml: panels.{panel}"
        if settings.stain not in stains:
            found.append(Problem(f"{where}.stain", f"unknown {settings.stain!r}", did_you_mean(settings.stain, list(stains))))
            continue
        known = list(stains[settings.stain].components)
        wanted = [("channels", str(c.channel)) for c in settings.channels] + [("stain_vectors", n) for n in settings.stain_vectors]
        for setting, component in wanted:
            if component not in known:
                found.append(Problem(f"{where}.{setting}", f"stain has no component {component!r}", did_you_mean(component, known)))
    return found


def run(root: Path, jobs: int | None = None, scheduler: str | None = None, progress: Progress = quiet) -> RunSummary:
    """Measure every section of a study that has no record yet, and write all tables.

    Parameters
    ----------
    root : the study's folder
    jobs : processes; one per core where None
    scheduler : address of a Dask scheduler, instead of local processes

    Raises
    ------
    StudyError
        The study's files are wrong; nothing was run. A slide that fails does not raise: its sections are rows with status ``failed``.
    """
    started = time.monotonic()
    study = load_study(root)
    unknown = registry_problems(study)
    if unknown:
        raise StudyError(unknown)
    key = codes(study)
    results = study.results_dir
    write_key(results, key)
    tasks = slide_tasks(study)
    jobs = jobs or default_jobs()
    corrections, notes = _corrections(tasks, jobs, scheduler, progress)
    tasks = [replace(t, correction=corrections.get((t.panel_name, t.batch_name))) for t in tasks]
    outcomes = _measure(study, tasks, jobs, scheduler, progress)
    progress("tables", 0, 1)
    tables = decide(unaware(study), outcomes, Names.of(key, is_open(study)), stamp_of(study, None))
    stamp = stamp_of(study, frozen_state(study, tables))
    if "changed_after_unblinding" in stamp:
        tables = decide(unaware(study), outcomes, Names.of(key, is_open(study)), stamp)
    write_results(results, tables)
    summary = _summary(study, tables, outcomes, time.monotonic() - started)
    write_json(results / "run.json", _facts(study, key, tasks, tables, outcomes, notes, summary))
    progress("tables", 1, 1)
    return summary


def unaware(study: Study) -> Study:
    """Return the study without anything that tells a group: what measuring and deciding may see."""
    columns = [c for c in study.animals.columns if c != "protocol"]
    config = study.config.model_copy(update={"protocols": {}, "contrasts": []})
    return replace(study, config=config, animals=study.animals[columns])


def is_open(study: Study) -> bool:
    """Return whether results may carry names: the key was opened, or the study is not blind."""
    return not study.config.study.blind or unblinded(study.results_dir) is not None


def frozen_state(study: Study, tables: Results) -> dict[str, str]:
    """Return hashes of what must not change after unblinding: contours, thresholds, exclusions."""
    return {**tables.frozen, "exclusions": exclusions_hash(study)}


def exclusions_hash(study: Study) -> str:
    """Return the hash of what is left out, and why, as sheet and journal say now."""
    columns = ["animal", "excluded", "exclusion_reason"]
    excluded = study.animals.loc[study.animals["excluded"], columns].astype(str).to_numpy().tolist()
    journal = [[*e.target, e.reason] for e in left_out(study)]
    return settings_hash(sorted(excluded) + sorted(journal))


def stamp_of(study: Study, state: dict[str, str] | None) -> set[str]:
    """Return the flags that every result of the study must carry."""
    stamp = set()
    if not study.config.study.blind:
        stamp.add("unblinded_study")
    opened = unblinded(study.results_dir)
    if opened is not None and state is not None and any(opened.get(name) != value for name, value in state.items()):
        stamp.add("changed_after_unblinding")
    return stamp


def slide_tasks(study: Study) -> list[SlideTask]:
    """Return one task per scene of each file, in file order; lost sections have none."""
    tasks = []
    present = study.slides[study.slides["file"] != ""]
    for (file, scene, panel, batch), rows in present.groupby(["file", "scene", "panel", "batch"], sort=True):
        sizes = rows["um_per_px"].dropna()
        tasks.append(
            SlideTask(
                study.slide_path(str(file)),
                int(str(scene)),
                float(sizes.iloc[0]) if len(sizes) else None,
                study.config.panels[str(panel)],
                str(panel),
                study.config.batches.get(str(batch), BatchSettings()),
                str(batch),
                study.config.imaging,
                study.config.study.orientation != "transverse",
                tuple(
                    PieceTask(int(str(i)), int(r["piece"]), str(r["role"]), bool(r["flipped"]), str(r["marker"]))
                    for i, r in rows.iterrows()
                ),
                study.corrections(str(file), int(str(scene))),
                study.results_dir / "records",
                labels=study.labels(str(file), int(str(scene)), str(panel)),
                model=study.root / study.config.imaging.segmenter_model if study.config.imaging.segmenter_model else None,
            )
        )
    return tasks


def _corrections(
    tasks: list[SlideTask], jobs: int, scheduler: str | None, progress: Progress
) -> tuple[dict[tuple[str, str], Correction], list[str]]:
    chosen = background_tasks(tasks)
    keys = list(chosen)
    found: dict[tuple[str, str], Correction] = {}
    notes: list[str] = []
    if keys:
        progress("background of each batch", 0, len(keys))
    for done, (i, result) in enumerate(run_tasks(batch_correction, [chosen[k] for k in keys], jobs, scheduler), 1):
        if isinstance(result, BaseException):
            notes.append(f"panel {keys[i][0]}, batch {keys[i][1]}: {reason_of(result)}")
        else:
            found[keys[i]] = result[0]
            notes += result[1]
        progress("background of each batch", done, len(keys))
    return found, sorted(notes)


def _measure(study: Study, tasks: list[SlideTask], jobs: int, scheduler: str | None, progress: Progress) -> list[PieceOutcome]:
    total = sum(len(t.pieces) for t in tasks)
    outcomes: list[PieceOutcome] = []
    progress("sections", 0, total)
    first = [t for t in tasks if not takes_contours(t)]
    for later in (False, True):
        wave = with_contours(study, [t for t in tasks if takes_contours(t)], outcomes) if later else first
        # controls first, then the largest files: the last worker should not start with the longest work
        order = sorted(wave, key=lambda t: (all(p.role == "sample" for p in t.pieces), -_size(t.path), str(t.path), t.scene))
        for i, result in run_tasks(measure_slide, order, jobs, scheduler):
            if isinstance(result, BaseException):
                outcomes += [PieceOutcome(p.row, None, reason_of(result)) for p in order[i].pieces]
            else:
                outcomes += result
            failed = sum(o.record is None for o in outcomes)
            progress("sections", len(outcomes), total, failed, sum(not o.new for o in outcomes))
    return sorted(outcomes, key=lambda o: o.row)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _summary(study: Study, tables: Results, outcomes: list[PieceOutcome], seconds: float) -> RunSummary:
    counts = tables.status["status"].value_counts()
    failed = tables.status[tables.status["status"] == "failed"]
    lines = tuple(f"{r.animal}, section {r.section}, panel {r.panel}: {r.reason}" for r in failed.itertuples())
    return RunSummary(
        study.results_dir,
        int(counts.get("ok", 0)),
        int(counts.get("flagged", 0)),
        int(counts.get("failed", 0)),
        sum(o.new and o.record is not None for o in outcomes),
        seconds,
        lines,
        int(counts.get("excluded", 0)),
    )


def _facts(
    study: Study, key: Key, tasks: list[SlideTask], tables: Results, outcomes: list[PieceOutcome], notes: list[str], summary: RunSummary
) -> dict[str, Any]:
    names = Names.of(key, is_open(study))
    file_of = {int(str(i)): str(f) for i, f in study.slides["file"].items()}
    hashes = {names.files[file_of[o.row]]: o.sha256 for o in outcomes if o.sha256}
    corrections = {f"{t.panel_name} / {t.batch_name}": correction_facts(t.correction, t.panel) for t in tasks if t.correction is not None}
    config = unaware(study).config.model_dump(mode="json")
    return {
        "program": {"sevhisto": __version__, "python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
        "system": platform.platform(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(summary.seconds, 1),
        "sections": {"ok": summary.ok, "flagged": summary.flagged, "failed": summary.failed, "measured_now": summary.measured_now},
        "settings": config,
        "settings_sha256": settings_hash(config),
        "inputs_sha256": dict(sorted(hashes.items())),
        "background": dict(sorted(corrections.items())),
        "notes": [names.clean(n) for n in notes],
        "frozen": frozen_state(study, tables),
        "blind": study.config.study.blind,
        "thresholds_missing": sorted(_missing(tables)),
    }


def _missing(tables: Results) -> set[str]:
    rows = tables.thresholds
    return {f"{r.panel} / {r.batch} / {r.marker}" for r in rows.itertuples() if math.isnan(float(str(r.threshold)))}
