"""The report: everything a reader needs to judge the study, in one file that opens anywhere and runs nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, StrictUndefined

from sevhisto.report import tables
from sevhisto.report.canvas import stamp_figures
from sevhisto.report.chains import sensitivity_figure, shown_chains
from sevhisto.report.choices import choices_figure
from sevhisto.report.classifiers import classifier_texts
from sevhisto.report.exclusions import arrive_sentences, balance_rows, exclusion_rows
from sevhisto.report.exposures import exposure_figure
from sevhisto.report.figures import border_lines, curves, estimation_plot, group_order, relation_plot
from sevhisto.report.words import MODELS, Finding, comparison_finding, endpoint_words, pair_words, relation_finding

MAX_GUESSED = 4  # endpoints shown where none is declared


class OverlayItem(NamedTuple):
    """One picture of the gallery: title, caption, PNG or JPEG bytes, and the section's flags joined by ``;``."""

    title: str
    caption: str
    image: bytes
    flags: str = ""


@dataclass
class ReportInputs:
    """All that the report shows; tables are as `sevhisto.schema` describes them.

    Attributes
    ----------
    blinded : groups are codes; said at the top
    banner_flags : flags of the whole study, such as ``changed_after_unblinding``
    sections : sections.csv; only its numbers of rows and animals are told
    motor : columns animal, day, score, for the test that is analysed
    groups : group (code or name) of each animal, index animal; its order is the order of the groups in all figures
    thresholds : columns panel, batch, marker, threshold, source, n_controls
    exposure : exposure.csv; None until the study is open
    delivery_profiles : columns protocol, half_life_min, hour, amount
    models, mediation, sensitivity, shapes, design : the tables of these names that `compare` writes
    run : run.json
    overlays : pictures in the order of the gallery
    notes : what the design of the study limits, one sentence each
    settings : the settings as text
    primary : endpoints to show first; empty takes those of role primary, or core volumes and the motor curve
    motor_label : name and top of the motor scale, for the axis
    excluded : `schema_evidence.EXCLUSIONS`
    balance : `schema_evidence.EXCLUSION_BALANCE`, once groups are known
    opened : when the key was opened; empty while it is closed
    blind : whether the study is blind
    n_listed : animals of the study, those left out too
    """

    study_name: str
    blinded: bool
    status: pd.DataFrame
    animals: pd.DataFrame
    wide: pd.DataFrame
    groups: pd.Series
    sections: pd.DataFrame | None = None
    comparisons: pd.DataFrame | None = None
    relations: pd.DataFrame | None = None
    motor: pd.DataFrame | None = None
    specifications: pd.DataFrame | None = None
    profiles: pd.DataFrame | None = None
    thresholds: pd.DataFrame | None = None
    exposure: pd.DataFrame | None = None
    delivery_profiles: pd.DataFrame | None = None
    models: pd.DataFrame | None = None
    mediation: pd.DataFrame | None = None
    sensitivity: pd.DataFrame | None = None
    shapes: pd.DataFrame | None = None
    design: pd.DataFrame | None = None
    run: Mapping[str, Any] = field(default_factory=dict)
    overlays: Iterable[tuple[str, str, bytes, str]] = ()
    banner_flags: Sequence[str] = ()
    notes: Sequence[str] = ()
    settings: str = ""
    primary: Sequence[str] = ()
    motor_label: str = "BBB score"
    excluded: pd.DataFrame | None = None
    balance: pd.DataFrame | None = None
    opened: str = ""
    blind: bool = True
    n_listed: int = 0


def render_report(inputs: ReportInputs) -> str:
    """Return the report as one HTML text; equal inputs give equal text.

    All text from the study is escaped. The page loads nothing: pictures are inside it, there is no script, and its content policy
    forbids both.
    """
    with stamp_figures(inputs.banner_flags):
        return _render(inputs)


def _render(inputs: ReportInputs) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((resources.files("sevhisto.report") / "template.html.j2").read_text(encoding="utf-8"))
    wide = inputs.wide.set_index("animal") if "animal" in inputs.wide.columns else inputs.wide
    shown = _shown_endpoints(inputs, wide)
    common = tables.common_flags(inputs.comparisons, inputs.relations)
    comparisons, relations = (tables.without_flags(f, common) for f in (inputs.comparisons, inputs.relations))
    drawn, listed = _split_relations(relations, shown)
    return template.render(
        study=inputs.study_name,
        facts=_facts(inputs),
        banners=_banners(inputs),
        compared=inputs.comparisons is not None,
        questions=[_question(inputs, wide, comparisons, name, i) for i, name in enumerate(shown)],
        common=[tables.flag_meaning(f) for f in common],
        secondary=tables.comparison_table(None if comparisons is None else comparisons[~comparisons["endpoint"].isin(shown)]),
        recovery=_recovery(inputs),
        delivery=_delivery(inputs),
        deliveries=tables.exposure_table(inputs.exposure),
        relations=_relations(inputs, wide, drawn),
        models=tables.model_table(inputs.models),
        shapes=tables.shape_table(inputs.shapes),
        chains=tables.mediation_table(inputs.mediation),
        sensitivity=_sensitivity(inputs, shown),
        design=tables.design_table(inputs.design, shown),
        other_relations=tables.relation_table(listed),
        profiles=_profiles(inputs),
        per_animal=tables.animal_table(inputs.animals, wide, inputs.groups, shown),
        thresholds=tables.threshold_table(inputs.thresholds),
        explained=tables.autofluorescence_table(inputs.animals),
        classifiers=classifier_texts(inputs.run.get("classifiers", {})),
        failed=tables.section_table(inputs.status, "failed"),
        excluded=tables.section_table(inputs.status, "excluded") if inputs.excluded is None else exclusion_rows(inputs.excluded),
        arrive=_arrive(inputs),
        balance=balance_rows(inputs.balance),
        counts=tables.count_table(inputs.status),
        flags=tables.flag_table(inputs.status, inputs.animals, inputs.comparisons, inputs.relations),
        gallery=[_picture(item) for item in inputs.overlays],
        notes=list(inputs.notes),
        run=tables.run_table(inputs.run),
        settings=inputs.settings,
    )


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


