"""Light that is uneven over the camera field, and what the local background takes away.

shading       area of CD68 and CD206 on synthetic sections whose camera fields lose 20 % and 40 % of the light in their corners (against
              their centre): without correction, estimated from the slides of the batch, and from a given image of the field. Each section
              has a slide of its own and lies anywhere in the fields. Asked: within 1.5 points. Once with thresholds from the
              controls, far below the signal, and once at half of it, where shading counts.
              `--losses 0` tells what an estimate that is not needed does
local         fibronectin area with and without diffuse matrix: over the background of the batch, and over the local one

    .venv/bin/python benchmarks/accuracy_shading.py            # two seeds
    .venv/bin/python benchmarks/accuracy_shading.py --quick    # one seed
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import tifffile
from accuracy_background import CONTROLS, areas, picture, section_spec, show, write_study
from asked import Asked

from sevhisto.io.store import read_table
from sevhisto.phantom import MARKERS, PANEL_B, SectionSpec
from sevhisto.phantom.spec import stream
from sevhisto.pipeline import run
from sevhisto.schema import SECTIONS
from sevhisto.types import SHADING_NODES, DoubleArray

SEEDS = (9411, 9412)
UM = 2.0
FIELD_UM = 520.0
N_SAMPLES = 9
ASKED = 1.5


def half_range(loss: float) -> float:
    """Return the phantom's `shading` with which the corner of a field is darker than its centre by this share."""
    return loss / (2 - loss)


def true_gain(loss: float) -> DoubleArray:
    """Return the gain of the field at its nodes, mean 1."""
    away = (2 * np.linspace(0, 1, SHADING_NODES) - 1) ** 2
    gain = 1 + half_range(loss) * (1 - away[:, None] - away)
    return np.asarray(gain / gain.mean(), np.float64)


def placed(seed: int, i: int, loss: float, **changes: Any) -> SectionSpec:
    """Return a section that lies anywhere in the camera fields of its slide."""
    away = round(float(stream(seed, "place", i).uniform(80, 80 + FIELD_UM)) / UM) * UM
    margin = float(stream(seed, "margin", i).uniform(60, 60 + FIELD_UM / 2))
    fields = {"shading": half_range(loss), "camera_field_um": FIELD_UM, "field_origin_um": (-away, -away), "margin_um": margin}
    return section_spec(seed, i, um_per_px=UM, cord_um=(1100.0, 850.0), **fields, **changes)


def write_shaded(folder: Path, seeds: Sequence[int], loss: float) -> None:
    """Write a study of shaded sections, and the image of its camera field."""
    slides = {}
    for seed in seeds:
        full = {"coverage": {"CD68": 0.5}}
        samples = [(f"s{i}", "sample", placed(seed, i, loss)) for i in range(N_SAMPLES)]
        controls = [(r, r, placed(seed, 20 + i, loss, role=r, **(full if r != "uninjured" else {}))) for i, r in enumerate(CONTROLS)]
        slides[seed] = [*samples, *controls]
    write_study(folder, seeds, slides, apart=True)
    (folder / "flat").mkdir()
    field = cv2.resize(true_gain(loss).astype(np.float32), (512, 512), interpolation=cv2.INTER_LINEAR)
    noise = stream(seeds[0], "flat").normal(0, 40, field.shape)
    tifffile.imwrite(folder / "flat" / "field.tif", np.rint(154 + 2500 * field + noise).astype(np.uint16))


