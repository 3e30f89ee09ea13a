"""The files of a synthetic study: what a lab would write, and the truth that only a phantom has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sevhisto.phantom.geometry import inside
from sevhisto.phantom.motor import DAYS
from sevhisto.phantom.section import PhantomSection
from sevhisto.phantom.spec import MARKERS, stream
from sevhisto.phantom.study_spec import BLEED_THROUGH, CONTRASTS, PANELS, Animal, SlidePlan, StudySpec
from sevhisto.phantom.truth import DEFAULT_EDGES_UM, positive_px, zone_names
from sevhisto.types import DoubleArray, IntArray, snap_threshold

CHANNEL_OF: Mapping[str, str] = {
    "DAPI": "DAPI",
    "GFAP": "AF488",
    "CD68": "AF568",
    "CD206": "AF647",
    "fibronectin": "AF568",
    "collagen_I": "AF647",
    "AF": "blank",
    "sEV": "AF750",
}
_ROLE_OF_KIND = {
    "nuclei": "nuclei",
    "glia": "landmark",
    "macrophage": "macrophage",
    "m2": "macrophage",
    "fibres": "ecm",
    "puncta": "tracer",
}
_PROTOCOLS = """
[protocols.vehicle]
route = "intravenous"
vehicle = "saline"
total_dose = 0
dose_unit = "particles"
injections_h = [3, 27, 51]

[protocols.daily_3d]
route = "intravenous"
vehicle = "saline"
total_dose = 3e9
dose_unit = "particles"
injections_h = [3, 27, 51]

[protocols.infusion_3d]
route = "intravenous"
vehicle = "saline"
total_dose = 3e9
dose_unit = "particles"
infusion = { start_h = 3, duration_h = 72, rate_ul_h = 1.0, loaded_volume_ul = 100 }

[protocols.infusion_6d]
route = "intravenous"
vehicle = "saline"
total_dose = 3e9
dose_unit = "particles"
infusion = { start_h = 3, duration_h = 144, rate_ul_h = 0.5, loaded_volume_ul = 100 }
"""


def facts(section: PhantomSection) -> dict[str, Any]:
    """Return a section's counts and areas."""
    truth = section.truth
    px = truth.px_um2
    cells = truth.cells
    here = cells.nucleated
    on_cd68 = inside(truth.bodies, truth.nuclei.xy)
    return {
        "tissue_um2": float(np.count_nonzero(truth.anatomy.tissue)) * px,
        "core_um2": float(np.count_nonzero(truth.anatomy.core)) * px,
        "cavity_um2": truth.cavity_um2,
        "n_nuclei": len(truth.nuclei),
        "n_nuclei_core": int(truth.nuclei.in_core.sum()),
        "n_nuclei_on_cd68": int(on_cd68.sum()),
        "n_nuclei_on_cd68_core": int((on_cd68 & truth.nuclei.in_core).sum()),
        "n_cd68_cells": int((cells.cd68 & here).sum()),
        "n_cd206_cells": int((cells.cd206 & here).sum()),
        "n_cd68_cd206_cells": int((cells.cd68 & cells.cd206 & here).sum()),
    }


def outlines(section: PhantomSection, corner: tuple[int, int]) -> dict[str, Any]:
    """Return polygons in px of the slide, (x, y), pixel centres at whole numbers; `corner` is the section's offset (y, x)."""

    def moved(polygon: DoubleArray) -> list[list[float]]:
        rounded: list[list[float]] = np.round(polygon + np.array(corner[::-1]), 2).tolist()
        return rounded

    truth = section.truth
    core = None if truth.core_outline is None else moved(truth.core_outline)
    height, width = section.image.shape[1:]
    box = [corner[0], corner[1], corner[0] + height, corner[1] + width]
    return {"box_y0_x0_y1_x1": box, "tissue": moved(truth.tissue_outline), "core": core, "cavities": [moved(c) for c in truth.cavities]}


def study_toml(spec: StudySpec) -> str:
    """Return the text of study.toml."""
    lines = [
        "# Synthetic: made by `sevhisto phantom`. Nothing in it is a biological result.",
        "[study]",
        f"name = {json.dumps(spec.name)}",
        f'orientation = "{spec.section.orientation}"',
        f"section_spacing_um = {spec.section_spacing_um:g}",
        "section_thickness_um = 20",
        f'sampling = "1 in {max(1, round(spec.section_spacing_um / 20))}, random start"',
    ]
    for panel, markers in PANELS.items():
        lines += ["", f"[panels.{panel}]"] + (['pairs = [["CD68", "CD206"]]'] if panel == "A" else [])
        for marker in markers:
            role = _ROLE_OF_KIND.get(MARKERS[marker].kind, "autofluorescence")
            lines += ["", f"[[panels.{panel}.channels]]", f'channel = "{CHANNEL_OF[marker]}"', f'marker = "{marker}"', f'role = "{role}"']
    leaks = ", ".join(f"{into} = {{ {', '.join(f'{k} = {v}' for k, v in of.items())} }}" for into, of in BLEED_THROUGH.items())
    for b in range(1, spec.n_batches + 1):
        lines += ["", f"[batches.batch{b}]", f"bleed_through = {{ {leaks} }}"]
    lines += [_PROTOCOLS, "[endpoints]", 'primary = ["B_core_fibronectin_positive_volume_mm3", "BBB_auc_score_days"]']
    for name, (a, b_) in CONTRASTS.items():
        lines += ["", "[[contrasts]]", f'name = "{name}"', f"a = {json.dumps(list(a))}", f"b = {json.dumps(list(b_))}"]
    return "\n".join(lines) + "\n"


