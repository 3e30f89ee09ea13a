from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sevhisto.io import key as keys
from sevhisto.io.study import load_study
from sevhisto.types import SevhistoError


def test_codes_hide_names_and_come_back(study_dir: Path, tmp_path: Path) -> None:
    study = load_study(study_dir)
    key = keys.codes(study)
    assert set(key.animals) == {"", "R01", "R02", "K1"} and set(key.files) == {"", "R01_s1.tif", "sub/R02_s1.tif", "control.tif"}
    assert sorted(key.groups.values()) == ["", "A", "B"]
    shown = [code for kind in ("animal", "group", "file") for code in key.of(kind).values()]
    assert not any(name and name in code for name in ("R01", "R02", "vehicle", "daily") for code in shown)
    assert keys.codes(study) == key
    keys.write_key(tmp_path, key)
    assert keys.read_key(tmp_path) == key
    frame = study.slides[["file", "animal", "section"]]
    hidden = keys.apply(frame, key)
    assert list(hidden["section"]) == list(frame["section"]) and hidden["file"].iloc[2] == ""
    pd.testing.assert_frame_equal(keys.reveal(hidden, key), frame)
    with pytest.raises(SevhistoError, match="'R09' is not in the key"):
        keys.apply(pd.DataFrame({"animal": ["R09"]}), key)


def test_equal_starts_get_longer_codes() -> None:
    names = [f"R{i}" for i in range(3000)]
    coded = keys._coded("A-", "study", "animal", names)
    assert len(set(coded.values())) == len(names)
    lengths = {len(code) for code in coded.values()}
    assert min(lengths) == 6 and max(lengths) > 6
    assert coded == keys._coded("A-", "study", "animal", reversed(names))
    assert [keys._letters(i) for i in (0, 25, 26, 27)] == ["A", "Z", "AA", "AB"]


def test_unblinding_is_recorded_once(tmp_path: Path) -> None:
    assert keys.unblinded(tmp_path) is None
    keys.unblind(tmp_path, {"contours": "abc", "thresholds": "def", "exclusions": "0"})
    first = keys.unblinded(tmp_path)
    assert first is not None and first["contours"] == "abc" and first["time"].endswith("+00:00")
    keys.unblind(tmp_path, {"contours": "changed"})
    assert keys.unblinded(tmp_path) == first
    (tmp_path / "key" / "unblinded.json").write_text("{}")
    with pytest.raises(SevhistoError, match="when the key was opened"):
        keys.unblinded(tmp_path)


def test_missing_key(tmp_path: Path) -> None:
    with pytest.raises(SevhistoError, match="cannot be read"):
        keys.read_key(tmp_path)
