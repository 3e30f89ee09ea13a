"""Documents say what the code does."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pandas as pd
import pytest

import sevhisto
from sevhisto.columns import Table
from sevhisto.config import parse_config
from sevhisto.registry import FLAGS
from sevhisto.schema import ANIMALS_SHEET, MOTOR, SLIDES


@pytest.fixture(scope="module")
def generator(repo: Path) -> ModuleType:
    sys.path.insert(0, str(repo / "docs"))  # it imports what lies beside it
    spec = importlib.util.spec_from_file_location("generate_docs", repo / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(generator: ModuleType) -> dict[Path, str]:
    return generator.pages()


@pytest.mark.parametrize("name", ["settings.md", "tables.md", "formats.md", "commands.md", "errors.md", "limits.md"])
def test_the_reference_page_is_what_the_code_says(generator: ModuleType, pages: dict[Path, str], name: str) -> None:
    path = generator.DOCS / name
    assert path.read_text(encoding="utf-8") == pages[path], f"docs/{name} is not up to date; type: make docs"


def test_every_table_and_column_and_flag_is_documented(generator: ModuleType) -> None:
    modules = [importlib.import_module(f"sevhisto.{p.stem}") for p in Path(sevhisto.__file__).parent.glob("schema*.py")]
    tables = {id(t): t for m in modules for t in vars(m).values() if isinstance(t, Table) and t.name != "spread"}  # never on disk
    page = generator.tables_page()
    assert [t.name for t in tables.values() if f"\n## {t.name}\n" not in page] == []
    assert [f"{t.name}: {c.name}" for t in tables.values() for c in t.columns if not c.doc.strip()] == []
    assert [f.name for f in FLAGS.values() if not f.meaning.strip() or f"| `{f.name}` |" not in page] == []


def test_every_error_is_documented(generator: ModuleType, pages: dict[Path, str]) -> None:
    page = pages[generator.DOCS / "errors.md"].replace("\\<", "<").replace("\\*", "*").replace("\\_", "_")
    modules = generator.messages.read_modules(generator.DOCS.parent, ("sevhisto", "napari_plugin"))
    silent = []
    for module in (m for m in modules if "Problem(" in m.text):  # each that is made in place, by the longest of its own words
        for _, call in generator.messages.calls(module.tree, {"Problem"}):
            words = [n.value for argument in call.args[1:2] for n in ast.walk(argument) if isinstance(n, ast.Constant)]
            longest = max((str(w).strip() for w in words), key=len, default="")
            if longest not in page:
                silent.append(f"{module.path}, line {call.lineno}: {longest}")
    assert silent == []


def test_messages_are_read_from_code_as_a_user_sees_them(generator: ModuleType, tmp_path: Path) -> None:
    code = """
        LIMIT = 5
        def broken(path, what, remedy="copy it again"):
            return SlideError(Problem(path.name, what, remedy))
        def read(path, n, local):
            if n > LIMIT:
                raise broken(path, f"holds {n + 1} of {LIMIT} pages")
            what = f"is {path.suffix!r}" if local else "is remote"
            raise StudyError(Problem("slides.csv", what, "move it here" if not local else did_you_mean(path.name, KNOWN)))
        """
    (tmp_path / "code.py").write_text(textwrap.dedent(code), "utf-8")
    found = generator.messages.messages(generator.messages.read_modules(tmp_path, (".",)))
    assert ("<path>", "holds <n> of 5 pages", "copy it again") in [m[1:] for m in found]
    assert {m.what for m in found if m.where == "slides.csv"} == {"is '<suffix>'", "is remote"}


def test_every_command_and_option_says_what_it_is(generator: ModuleType) -> None:
    found = generator.commands()
    assert {"run", "compare", "report", "paper"} <= set(found)
    silent = [name for name, command in found.items() if not (command.help or "").strip()]
    silent += [f"{name} {p.name}" for name, command in found.items() for p in command.params if not (getattr(p, "help", "") or "").strip()]
    assert silent == []


def test_links_in_the_documents_lead_somewhere(repo: Path) -> None:
    broken = []
    for page in [repo / "README.md", *(repo / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(repo)}: {target}")
    assert broken == []


def test_the_documents_build_without_a_warning(repo: Path, tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="sphinx is not installed; make docs installs it")
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", tmp_path / "trees"]
    done = subprocess.run([*build, repo / "docs", tmp_path / "html"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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


def test_every_pin_has_the_checksums_of_its_files(repo: Path) -> None:
    lines = [line.lower() for line in (repo / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    locked = (repo / "locked.txt").read_text(encoding="utf-8").partition("\n")[2].replace("\\\n", " ").splitlines()
    assert sorted(normal(line.split()[0]) for line in locked) == sorted(map(normal, lines)), "type: make constraints"
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", word) for line in locked for word in line.split()[1:])
    assert all(len(line.split()) > 1 for line in locked)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# ---------------------------------------------------------------- code in the documents

NOT_EXECUTED = re.compile(r"<!-- not executed: [^>]+ -->\s*$")
"""Stands before a block that cannot run here, and says why."""


class Block(NamedTuple):
    """A fenced block of a page; `executed` is False where the page says so."""

    place: str
    language: str
    text: str
    executed: bool


def blocks_of(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    fences = re.finditer(r"^( *)```(\w+)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [
        Block(
            f"{path.name}, line {text.count(chr(10), 0, m.start()) + 1}",
            m[2],
            textwrap.dedent(m[3]),
            not NOT_EXECUTED.search(text[: m.start()]),
        )
        for m in fences
    ]


@pytest.fixture(scope="module")
def code(repo: Path) -> dict[str, list[Block]]:
    """The fenced blocks of every page by its name."""
    pages = [repo / "README.md", *sorted((repo / "docs").rglob("*.md"))]
    return {p.relative_to(repo).as_posix(): blocks_of(p) for p in pages}


def typed(text: str) -> list[str]:
    """The lines of a block without comments."""
    return [line.split(" #")[0].strip() for line in text.splitlines() if line.split(" #")[0].strip()]


def test_every_block_is_of_a_language_that_is_tried_or_says_why_not(code: dict[str, list[Block]]) -> None:
    odd = [b.place for found in code.values() for b in found if b.executed and b.language not in ("bash", "python", "toml", "csv")]
    assert odd == []
    assert sum(b.executed for found in code.values() for b in found) > 15


class Walked(NamedTuple):
    """Where the tutorial was followed, and what it said."""

    folder: Path
    said: str


def in_shell(script: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-euc", script], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def walked(repo: Path, code: dict[str, list[Block]], tmp_path_factory: pytest.TempPathFactory) -> Walked:
    """The tutorial, followed on the sample study with one animal of each group; test_golden.py measures all of it."""
    folder = tmp_path_factory.mktemp("reader")
    study = folder / "sample_images" / "study"
    shutil.copytree(repo / "sample_images" / "study", study, ignore=shutil.ignore_patterns("results"))
    animals = pd.read_csv(study / "animals.csv", dtype=str, keep_default_na=False)
    kept = set(animals.drop_duplicates("protocol")["animal"])
    for name in ("slides.csv", "animals.csv", "motor.csv"):
        sheet = pd.read_csv(study / name, dtype=str, keep_default_na=False)
        stays = sheet["animal"].isin(kept) | ~sheet["animal"].isin(animals.loc[animals["protocol"] != "", "animal"])
        sheet[stays].to_csv(study / name, index=False)
    script = "\n".join(b.text for b in code["docs/tutorial.md"] if b.language == "bash" and b.executed)
    return Walked(folder, in_shell(script, folder))


def test_the_tutorial_works(repo: Path, walked: Walked) -> None:
    assert "\n0 measured now" in walked.said
    results = walked.folder / "my_study" / "results"
    told = (repo / "README.md").read_text(encoding="utf-8") + (repo / "docs" / "tutorial.md").read_text(encoding="utf-8")
    named = re.findall(r"`my_study/results/([a-z_]+\.[a-z]+)`", told)
    assert named and all((results / name).is_file() for name in named)
    assert (results / "report.html").read_text(encoding="utf-8").count("What was asked, and what was found") == 1


def test_every_other_block_of_a_shell_works_on_the_study_of_the_tutorial(code: dict[str, list[Block]], walked: Walked) -> None:
    followed = {line for b in code["docs/tutorial.md"] if b.executed for line in typed(b.text)}
    tried = 0
    for blocks in code.values():
        for block in (b for b in blocks if b.language == "bash" and b.executed):
            new = [line for line in typed(block.text) if line not in followed]
            if new:
                in_shell("\n".join(new), walked.folder)
                tried += 1
    assert tried


def test_every_command_in_the_documents_can_be_typed(generator: ModuleType, code: dict[str, list[Block]], repo: Path) -> None:
    commands = generator.commands()
    wrong = []
    for page, blocks in code.items():
        text = (repo / page).read_text(encoding="utf-8")
        lines = re.findall(r"`(sevhisto [^`\n]+)`", text) + [x for b in blocks for x in typed(b.text) if x.startswith("sevhisto ")]
        for line in lines:
            words = shlex.split(re.sub(r"\$\([^)]*\)", "HOST", line.partition(";")[0]).replace("\\<", "<"))[1:]
            if words[0].startswith("--"):
                continue
            command = commands.get(words[0])
            options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} if command else set()
            unknown = [w for w in words[1:] if w.startswith("-") and w != "--help" and w.partition("=")[0] not in options]
            if command is None or unknown:
                wrong.append(f"{page}: {line}")
    assert wrong == []


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`base` with the settings of `more`; tables are merged, lists of tables joined."""
    out = dict(base)
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(out.get(name), dict):
            out[name] = merged(out[name], value)
        elif name == "channels" and "classifier" in more:
            out[name] = [*out.get(name, []), *value]
        else:
            out[name] = value
    return out


