"""A whole synthetic study: which animal gets what, what each section shall show, and the effects that are declared beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sevhisto.config import SlideRole
from sevhisto.phantom import study_files
from sevhisto.phantom.motor import DAYS
from sevhisto.phantom.section import make_section
from sevhisto.phantom.slide import write_slide
from sevhisto.phantom.spec import MARKERS, stream
from sevhisto.phantom.study_spec import (
    ARMS,
    BLEED_THROUGH,
    CONTRASTS,
    ECM,
    PANELS,
    Animal,
    Arm,
    Piece,
    SlidePlan,
    StudySpec,
)
from sevhisto.phantom.truth import truth_histograms
from sevhisto.types import DoubleArray, Problem, SevhistoError

SMALLEST_CORE_UM2 = 25_000.0  # a section whose lesion would be smaller has none


def plan_animals(spec: StudySpec) -> list[Animal]:
    """Return the animals of all arms, in the order of their names, which do not tell the arm; arms are balanced over batches."""
    rng = stream(spec.seed, "animals")
    lesion_sd = math.sqrt(math.log1p(spec.lesion_cv**2))
    drawn: list[dict[str, Any]] = []
    for name in ARMS:
        arm, n = spec.arm(name), spec.n_per_arm
        ecm_z, lesion_z = rng.normal(size=n), rng.normal(size=n)
        plateau, tau = spec.motor.plateaus(rng, arm.plateau_shift, ecm_z, lesion_z), spec.motor.taus(rng, arm.tau_ratio, n)
        scores = spec.motor.scores(rng, plateau, tau)
        cd206 = MARKERS["CD206"].coverage * arm.cd206_ratio * np.exp(rng.normal(0, 0.12, n))
        for i in range(n):
            drawn.append(
                {
                    "protocol": name,
                    "batch": f"batch{1 + (i + len(drawn) // n) % spec.n_batches}",
                    "ecm_factor": float(arm.ecm_ratio * np.exp(spec.log_sd * ecm_z[i])),
                    "cd206_share": float(min(cd206[i], 0.8)),
                    "lesion_factor": float(np.exp(lesion_sd * lesion_z[i])),
                    "plateau": float(plateau[i]),
                    "tau_days": float(tau[i]),
                    "scores": tuple(float(v) for v in scores[i]),
                }
            )
    order = rng.permutation(len(drawn))
    return [Animal(name=f"R{k + 1:02d}", **drawn[i]) for k, i in enumerate(order)]


def _base(spec: StudySpec, panel: str, batch: str) -> dict[str, Any]:
    k = int(batch.removeprefix("batch")) - 1
    markers = PANELS[panel]
    leaks = {into: dict(of) for into, of in BLEED_THROUGH.items() if into in markers}
    gain = {"gain": 1 + 0.06 * k, "offset": spec.section.offset + 12.0 * k}
    return {"markers": markers, "um_per_px": spec.um_per_px, "bleed_through": leaks, **gain}


def _sections(spec: StudySpec, animal: Animal, panel: str, rng: np.random.Generator, start: float) -> tuple[Piece, ...]:
    """Return an animal's sections of one panel: lesion size follows the Gaussian profile, coverage varies about the animal's."""
    pieces = []
    section_sd = spec.log_sd * math.sqrt((1 - spec.icc) / spec.icc)
    for i in range(spec.n_sections):
        place = (i - (spec.n_sections - 1) / 2) * spec.section_spacing_um + start + (20 if panel == "B" else 0)
        scale = animal.lesion_factor * math.exp(-(place**2) / (2 * spec.lesion_sd_um**2))
        noise = math.exp(rng.normal(0, section_sd))
        coverage = {m: min(MARKERS[m].coverage * animal.ecm_factor * noise, 0.8) for m in ECM}
        coverage |= {"CD206": animal.cd206_share, "CD68": MARKERS["CD68"].coverage * float(np.exp(rng.normal(0, 0.1)))}
        one = replace(
            spec.section,
            lesion_scale=scale,
            coverage=coverage,
            rotation_deg=float(rng.uniform(-30, 30)),
            cavity_fraction=float(rng.uniform(0.08, 0.28)),
            **_base(spec, panel, animal.batch),
        )
        if one.core_um2 < SMALLEST_CORE_UM2:
            one = replace(one, lesion_scale=0.0)
        pieces.append(Piece(animal.name, f"s{i + 1:02d}", "sample", round(10_000 + place), one, int(rng.integers(2**31))))
    return tuple(pieces)


def plan_slides(spec: StudySpec, animals: list[Animal]) -> list[SlidePlan]:
    """Return every slide: one per animal and panel, and one of controls per batch and panel; file names tell neither."""
    drafts: list[tuple[str, str, tuple[Piece, ...]]] = []
    for k, animal in enumerate(animals):
        start = float(stream(spec.seed, "start", k).uniform(-0.5, 0.5) * spec.section_spacing_um)
        for panel in PANELS:
            drafts.append((panel, animal.batch, _sections(spec, animal, panel, stream(spec.seed, "slide", k, panel), start)))
    for b in range(1, spec.n_batches + 1):
        for panel in PANELS:
            drafts.append((panel, f"batch{b}", _controls(spec, panel, f"batch{b}")))
    numbers = stream(spec.seed, "files").permutation(len(drafts)) + 1
    return [SlidePlan(f"slide_{n:03d}.ome.tif", *draft) for n, draft in zip(numbers, drafts, strict=True)]


def _controls(spec: StudySpec, panel: str, batch: str) -> tuple[Piece, ...]:
    rng = stream(spec.seed, "controls", batch, panel)
    roles: tuple[SlideRole, ...] = ("no_primary", "uninjured", "unstained")
    pieces = []
    for role in roles:
        # controls come from an epicentre full of macrophages: they must show all the autofluorescence that samples have
        own: dict[str, Any] = {"role": role, "lesion_scale": 0.0 if role == "uninjured" else 2.0, "coverage": {"CD68": 0.5}}
        own |= {"rotation_deg": float(rng.uniform(-30, 30)), "lesion_position": (0.0, -0.2)}
        one = replace(spec.section, **own, **_base(spec, panel, batch))
        pieces.append(Piece(f"control_{batch}", role, role, 10_000, one, int(rng.integers(2**31))))
    return tuple(pieces)


def declared(spec: StudySpec) -> dict[str, Any]:
    """Return the effects that the study holds, per arm and per contrast: population values, not what these animals happened to show."""
    arms: dict[str, dict[str, float]] = {}
    motors: dict[Arm, dict[str, float]] = {}
    rng = np.random.default_rng(20260102)
    log_sd = spec.log_sd / math.sqrt(spec.icc)
    spread: DoubleArray = np.exp(rng.normal(0, log_sd, 200_000))
    for name in ARMS:
        arm = spec.arm(name)
        motor = motors.setdefault(arm, spec.motor.expected(arm.plateau_shift, arm.tau_ratio))
        arms[name] = {"ecm_ratio": arm.ecm_ratio, "cd206_ratio": arm.cd206_ratio, **motor}
        for marker in ECM:
            arms[name][f"{marker}_mean_coverage"] = float(np.minimum(MARKERS[marker].coverage * arm.ecm_ratio * spread, 0.8).mean())
    contrasts = {name: _contrast(arms, a, b) for name, (a, b) in CONTRASTS.items()}
    return {
        "note": "synthetic; ratios are ratios of geometric means between animals, of the structure's share of the core",
        "auc": f"trapezoids from day {DAYS[0]} to day {DAYS[-1]}",
        "null": spec.null,
        "seed": spec.seed,
        "cv_between": spec.cv_between,
        "icc": spec.icc,
        "bbb_points_per_ecm_sd": spec.motor.per_ecm_sd,
        "bbb_points_per_lesion_sd": spec.motor.per_lesion_sd,
        "arms": arms,
        "contrasts": contrasts,
    }


def _contrast(arms: Mapping[str, Mapping[str, float]], a: tuple[str, ...], b: tuple[str, ...]) -> dict[str, Any]:
    def mean(key: str, names: tuple[str, ...]) -> float:
        return float(np.mean([arms[n][key] for n in names]))

    def ratio(key: str) -> float:
        logs = [float(np.mean([math.log(arms[n][key]) for n in names])) for names in (a, b)]
        return math.exp(logs[0] - logs[1])

    ecm = {marker: ratio("ecm_ratio") for marker in ECM}
    coverage = {m: mean(f"{m}_mean_coverage", a) - mean(f"{m}_mean_coverage", b) for m in ECM}
    return {
        "a": list(a),
        "b": list(b),
        "ecm_ratio": ecm,
        "cd206_ratio": ratio("cd206_ratio"),
        "mean_coverage_difference": coverage,
        "bbb_auc_difference": mean("auc_score_days", a) - mean("auc_score_days", b),
    }


def make_slide(folder: Path, plan: SlidePlan) -> list[dict[str, Any]]:
    """Make one slide and write it; return the truth of its pieces, in slide order."""
    sections, rows = [], []
    for piece in plan.pieces:
        section = make_section(piece.spec, piece.seed)
        counts, structure = truth_histograms(section.truth)
        rows.append({"counts": counts.astype(np.int32), "structure_px": structure, **study_files.facts(section)})
        section.truth.images.clear()
        sections.append(section)
    names = [study_files.CHANNEL_OF[m] for m in PANELS[plan.panel]]
    corners = write_slide(folder / "slides" / plan.file, sections, channel_names=names)
    for k, (row, section, corner) in enumerate(zip(rows, sections, corners, strict=True)):
        row.update(file=plan.file, piece=k + 1, outlines=study_files.outlines(section, corner))
    return rows


def make_study(folder: Path | str, spec: StudySpec | None = None, jobs: int = 1) -> None:
    """Write a complete synthetic study: study.toml, slides.csv, animals.csv, motor.csv, slides/, and truth/ (which a real study lacks).

    Parameters
    ----------
    folder : new or empty, else SevhistoError
    jobs : processes; the bytes do not depend on it
    """
    spec, folder = spec or StudySpec(), Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise SevhistoError(Problem(str(folder), "is not empty", "name a new folder"))
    (folder / "slides").mkdir(parents=True, exist_ok=True)
    animals = plan_animals(spec)
    plans = plan_slides(spec, animals)
    if jobs == 1:
        made = [make_slide(folder, plan) for plan in plans]
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            made = list(pool.map(make_slide, [folder] * len(plans), plans))
    study_files.write_sheets(folder, spec, animals, plans)
    study_files.write_truth(folder, spec, animals, plans, made, declared(spec))
