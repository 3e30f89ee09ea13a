"""The report: everything a reader needs to judge the study, in one file that opens anywhere, loads nothing and sends nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from sevhisto.report import gallery, tables
from sevhisto.report.asked import asked
from sevhisto.report.canvas import inline, stamp_figures
from sevhisto.report.chains import sensitivity_figure, shown_chains
from sevhisto.report.choices import choices_figure
from sevhisto.report.classifiers import classifier_texts
from sevhisto.report.estimation import estimation_plot
from sevhisto.report.exclusions import arrive_sentences, balance_rows, exclusion_rows, what_they_change
from sevhisto.report.exposures import exposure_profiles
from sevhisto.report.figures import border_lines, group_order, profile_curve, recovery_curves, relation_plot
from sevhisto.report.inputs import ReportInputs, by_animal, shown_endpoints, split_relations
from sevhisto.report.words import MODELS, Finding, comparison_finding, endpoint_words, pair_words, relation_finding


def render_report(inputs: ReportInputs) -> str:
    """Return the report as one HTML text; equal inputs give equal text.

    All text from the study is escaped. The page loads nothing: pictures are inside it, and its content policy forbids requests and every
    script but the page's own, which it names by its hash.
    """
    with stamp_figures(inputs.banner_flags):
        return _render(inputs)


def part(name: str) -> str:
    """Return a text that pages are made of, as ``report.html.j2``, ``report.css`` or ``report.js``."""
    return (resources.files("sevhisto.report") / "page" / name).read_text(encoding="utf-8")


def content_policy(script: str, images: str = "data:") -> str:
    """Return the policy that lets nothing be loaded but `images` and nothing run but `script`."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    allowed = f"img-src {images}; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _render(inputs: ReportInputs) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    script = part("report.js")
    shown = {**_results(inputs), **_evidence(inputs)}
    page = {"policy": content_policy(script), "script": script, "style": part("report.css"), "contents": _contents(shown)}
    return environment.from_string(part("report.html.j2")).render(**page, **shown)


def _results(inputs: ReportInputs) -> dict[str, Any]:
    """Return what the study found, for the template."""
    wide = by_animal(inputs)
    shown = shown_endpoints(inputs, wide)
    common = tables.common_flags(inputs.comparisons, inputs.relations)
    comparisons, relations = (tables.without_flags(f, common) for f in (inputs.comparisons, inputs.relations))
    drawn, listed = split_relations(relations, shown)
    others = None if comparisons is None else comparisons[~comparisons["endpoint"].isin(shown)]
    measured = tables.with_values(others)
    return {
        "study": inputs.study_name,
        "facts": _facts(inputs),
        "banners": banners(inputs.blinded, inputs.banner_flags),
        "compared": inputs.comparisons is not None,
        "asked": asked(comparisons, drawn, shown),
        "questions": [_question(inputs, wide, comparisons, name, i) for i, name in enumerate(shown)],
        "common": [tables.flag_meaning(f) for f in common],
        "secondary": tables.comparison_table(measured),
        "without_value": 0 if others is None or measured is None else len(others) - len(measured),
        "recovery": _recovery(inputs),
        "delivery": _delivery(inputs),
        "deliveries": tables.exposure_table(inputs.exposure),
        "relations": _relations(inputs, wide, drawn),
        "models": tables.model_table(inputs.models),
        "shapes": tables.shape_table(inputs.shapes),
        "chains": tables.mediation_table(inputs.mediation),
        "sensitivity": _sensitivity(inputs, shown),
        "design": tables.design_table(inputs.design, shown),
        "other_relations": tables.relation_table(listed),
        "profiles": _profiles(inputs),
        "per_animal": tables.animal_table(inputs.animals, wide, inputs.groups, shown),
        "changes": what_they_change(inputs.specifications, shown),
        "notes": list(inputs.notes),
    }


def _evidence(inputs: ReportInputs) -> dict[str, Any]:
    """Return what the findings rest on, for the template."""
    return {
        "thresholds": tables.threshold_table(inputs.thresholds),
        "explained": tables.autofluorescence_table(inputs.animals),
        "classifiers": classifier_texts(inputs.run.get("classifiers", {})),
        "failed": tables.section_table(inputs.status, "failed"),
        "excluded": tables.section_table(inputs.status, "excluded") if inputs.excluded is None else exclusion_rows(inputs.excluded),
        "arrive": _arrive(inputs),
        "balance": balance_rows(inputs.balance),
        "counts": tables.count_table(inputs.status),
        "flags": tables.flag_table(inputs.status, inputs.animals, inputs.comparisons, inputs.relations),
        "map": gallery.section_map(inputs.cards),
        "marks": list(gallery.MARKS.items()),
        "gallery": [gallery.card_context(card, i) for i, card in enumerate(inputs.cards)],
        "pictured": any(card.picture for card in inputs.cards),
        "filters": gallery.choices(inputs.cards),
        "zones": ", ".join(f"{edge:g}" for edge in inputs.zones_um if edge),
        "run": tables.run_table(tables.in_short(inputs.run, True)),
        "run_details": tables.run_table(tables.in_short(inputs.run, False)),
        "settings": inputs.settings,
    }