def test_every_block_of_settings_is_understood(code: dict[str, list[Block]], repo: Path) -> None:
    base = tomllib.loads((repo / "sample_images" / "study" / "study.toml").read_text("utf-8"))
    base["panels"]["B"] = {"channels": [{"channel": "GFAP", "marker": "GFAP", "role": "landmark"}]}
    found = [b for blocks in code.values() for b in blocks if b.language == "toml" and b.executed]
    assert found
    for block in found:
        parse_config(merged(base, tomllib.loads(block.text)), block.place)


def test_every_sheet_in_the_documents_has_columns_that_are_known(code: dict[str, list[Block]]) -> None:
    sheets = [set(table.names) for table in (SLIDES, ANIMALS_SHEET, MOTOR)]
    for blocks in code.values():
        for block in (b for b in blocks if b.language == "csv" and b.executed):
            header, *rows = block.text.strip().splitlines()
            assert any(set(header.split(",")) <= known for known in sheets), block.place
            assert all(row.count(",") == header.count(",") for row in rows), block.place


def test_every_block_of_python_runs(code: dict[str, list[Block]]) -> None:
    found = [b for blocks in code.values() for b in blocks if b.language == "python" and b.executed]
    assert found
    done = subprocess.run([sys.executable, "-c", "\n".join(b.text for b in found)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
