"""A small study in the vocabulary's tables."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from sevhisto.config import StudyConfig, parse_config
from sevhisto.metrics import METRIC_UNITS


def settings(**changes: Any) -> dict[str, Any]:
    def protocol(dose: float, **delivery: Any) -> dict[str, Any]:
        return {"route": "intravenous", "total_dose": dose, "dose_unit": "particles", **delivery}

    daily = {"injections_h": [24.0, 48.0, 72.0]}
    panel_a = [("DAPI", "nuclei"), ("GFAP", "landmark"), ("CD68", "macrophage"), ("CD206", "macrophage")]
    panel_b = [("DAPI", "nuclei"), ("GFAP", "landmark"), ("fibronectin", "ecm"), ("collagen1", "ecm")]
    panels = {
        name: {"channels": [{"channel": i + 1, "marker": m, "role": r} for i, (m, r) in enumerate(rows)]}
        for name, rows in (("A", panel_a), ("B", panel_b))
    }
    protocols = {
        "V": protocol(0, **daily),
        "D3": protocol(3e9, **daily),
        "P3": protocol(3e9, infusion={"start_h": 24, "duration_h": 72}),
        "P6": protocol(3e9, infusion={"start_h": 24, "duration_h": 144}),
    }
    return {"study": {"name": "s", "section_spacing_um": 200}, "panels": panels, "protocols": protocols, **changes}


def study(**changes: Any) -> StudyConfig:
    return parse_config(settings(**changes))


def rows(values: dict[str, float], panel: str = "B", zone: str = "core", marker: str = "fibronectin", metric: str = "fraction_pct",
         flags: str = "") -> pd.DataFrame:  # fmt: skip
    """Long animal rows of one endpoint."""
    return pd.DataFrame(
        [(a, panel, zone, marker, metric, v, METRIC_UNITS[metric], 8, 8, flags) for a, v in values.items()],
        columns=["animal", "panel", "zone", "marker", "metric", "value", "unit", "n_sections", "n_expected", "flags"],
    )


@pytest.fixture
def make_study():
    return study


@pytest.fixture
def make_rows():
    return rows
