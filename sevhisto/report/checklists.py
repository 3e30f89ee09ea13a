"""Checklists for authors, filled where the study files allow: ARRIVE 2.0, MIASCI and MISEV2023.

ARRIVE 2.0: the items of Percie du Sert et al., PLoS Biol 18:e3000410, 2020. MIASCI (Lemmon et al., J Neurotrauma 31:1354, 2014) has
some 250 elements and MISEV2023 (Welsh et al., J Extracell Vesicles 13:e12404, 2024) is a guide without a numbered list: of both only what
a study with histology can be expected to state is asked here, in words of this program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from sevhisto.config import ProtocolSettings
from sevhisto.report.methods_text import PaperFacts, methods
from sevhisto.report.prose import gap, gaps, listed, plain
from sevhisto.report.results_text import results
from sevhisto.report.words import endpoint_words


class Item(NamedTuple):
    """One item of a checklist: its number, what it asks, and the answer; a gap stands as a place holder."""

    number: str
    asks: str
    answer: str


_BY_AUTHORS = "for the authors"
_CHARACTERISED = "particle counts and instrument, protein, particle:protein ratio, EV markers, electron microscopy"
_ASSUMED = "Permutation tests need exchangeable animals within blocks; intervals are Welch's. results/specifications.csv: other choices"
_RECOMMENDED = (
    ("11", "Abstract"),
    ("12", "Background: rationale, and why this species and model"),
    ("13", "Objectives and hypotheses"),
    ("14", "Ethical statement"),
    ("15", "Housing and husbandry"),
    ("16", "Animal care, monitoring, humane endpoints"),
    ("17", "Interpretation and limits"),
    ("18", "Generalisability"),
    ("19", "Protocol registration"),
    ("20", "Data access"),
    ("21", "Declaration of interests"),
)


def checklists(facts: PaperFacts) -> dict[str, list[Item]]:
    """Return the items of each checklist by its name."""
    protocols = facts.config.protocols
    lists = {"ARRIVE 2.0": _arrive(facts), "MIASCI (selected elements)": _miasci(facts)}
    untreated = bool(protocols) and all(p.untreated for p in protocols.values())
    return lists if untreated else lists | {"MISEV2023 (selected elements)": _misev(facts)}


def _arrive(facts: PaperFacts) -> list[Item]:
    text = _paragraphs(facts)
    compared = facts.inputs.comparisons is not None
    found = " ".join(s.text for s in results(facts, ())) if compared else gap("results: groups have not been compared yet")
    primary = listed([endpoint_words(e).axis for e in facts.config.endpoints.primary]) or gap("primary outcome")
    analysis, statistics = text["Image analysis"], text["Outcomes and statistics"]
    return [
        Item("1a", "Groups compared, with controls", text["Delivery"]),
        Item("1b", "Experimental unit", "The animal. Sections and cells are never counted as units."),
        Item("2a", "Exact number of units per group", _sentence(text["Animals and groups"], "Groups analysed")),
        Item("2b", "How the sample size was decided", gap("how the sample size was decided")),
        Item("3a", "Criteria for inclusion and exclusion", _exclusions(facts)),
        Item("3b", "What was excluded per group, and why", "results/exclusions.csv and results/exclusion_balance.csv"),
        Item("3c", "Exact n of each analysis", "n_a and n_b in results/comparisons.csv, n in results/relations.csv"),
        Item("4a", "Randomisation", _sentence(text["Animals and groups"], "Animals were allocated")),
        Item("4b", "Confounders", gap("order of treatments and measurements, location of cages")),
        Item("5", "Who was aware of the groups", _sentence(analysis, "mages were analysed", "mage analysis was not")),
        Item("6a", "Outcome measures", f"All columns of results/animals_wide.csv. {_sentence(analysis, 'Zones were')}"),
        Item("6b", "Primary outcome", primary),
        Item("7a", "Statistical methods", statistics),
        Item("7b", "Assumptions", _ASSUMED),
        Item("8a", "Species, strain, sex, age, weight", _sentence(text["Animals and groups"], "The study comprised")),
        Item("8b", "Provenance, health, genetic modification", gap("source of the animals, health status, genotype, earlier procedures")),
        Item("9", "Procedures: what, how, when, where, why", f"{text['Delivery']} {text['Tissue, staining and imaging']}"),
        Item("10a", "Summary statistics with variability", _sentence(found, "Means") if compared else found),
        Item("10b", "Effect sizes with intervals", "results/comparisons.csv: estimate, ci_low, ci_high, hedges_g" if compared else found),
        *(Item(number, asks, gap(f"{asks.lower()} ({_BY_AUTHORS})")) for number, asks in _RECOMMENDED),
    ]


def _paragraphs(facts: PaperFacts) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for s in methods(facts):
        found.setdefault(s.heading, []).append(s.text)
    return {heading: " ".join(texts) for heading, texts in found.items()}


def _sentence(text: str, *starts: str) -> str:
    """Return the statement of `text` that holds one of `starts`, up to its next full stop before a capital; all where there is none."""
    for start in starts:
        at = text.find(start)
        if at >= 0:
            begin = max(text.rfind(". ", 0, at) + 2, 0) if ". " in text[:at] else 0
            end = text.find(". ", at)
            return text[begin : end + 1 if end >= 0 else len(text)]
    return text


def _exclusions(facts: PaperFacts) -> str:
    rows = facts.inputs.excluded
    if rows is None:
        return gap("criteria for exclusion, set before the study")
    reasons = sorted({str(r) for r in rows["reason"] if r})
    used = f"Reasons given: {listed([plain(r) for r in reasons])}." if reasons else "Nothing was left out."
    return f"{used} {gap('whether the criteria were set before the study began')}"


def _miasci(facts: PaperFacts) -> list[Item]:
    text = _paragraphs(facts)
    animals = text["Animals and groups"]
    return [
        Item("investigator", "Laboratory and contact", gap("laboratory and contact")),
        Item("organism", "Species, strain, sex, age, weight", _sentence(animals, "The study comprised")),
        Item("injury", "Level, device, force, displacement", _sentence(animals, "The injury at")),
        Item(
            "surgery",
            "Anaesthesia, laminectomy, analgesia, bladder care",
            gap("anaesthesia, laminectomy, analgesia, antibiotics, bladder care"),
        ),
        Item("perturbagen", "Agent, vehicle, dose, route, schedule", text["Delivery"]),
        Item("histology", "Fixation, embedding, cutting, sampling", f"{text['Tissue, staining and imaging']}"),
        Item("immunohistology", "Antibodies, clones, dilutions, controls", f"{_controls(facts)}"),
        Item("imaging", "Microscope, objective, exposure", gap("microscope, objective, exposure, pixel size")),
        Item("behaviour", "Test, times, raters", f"{plain(facts.config.motor.test)}, {_days(facts)}; {gap('raters, and their blinding')}"),
        Item("analysis", "Image analysis and statistics", f"{text['Image analysis']} {text['Outcomes and statistics']}"),
    ]


def _controls(facts: PaperFacts) -> str:
    rows = facts.inputs.thresholds
    sources = [] if rows is None else sorted({str(s) for s in rows["source"]})
    return f"Thresholds rest on: {listed([plain(s) for s in sources]) or gap('staining controls')}; antibodies as in the methods text."


def _days(facts: PaperFacts) -> str:
    motor = facts.inputs.motor
    if motor is None or motor.empty:
        return gap("days of the motor test")
    return f"days {', '.join(f'{d:g}' for d in sorted(set(motor['day'])))} after injury"


def _misev(facts: PaperFacts) -> list[Item]:
    protocols = facts.config.protocols if facts.opened else {}
    hidden = "not told while groups are codes"

    def each(tell: Callable[[ProtocolSettings], str]) -> str:
        given = [f"{plain(n)}: {tell(p)}" for n, p in protocols.items() if not p.untreated]
        return "; ".join(given) or (gap("protocols") if facts.opened else hidden)

    return [
        Item("source", "Cells or fluid that the vesicles are from, culture", gap("source of the vesicles and culture conditions")),
        Item("separation", "Separation and concentration", gap("how vesicles were separated and concentrated")),
        Item("characterisation", "Particles, protein, ratio, markers, images", gap(_CHARACTERISED)),
        Item("storage", "Storage, freezing and thawing", gap("storage, freeze-thaw cycles")),
        Item("dose", "Dose in particles and in protein", each(_dose)),
        Item("route", "Route and vehicle", each(lambda p: f"{plain(p.route)}, in {plain(p.vehicle) or gap('vehicle')}")),
        Item("schedule", "Start, times or duration, rate, volume", each(_schedule)),
        Item(
            "delivered",
            "What was delivered, not only planned",
            "results/exposure.csv: delivered_pct, dose_source" if facts.opened else hidden,
        ),
        Item("controls", "Vehicle in the same mode, dye without vesicles", each(_control)),
    ]


def _dose(p: ProtocolSettings) -> str:
    other = "" if p.other_dose is None else f" ({p.other_dose:.3g} {'particles' if p.dose_unit == 'ug' else 'ug'})"
    missing = f" {gap('dose in the other unit (particles, ug protein)')}" if p.other_dose is None and p.total_dose else ""
    return f"{p.total_dose:.3g} {p.dose_unit}{' per kg' if p.per_kg else ''}{other}{missing}"


def _schedule(p: ProtocolSettings) -> str:
    if p.infusion is None:
        return f"injections at {listed([f'{t:g}' for t in p.injections_h])} h; {gap('volume of an injection')}"
    rate = gap("pump rate") if p.infusion.rate_ul_h is None else f"{p.infusion.rate_ul_h:g} ul/h"
    return f"infusion from {p.infusion.start_h:g} h for {p.infusion.duration_h:g} h, {rate}"


def _control(p: ProtocolSettings) -> str:
    kind = "dye only" if p.dye_only else "vehicle" if not p.total_dose else "treated"
    return f"{kind}{', double dummy' if p.double_dummy else ''}"


def checklist_markdown(lists: dict[str, list[Item]]) -> str:
    """Return the checklists as Markdown tables, each followed by what is still to be filled in."""
    lines = ["# Checklists", "", "Filled from the study files. What stands in brackets is for the authors to fill in."]
    for name, items in lists.items():
        lines += ["", f"## {name}", "", "| item | asks for | answer |", "| --- | --- | --- |"]
        lines += [f"| {i.number} | {i.asks} | {i.answer} |" for i in items]
        lines += ["", "Gaps:", "", *_gap_lines(i.answer for i in items)]
    return "\n".join(lines) + "\n"


def _gap_lines(answers: Iterable[str]) -> list[str]:
    return [f"- {what}" for what in gaps(answers)] or ["- none"]
