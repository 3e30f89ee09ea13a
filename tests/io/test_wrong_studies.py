"""Every wrong or odd study of benchmarks/faults_cases.py comes out as it should: read right, or refused with the place."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from sevhisto.io.annotations import Outline, outline_mask
from sevhisto.io.check import check_files
from sevhisto.io.study import load_study
from sevhisto.types import SevhistoError

_SPEC = importlib.util.spec_from_file_location("faults_cases", Path(__file__).parents[2] / "benchmarks" / "faults_cases.py")
assert _SPEC is not None and _SPEC.loader is not None
faults_cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(faults_cases)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = faults_cases.good_study(tmp_path_factory.mktemp("good") / "study")
    assert check_files(load_study(root)) == []
    return root


@pytest.mark.parametrize("name", faults_cases.CASES)
def test_case(good: Path, tmp_path: Path, name: str) -> None:
    change, expected = faults_cases.CASES[name]
    root = Path(shutil.copytree(good, tmp_path / "study", symlinks=True))
    change(root)
    try:
        study = load_study(root)
        problems = check_files(study)
    except SevhistoError as error:
        problems = error.problems
    told = "\n".join(map(str, problems))
    if isinstance(expected, str):
        assert expected in told
    else:
        assert not problems, told
        assert expected(study)


def test_an_outline_in_parts_fills_as_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    ring = rng.uniform(-20, 120, (400, 2))
    whole = outline_mask([Outline("lesion", [ring], [])], (90, 100), 1.0)
    monkeypatch.setattr("sevhisto.io.annotations._CROSSINGS_AT_ONCE", 64)
    assert whole.any() and np.array_equal(outline_mask([Outline("lesion", [ring], [])], (90, 100), 1.0), whole)