def shading(folder: Path, seeds: Sequence[int], loss: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the errors of area under each way to correct, and how well the field was estimated."""
    write_shaded(folder, seeds, loss)
    plain = (folder / "study.toml").read_text("utf-8")
    flat = "flat = { " + ", ".join(f'{m} = "flat/field.tif"' for m in ("DAPI", "GFAP", "CD68", "CD206", "AF")) + " }"
    mean = 1 + half_range(loss) / 3
    rows, gains = [], []
    for way, setting in {"none": "", "estimated": "estimate = true", "given": flat}.items():
        parts = [f"\n[batches.batch{k}.shading]\n{setting}\nfield_um = [{FIELD_UM}, {FIELD_UM}]\n" for k in range(1, len(seeds) + 1)]
        text = plain + "".join(parts if setting else [])
        for cut in ("from controls", "half of the signal"):
            (folder / "study.toml").write_text(text if cut == "from controls" else _cut_at_half(text, mean), "utf-8", newline="\n")
            run(folder, jobs=1)
            rows += _errors(areas(folder, mean), {"corner loses, %": f"{100 * loss:.0f}", "threshold": cut, "flat field": way})
        if way == "estimated":
            picture(folder, f"shading_{100 * loss:.0f}")
            gains = [facts["shading"] for facts in json.loads((folder / "results" / "run.json").read_text("utf-8"))["background"].values()]
    return pd.DataFrame(rows), _estimates(gains, loss)


def _cut_at_half(text: str, mean: float) -> str:
    """Return study.toml with thresholds at half of the full signal, seen through a field of this mean gain."""
    for marker in ("CD68", "CD206"):
        text = text.replace(f'marker = "{marker}"\n', f'marker = "{marker}"\nthreshold = {0.5 * MARKERS[marker].signal * mean:.1f}\n', 1)
    return text


def _errors(both: pd.DataFrame, said: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for (marker, zone), part in both[both["zone"] != "0-250"].groupby(["marker", "zone"], sort=False):
        points = part["measured_pct"] - part["true_pct"]
        rows.append(
            {
                **said,
                "marker": marker,
                "zone": zone,
                "n": len(part),
                "grey": f"{part['threshold'].mean():.0f}",
                "true %": f"{part['true_pct'].mean():.1f}",
                "error, points: mean": f"{points.mean():+.2f}",
                "sd": f"{points.std():.2f}",
                "worst": f"{points.loc[points.abs().idxmax()]:+.2f}",
            }
        )
    return rows


def _estimates(gains: Sequence[dict[str, Any]], loss: float) -> pd.DataFrame:
    true = true_gain(loss)
    rows = []
    for found in gains:
        for marker, facts in found["markers"].items():
            rows.append(
                {
                    "corner loses, %": f"{100 * loss:.0f}",
                    "fields": found["n_fields"],
                    "marker": marker,
                    "source": facts["source"],
                    "true range": f"{true.min():.2f} to {true.max():.2f}",
                    "range": f"{facts['lowest']:.2f} to {facts['highest']:.2f}",
                    "error told, %": f"{100 * facts['error']:.1f}",
                    "flags": ", ".join(found["flags"]),
                }
            )
    return pd.DataFrame(rows)


def local(folder: Path, seeds: Sequence[int]) -> pd.DataFrame:
    """Return the fibronectin area of sections with and without diffuse matrix, over both kinds of background."""
    hazes = (0.0, 0.15, 0.3, 0.6)
    slides = {}
    for seed in seeds:
        samples = [(f"s{i}", "sample", section_spec(seed, 0, markers=PANEL_B, um_per_px=UM, haze=h)) for i, h in enumerate(hazes)]
        full = {"lesion_scale": 2.0, "lesion_position": (0.0, -0.2)}
        controls = [(r, r, section_spec(seed, 10 + i, markers=PANEL_B, um_per_px=UM, role=r, **full)) for i, r in enumerate(CONTROLS[::2])]
        slides[seed] = [*samples, *controls]
    write_study(folder, seeds, slides, panel="B")
    run(folder, jobs=1)
    picture(folder, "local", ("fibronectin", "collagen_I"), 500.0)
    found = read_table(folder / "results" / "sections.csv", SECTIONS)
    found = found[(found["marker"] == "fibronectin") & found["zone"].isin(["core", "0-250"])]
    rows = []
    for i, haze in enumerate(hazes):
        for zone, part in found[found["section"] == f"s{i}"].groupby("zone", sort=False):
            rows.append(
                {
                    "diffuse matrix, % of full signal": f"{100 * haze:.0f}",
                    "zone": zone,
                    "fraction over the batch's background, %": f"{100 * part['positive_um2'].sum() / part['zone_um2'].sum():.1f}",
                    "over the local background, %": f"{100 * part['positive_local_um2'].sum() / part['zone_um2'].sum():.1f}",
                    "thresholds": f"{part['threshold'].mean():.0f}, {part['local_threshold'].mean():.0f}",
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--losses", type=float, nargs="*", default=[0.2, 0.4], help="share of light that the corner lacks")
    said = parser.parse_args()
    seeds = said.seeds[:1] if said.quick else said.seeds
    cv2.setNumThreads(1)
    asked = Asked(__file__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for loss in said.losses:
            table, gains = shading(folder / f"loss{100 * loss:.0f}", seeds, loss)
            show(f"Area, the corner of a field loses {100 * loss:.0f} %; asked: within {ASKED} points", table)
            show("The field, as estimated", gains)
            errors = table.assign(mean=table["error, points: mean"].astype(float).abs()).groupby("flat field")["mean"].max()
            for way in ("estimated", "given"):
                on = f"phantoms, corners of fields lose {100 * loss:.0f} %, field {way}"
                asked.line(
                    on, "largest mean error of area, points", "<= 1.5", f"{errors[way]:.2f}", errors[way] <= 1.5, f"{errors['none']:.2f}"
                )
        asked.close()
        show("Diffuse fibronectin", local(folder / "local", seeds))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"\n{used.ru_utime + used.ru_stime:.0f} s of CPU")


if __name__ == "__main__":
    main()
