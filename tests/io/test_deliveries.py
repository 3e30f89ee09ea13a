"""What animals.csv may say of a treatment."""

from __future__ import annotations

import pandas as pd
import pytest

from sevhisto.config import parse_config
from sevhisto.io.deliveries import delivery_problems
from sevhisto.io.sheets import numbers
from sevhisto.schema import ANIMALS_SHEET

PANEL = {"channels": [{"channel": 1, "marker": "DAPI", "role": "nuclei"}]}
PUMP = {"start_h": 3, "duration_h": 72, "rate_ul_h": 1.0, "loaded_volume_ul": 100}
COMMON = {"route": "intravenous", "total_dose": 3e9, "dose_unit": "particles"}
CONFIG = parse_config(
    {
        "study": {"name": "s", "section_spacing_um": 200},
        "panels": {"A": PANEL},
        "protocols": {
            "pump": {**COMMON, "infusion": PUMP},
            "daily": {**COMMON, "injections_h": [3, 27, 51]},
            "per_kg": {**COMMON, "injections_h": [3], "per_kg": True},
        },
    }
)


def problems(**cells: str) -> list[str]:
    text = pd.DataFrame([{"animal": "r1", **cells}], index=[2])
    return [str(p) for p in delivery_problems(text, numbers(text, ANIMALS_SHEET)[0], CONFIG)]


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"protocol": "pump", "delivered_volume_ul": "-3"}, "row 2, column delivered_volume_ul: -3 cannot be"),
        ({"protocol": "pump", "delivered_volume_ul": "120"}, "120 ul is more than the 100 ul loaded"),
        ({"protocol": "pump", "infusion_h": "0"}, "0 cannot be"),
        ({"protocol": "pump", "patent": "maybe"}, "'maybe' is neither yes nor no"),
        ({"protocol": "pump", "doses_given": "2"}, "2 of 0 planned injections"),
        ({"protocol": "daily", "doses_given": "4"}, "4 of 3 planned injections"),
        ({"protocol": "daily", "doses_given": "1.5"}, "1.5 of 3 planned injections"),
        ({"protocol": "daily", "delivered_volume_ul": "70"}, "an animal that was injected"),
        ({"protocol": "per_kg"}, "column weight_g: is empty, but the protocol's dose is per kg"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(cells, told):
    (problem,) = problems(**cells)
    assert told in problem


def test_what_can_be_passes():
    assert problems(protocol="pump", delivered_volume_ul="70.5", patent="no", infusion_h="60", weight_g="250") == []
    assert problems(protocol="daily", doses_given="2", treatment_start_h="3", patent="?") == []
    assert problems(protocol="per_kg", weight_g="250") == problems(protocol="") == []
