"""Who may import whom, where each library may be used, and what must never be used. Reads the sources; runs none of them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PLUGIN = "sevhisto_napari"

VOCABULARY = (
    *("types", "columns", "schema", "schema_compare", "schema_evidence", "metrics", "settings", "treatment", "panels", "config"),
    *("mistakes", "registry", "rules", "rings", "tallies", "lazy", "compiled"),
)
SIBLINGS = ("io", "imaging", "decide", "compare", "report", "export", "phantom")
PATH = ("pipeline", "engine")  # where the siblings meet
LAYERS = (VOCABULARY, SIBLINGS, PATH, (PLUGIN,), ("commands",), ("cli", "__main__"))  # cli may open the plugin
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}

VOCABULARY_LIBRARIES = {"numpy", "pandas", "pydantic", "numba", *sys.stdlib_module_names}
HOMES: dict[str, set[str]] = {
    # library: the parts that may use it
    "cv2": {"imaging", "phantom", "io"},  # io: rasterising drawn outlines, averaging an overview
    "skimage": {"imaging", "phantom", "io", "export"},  # export: outlines of masks
    "numba": {"compiled"},
    "scipy.ndimage": {"imaging", "phantom"},
    "tifffile": {"io", "phantom", "export"},
    "nd2": {"io"},
    "slideio": {"io"},
    "zarr": {"io"},
    "openslide": {"io"},
    "liffile": {"io"},
    "pydicom": {"io"},
    "imagecodecs": {"io", "export"},  # export: compressed tiles
    "roifile": {"io", "export"},
    "xlsxwriter": {"export"},
    "anndata": {"export"},
    "pyarrow": {"io", "export"},
    "scipy.stats": {"compare"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "dask": {"engine"},
    "dask_jobqueue": {"engine"},
    "distributed": {"engine"},
    "fsspec": {"io"},
    "typer": {"cli", "commands"},
    "napari": {PLUGIN},
    "qtpy": {PLUGIN},
    "magicgui": {PLUGIN},
    "superqt": {PLUGIN},
    "vispy": {PLUGIN},
}
NOWHERE = {
    **dict.fromkeys(("pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"), "reading it can run code"),
    **dict.fromkeys(("PyQt5", "PyQt6", "PySide2", "PySide6"), "use qtpy, so that the user chooses the Qt"),
    "scipy": "name the part (scipy.optimize), so that it can be seen where each is used",
    "napari_plugin": f"the plugin is imported as {PLUGIN}",
}
FORBIDDEN_CALLS = {"eval": "runs code", "exec": "runs code", "read_pickle": "can run code", "to_pickle": "can run code when read"}
UNSAFE_EXTRACTORS = ("unpack_archive", "extractall")

MODULE_LINES, FUNCTION_LINES = 400, 60


@dataclass(frozen=True)
class Module:
    """One source file: where it is, its dotted name, and its text."""

    path: Path
    name: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def part(self) -> str:
        """What the rules speak of: ``imaging``, ``cli``, ``types``; ``""`` for sevhisto/__init__.py."""
        return part_of(self.name)

    def at(self, line: int, message: str) -> str:
        return f"{self.path}:{line}: {message}"


def part_of(name: str) -> str:
    pieces = name.split(".")
    if pieces[0] == PLUGIN:
        return PLUGIN
    return pieces[1] if len(pieces) > 1 else ""


def read_modules() -> list[Module]:
    found = []
    for root in (REPO, REPO / "napari_plugin"):
        package = root / ("sevhisto" if root == REPO else PLUGIN)
        for path in sorted(package.rglob("*.py")):
            pieces = list(path.relative_to(root).with_suffix("").parts)
            name = ".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)
            found.append(Module(path.relative_to(REPO), name, path.read_text(encoding="utf-8")))
    return found


MODULES = read_modules()


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported; ``from a import b`` gives ``a.b``, relative imports are resolved."""
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, base] if base else up)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and called(node) in {"import_module", "__import__"}:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def called(node: ast.Call) -> str:
    """Last name of what is called: ``read_pickle`` for ``pd.read_pickle(...)``."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def within(name: str, library: str) -> bool:
    return name == library or name.startswith(library + ".")


# ---------------------------------------------------------------- the rules: each takes a module and yields what is wrong with it


def arrows_point_down(module: Module) -> Iterator[str]:
    if module.part and module.part not in RANK:
        yield module.at(1, f"{module.part!r} has no layer; put it into one in tests/test_architecture.py")
        return
    rank = RANK.get(module.part, 0)
    for line, name in imports(module):
        if name.split(".")[0] not in ("sevhisto", PLUGIN):
            continue
        other = part_of(name)
        if other not in RANK or other == module.part:
            continue
        if RANK[other] > rank:
            yield module.at(line, f"{module.part or 'sevhisto'} imports {other}, which stands above it")
        elif RANK[other] == rank and module.part in SIBLINGS:
            yield module.at(line, f"{module.part} imports its sibling {other}; they meet in pipeline only")


def vocabulary_is_light(module: Module) -> Iterator[str]:
    if module.part not in (*VOCABULARY, ""):
        return
    for line, name in imports(module):
        if name.split(".")[0] not in {*VOCABULARY_LIBRARIES, "sevhisto"}:
            yield module.at(line, f"the vocabulary imports {name}; it may use numpy, pandas, pydantic and the standard library")


def libraries_stay_home(module: Module) -> Iterator[str]:
    for line, name in imports(module):
        for library, homes in HOMES.items():
            if within(name, library) and module.part not in homes:
                yield module.at(line, f"{module.part or 'sevhisto'} imports {library}, which belongs in {' or '.join(sorted(homes))}")


def nothing_forbidden(module: Module) -> Iterator[str]:
    for line, name in imports(module):
        for library, why in NOWHERE.items():
            if name == library if library == "scipy" else within(name, library):
                yield module.at(line, f"imports {name}: {why}")
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        # a method that happens to be named eval is another thing
        if name in FORBIDDEN_CALLS and (name not in ("eval", "exec") or isinstance(node.func, ast.Name)):
            yield module.at(node.lineno, f"calls {name}, which {FORBIDDEN_CALLS[name]}")
        if name in UNSAFE_EXTRACTORS:
            yield module.at(node.lineno, f"calls {name}, which can write outside its folder; read the members in memory")
        for keyword in node.keywords:
            if keyword.arg == "allow_pickle" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False):
                yield module.at(node.lineno, f"{name} with allow_pickle: reading a pickle can run code")


def small_enough(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > MODULE_LINES:
        yield module.at(1, f"{lines} lines, more than {MODULE_LINES}: it is two things")
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            long = (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1
            if long > FUNCTION_LINES:
                yield module.at(node.lineno, f"{node.name} has a body of {long} lines, more than {FUNCTION_LINES}: it is two things")


RULES: list[Callable[[Module], Iterator[str]]] = [
    arrows_point_down,
    vocabulary_is_light,
    libraries_stay_home,
    nothing_forbidden,
    small_enough,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_sources_keep_the_rule(rule: Callable[[Module], Iterator[str]]) -> None:
    broken = [message for module in MODULES for message in rule(module)]
    assert not broken, "\n" + "\n".join(broken)


def first_imports(modules: Sequence[Module]) -> dict[str, set[str]]:
    """The modules that each module imports as soon as it is imported itself."""
    names = {module.name for module in modules}
    found: dict[str, set[str]] = {}
    for module in modules:
        now = [node for node in module.tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        told = {alias.name for node in now if isinstance(node, ast.Import) for alias in node.names}
        for node in now:
            if isinstance(node, ast.ImportFrom) and node.module:
                told |= {whole if (whole := f"{node.module}.{alias.name}") in names else node.module for alias in node.names}
        found[module.name] = told & names - {module.name}
    return found


def circles(graph: dict[str, set[str]]) -> list[str]:
    """What is left of a graph when everything is taken away that imports nothing, or is imported by nothing, that is left."""
    left = dict(graph)
    while True:
        imported = set().union(*left.values()) if left else set()
        ends = {name for name, others in left.items() if not others & left.keys() or name not in imported}
        if not ends:
            return sorted(left)
        left = {name: others - ends for name, others in left.items() if name not in ends}


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(first_imports(read_modules())) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"]


def test_there_are_sources_to_read() -> None:
    assert {"sevhisto", *(f"sevhisto.{m}" for m in VOCABULARY), PLUGIN} <= {m.name for m in MODULES}


BROKEN = [
    (arrows_point_down, "sevhisto.imaging.tally", "from sevhisto.decide import zones", "imaging imports its sibling decide"),
    (arrows_point_down, "sevhisto.io.slides", "from sevhisto import phantom", "io imports its sibling phantom"),
    (arrows_point_down, "sevhisto.io.slides", "from ..pipeline import run", "io imports pipeline, which stands above it"),
    (arrows_point_down, "sevhisto.types", "import sevhisto.io", "types imports io, which stands above it"),
    (arrows_point_down, "sevhisto.pipeline", "import sevhisto_napari.layers", "pipeline imports sevhisto_napari, which stands above"),
    (arrows_point_down, f"{PLUGIN}.widgets", "from sevhisto.cli import main", "sevhisto_napari imports cli, which stands above it"),
    (arrows_point_down, "sevhisto.shortcuts", "", "'shortcuts' has no layer"),
    (vocabulary_is_light, "sevhisto.schema", "import pyarrow", "the vocabulary imports pyarrow"),
    (libraries_stay_home, "sevhisto.decide.zones", "from scipy import stats", "decide imports scipy.stats, which belongs in compare"),
    (libraries_stay_home, "sevhisto.imaging.read", "def f():\n    import tifffile", "s.py:2: imaging imports tifffile"),
    (libraries_stay_home, "sevhisto.cli", "from matplotlib.figure import Figure", "cli imports matplotlib"),
    (libraries_stay_home, "sevhisto.cli", "import importlib\nimportlib.import_module('napari')", "cli imports napari"),
    (nothing_forbidden, "sevhisto.io.store", "import pickle", "imports pickle: reading it can run code"),
    (nothing_forbidden, "sevhisto.io.store", "from yaml import safe_load", "imports yaml.safe_load"),
    (nothing_forbidden, "sevhisto.compare.ci", "import scipy", "imports scipy: name the part"),
    (nothing_forbidden, "sevhisto.cli", "from napari_plugin.sevhisto_napari import layers", "the plugin is imported as sevhisto_napari"),
    (nothing_forbidden, "sevhisto.io.store", "eval('1')", "calls eval"),
    (nothing_forbidden, "sevhisto.io.store", "np.load(f, allow_pickle=True)", "load with allow_pickle"),
    (nothing_forbidden, "sevhisto.io.store", "tar.extractall(d)", "calls extractall"),
    (small_enough, "sevhisto.io.store", "x = 1\n" * 401, "401 lines, more than 400"),
    (small_enough, "sevhisto.io.store", "def f():\n" + "    x = 1\n" * 61, "f has a body of 61 lines"),
]


@pytest.mark.parametrize(("rule", "name", "text", "message"), BROKEN, ids=[f"{r.__name__}-{m[:40]}" for r, _, _, m in BROKEN])
def test_a_breach_is_seen(rule: Callable[[Module], Iterator[str]], name: str, text: str, message: str) -> None:
    found = list(rule(Module(Path("s.py"), name, text)))
    assert len(found) == 1 and message in found[0] and found[0].startswith("s.py:")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sevhisto.pipeline", "from sevhisto import io, imaging, decide, compare, report, phantom"),
        ("sevhisto.cli", "from sevhisto.pipeline import run\nimport sevhisto_napari"),
        ("sevhisto.imaging.tally", "from sevhisto.types import QUANTUM\nfrom .tissue import mask\nimport cv2, scipy.ndimage"),
        ("sevhisto.compare.ci", "from scipy import optimize, stats"),
        (f"{PLUGIN}.widgets", "import napari, qtpy.QtWidgets\nfrom sevhisto import pipeline\nmodel.eval()"),
    ],
)
def test_what_is_allowed_passes(name: str, text: str) -> None:
    module = Module(Path("s.py"), name, text)
    assert [message for rule in RULES for message in rule(module)] == []


# ---------------------------------------------------------------- what an import really loads

HEAVY = {"napari", "qtpy", "matplotlib", "torch", "PyQt6", "PySide6", "vispy"}


@pytest.mark.parametrize("name", ["sevhisto", "sevhisto.cli", "sevhisto_napari"])
def test_import_loads_no_viewer_no_plotting_no_torch(name: str) -> None:
    code = f"import sys, {name}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [], f"import {name} loads {done.stdout.strip()}: import it inside the function that needs it"


def test_tests_import_the_plugin_by_its_installed_name() -> None:
    broken = []
    for path in sorted((REPO / "tests").rglob("*.py")):
        module = Module(path.relative_to(REPO), "tests." + path.stem, path.read_text(encoding="utf-8"))
        broken += [module.at(line, f"imports {name}") for line, name in imports(module) if within(name, "napari_plugin")]
    assert not broken, "\n" + "\n".join(broken)
