"""Every message for users, found in the code: each `Problem(where, what, remedy)`, and each ValueError of a settings model.

A text that is put together is shown with ``<...>`` where a value stands. Names are followed inside a function, to constants of the
module, and through functions that hand texts on to a Problem (such as ``broken(path, what, remedy)``).
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MOST = 12
"""Ways to write one text that are followed; more would be no message but a list."""
MADE = "Problem("
NAMES = {
    "strerror": "what the system says",
    "error": "what the reader says",
    "why": "what the reader says",
    "did_you_mean": "did you mean <name>?",
    "__name__": "kind of error",
    "self": "table",
}
PASSED_ON = ("str", "repr", "len", "sorted", "list", "min", "max", "int", "set", "join", "upper", "lower", "strip", "rstrip", "hide")
"""Functions and methods of which the value that goes in tells more than their name."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Message(NamedTuple):
    """A message as a user sees it; `module` : path of the source below the repository."""

    module: str
    where: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Module:
    """A source file: its tree, its functions by name, and the texts of its constants."""

    path: str
    text: str
    tree: ast.Module
    functions: dict[str, Function]
    constants: dict[str, ast.expr]


@functools.cache
def read_modules(root: Path, folders: tuple[str, ...]) -> list[Module]:
    """Return the Python files under some folders of the repository, in order of their names."""
    found = []
    for path in sorted(p for folder in folders for p in (root / folder).rglob("*.py")):
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        functions = {n.name: n for n in ast.walk(tree) if isinstance(n, Function)} if MADE in text else {}
        constants = {t.id: n.value for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
        found.append(Module(path.relative_to(root).as_posix(), text, tree, functions, constants))
    by_name = {m.path.removesuffix(".py").replace("/", "."): m for m in found}
    for module in found:  # what is imported goes by the name that it has there
        for node in (n for n in module.tree.body if isinstance(n, ast.ImportFrom) and n.module in by_name):
            there = by_name[str(node.module)].constants
            module.constants.update({a.asname or a.name: there[a.name] for a in node.names if a.name in there})
    return found


def messages(modules: Sequence[Module]) -> list[Message]:
    """Return every message once, ordered by module and text."""
    found = set()
    for module, function, line, given in _made(modules):
        for branch in _branches(given.values()):
            texts = [_texts(given.get(n), _Scope(module, function, line, branch)) for n in FIELDS]
            for told in itertools.product(*texts):
                found.add(Message(module.path, *(" ".join(t.split()) for t in told)))
    found |= {Message(m.path, "study.toml", what, "correct this value") for m in modules for what in _of_settings(m)}
    return sorted(m for m in found if re.search(r"[a-z]", re.sub(r"<[^>]*>", "", m.what)))


def _branches(values: Iterable[ast.expr | None]) -> Sequence[bool | None]:
    """Return True and False where several texts hang on one condition: both sides then go together."""
    tests = [ast.unparse(n.test) for v in values if v is not None for n in ast.walk(v) if isinstance(n, ast.IfExp)]
    return (True, False) if len(set(tests)) < len(tests) else (None,)


# ---------------------------------------------------------------- where messages are made

Given = dict[str, ast.expr | None]
FIELDS = ("where", "what", "remedy")


def _made(modules: Sequence[Module]) -> Iterator[tuple[Module, Function | None, int, Given]]:
    """Yield each Problem, each call of a function that makes one of its arguments, and each pair of texts that a function of the module
    gives for one: module, function and line, and the expressions of the three texts.
    """
    makers: dict[str, tuple[list[str], Given, Given]] = {}
    for module in (m for m in modules if MADE in m.text):
        for function, call in calls(module.tree, {"Problem"}):
            given = _bound(call, list(FIELDS))
            parameters = [a.arg for a in function.args.args] if function else []
            handed = [e.id for e in given.values() if isinstance(e, ast.Name) and e.id in parameters]
            if function and isinstance(given["what"], ast.Name) and given["what"].id in handed:
                makers[function.name] = [p for p in parameters if p not in ("self", "cls")], _defaults(function), given
            else:
                yield module, function, call.lineno, given
    for module in modules:  # those without a Problem list no functions
        for function in (f for f in module.functions.values() if f.returns and "tuple[str, str" in ast.unparse(f.returns)):
            given = [n.value for n in ast.walk(function) if isinstance(n, ast.Return | ast.Yield)]
            for pair in (n for v in given if v is not None for n in ast.walk(v) if isinstance(n, ast.Tuple) and len(n.elts) in (2, 3)):
                if _says(pair.elts[-1]):
                    yield module, function, pair.lineno, dict(zip(FIELDS[-len(pair.elts) :], pair.elts, strict=True))
    called = re.compile(rf"\b({'|'.join(makers)})\(")
    for module in (m for m in modules if called.search(m.text)):
        for function, call in calls(module.tree, set(makers)):
            parameters, defaults, given = makers[_called(call)]
            said = _bound(call, parameters)
            told = {n: said.get(e.id) or defaults.get(e.id) or e if isinstance(e, ast.Name) else e for n, e in given.items()}
            yield module, function, call.lineno, told


def calls(node: ast.AST, names: set[str], inside: Function | None = None) -> Iterator[tuple[Function | None, ast.Call]]:
    """Yield the calls of some functions below a node, each with the function that it stands in (the innermost one)."""
    if isinstance(node, ast.Call) and _called(node) in names:
        yield inside, node
    home = node if isinstance(node, Function) else inside
    for child in ast.iter_child_nodes(node):
        yield from calls(child, names, home)


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _bound(call: ast.Call, parameters: list[str]) -> Given:
    given: Given = dict.fromkeys(parameters)
    for name, value in itertools.zip_longest(parameters, call.args[: len(parameters)]):
        given[name] = value
    for keyword in call.keywords:
        given[str(keyword.arg)] = keyword.value
    if call.args and isinstance(call.args[-1], ast.Starred):  # what and remedy from one function
        at = parameters[len(call.args) - 1 :]
        given |= dict.fromkeys(at, call.args[-1])
    return given


def _defaults(function: Function) -> Given:
    last = function.args.args[len(function.args.args) - len(function.args.defaults) :]
    return {a.arg: d for a, d in zip(last, function.args.defaults, strict=True)}


def _of_settings(module: Module) -> Iterator[str]:
    """Yield what the validators of settings say."""
    for model in (n for n in module.tree.body if isinstance(n, ast.ClassDef)):
        if any(isinstance(b, ast.Name) and b.id in ("Settings", "BaseModel") for b in model.bases):
            for function, call in calls(model, {"ValueError"}):
                yield from _texts(call.args[0], _Scope(module, function, call.lineno))


# ---------------------------------------------------------------- what they say


@dataclass(frozen=True)
class _Scope:
    module: Module
    function: Function | None
    line: int
    branch: bool | None = None

    def values(self, name: str) -> list[ast.expr]:
        """Return what a name can stand for here: what it was given in the function since it was used last, else what a constant says."""
        given: list[tuple[int, ast.expr]] = []
        used = [0]
        for node in ast.walk(self.function) if self.function else ():
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load) and node.lineno < self.line:
                used.append(node.lineno)
            if isinstance(node, ast.Assign) and node.lineno <= self.line:
                given += [(node.lineno, v) for target in node.targets for t, v in _pairs(target, node.value) if t == name]
        since = [v for line, v in given if line > max(used)] or [v for line, v in given if line == max(n for n, _ in given)]
        known = self.module.constants.get(name)
        return since or ([known] if known is not None else [])


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for t, v in zip(target.elts, value.elts, strict=False):
            yield from _pairs(t, v)


