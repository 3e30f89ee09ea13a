"""One value of a TOML file changed, everything else as a person wrote it: comments, order, blanks."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any

from sevhisto.types import Problem, SevhistoError

_HEADER = re.compile(r"\s*\[")


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it: text, numbers, true or false, lists and tables of them."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(str(k))} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def with_value(text: str, table: Sequence[str], key: str, value: Any) -> str:
    """Return the text of a TOML file with one value set, or taken out where it is None.

    Parameters
    ----------
    table : names of the table that holds it, such as ``("panels", "A")``; it is added at the end where it is not there

    Raises
    ------
    SevhistoError
        The file is written in a way that this does not understand (as one inline table, say): nothing may be written.
    """
    lines = _lines(text)
    first, last = _body(lines, table)
    at = _place(lines[first:last], key)
    ending = "\r\n" if "\r\n" in text else "\n"
    if at is None and value is not None:
        _add(lines, first, last, table, f"{key} = {toml_value(value)}{ending}", ending)
    elif at is not None:
        start, stop = first + at[0], first + at[1]
        comment = _comment(lines[start]) if stop == start + 1 else ""
        lines[start:stop] = [] if value is None else [f"{key} = {toml_value(value)}{f' {comment}' if comment else ''}{ending}"]
    new = "".join(lines)
    return _checked(text, new, table, key, value)


def with_entry(text: str, array: Sequence[str], entry: dict[str, Any]) -> str:
    """Return the text of a TOML file with one more entry in an array of tables; errors as in `with_value`.

    Parameters
    ----------
    array : names that lead to it, such as ``("panels", "A", "channels")``; written as ``[[panels.A.channels]]`` or as a list
    """
    *table, key = array
    data = tomllib.loads(text)
    known = _found(data, table).get(key, [])
    if f"[[{_name(array)}]]" in text or not known:
        ending = "\r\n" if "\r\n" in text else "\n"
        block = [f"[[{_name(array)}]]", *(f"{k} = {toml_value(v)}" for k, v in entry.items())]
        new = text + ("" if text.endswith("\n") else ending) + ending + ending.join(block) + ending
    else:
        lines = _lines(text)
        first, last = _body(lines, table)
        at = _place(lines[first:last], key)
        if at is None:
            raise _not_understood(table, key)
        new = _longer(lines, first + at[1] - 1, entry)
    return _checked(text, new, table, key, [*known, entry])


def _longer(lines: list[str], last: int, entry: dict[str, Any]) -> str:
    """Return the text with an entry before the bracket that closes a list on this line."""
    head, bracket, tail = lines[last].rpartition("]")
    before = "".join(lines[:last]) + head
    comma = "" if before.rstrip().endswith((",", "[")) else ","
    kept = before.rstrip() if not head.strip() else before
    new_line = "\n  " if not head.strip() else " "
    return kept + comma + new_line + toml_value(entry) + ("\n" if not head.strip() else "") + bracket + tail + "".join(lines[last + 1 :])


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _name(table: Sequence[str]) -> str:
    return ".".join(t if re.fullmatch(r"[A-Za-z0-9_-]+", t) else json.dumps(t, ensure_ascii=False) for t in table)


def _body(lines: list[str], table: Sequence[str]) -> tuple[int, int]:
    """Return the lines of a table after its header; behind the last line where it has none."""
    if not table:
        return 0, next((i for i, line in enumerate(lines) if _HEADER.match(line)), len(lines))
    header = re.compile(r"\s*\[\s*" + r"\s*\.\s*".join(rf"[\"']?{re.escape(t)}[\"']?" for t in table) + r"\s*\]\s*(#.*)?$")
    first = next((i + 1 for i, line in enumerate(lines) if header.match(line)), len(lines))
    return first, next((i for i in range(first, len(lines)) if _HEADER.match(lines[i]) and not _inside(lines[first:i])), len(lines))


def _inside(lines: Sequence[str]) -> bool:
    """Return whether these lines end within a value."""
    return not _parses("".join(lines))


def _parses(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _place(lines: Sequence[str], key: str) -> tuple[int, int] | None:
    """Return the lines that give the key its value."""
    start = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
    for i, line in enumerate(lines):
        if start.match(line) and not _inside(lines[:i]):
            return next(((i, j) for j in range(i + 1, len(lines) + 1) if _parses("".join(lines[i:j]))), None)
    return None


def _comment(line: str) -> str:
    marks = (i for i, c in enumerate(line) if c == "#" and _parses(line[:i]))
    return line[next(marks, len(line)) :].strip()


def _add(lines: list[str], first: int, last: int, table: Sequence[str], line: str, ending: str) -> None:
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += ending
    if first == last == len(lines) and not (lines and first and _HEADER.match(lines[first - 1])):
        lines += [ending, f"[{_name(table)}]{ending}", line]
        return
    while last > first and not lines[last - 1].split("#")[0].strip():  # before blanks and comments, which belong to what follows
        last -= 1
    lines.insert(last, line)


def _found(data: dict[str, Any], table: Sequence[str]) -> dict[str, Any]:
    for name in table:
        data = data.setdefault(name, {})
    return data


def _checked(old: str, new: str, table: Sequence[str], key: str, value: Any) -> str:
    """Return the new text if it says what the old one does but for this value."""
    wanted = copy.deepcopy(tomllib.loads(old))
    holder = _found(wanted, table)
    holder.pop(key, None)
    if value is not None:
        holder[key] = value
    elif not holder and table and not _found(tomllib.loads(old), table):
        return old
    if not _parses(new) or _plain(tomllib.loads(new)) != _plain(wanted):
        raise _not_understood(table, key)
    return new


def _plain(data: Any) -> Any:
    return json.loads(json.dumps(data, default=str))


def _not_understood(table: Sequence[str], key: str) -> SevhistoError:
    where = f"study.toml: {_name([*table, key])}"
    return SevhistoError(Problem(where, "is written in a way that the program cannot change safely", "change it in a text editor"))
