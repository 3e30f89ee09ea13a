from __future__ import annotations

import pytest

from sevhisto.config import PanelSettings
from sevhisto.io.channels import match_channels
from sevhisto.types import SlideError

PANEL = PanelSettings.model_validate(
    {
        "channels": [
            {"channel": "GFAP", "marker": "GFAP", "role": "landmark", "aliases": ["Cy5"]},
            {"channel": 1, "marker": "DAPI", "role": "nuclei"},
        ]
    }
)
BROWN = PanelSettings.model_validate(
    {"kind": "brightfield", "stain": "hematoxylin_dab", "channels": [{"channel": "dab", "marker": "Iba1", "role": "macrophage"}]}
)


def test_by_name_alias_and_number() -> None:
    assert match_channels(PANEL, ("x", "gfap ")) == [1, 0]
    assert match_channels(PANEL, ("x", "y", "CY5")) == [2, 0]
    assert match_channels(PANEL, ("x", "Cy5", "GFAP")) == [2, 0]  # the name comes before its aliases
    assert match_channels(BROWN, ("R", "G", "B")) == [0, 1, 2]


@pytest.mark.parametrize(
    ("panel", "names", "told"),
    [
        (PANEL, ("x", "CD68"), "channel 'GFAP' of marker 'GFAP' is not in the file, which has 1 'x', 2 'CD68'"),
        (PANEL, ("x", "GFAP", "gfap"), "fits channels 2 and 3"),
        (PANEL, ("GFAP", "x"), "more than one marker"),
        (PANEL, (), "channel 1 of marker 'DAPI' is not in the file, which has no channels"),
        (PANEL, ("R", "G", "B"), "colour"),
        (BROWN, ("DAPI", "GFAP"), "brightfield, but the file has channels 1 'DAPI'"),
    ],
)
def test_faults(panel: PanelSettings, names: tuple[str, ...], told: str) -> None:
    with pytest.raises(SlideError) as error:
        match_channels(panel, names, "R01.tif")
    assert told in str(error.value) and all(p.where == "R01.tif" and p.remedy for p in error.value.problems)