def _animal_row(animal: Animal, seed: int) -> dict[str, Any]:
    rng = stream(seed, "husbandry", animal.name)
    force = float(rng.normal(200, 5))
    infused = animal.protocol.startswith("infusion")
    return {
        "animal": animal.name,
        "protocol": animal.protocol,
        "sex": "f",
        "weight_g": round(float(rng.normal(230, 10)), 1),
        "species": "rat (synthetic)",
        "injury_level": "T10",
        "force_kdyn": round(force, 1),
        "displacement_um": round(1000 + 8 * (force - 200) + float(rng.normal(0, 60)), 0),
        "treatment_start_h": 3,
        "dpi": 42,
        "delivered_volume_ul": round(72 * float(rng.normal(1, 0.02)), 1) if infused else "",
        "block": animal.batch.replace("batch", "cohort"),
        "excluded": "",
        "exclusion_reason": "",
    }


def write_sheets(folder: Path, spec: StudySpec, animals: Sequence[Animal], plans: Sequence[SlidePlan]) -> None:
    """Write study.toml, slides.csv, animals.csv, motor.csv."""
    (folder / "study.toml").write_text(study_toml(spec), encoding="utf-8", newline="\n")
    _csv(folder / "animals.csv", [_animal_row(animal, spec.seed) for animal in animals])
    single = any(piece.role == "single_stain" for plan in plans for piece in plan.pieces)
    slides = [
        {
            "file": plan.file,
            "animal": piece.animal,
            "section": piece.section,
            "piece": k + 1,
            "panel": plan.panel,
            "batch": plan.batch,
            "role": piece.role,
            "position_um": piece.position_um,
            **({"marker": piece.spec.single_stain} if single else {}),
        }
        for plan in sorted(plans, key=lambda p: p.file)
        for k, piece in enumerate(plan.pieces)
    ]
    _csv(folder / "slides.csv", slides)
    scores = [{"animal": a.name, "day": d, "score": int(s)} for a in animals for d, s in zip(DAYS, a.scores, strict=True)]
    _csv(folder / "motor.csv", scores)


def _csv(path: Path, rows: list[dict[str, Any]]) -> None:
    pd.DataFrame(rows).to_csv(path, index=False, lineterminator="\n")


def write_truth(
    folder: Path,
    spec: StudySpec,
    animals: Sequence[Animal],
    plans: Sequence[SlidePlan],
    made: Sequence[list[dict[str, Any]]],
    effects: dict[str, Any],
) -> None:
    """Write truth/: declared.json, sections.csv, animals.csv, outlines.json, histograms.npz."""
    target = folder / "truth"
    target.mkdir(exist_ok=True)
    (target / "declared.json").write_text(json.dumps(effects, indent=1) + "\n", encoding="utf-8", newline="\n")
    pairs = [(plan, piece, row) for plan, rows in zip(plans, made, strict=True) for piece, row in zip(plan.pieces, rows, strict=True)]
    pairs.sort(key=lambda p: (p[2]["file"], p[2]["piece"]))
    large = ("counts", "structure_px", "outlines")
    sections = []
    for plan, piece, row in pairs:
        head = {"file": plan.file, "piece": row["piece"], "animal": piece.animal, "section": piece.section, "panel": plan.panel}
        head |= {"batch": plan.batch, "role": piece.role, "position_um": piece.position_um, "um_per_px": piece.spec.um_per_px}
        goal = {f"coverage_{m}": piece.spec.coverage_of(m) if piece.spec.injured else 0.0 for m in MARKERS if MARKERS[m].coverage}
        sections.append(head | {k: v for k, v in row.items() if k not in large} | goal | {"seed": piece.seed})
    _csv(target / "sections.csv", sections)
    shapes = {f"{row['file']}#{row['piece']}": row["outlines"] for _, _, row in pairs}
    (target / "outlines.json").write_text(json.dumps(shapes, separators=(",", ":")) + "\n", encoding="utf-8", newline="\n")
    widest = max(row["counts"].shape[1] for _, _, row in pairs)

    def padded(name: str) -> IntArray:
        blocks = [row[name] for _, _, row in pairs]
        return np.stack([np.pad(b, [(0, 0), (0, widest - b.shape[1])] + [(0, 0)] * (b.ndim - 2)) for b in blocks])

    markers = np.array(["|".join(piece.spec.markers) for _, piece, _ in pairs])
    np.savez_compressed(
        target / "histograms.npz",
        counts=padded("counts"),
        structure_px=padded("structure_px"),
        markers=markers,
        zones=np.array(zone_names(DEFAULT_EDGES_UM)),
    )
    _csv(target / "animals.csv", _animal_truth(spec, animals, pairs))


