"""GraphPad Prism: one .pzfx with column, grouped and XY tables, and each of them as CSV in Prism's layout."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pandas as pd

from sevhisto.export.given import Given, formats
from sevhisto.export.text import file_names, number_text, printable, write_csv

PER_ZONE = ("fraction_pct", "mean_intensity", "density_per_mm2", "fraction_of_cd68_pct")
"""Metrics that are compared over zones in grouped tables."""


@dataclass(frozen=True)
class Sheet:
    """One data table of Prism.

    Attributes
    ----------
    kind : ``column``, ``grouped`` or ``xy``
    title : unique
    rows : titles of the rows (grouped), numbers (xy); empty (column)
    groups : {group: {animal: (n_rows,) float64}}; of a column table one number per animal
    x_title : what `rows` are
    """

    kind: str
    title: str
    rows: Sequence[str] | Sequence[float]
    groups: Mapping[str, Mapping[str, np.ndarray]]
    x_title: str = ""


@formats.register("prism")
def prism(given: Given, folder: Path) -> list[str]:
    """Write study.pzfx, column/, grouped/ and xy/ with the same tables as CSV, and animals.csv, which says who stands where."""
    tables = list(sheets(given))
    (folder / "study.pzfx").write_bytes(pzfx(tables, given.notes(), given.made))
    names = file_names([f"{s.kind}/{s.title}" for s in tables], ".csv")
    for sheet in tables:
        kind, _, title = names[f"{sheet.kind}/{sheet.title}"].partition("_")
        write_csv(folder / kind / title, csv_layout(sheet))
    who = [(group, i, animal) for group, animals in given.members().items() for i, animal in enumerate(animals, 1)]
    write_csv(folder / "animals.csv", pd.DataFrame(who, columns=["group", "place", "animal"]))
    return [f"study.pzfx holds {len(tables)} tables; in each, the n-th value of a group is the animal at that place in animals.csv"]


def sheets(given: Given) -> Iterator[Sheet]:
    """Yield the tables: a column table per analysed endpoint, a grouped one per marker over zones, XY ones of recovery and distance."""
    members = given.members()
    values = given.wide.set_index("animal").T  # an endpoint per row, as a table of zones has a zone per row
    for endpoint in given.roles:
        yield Sheet("column", endpoint, [], _by_group(values.loc[[endpoint]], members))
    yield from _over_zones(given, members)
    yield from _recovery(given, members)
    yield from _distances(given, members)


def _over_zones(given: Given, members: Mapping[str, list[str]]) -> Iterator[Sheet]:
    zones = [z for z in given.config.zones.ranges if z != "all"]
    rows = given.animals[given.animals["metric"].isin(PER_ZONE) & given.animals["zone"].isin(zones)]
    for (panel, marker, metric), part in rows.groupby(["panel", "marker", "metric"], sort=True):
        table = part.pivot(index="zone", columns="animal", values="value").reindex(zones)  # noqa: PD010 - the key is unique
        if table.notna().any(axis=None):
            yield Sheet("grouped", f"{panel}_{marker}_{metric}", [_zone(z) for z in zones], _by_group(table, members), "zone (um)")


def _zone(name: str) -> str:
    return name if name == "core" else f"{name} um"  # a bare 0-250 becomes a date in spreadsheets


def _recovery(given: Given, members: Mapping[str, list[str]]) -> Iterator[Sheet]:
    if len(given.motor):
        test = given.config.motor.test
        table = given.motor.pivot_table(index="day", columns="animal", values="score", aggfunc="mean")  # mean of sides and raters
        yield Sheet("xy", test, [float(d) for d in table.index], _by_group(table, members), "day")


def _distances(given: Given, members: Mapping[str, list[str]]) -> Iterator[Sheet]:
    profiles = given.table("profiles.csv")
    border = profiles[profiles["axis"] == "border"]
    share = (100 * border["positive_um2"] / border["zone_um2"].where(border["zone_um2"] > 0)).rename("share")
    for (panel, marker), part in border.assign(share=share).groupby(["panel", "marker"], sort=True):
        table = part.pivot(index="position_um", columns="animal", values="share").dropna(how="all")  # noqa: PD010 - the key is unique
        if len(table):
            title = f"{panel}_{marker}_fraction_pct_by_distance"
            yield Sheet("xy", title, [float(p) for p in table.index], _by_group(table, members), "distance from border, lower edge (um)")


def _by_group(table: pd.DataFrame, members: Mapping[str, list[str]]) -> dict[str, dict[str, np.ndarray]]:
    nothing = np.full(len(table), math.nan)
    return {g: {a: table[a].to_numpy(np.float64) if a in table else nothing for a in animals} for g, animals in members.items()}


def csv_layout(sheet: Sheet) -> pd.DataFrame:
    """Return a table as Prism takes it by paste or import: groups side by side, of grouped and XY tables one subcolumn per animal."""
    if sheet.kind == "column":
        longest = max((len(g) for g in sheet.groups.values()), default=0)
        columns = [np.concatenate([*g.values(), np.full(longest - len(g), math.nan)]) for g in sheet.groups.values()]
        return _side_by_side(columns, list(sheet.groups))
    found = [(f"{group}: {animal}", values) for group, animals in sheet.groups.items() for animal, values in animals.items()]
    return _side_by_side([np.array(sheet.rows), *(v for _, v in found)], [sheet.x_title, *(name for name, _ in found)])


def _side_by_side(columns: Sequence[np.ndarray], titles: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(dict(enumerate(columns)))
    frame.columns = pd.Index(titles)
    return frame


def pzfx(tables: Sequence[Sheet], notes: Sequence[str], made: Mapping[str, str]) -> bytes:
    """Return the tables as a Prism file (XML, the form of Prism 5 that every later version opens); `made` : as in `Given`."""
    root = Xml.Element("GraphPadPrismFile", PrismXMLVersion="5.00")
    created = Xml.SubElement(root, "Created")
    by = {"CreatedByProgram": "sevhisto", "CreatedByVersion": made["version"], "Login": "", "DateTime": made["finished"]}
    Xml.SubElement(created, "OriginalVersion", by)
    Xml.SubElement(Xml.SubElement(root, "InfoSequence"), "Ref", ID="Info0", Selected="1")
    info = Xml.SubElement(root, "Info", ID="Info0")
    Xml.SubElement(info, "Title").text = "About"
    Xml.SubElement(info, "Notes").text = printable("\n".join(notes))
    sequence = Xml.SubElement(root, "TableSequence", Selected="1")
    for i in range(len(tables)):
        Xml.SubElement(sequence, "Ref", {"ID": f"Table{i}"} | ({"Selected": "1"} if i == 0 else {}))
    for i, sheet in enumerate(tables):
        _table(Xml.SubElement(root, "Table", {"ID": f"Table{i}", **_form(sheet)}), sheet)
    body: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return body


def _form(sheet: Sheet) -> dict[str, str]:
    if sheet.kind == "column":
        return {"XFormat": "none", "TableType": "OneWay", "EVFormat": "AsteriskAfterNumber"}
    replicates = str(max((len(g) for g in sheet.groups.values()), default=1))
    x, kind = ("numbers", "XY") if sheet.kind == "xy" else ("none", "TwoWay")
    return {"XFormat": x, "YFormat": "replicates", "Replicates": replicates, "TableType": kind, "EVFormat": "AsteriskAfterNumber"}


def _table(element: Xml.Element, sheet: Sheet) -> None:
    Xml.SubElement(element, "Title").text = printable(sheet.title)
    if sheet.kind == "grouped":
        _cells(Xml.SubElement(element, "RowTitlesColumn", Width="120"), [str(r) for r in sheet.rows])
    if sheet.kind == "xy":
        x = Xml.SubElement(element, "XColumn", Width="90", Decimals="0", Subcolumns="1")
        Xml.SubElement(x, "Title").text = printable(sheet.x_title)
        _cells(x, [number_text(float(r)) for r in sheet.rows])
    replicates = max((len(g) for g in sheet.groups.values()), default=1)
    for group, animals in sheet.groups.items():
        n = 1 if sheet.kind == "column" else replicates
        y = Xml.SubElement(element, "YColumn", Width=str(90 * n), Decimals=str(_decimals(animals)), Subcolumns=str(n))
        Xml.SubElement(y, "Title").text = printable(group)
        if sheet.kind == "column":
            _cells(y, [number_text(float(v[0])) for v in animals.values()])
            continue
        for values in [*animals.values(), *[np.full(len(sheet.rows), math.nan)] * (n - len(animals))]:
            _cells(y, [number_text(float(v)) for v in values])


def _cells(column: Xml.Element, texts: Sequence[str]) -> None:
    sub = Xml.SubElement(column, "Subcolumn")
    for text in texts:
        Xml.SubElement(sub, "d").text = printable(text)


def _decimals(animals: Mapping[str, np.ndarray]) -> int:
    """Return how many decimals Prism shows (it keeps them all): four digits of the largest value."""
    values = np.abs(np.concatenate([*animals.values(), np.zeros(1)]))
    top = float(np.nanmax(values))
    return 0 if top == 0 else int(np.clip(3 - math.floor(math.log10(top)), 0, 9))
