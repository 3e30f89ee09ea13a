"""Small synthetic studies for accuracy_sections.py, with more truth beside them than a study's own truth/ folder has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt
from scipy.ndimage import mean as mean_of
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import expand_labels, watershed

from sevhisto.imaging.measure import blurred
from sevhisto.imaging.tally import gradients
from sevhisto.phantom import (
    MARKERS,
    PhantomSection,
    SectionSpec,
    StudySpec,
    make_section,
    truth_histograms,
    write_slide,
    zone_labels,
    zone_names,
)
from sevhisto.phantom.geometry import inside
from sevhisto.phantom.motor import DAYS
from sevhisto.phantom.spec import stream
from sevhisto.phantom.study import declared
from sevhisto.phantom.study_files import CHANNEL_OF, facts, outlines, write_sheets, write_truth
from sevhisto.phantom.study_spec import BLEED_THROUGH, PANELS, Animal, Piece, SlidePlan
from sevhisto.phantom.truth import DEFAULT_EDGES_UM

ECM = ("fibronectin", "collagen_I")
CONTROLS = ("no_primary", "uninjured", "unstained")


@dataclass(frozen=True)
class Case:
    """One row of the benchmark: a kind of section, and how large the lesions are that it is tried on (0: uninjured tissue)."""

    name: str
    um_per_px: float
    orientation: str = "transverse"
    scales: tuple[float, ...] = (0.6, 1.0, 1.6, 0.0)


def section_spec(case: Case, panel: str, seed: int, scale: float) -> SectionSpec:
    """Return one clean section with the default settings; what differs between sections is drawn from the seed."""
    rng = stream(seed, "section", panel, round(100 * scale))
    return SectionSpec(
        markers=PANELS[panel],
        orientation=case.orientation,  # type: ignore[arg-type]
        um_per_px=case.um_per_px,
        lesion_scale=scale,
        lesion_position=(float(rng.uniform(-0.1, 0.1)), float(rng.uniform(-0.35, -0.1))),
        cavity_fraction=float(rng.uniform(0.08, 0.28)),
        coverage={m: MARKERS[m].coverage * float(np.exp(rng.normal(0, 0.2))) for m in (*ECM, "CD68", "CD206")},
        bleed_through={into: dict(of) for into, of in BLEED_THROUGH.items() if into in PANELS[panel]},
        rotation_deg=float(rng.uniform(-30, 30)),
    )


def plan(case: Case, seeds: Sequence[int], panels: Sequence[str] = tuple(PANELS)) -> list[SlidePlan]:
    """Return, per seed and panel, a slide of samples and one of its own controls: every seed is a stain batch of one animal."""
    plans = []
    for k, seed in enumerate(seeds, 1):
        for panel in panels:
            batch, file = f"batch{k}", f"{seed}_{panel}"
            samples = [
                Piece(f"R{seed}", f"s{i}_{s:g}", "sample", 10_000 + 400 * i, section_spec(case, panel, seed, s), seed * 100 + i)
                for i, s in enumerate(case.scales, 1)
            ]
            # controls come from an epicentre full of macrophages, as in the demo: they show all the autofluorescence that samples have
            base = replace(section_spec(case, panel, seed, 2.0), lesion_position=(0.0, -0.2), coverage={"CD68": 0.5})
            controls = [
                Piece(f"C{seed}", r, r, 10_000, replace(base, role=r, lesion_scale=0.0 if r == "uninjured" else 2.0), seed * 100 + 50 + i)  # type: ignore[arg-type]
                for i, r in enumerate(CONTROLS)
            ]
            plans.append(SlidePlan(f"{file}_samples.ome.tif", panel, batch, tuple(samples)))
            plans.append(SlidePlan(f"{file}_controls.ome.tif", panel, batch, tuple(controls)))
    return plans


def alignment(section: PhantomSection, marker: str) -> float:
    """Return the coherency of the structure tensor over the marker's structure in the core, in the noise-free image."""
    spec, truth = section.spec, section.truth
    fy, fx = gradients(blurred(truth.optical(marker), 1.5 / spec.um_per_px))
    here = truth.structure(marker) & truth.core_mask()
    xx, yy, xy = (float((a[here].astype(float) * b[here]).sum()) for a, b in ((fx, fx), (fy, fy), (fx, fy)))
    return float(np.hypot(yy - xx, 2 * xy) / (xx + yy)) if xx + yy else float("nan")


def plain_counts(section: PhantomSection) -> dict[str, int]:
    """Return what scikit-image counts without more ado: Otsu, distance transform, peaks, watershed; positive by Otsu around the nucleus."""
    spec, truth = section.spec, section.truth
    planes = dict(zip(spec.markers, section.image, strict=True))
    dapi = gaussian(planes["DAPI"].astype(np.float32), 1.0 / spec.um_per_px)
    mask = dapi > threshold_otsu(dapi)
    depth = distance_transform_edt(mask)
    peaks = peak_local_max(depth, min_distance=max(round(3.0 / spec.um_per_px), 1), labels=mask.astype(np.int32))
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-depth, seeds, mask=mask)
    core = truth.core_mask()[tuple(peaks.T)] if spec.injured else np.zeros(len(peaks), bool)
    row = {"plain_nuclei": len(peaks), "plain_nuclei_core": int(core.sum())}
    if "CD68" in planes:
        around = expand_labels(labels, 2.0 / spec.um_per_px)
        on = {m: mean_of(planes[m], around, index=np.arange(1, len(peaks) + 1)) > threshold_otsu(planes[m]) for m in ("CD68", "CD206")}
        row |= {"plain_cd68": int(on["CD68"].sum()), "plain_cd68_core": int((on["CD68"] & core).sum())}
        row["plain_both_core"] = int((on["CD68"] & on["CD206"] & core).sum())
    return row


