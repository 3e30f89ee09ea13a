"""Documents say what the code does."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import sevhisto


@pytest.fixture(scope="module")
def generator(repo: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", repo / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["settings.md", "tables.md"])
def test_the_reference_page_is_what_the_code_says(generator: ModuleType, name: str) -> None:
    path = generator.DOCS / name
    assert path.read_text(encoding="utf-8") == generator.pages()[path], f"docs/{name} is not up to date; type: make docs"


def test_every_setting_states_what_it_is(generator: ModuleType) -> None:
    silent = [
        f"{m.__name__}.{n}" for m in generator.all_models(generator.StudyConfig) for n, f in m.model_fields.items() if not f.description
    ]
    assert not silent


def test_a_number_with_a_unit_in_its_name_states_the_same_unit(generator: ModuleType) -> None:
    wrong = []
    for model in generator.all_models(generator.StudyConfig):
        for name, field in model.model_fields.items():
            suffix = re.search(r"_(per_mm2|um2|um|mm2|pct|h)$", name)
            unit = (field.json_schema_extra or {}).get("unit", "")
            if suffix and unit not in (suffix[1], f"ul/{suffix[1]}"):
                wrong.append(f"{model.__name__}.{name}: {unit!r}")
    assert not wrong


def test_the_citation_names_this_version(repo: Path) -> None:
    text = (repo / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {sevhisto.__version__}\n" in text


def test_the_changelog_has_a_place_for_changed_numbers(repo: Path) -> None:
    text = (repo / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all(f"### {heading}" in text for heading in ("Added", "Changed", "Fixed", "Numbers changed"))


def test_every_direct_dependency_is_pinned(repo: Path) -> None:
    project = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    pins = {normal(line.split("==")[0]) for line in (repo / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line}
    missing = sorted({normal(re.split(r"[\[<>=!~ ;]", r)[0]) for r in wanted} - pins - {"sevhisto"})
    assert not missing, f"not in constraints.txt: {missing}; type: make constraints"


def test_the_pins_name_no_index_and_no_place(repo: Path) -> None:
    lines = [line for line in (repo / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_readme_commands_work(repo: Path, tmp_path: Path) -> None:
    block = re.search(r"<!-- executed by the tests -->\n```bash\n(.*?)```", (repo / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    (tmp_path / "sample_images").symlink_to(repo / "sample_images", target_is_directory=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-euc", block[1]], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    results = tmp_path / "my_study" / "results"
    for name in re.findall(r"`my_study/results/([a-z_]+\.[a-z]+)`", (repo / "README.md").read_text(encoding="utf-8")):
        assert (results / name).stat().st_size > 0, name
