"""What was left out, as tables: every exclusion with reason, name and time; and per animal, as ODC-SCI asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from sevhisto.io.exclusions import Exclusion
from sevhisto.io.store import read_table, write_table
from sevhisto.io.study import Study
from sevhisto.pipeline.excluding import signature
from sevhisto.pipeline.facts import last_facts, sealed
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.tables import Traced, stamped
from sevhisto.registry import EXCLUSION_REASONS
from sevhisto.schema_evidence import EXCLUSIONS, ODC_SCI_EXCLUSIONS

SHEET = "animals.csv"
LEVELS = ("animal", "panel", "section", "area")


def write_exclusions(
    results: Path, study: Study, names: Names, exclusions: Sequence[Exclusion], traced: Mapping[int, Traced], stamp: set[str]
) -> None:
    """Write exclusions.csv and odc_sci_exclusions.csv; arguments as in `exclusion_table`."""
    _write(results, exclusion_table(study, names, exclusions, traced), study, names, stamp)


def _write(results: Path, excluded: pd.DataFrame, study: Study, names: Names, stamp: set[str]) -> None:
    animals = [names.animals[a] for a in study.animals["animal"]]
    write_table(results / EXCLUSIONS.name, stamped(excluded, stamp), EXCLUSIONS)
    write_table(results / ODC_SCI_EXCLUSIONS.name, stamped(odc_sci_exclusions(excluded, animals), stamp), ODC_SCI_EXCLUSIONS)


def exclusion_table(study: Study, names: Names, exclusions: Sequence[Exclusion], traced: Mapping[int, Traced]) -> pd.DataFrame:
    """Return `schema_evidence.EXCLUSIONS`: what holds now, from the journal, animals.csv and drawn areas.

    Parameters
    ----------
    exclusions : of the journal, with true names
    traced : by row of slides.csv, what was drawn on a section
    """
    rows = [_of_journal(names, e) for e in exclusions if not e.areas]
    rows += _of_sheet(study, names)
    for number, found in sorted(traced.items()):
        rows += _of_areas(study, names, exclusions, number, found)
    return _ordered(pd.DataFrame(rows, columns=EXCLUSIONS.names))


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    rank = frame["level"].map({level: i for i, level in enumerate(LEVELS)})
    ordered = frame.assign(rank=rank).sort_values(["rank", "animal", "section", "panel"], kind="stable", ignore_index=True)
    return EXCLUSIONS.conform(ordered.drop(columns="rank"))


def refresh_exclusions(results: Path, study: Study, names: Names, stamp: set[str]) -> pd.DataFrame:
    """Return exclusions.csv, written anew with what animals.csv leaves out now: only that can have changed without another run."""
    kept = read_table(results / EXCLUSIONS.name, EXCLUSIONS)[EXCLUSIONS.names]
    now = pd.DataFrame(_of_sheet(study, names), columns=EXCLUSIONS.names)
    kept = kept[kept["source"] != SHEET]
    excluded = _ordered(pd.concat([kept, now], ignore_index=True) if len(kept) and len(now) else now if len(now) else kept)
    with sealed(results, last_facts(results)):
        _write(results, excluded, study, names, stamp)
    return excluded


def _of_sheet(study: Study, names: Names) -> list[dict[str, object]]:
    rows = []
    for line in study.animals[study.animals["excluded"]].to_dict("records"):
        said = str(line["exclusion_reason"])
        known = said if said in EXCLUSION_REASONS else ""
        note = "" if known else names.written(said)
        rows.append(_row("animal", names.animals[line["animal"]], reason=known, note=note, source=SHEET))
    return rows


def _row(level: str, animal: str, section: str = "", panel: str = "", **told: object) -> dict[str, object]:
    nothing = {"reason": "", "note": "", "who": "", "when": "", "area_um2": float("nan")}
    return {"level": level, "animal": animal, "section": section, "panel": panel, **nothing, **told}


def _of_journal(names: Names, e: Exclusion) -> dict[str, object]:
    animal, section = names.shown(e.animal, e.section) if e.section else (names.animals[e.animal], "")
    level = "section" if section else "panel" if e.panel else "animal"
    told = {"reason": e.reason, "note": names.written(e.note), "who": e.who, "when": e.when, "source": "journal"}
    return _row(level, animal, section, e.panel, **told)


def _of_areas(study: Study, names: Names, exclusions: Sequence[Exclusion], number: int, found: Traced) -> list[dict[str, object]]:
    animal, section, panel = (str(study.slides.loc[number, c]) for c in ("animal", "section", "panel"))
    signed = signature(exclusions, (animal, section, panel), found.areas)
    place = (*names.shown(animal, section), panel)
    told = {} if signed is None else {"note": names.written(signed.note), "who": signed.who, "when": signed.when}
    source = "outline" if signed is None else "outline and journal"
    reasons = [str(a["reason"]) if signed is None else signed.reason for a in found.areas]
    areas = zip(found.areas, reasons, strict=True)
    return [_row("area", *place, **told, reason=reason, area_um2=a["area_um2"], source=source) for a, reason in areas]


def odc_sci_exclusions(excluded: pd.DataFrame, animals: Sequence[str]) -> pd.DataFrame:
    """Return `schema_evidence.ODC_SCI_EXCLUSIONS`: one row per animal, whether anything of it was left out or not.

    Parameters
    ----------
    excluded : `schema_evidence.EXCLUSIONS`
    animals : every animal of animals.csv, under the names used in `excluded`
    """
    rows = []
    for animal in sorted(animals):
        own = excluded[excluded["animal"] == animal]
        whole = own[own["level"] == "animal"]
        parts = [_part(r) for r in (whole if len(whole) else own).to_dict("records")]
        what = "Total exclusion" if len(whole) else "; ".join(dict.fromkeys(p for p, _ in parts))
        rows.append((animal, what, "; ".join(dict.fromkeys(reason for _, reason in parts if reason))))
    return ODC_SCI_EXCLUSIONS.conform(pd.DataFrame(rows, columns=ODC_SCI_EXCLUSIONS.names))


def _part(r: Mapping[object, object]) -> tuple[str, str]:
    panel = f"panel {r['panel']}" if r["panel"] else "all panels"
    what = {"panel": panel, "section": f"section {r['section']} ({panel})", "area": f"area on section {r['section']} ({panel})"}
    meaning = EXCLUSION_REASONS.get(str(r["reason"]), "")
    return what.get(str(r["level"]), ""), ": ".join(t for t in (meaning, str(r["note"])) if t)