def _banners(inputs: ReportInputs) -> list[tuple[str, str]]:
    said = []
    if inputs.blinded:
        said.append(("Blinded.", "Animals and groups are shown by code. The key opens with sevhisto compare STUDY --unblind."))
    said += [("", tables.flag_meaning(f)) for f in inputs.banner_flags if not (inputs.blinded and f == "not_unblinded")]
    return said


def _shown_endpoints(inputs: ReportInputs, wide: pd.DataFrame) -> list[str]:
    """Return the endpoints that get a figure: as declared, else a few that most studies ask for."""
    if inputs.primary:
        return [e for e in inputs.primary if e in wide.columns]
    if inputs.comparisons is not None and (inputs.comparisons["role"] == "primary").any():
        rows = inputs.comparisons[inputs.comparisons["role"] == "primary"]
        return [e for e in dict.fromkeys(rows["endpoint"]) if e in wide.columns]
    measured = [c for c in wide.columns if wide[c].notna().any()]
    volumes = [c for c in measured if "_core_" in c and c.endswith("positive_volume_mm3")]
    return (volumes + [c for c in measured if c.endswith("_auc_score_days") and "early" not in c])[:MAX_GUESSED]


def _question(inputs: ReportInputs, wide: pd.DataFrame, comparisons: pd.DataFrame | None, endpoint: str, index: int) -> dict[str, Any]:
    words = endpoint_words(endpoint)
    rows = None if comparisons is None else comparisons[comparisons["endpoint"] == endpoint]
    values = pd.to_numeric(wide[endpoint])
    absent = [str(a) for a in inputs.groups.index if a not in values.index or pd.isna(values[a])]
    return {
        "title": words.label,
        "column": endpoint,
        "role": "" if rows is None or rows.empty else str(rows["role"].iloc[0]),
        "figure": estimation_plot(values, inputs.groups, endpoint, rows, f"endpoint{index}"),
        "findings": [_under(comparison_finding(r), f"{words.label}: ") for r in _records(rows)],
        "absent": absent,
        "choices": _choices(inputs, endpoint, index),
    }


def _choices(inputs: ReportInputs, endpoint: str, index: int) -> str:
    if inputs.specifications is None:
        return ""
    rows = inputs.specifications[inputs.specifications["endpoint"] == endpoint]
    return choices_figure(rows, endpoint, f"choices{index}") if len(rows) else ""


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
    lines = inputs.motor.rename(columns={"day": "x", "score": "y"})[["animal", "x", "y"]]
    return curves(lines, inputs.groups, "days after injury", inputs.motor_label, f"Recovery curves, {inputs.motor_label}", "recovery")


def _delivery(inputs: ReportInputs) -> str:
    known, profiles = inputs.exposure, inputs.delivery_profiles
    if known is None or known.empty or profiles is None or profiles.empty:
        return ""
    levels: dict[float, float] = dict(zip(known["half_life_min"], known["level"], strict=True))
    return exposure_figure(profiles, levels, group_order(inputs.groups), str(known["dose_unit"].iloc[0]), "delivery")


def _sensitivity(inputs: ReportInputs, shown: list[str]) -> str:
    if inputs.mediation is None or inputs.sensitivity is None or inputs.sensitivity.empty:
        return ""
    return sensitivity_figure(inputs.sensitivity, shown_chains(inputs.mediation, shown), "chains")


def _split_relations(relations: pd.DataFrame | None, shown: Sequence[str]) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Return the relations that get a figure (those of the shown endpoints, else of the first pair) and those that stand in a table."""
    if relations is None or relations.empty:
        return None, None
    asked = relations["ecm"].isin(shown)
    if (asked & relations["motor"].isin(shown)).any():
        asked &= relations["motor"].isin(shown)
    if not asked.any():
        asked = (relations["ecm"] == relations["ecm"].iloc[0]) & (relations["motor"] == relations["motor"].iloc[0])
    return relations[asked], relations[~asked]


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
        figure = relation_plot(wide[ecm], wide[motor], inputs.groups, names, f"relation{i}") if drawn else ""
        title = pair_words(*names)
        findings = [_under(relation_finding(r), f"{title}, ") for r in own]
        found.append({"title": title, "figure": figure, "findings": findings})
    return found


def _profiles(inputs: ReportInputs) -> list[dict[str, str]]:
    if inputs.profiles is None or inputs.profiles.empty:
        return []
    found = []
    for i, ((panel, marker), rows) in enumerate(inputs.profiles.groupby(["panel", "marker"], sort=False)):
        lines = border_lines(rows)
        if len(lines):
            what = f"{marker}-positive fraction against distance from the lesion border"
            figure = curves(lines, inputs.groups, "distance from the border (µm)", "positive (%)", what, f"profile{i}", core=True)
            found.append({"title": f"{marker} (panel {panel})", "figure": figure})
    return found


def _picture(item: tuple[str, str, bytes, str]) -> dict[str, Any]:
    title, caption, image, flags = item
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return {
        "title": title,
        "caption": caption,
        "src": f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}",
        "flags": tables.flag_list(flags),
    }
