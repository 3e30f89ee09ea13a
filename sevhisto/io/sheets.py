"""Sheets that people write: every cell is text until it is checked, and everything that is wrong is told at once."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sevhisto.columns import TEXT, WHOLE, Table
from sevhisto.registry import did_you_mean
from sevhisto.types import Problem

PENDING = "?"
"""What a drafted sheet holds where the program could not tell."""
ID_COLUMNS = ("animal", "section")
"""Columns whose cells are kept to the letter, so that spellings can be compared before blanks are cut off."""
MAX_BYTES = 100_000_000
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.ASCII)
_SHEET_ERROR = re.compile(r"#(REF!|N/A|VALUE!|NAME\?|DIV/0!|NUM!|NULL!|SPILL!|CALC!|#+|BEZUG!|WERT!|NV)")
_MONTH = r"(jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|sept|oct|okt|nov|dec|dez)"
_AUTOCORRECTED = re.compile(rf"\d{{1,2}}[.]?[- ]{_MONTH}[.]?|{_MONTH}[.]?[- ]\d{{2}}|\d([.,]\d+)?E\+\d+", re.IGNORECASE)
FREE_TEXT = ("notes", "exclusion_reason")
"""Columns in which a person may write anything; every output takes it for text."""


def decode(path: Path) -> tuple[str, list[Problem]]:
    """Return a sheet's text: UTF-8 (with or without mark) or UTF-16 with its mark; anything else is a Problem."""
    remedy = "save it as 'CSV UTF-8' (in Excel: Save As, CSV UTF-8)"
    try:
        if path.stat().st_size > MAX_BYTES:
            return "", [Problem(path.name, f"is larger than {MAX_BYTES // 1_000_000} MB", "is this the right file?")]
        raw = path.read_bytes()
    except OSError as error:
        return "", [Problem(path.name, f"cannot be read: {error.strerror}", "check the file and its permissions")]
    if raw.startswith(b"PK\x03\x04"):
        return "", [Problem(path.name, "is an Excel workbook, not a CSV file", remedy)]
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return "", [Problem(f"{path.name}, row {line}", f"is neither UTF-8 nor UTF-16 (byte {error.start})", remedy)]
    if "\x00" in text:
        return "", [Problem(path.name, "holds zero bytes: not a text file, or UTF-16 without its mark", remedy)]
    return text, []


def find_delimiter(text: str, table: Table) -> str:
    """Return ``,``, ``;`` or tab: whichever splits the header line into most of the table's columns."""
    header = text.split("\n", 1)[0].rstrip("\r")

    def score(delimiter: str) -> tuple[int, int]:
        names = {name.strip().strip('"').casefold() for name in header.split(delimiter)}
        return len(names & set(table.names)), header.count(delimiter)

    return max((",", ";", "\t"), key=score)


def read_sheet(path: Path, table: Table) -> tuple[pd.DataFrame, list[Problem]]:
    """Read one sheet as text.

    Parameters
    ----------
    path : file; UTF-8 or UTF-16, delimiter ``,``, ``;`` or tab, which the header line tells
    table : the columns it should have

    Returns
    -------
    frame : str cells, index ``row`` = line in the file; `frame.attrs["delimiter"]`. Blanks around a cell are cut off, save in `ID_COLUMNS`.
        Known columns only (all columns where the table is open-ended); missing required columns are there, empty.
    problems : everything that is wrong with the file's form
    """
    text, problems = decode(path)
    empty = pd.DataFrame(columns=table.names, dtype=object)
    if problems:
        return empty, problems
    if not text.strip():
        return empty, [Problem(path.name, "is empty", f"its first line must name the columns: {', '.join(_required(table))}")]
    delimiter = find_delimiter(text, table)
    rows, problems = _rows(text, delimiter, path.name)
    if not rows:
        return empty, problems
    header = [name.strip() for name in rows[0][1]]
    found = _header_problems(header, table, path.name)
    lines, cells = [], []
    for line, row in rows[1:]:
        if len(row) != len(header):
            what = f"has {len(row)} fields, the header has {len(header)}"
            found.append(Problem(f"{path.name}, row {line}", what, f"fields are divided by {_spoken(delimiter)}; quote cells that hold it"))
        else:
            lines.append(line)
            cells.append(row)
    return _frame(header, lines, cells, delimiter, table), found + problems


def _required(table: Table) -> list[str]:
    return [c.name for c in table.columns if c.required]


def _spoken(delimiter: str) -> str:
    return "tabs" if delimiter == "\t" else f"'{delimiter}'"