def _animal_truth(spec: StudySpec, animals: Sequence[Animal], pairs: Sequence[tuple[Any, Any, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return what was drawn for each animal, and its Cavalieri volumes (mm3) from the structure itself."""
    out = []
    for a in animals:
        row: dict[str, Any] = {"animal": a.name, "protocol": a.protocol, "batch": a.batch, "ecm_factor": a.ecm_factor}
        row |= {"cd206_share": a.cd206_share, "lesion_factor": a.lesion_factor, "plateau": a.plateau, "tau_days": a.tau_days}
        for plan, piece, facts_ in pairs:
            if piece.animal != a.name:
                continue
            step = spec.section_spacing_um * 1e-9
            lesion = f"{plan.panel}_lesion_volume_mm3"
            row[lesion] = row.get(lesion, 0.0) + (facts_["core_um2"] + facts_["cavity_um2"]) * step
            for m, marker in enumerate(piece.spec.markers):
                key = f"{plan.panel}_core_{marker}_structure_volume_mm3"
                row[key] = row.get(key, 0.0) + float(facts_["structure_px"][0, m]) * piece.spec.um_per_px**2 * step
        out.append(row)
    return out


@dataclass
class StudyTruth:
    """The truth of a synthetic study, as read from its truth/ folder.

    Attributes
    ----------
    sections : one row per piece; animals : one per animal; declared : the effects; outlines : by "file#piece", in px of the slide
    counts : (pieces, zones, markers, N_INTENSITY) pixels by bin of the noise-free image; structure_px : (pieces, zones, markers)
    markers : per piece; zones : names
    """

    sections: pd.DataFrame
    animals: pd.DataFrame
    declared: dict[str, Any]
    outlines: dict[str, Any]
    counts: IntArray
    structure_px: IntArray
    markers: list[tuple[str, ...]]
    zones: tuple[str, ...]

    def table(self, thresholds: Mapping[tuple[str, str], float] | Mapping[str, float]) -> pd.DataFrame:
        """Return file, piece, animal, section, panel, role, zone, marker, threshold, zone_um2, cavity_um2, positive_um2, structure_um2.

        Parameters
        ----------
        thresholds : by marker, or by (marker, batch); snapped to a bin edge. Markers without one have no row.
        """
        rows = []
        for i, piece in enumerate(self.sections.to_dict("records")):
            px = piece["um_per_px"] ** 2
            for m, marker in enumerate(self.markers[i]):
                asked: Any = dict(thresholds)
                value = asked.get((marker, piece["batch"]), asked.get(marker))
                if value is None:
                    continue
                edge = snap_threshold(value)
                positive = positive_px(self.counts[i, :, m], edge)
                for z, zone in enumerate(self.zones):
                    head = [piece[k] for k in ("file", "piece", "animal", "section", "panel", "role")]
                    cavity = piece["cavity_um2"] if zone in ("core", "all") else 0.0
                    areas = [self.counts[i, z, m].sum() * px, cavity, positive[z] * px, self.structure_px[i, z, m] * px]
                    rows.append([*head, zone, marker, edge, *areas])
        names = ["file", "piece", "animal", "section", "panel", "role", "zone", "marker", "threshold"]
        return pd.DataFrame(rows, columns=[*names, "zone_um2", "cavity_um2", "positive_um2", "structure_um2"])


def load_truth(folder: Path | str) -> StudyTruth:
    """Return the truth of a synthetic study; FileNotFoundError where it has none."""
    target = Path(folder) / "truth"
    with np.load(target / "histograms.npz") as data:
        counts, structure = data["counts"].astype(np.int64), data["structure_px"].astype(np.int64)
        markers, zones = [tuple(str(m).split("|")) for m in data["markers"]], tuple(str(z) for z in data["zones"])
    read = {name: json.loads((target / f"{name}.json").read_text(encoding="utf-8")) for name in ("declared", "outlines")}
    tables = {name: pd.read_csv(target / f"{name}.csv", keep_default_na=False) for name in ("sections", "animals")}
    return StudyTruth(tables["sections"], tables["animals"], read["declared"], read["outlines"], counts, structure, markers, zones)