def _texts(value: ast.expr | None, scope: _Scope, depth: int = 0) -> list[str]:
    """Return every text that an expression can give, values as ``<name>``."""
    match value:
        case None:
            return [""]
        case ast.Constant():
            return [str(value.value)]
        case ast.JoinedStr():
            return _joined([_texts(v, scope, depth) for v in value.values])
        case ast.FormattedValue(value=ast.BinOp()):
            return [_slot(value)]
        case ast.FormattedValue():
            return [_quoted(t, value.conversion) for t in _texts(value.value, scope, depth + 1)]
        case ast.BinOp(op=ast.Add()) if _is_text(value):
            return _joined([_texts(value.left, scope, depth), _texts(value.right, scope, depth)])
        case ast.IfExp() if scope.branch is not None:
            return _texts(value.body if scope.branch else value.orelse, scope, depth)
        case ast.IfExp():
            return list(dict.fromkeys([*_texts(value.body, scope, depth), *_texts(value.orelse, scope, depth)]))
        case ast.Name() if depth < 3:
            told = [t for v in scope.values(value.id) if _is_text(v) or isinstance(v, ast.Constant) for t in _texts(v, scope, depth + 1)]
            return list(dict.fromkeys(told))[:MOST] or [_slot(value)]
    return [_slot(value)]


def _joined(parts: list[list[str]]) -> list[str]:
    return ["".join(words) for words in itertools.islice(itertools.product(*parts), MOST)]


def _is_text(value: ast.expr) -> bool:
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        return any(_is_text(side) and not isinstance(side, ast.Name) for side in (value.left, value.right))
    return isinstance(value, ast.Name | ast.JoinedStr | ast.IfExp) or (isinstance(value, ast.Constant) and isinstance(value.value, str))


def _says(value: ast.expr) -> bool:
    return (_is_text(value) and not isinstance(value, ast.Name)) or (isinstance(value, ast.Call) and _called(value) == "did_you_mean")


def _quoted(text: str, conversion: int) -> str:
    return f"'{text}'" if conversion == ord("r") else text


def _slot(value: ast.expr) -> str:
    """Return ``<name>`` for a value of which only its kind is known."""
    name = _name(value)
    told = NAMES.get(name, name.strip("_").replace("_", " ").lower())
    return told if "<" in told else f"<{told or '...'}>"


def _name(value: ast.expr | None) -> str:
    match value:
        case ast.Name():
            return value.id
        case ast.Attribute():
            return value.attr if value.attr != "name" else f"{_name(value.value)}"
        case ast.Subscript() | ast.Starred() | ast.FormattedValue():
            return _name(value.value)
        case ast.Call():
            called = _called(value)
            if called in PASSED_ON and value.args:
                return _name(value.args[0])
            return _name(value.func.value) if called in PASSED_ON and isinstance(value.func, ast.Attribute) else called
        case ast.GeneratorExp() | ast.ListComp():
            return _name(value.elt)
        case ast.BinOp():
            return _name(value.left)
        case ast.BoolOp():
            return _name(value.values[0])
        case ast.JoinedStr():
            return next((_name(v) for v in value.values if isinstance(v, ast.FormattedValue)), "")
    return ""