def extra(section: PhantomSection) -> dict[str, Any]:
    """Return what the truth folder does not hold: cells by zone, alignment, and what Otsu per image says of each marker in each zone."""
    truth, spec = section.truth, section.spec
    row: dict[str, Any] = {"lesion_scale": spec.lesion_scale}
    nuclei = truth.nuclei.xy
    core, cells = truth.nuclei.in_core, truth.cells
    row["cells_cd68_core"] = int((cells.cd68 & cells.nucleated & inside(truth.anatomy.core, cells.xy)).sum())
    row["cells_both_core"] = int((cells.cd68 & cells.cd206 & cells.nucleated & inside(truth.anatomy.core, cells.xy)).sum())
    if "CD68" in truth.layers:
        side = 2 * round(2.5 / spec.um_per_px) + 1  # closes vacuoles
        closed = cv2.morphologyEx(truth.layers["CD206"], cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
        on68, on206, on_paint = (inside(layer, nuclei) for layer in (truth.bodies, closed, truth.layers["CD68"]))
        row |= {"on_cd68_core": int((on68 & core).sum()), "on_cd68": int(on68.sum()), "on_both_core": int((on68 & on206 & core).sum())}
        row["on_paint_core"] = int((on_paint & core).sum())
    row |= plain_counts(section)
    label = zone_labels(truth)
    names = zone_names(DEFAULT_EDGES_UM)
    for k, marker in enumerate(spec.markers):
        if marker == "AF" or not spec.injured:
            continue
        above = section.image[k] > threshold_otsu(section.image[k])
        for z, zone in enumerate(names[:2]):
            here = label == z + 1
            row[f"otsu|{marker}|{zone}"] = 100 * float((above & here).sum()) / max(int(here.sum()), 1)
        if marker in ECM:
            row[f"alignment|{marker}"] = alignment(section, marker)
    return row


def _make(folder: Path, slide: SlidePlan) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    sections, rows, more = [], [], []
    for piece in slide.pieces:
        section = make_section(piece.spec, piece.seed)
        counts, structure = truth_histograms(section.truth)
        rows.append({"counts": counts.astype(np.int32), "structure_px": structure, **facts(section)})
        if piece.role == "sample":
            more.append({"animal": piece.animal, "section": piece.section, "panel": slide.panel} | extra(section))
        section.truth.images.clear()
        sections.append(section)
    names = [CHANNEL_OF[m] for m in PANELS[slide.panel]]
    corners = write_slide(folder / "slides" / slide.file, sections, channel_names=names)
    for k, (row, section, corner) in enumerate(zip(rows, sections, corners, strict=True)):
        row.update(file=slide.file, piece=k + 1, outlines=outlines(section, corner))
    return rows, more


def make(folder: Path, case: Case, seeds: Sequence[int], jobs: int, panels: Sequence[str] = tuple(PANELS)) -> pd.DataFrame:
    """Write the study of a case, open (not blind), with its truth; return the further truth of each sample section."""
    (folder / "slides").mkdir(parents=True)
    plans = plan(case, seeds, panels)
    shape = SectionSpec(orientation=case.orientation)  # type: ignore[arg-type]
    spec = StudySpec(seed=seeds[0], name=case.name, um_per_px=case.um_per_px, n_batches=len(seeds), section=shape)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        made, more = zip(*pool.map(_make, [folder] * len(plans), plans), strict=True)
    animals = [
        Animal(f"{letter}{seed}", "vehicle", f"batch{k}", 1.0, 0.3, 1.0, 10.0, 8.0, (0.0,) * len(DAYS))
        for k, seed in enumerate(seeds, 1)
        for letter in "RC"
    ]
    write_sheets(folder, spec, animals, plans)
    write_truth(folder, spec, animals, plans, made, declared(spec))
    settings = (folder / "study.toml").read_text("utf-8").replace("[study]\n", "[study]\nblind = false\n")
    (folder / "study.toml").write_text(settings, "utf-8", newline="\n")
    return pd.DataFrame([row for rows in more for row in rows])


def without_blank(folder: Path, source: Path) -> None:
    """Write the study of `source` again, with the same slides but the blank channel of no panel declared."""
    folder.mkdir()
    (folder / "slides").symlink_to(source / "slides", target_is_directory=True)
    (folder / "truth").symlink_to(source / "truth", target_is_directory=True)
    for name in ("slides.csv", "animals.csv", "motor.csv"):
        (folder / name).write_bytes((source / name).read_bytes())
    settings = (source / "study.toml").read_text("utf-8")
    blank = r'\n\[\[panels\.\w+\.channels\]\]\nchannel = "blank"\nmarker = "AF"\nrole = "autofluorescence"\n'
    settings, n = re.subn(blank, "", settings)
    if n != len(PANELS):
        raise SystemExit("the blank channel was not found in study.toml")
    (folder / "study.toml").write_text(settings, "utf-8", newline="\n")