def _rows(text: str, delimiter: str, name: str) -> tuple[list[tuple[int, list[str]]], list[Problem]]:
    """Split into (line, fields), blank rows left out; a quote that never ends is a Problem."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error as error:
        unclosed = "unexpected end of data" in str(error)
        what = "a quote is opened and never closed" if unclosed else f"cannot be split into fields ({error})"
        return rows, [Problem(f"{name}, row {line}", what, 'a quote inside a quoted cell is written twice: ""')]
    return rows, []


def _header_problems(header: list[str], table: Table, name: str) -> list[Problem]:
    where = f"{name}, row 1"
    found = []
    blank = [i + 1 for i, column in enumerate(header) if not column]
    if blank:
        numbers = ", ".join(map(str, blank))
        found.append(Problem(where, f"column {numbers} has no name", "name the column, or delete it with its delimiter"))
    for column in dict.fromkeys(c for c in header if c and header.count(c) > 1):
        found.append(Problem(f"{where}, column {column}", f"stands {header.count(column)} times", "keep one of them"))
    for column in _required(table):
        if column not in header:
            doc = next(c.doc for c in table.columns if c.name == column)
            found.append(Problem(where, f"column {column!r} is missing", f"add it: {doc}"))
    lower = [known.casefold() for known in table.names]
    for column in dict.fromkeys(header):
        if not column or column in table.names:
            continue
        if not table.open_ended:
            found.append(Problem(f"{where}, column {column}", "is not a column of this sheet", did_you_mean(column, table.names)))
        elif column.casefold() in lower:
            right = table.names[lower.index(column.casefold())]
            found.append(Problem(f"{where}, column {column}", f"differs from {right!r} by case only", f"write {right!r}"))
    return found


def _frame(header: list[str], lines: list[int], cells: list[list[str]], delimiter: str, table: Table) -> pd.DataFrame:
    columns: dict[str, list[str]] = {}
    for i, name in enumerate(header):
        wanted = name in table.names or (table.open_ended and bool(name))
        if wanted and name not in columns:  # of a column that stands twice (a Problem) the first is kept
            columns[name] = [row[i] if name in ID_COLUMNS else row[i].strip() for row in cells]
    for name in _required(table):
        columns.setdefault(name, [""] * len(lines))
    frame = pd.DataFrame(columns, index=pd.Index(lines, name="row", dtype="int64"), dtype=object)
    frame.attrs["delimiter"] = delimiter
    return frame


def numbers(frame: pd.DataFrame, table: Table, name: str = "") -> tuple[pd.DataFrame, list[Problem]]:
    """Convert the table's numeric columns to float64 (an empty cell is NaN); what is no number is a Problem and NaN.

    A decimal comma counts only where the delimiter is ``;``; a comma that could divide thousands ("1,500") never does. Cells that hold
    ``?`` become NaN without a Problem: `pending` tells them.
    """
    out, found = frame.copy(), []
    semicolon = frame.attrs.get("delimiter") == ";"
    for column in table.columns:
        if column.kind == TEXT or column.name not in frame:
            continue
        values = []
        for row, cell in frame[column.name].items():
            value, wrong = _number(str(cell).strip(), semicolon)
            if wrong is None and column.kind == WHOLE and value is not None and value != int(value):
                wrong = "is not a whole number"
            if wrong:
                remedy = "write digits with a decimal point, such as 1500 or 2.5"
                found.append(Problem(f"{name or table.name}, row {row}, column {column.name}", f"{cell!r} {wrong}", remedy))
            values.append(float("nan") if value is None or wrong else value)
        out[column.name] = pd.Series(values, index=frame.index, dtype="float64")
    return out, found


def _number(cell: str, semicolon: bool) -> tuple[float | None, str | None]:
    if cell in ("", PENDING):
        return None, None
    if _THOUSANDS.fullmatch(cell):
        return None, "can be read in two ways: the comma may divide thousands"
    if _DECIMAL_COMMA.fullmatch(cell):
        return (float(cell.replace(",", ".")), None) if semicolon else (None, "has a decimal comma")
    if not _NUMBER.fullmatch(cell):
        return None, "is not a number"
    value = float(cell)
    return (None, "is too large") if abs(value) == float("inf") else (value, None)


def pending(frame: pd.DataFrame, name: str) -> list[Problem]:
    """Return a Problem for each column in which a drafted sheet left cells open (``?``), with their rows."""
    found = []
    for column in frame.columns:
        rows = [int(str(row)) for row, cell in frame[column].items() if str(cell).strip() == PENDING]
        if rows:
            where = f"{name}, row{'s' * (len(rows) > 1)} {runs(rows)}, column {column}"
            found.append(Problem(where, "is still to be filled in", f"replace the ?{' in each' * (len(rows) > 1)}"))
    return found


def runs(rows: Sequence[int]) -> str:
    """Return ascending row numbers as text, neighbours joined: ``2-5, 9``."""
    runs: list[list[int]] = []
    for row in rows:
        if runs and row == runs[-1][1] + 1:
            runs[-1][1] = row
        else:
            runs.append([row, row])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def spreadsheet_problems(frame: pd.DataFrame, name: str) -> list[Problem]:
    """Return a Problem for each cell that a spreadsheet made: an error, a formula, or an id turned into a date or a power of ten.

    What stood there before cannot be known: a formula was saved without its value, and "SEP2" and "2-Sep" are one cell to Excel.
    """
    found = []
    for column in frame.columns:
        for row, cell in frame[column].items():
            text = str(cell).strip()
            where = f"{name}, row {row}, column {column}"
            if _SHEET_ERROR.fullmatch(text):
                found.append(Problem(where, f"{text!r} is an error of the spreadsheet", "correct it there, and save the sheet again"))
            elif text.startswith("=") and column not in FREE_TEXT:
                found.append(Problem(where, f"{text[:60]!r} is a formula", "write its value"))
            elif column in ID_COLUMNS and _AUTOCORRECTED.fullmatch(text):
                remedy = "give the cells of ids the format Text before typing them, and write this one anew"
                found.append(Problem(where, f"{text!r} is what a spreadsheet makes of an id", remedy))
    return found


def whole(value: str) -> int | None:
    """Return a cell that is a whole number of 1 or more, else None."""
    return int(value) if re.fullmatch(r"0*[1-9]\d{0,5}", value, re.ASCII) else None
