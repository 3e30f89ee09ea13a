"""Rules of phenotypes: markers joined by ``and``, ``or``, ``not`` and parentheses. Parsed by hand; nothing in study.toml is ever run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from sevhisto.registry import did_you_mean

_TOKEN = re.compile(r"\s*(?:(?P<mark>[()])|\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)'|(?P<word>[^\s()\"']+))")
_WORDS = ("and", "or", "not")
MOST_MARKERS, DEEPEST = 8, 40
Node = tuple[Any, ...]


@dataclass(frozen=True)
class Rule:
    """A parsed rule.

    Attributes
    ----------
    text : as written
    markers : in order of their first mention
    node : ``("is", marker)``, ``("not", node)``, ``("and", node, node)`` or ``("or", node, node)``
    """

    text: str
    markers: tuple[str, ...]
    node: Node

    def holds(self, positive: Mapping[str, Any]) -> Any:
        """Return where the rule holds: `positive` gives bool arrays, or single truths as numpy bools, by marker."""
        return _holds(self.node, positive)

    @cached_property
    def truths(self) -> list[tuple[bool, ...]]:
        """The combinations of `markers`, as truths in their order, under which the rule holds."""
        rows = itertools.product((False, True), repeat=len(self.markers))
        return [row for row in rows if _holds(self.node, dict(zip(self.markers, row, strict=True)))]

    @cached_property
    def implied(self) -> tuple[str, ...]:
        """Markers for which everything that the rule takes in is positive."""
        return tuple(m for i, m in enumerate(self.markers) if all(row[i] for row in self.truths))


@cache
def parse_rule(text: str) -> Rule:
    """Return a rule; ``not`` binds closest, then ``and``, then ``or``. A marker with spaces stands in quotes.

    Raises
    ------
    ValueError
        Says what is wrong with the text, and where; or that the rule can never, or must always, hold.
    """
    tokens = list(_tokens(text))
    node, rest = _any_of(tokens, 0)
    if rest:
        raise ValueError(f"{text!r}: {_said(rest[0])} is not expected there; join markers with and, or, not")
    markers = tuple(dict.fromkeys(_markers(node)))
    if len(markers) > MOST_MARKERS:
        raise ValueError(f"{text!r} names {len(markers)} markers; at most {MOST_MARKERS} can be")
    rule = Rule(text, markers, node)
    if len(rule.truths) in (0, 2 ** len(markers)):
        raise ValueError(f"{text!r} {'can never hold' if not rule.truths else 'holds for every cell'}")
    return rule


def check_rules(rules: Mapping[str, str], markers: Sequence[str], counted: Sequence[str], reserved: str) -> None:
    """Raise ValueError for the first rule of a panel that cannot be used.

    Parameters
    ----------
    rules : name to text
    markers, counted : of the panel; those whose cells are counted
    reserved : a name that tables use for something else
    """
    for name, text in rules.items():
        if name in (*markers, reserved) or not re.fullmatch(r"[A-Za-z]\w*", name):
            raise ValueError(f"phenotypes: {name!r} must be letters, digits and _, and no marker's name")
        try:
            rule = parse_rule(text)
        except ValueError as error:
            raise ValueError(f"phenotypes.{name}: {error}") from None
        for marker in rule.markers:
            if marker not in markers:
                what = f"names {marker!r}, which is no marker of this panel; {did_you_mean(marker, list(markers))}"
                raise ValueError(f"phenotypes.{name} {what}")
            if marker not in counted:
                raise ValueError(f"phenotypes.{name} names {marker!r}, whose role shows no cells; use: {', '.join(sorted(counted))}")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"{text!r}: a quote is not closed")
        at, kind = found.end(), str(found.lastgroup)
        value = found[kind]
        yield ("word" if kind == "word" and value.lower() in _WORDS else "mark" if kind == "mark" else "name", value)


def _any_of(tokens: list[tuple[str, str]], depth: int) -> tuple[Node, list[tuple[str, str]]]:
    return _joined("or", _all_of, tokens, depth)


def _all_of(tokens: list[tuple[str, str]], depth: int) -> tuple[Node, list[tuple[str, str]]]:
    return _joined("and", _one, tokens, depth)


def _joined(
    word: str, part: Callable[..., tuple[Node, list[tuple[str, str]]]], tokens: list[tuple[str, str]], depth: int
) -> tuple[Node, list[tuple[str, str]]]:
    node, rest = part(tokens, depth)
    while rest and rest[0][0] == "word" and rest[0][1].lower() == word:
        other, rest = part(rest[1:], depth)
        node = (word, node, other)
    return node, rest


def _one(tokens: list[tuple[str, str]], depth: int) -> tuple[Node, list[tuple[str, str]]]:
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} parentheses or nots stand in each other")
    if not tokens:
        raise ValueError("a marker is missing at the end")
    (kind, value), rest = tokens[0], tokens[1:]
    if kind == "name" and value:
        return ("is", value), rest
    if kind == "word" and value.lower() == "not":
        node, rest = _one(rest, depth + 1)
        return ("not", node), rest
    if value == "(":
        node, rest = _any_of(rest, depth + 1)
        if not rest or rest[0] != ("mark", ")"):
            raise ValueError("a parenthesis is not closed")
        return node, rest[1:]
    raise ValueError(f"a marker is missing before {_said(tokens[0])}")


def _said(token: tuple[str, str]) -> str:
    return repr(token[1])


def _markers(node: Node) -> Iterator[str]:
    if node[0] == "is":
        yield node[1]
    else:
        for part in node[1:]:
            yield from _markers(part)


def _holds(node: Node, positive: Mapping[str, Any]) -> Any:
    if node[0] == "is":
        return positive[node[1]]
    if node[0] == "not":
        here = _holds(node[1], positive)
        return not here if isinstance(here, bool) else ~here
    a, b = (_holds(part, positive) for part in node[1:])
    return a & b if node[0] == "and" else a | b