def _contents(shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return anchor and label of each part of the page that is there."""
    parts = [
        ("findings", "Findings" if shown["compared"] else "Per-animal results", True),
        ("endpoints", "Endpoints", True),
        ("delivery", "Delivery", shown["delivery"]),
        ("recovery", "Recovery", shown["recovery"]),
        ("relations", "Matrix and motor outcome", shown["relations"]),
        ("profiles", "Distance profiles", shown["profiles"]),
        ("animals", "Animals", True),
        ("thresholds", "Thresholds and controls", shown["thresholds"]),
        ("autofluorescence", "Autofluorescence", shown["explained"]),
        ("classifier1", "Classifiers", shown["classifiers"]),
        ("quality", "Quality", True),
        ("exclusions", "What was left out", shown["arrive"] or shown["excluded"]),
        ("sections", "Every section", shown["gallery"]),
        ("run", "What was run", True),
    ]
    return [(anchor, label) for anchor, label, there in parts if there]


def _arrive(inputs: ReportInputs) -> list[str]:
    if inputs.excluded is None:
        return []
    return arrive_sentences(inputs.excluded, inputs.status, inputs.n_listed, inputs.opened, inputs.blind)


def _facts(inputs: ReportInputs) -> list[str]:
    n, order = len(inputs.groups), group_order(inputs.groups)
    counts = inputs.status["status"].value_counts()
    said = [tables.plural(n, "animal"), tables.plural(len(order), "group"), f"{tables.plural(len(inputs.status), 'section')}"]
    said += [f"{int(counts[s])} {s}" for s in ("flagged", "failed", "excluded") if s in counts.index]
    if inputs.sections is not None and len(inputs.sections):
        said.append(f"{inputs.sections['marker'].nunique()} markers in {tables.plural(inputs.sections['panel'].nunique(), 'panel')}")
    return said


def banners(blinded: bool, flags: Iterable[str]) -> list[tuple[str, str]]:
    """Return what must stand at the head of every page of a study: a bold word and a sentence each."""
    said = []
    if blinded:
        said.append(("Blinded.", "Animals and groups are shown by code. The key opens with sevhisto compare STUDY --unblind."))
    return said + [("", tables.flag_meaning(f)) for f in flags if not (blinded and f == "not_unblinded")]


def _question(inputs: ReportInputs, wide: pd.DataFrame, comparisons: pd.DataFrame | None, endpoint: str, index: int) -> dict[str, Any]:
    words = endpoint_words(endpoint)
    rows = None if comparisons is None else comparisons[comparisons["endpoint"] == endpoint]
    values = pd.to_numeric(wide[endpoint])
    absent = [str(a) for a in inputs.groups.index if a not in values.index or pd.isna(values[a])]
    return {
        "anchor": f"endpoint{index}",
        "title": words.label,
        "column": endpoint,
        "role": "" if rows is None or rows.empty else str(rows["role"].iloc[0]),
        "figure": inline(estimation_plot(values, inputs.groups, endpoint, rows), f"estimates{index}"),
        "findings": [_under(comparison_finding(r), f"{words.label}: ") for r in _records(rows)],
        "absent": absent,
        "choices": _choices(inputs, endpoint, index),
    }


def _choices(inputs: ReportInputs, endpoint: str, index: int) -> str:
    if inputs.specifications is None:
        return ""
    rows = inputs.specifications[inputs.specifications["endpoint"] == endpoint]
    return inline(choices_figure(rows, endpoint), f"choices{index}") if len(rows) else ""


def _under(finding: Finding, heading: str) -> Finding:
    """Return the finding as it stands under its heading, which it need not repeat."""
    rest = finding.headline.removeprefix(heading)
    starts_with_name = heading.endswith(": ")  # a group's name keeps its own spelling
    return Finding(rest if starts_with_name else rest[:1].upper() + rest[1:], finding.detail, finding.cautions)


def _records(rows: pd.DataFrame | None) -> list[dict[str, Any]]:
    return [] if rows is None else [{str(k): v for k, v in r.items()} for r in rows.to_dict("records")]


def _recovery(inputs: ReportInputs) -> str:
    if inputs.motor is None or inputs.motor.empty:
        return ""
    return inline(recovery_curves(inputs.motor, inputs.groups, inputs.motor_label), "curves")


def _delivery(inputs: ReportInputs) -> str:
    known, profiles = inputs.exposure, inputs.delivery_profiles
    if known is None or known.empty or profiles is None or profiles.empty:
        return ""
    return inline(exposure_profiles(known, profiles, inputs.groups), "exposure")


def _sensitivity(inputs: ReportInputs, shown: list[str]) -> str:
    if inputs.mediation is None or inputs.sensitivity is None or inputs.sensitivity.empty:
        return ""
    return inline(sensitivity_figure(inputs.sensitivity, shown_chains(inputs.mediation, shown)), "chains")


def _relations(inputs: ReportInputs, wide: pd.DataFrame, relations: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return one entry per pair of endpoints: a figure and what each model says; within arms first, pooled last."""
    if relations is None:
        return []
    found = []
    rank = list(MODELS)
    for i, ((ecm, motor), rows) in enumerate(relations.groupby(["ecm", "motor"], sort=False)):
        own = sorted(_records(rows), key=lambda r: rank.index(r["model"]) if r["model"] in rank else len(rank))
        drawn = ecm in wide.columns and motor in wide.columns
        names = (str(ecm), str(motor))
        figure = inline(relation_plot(wide[ecm], wide[motor], inputs.groups, names), f"slopes{i}") if drawn else ""
        title = pair_words(*names)
        findings = [_under(relation_finding(r), f"{title}, ") for r in own]
        found.append({"anchor": f"relation{i}", "title": title, "figure": figure, "findings": findings})
    return found


def _profiles(inputs: ReportInputs) -> list[dict[str, str]]:
    found = []
    for i, ((panel, marker), rows) in enumerate(
        () if inputs.profiles is None else inputs.profiles.groupby(["panel", "marker"], sort=False)
    ):
        if len(border_lines(rows)):
            figure = inline(profile_curve(rows, str(marker), inputs.groups), f"profile{i}")
            found.append({"title": f"{marker} (panel {panel})", "figure": figure})
    return found
