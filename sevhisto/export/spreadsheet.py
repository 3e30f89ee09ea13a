"""Excel: one workbook, a sheet per table, with a dictionary of every column and flag."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.export.dictionary import WIDE, dictionary
from sevhisto.export.given import Given, formats
from sevhisto.export.needed import needed
from sevhisto.export.text import printable
from sevhisto.registry import FLAGS

LEFT_OUT = ("provenance.csv", "records.csv", "odc_sci_exclusions.csv", "specifications.csv", "mediation_sensitivity.csv")
"""Tables that are for programs: too long for a person, or hashes."""
MAX_ROWS, MAX_CELL = 1_048_576, 32_767
WIDTH = (8, 60)
WIDTH_ROWS = 5000
"""Rows that tell how wide a column of text is."""
READABLE = 250
"""Characters across a page at which print is some 6 points high."""
_PLAIN = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, "constant_memory": True}


@formats.register("xlsx")
def xlsx(given: Given, folder: Path) -> list[str]:
    """Write study.xlsx: About, the tables that a person reads, Dictionary and Flags; headers stay in view, text is never a formula."""
    writer = needed("xlsxwriter")
    try:
        with writer.Workbook(str(folder / "study.xlsx"), {**_PLAIN, "tmpdir": str(folder)}) as book:
            return _fill(book, given)
    except writer.exceptions.FileCreateError as error:
        raise OSError(*error.args[0].args) from error


def _fill(book: Any, given: Given) -> list[str]:
    notes: list[str] = []
    book.set_properties({"created": datetime.fromisoformat(given.made["finished"]).replace(tzinfo=None)})  # not the time of writing
    head = book.add_format({"bold": True, "bottom": 1, "valign": "top"})
    about = book.add_worksheet("About")
    about.set_column(0, 0, 110, book.add_format({"text_wrap": True}))
    _on_paper(about, 110)
    for i, line in enumerate([*given.notes(), "Every column is explained on the sheet Dictionary, every flag on Flags."]):
        about.write_string(i, 0, printable(line))
    for name, frame in _readable(given).items():
        cut = frame.iloc[: MAX_ROWS - 1]
        if len(cut) < len(frame):
            notes.append(f"{name}: rows after {MAX_ROWS - 1:,} do not fit on a sheet; see the Parquet export")
        _sheet(book.add_worksheet(sheet_name(name)), cut, head, frozen=_frozen(cut))
    return notes


def _readable(given: Given) -> dict[str, pd.DataFrame]:
    found = {WIDE: given.wide.assign(group=given.group_of(given.wide["animal"]))}
    found[WIDE] = found[WIDE][["animal", "group", *given.wide.columns[1:]]]
    found |= {name: given.tables[name][1] for name in given.tables if name not in LEFT_OUT}
    flags = pd.DataFrame([(f.name, f.level, f.meaning) for f in FLAGS.values()], columns=["flag", "of", "meaning"])
    return {**found, "dictionary": dictionary(given, LEFT_OUT), "flags": flags}


def sheet_name(table: str) -> str:
    """Return the name of a table's sheet: ``Animals wide`` for animals_wide.csv; 31 characters at most, none that Excel refuses."""
    plain = re.sub(r"[\[\]:*?/\\]", " ", table.rpartition(".")[0] or table).replace("_", " ")
    return (plain[:1].upper() + plain[1:])[:31]


def _frozen(frame: pd.DataFrame) -> int:
    """Return how many columns stay in view: those of the leading text, three at most."""
    texts = [not pd.api.types.is_numeric_dtype(frame.iloc[:, i]) for i in range(frame.shape[1])]
    return min(3, texts.index(False) if False in texts else 1)


def _sheet(sheet: Any, frame: pd.DataFrame, head: Any, frozen: int) -> None:
    columns = [frame.iloc[:, i].tolist() for i in range(frame.shape[1])]
    sheet.freeze_panes(1, frozen)
    widths = [_width(str(name), values) for name, values in zip(frame.columns, columns, strict=True)]
    _on_paper(sheet, sum(widths))
    sheet.repeat_rows(0)
    sheet.repeat_columns(0, frozen - 1)
    for i, name in enumerate(frame.columns):
        sheet.set_column(i, i, widths[i])
        sheet.write_string(0, i, printable(name), head)
    for row, values in enumerate(zip(*columns, strict=True), 1):
        for i, value in enumerate(values):
            if isinstance(value, bool):
                sheet.write_boolean(row, i, value)
            elif isinstance(value, (int, float)):
                if value == value:
                    sheet.write_number(row, i, value)
            elif value:
                sheet.write_string(row, i, printable(value)[:MAX_CELL])
    if len(frame.columns):
        sheet.autofilter(0, 0, len(frame), len(frame.columns) - 1)


def _on_paper(sheet: Any, width: int) -> None:
    """Print a sheet across A4, and all its columns on one page where they can be read then."""
    sheet.set_landscape()
    sheet.set_paper(9)
    if width <= READABLE:
        sheet.fit_to_pages(1, 0)


def _width(name: str, values: Sequence[Any]) -> int:
    longest = max((len(str(v)) for v in values[:WIDTH_ROWS] if isinstance(v, str)), default=0)
    return int(min(max(len(name) + 3, longest + 1, WIDTH[0]), WIDTH[1]))
