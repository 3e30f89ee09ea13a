"""The animal table: one value per animal, panel, zone, marker and metric, from the additive section table.

Zone volumes and spared tissue belong to no marker; they stand under marker ``tissue``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd

from sevhisto.columns import as_frame
from sevhisto.config import StudyConfig
from sevhisto.decide.cavalieri import coefficient_of_error
from sevhisto.decide.metrics import FEW, TOO_FEW, Measured, marker_metrics, metric_names, volume
from sevhisto.decide.phenotypes import rule_metric_names, rule_metrics
from sevhisto.decide.rows import REFERENCE, STUDIED_ROLES, panel_settings
from sevhisto.decide.scrambled import scramble_metrics
from sevhisto.decide.stack import SUMMED, SectionArrays, Selection, Stack, make_stack, selections
from sevhisto.decide.zones import ALL, CORE, HALVES, animal_zones, section_zones
from sevhisto.metrics import TISSUE, unit_of
from sevhisto.registry import join_flags
from sevhisto.schema import ANIMALS, SECTIONS, STATUS
from sevhisto.types import AnyArray, DoubleArray, Problem, SevhistoError

UNREMARKABLE = {"contour_unreviewed", "contour_accepted", "contour_carried", "contour_drawn", "no_lesion", "axis_uncertain"}
"""Section flags that do not make `sections_flagged`: the first is carried by itself, the others are no defect."""
CARRIED = {
    "threshold_fallback",
    "threshold_fixed",
    "threshold_per_image",
    "bridge_applied",
    "bridges_disagree",
    "control_above_samples",
    "controls_contradict",
    "control_saturated",
    "circular",
}
_COLUMNS = ("animal", "panel", "zone", "marker", "metric", "value", "unit", "n_sections", "n_expected", "flags")
_KINDS: dict[str, type] = {"value": np.float64, "n_sections": np.int64, "n_expected": np.int64}
_Row = tuple[str, str, str, str, str, float, str, int, int, str]


def animal_table(
    sections: pd.DataFrame, status: pd.DataFrame, config: StudyConfig, tick: Callable[[int, int], object] = lambda done, total: None
) -> pd.DataFrame:
    """Return the animal table (`schema.ANIMALS`) of all sample and uninjured sections.

    Parameters
    ----------
    sections : the section table, `schema.SECTIONS`
    status : `schema.STATUS` with two more columns, `position_um` and `role`: every listed section, measured or not
    config : zones, panels and the section spacing
    tick : called with the animals (in one panel) that are done, and their number

    Notes
    -----
    Ratios are ratios of sums over the measured sections. Volumes are ``section_spacing_um`` times the sum of areas (Cavalieri); the area of
    a section that failed, was excluded or is lost is interpolated between its measured neighbours, never extrapolated. An animal none of
    whose sections could be measured keeps its rows, empty.

    Raises
    ------
    SevhistoError
        A table is not what its schema says, or names an unknown panel.
    """
    arrays = SectionArrays.of(SECTIONS.conform(sections))
    return ANIMALS.conform(as_frame(animal_columns(arrays, listed_sections(status), config, animal_zones(config), tick)))


def animal_columns(
    sections: SectionArrays,
    listed: pd.DataFrame,
    config: StudyConfig,
    zones: list[str],
    tick: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, AnyArray]:
    """Return the columns of the animal table, of some zones.

    Parameters
    ----------
    listed : as `listed_sections` returns it
    zones : some of `zones.animal_zones`
    """
    known_zones, rows_of = [z.name for z in section_zones(config)], sections.places()
    blocks: list[dict[str, AnyArray]] = []
    groups = listed.groupby(["animal", "panel"], sort=True)
    for done, ((animal, panel), mine) in enumerate(groups, 1):
        markers = list(panel_settings(config, str(panel)).rows)
        stack = make_stack(sections.at(np.asarray(rows_of.get((animal, panel), ()), np.int64)), mine, known_zones, markers)
        rows = [row for selection in selections(stack, zones) for row in _zone_rows(stack, selection, config)]
        blocks.append(_columns(rows))
        tick(done, len(groups))
    return {name: np.concatenate([b[name] for b in blocks or [_columns([])]]) for name in _COLUMNS}


def _columns(rows: list[_Row]) -> dict[str, AnyArray]:
    """Return rows as arrays, which take a third of the memory."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(_COLUMNS)
    return {n: np.array(c, _KINDS.get(n, object)) for n, c in zip(_COLUMNS, columns, strict=True)}


def listed_sections(status: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `animal_table`'s `status` that animals are made of, checked."""
    missing = [c for c in ("position_um", "role") if c not in status.columns]
    if missing:
        raise SevhistoError(Problem("status", f"missing columns: {', '.join(missing)}", "join them from slides.csv"))
    checked = STATUS.conform(status.drop(columns=["position_um", "role"]))
    checked["position_um"] = status["position_um"].astype(float)
    checked["role"] = status["role"]
    return checked[checked["role"].isin(STUDIED_ROLES)]


def _zone_rows(stack: Stack, selection: Selection, config: StudyConfig) -> list[_Row]:
    panel = panel_settings(config, stack.panel)
    spacing = config.study.section_spacing_um
    n = int(selection.member.sum())
    summed = [dict(zip(SUMMED, row, strict=True)) for row in stack.numbers[selection.member, selection.source].sum(axis=0).tolist()]
    weighted = selection.weight @ np.nan_to_num(stack.values["positive_um2"][:, selection.source])
    cells = {marker: sums["n_cells"] for marker, sums in zip(stack.markers, summed, strict=True)}
    rows = []
    for i, channel in enumerate(panel.channels):
        names = metric_names(channel, panel)
        sums = summed[i]
        weighted_um2 = math.nan if math.isnan(sums["positive_um2"]) else float(weighted[i])
        known = _nothing(names, selection)
        measured = known or [
            *marker_metrics(names, sums, cells.get(REFERENCE, math.nan), weighted_um2, spacing, n, stack.flags[channel.marker]),
            *(scramble_metrics(stack, selection, i) if "manders_over_scramble" in names else ()),
        ]
        rows += _with_errors(stack, selection, i, measured, n)
        if channel.role == "myelin" and selection.zone == ALL:
            rows.append(_at_epicentre(stack, selection, channel.marker, "spared_white_matter_mm2", stack.values["positive_um2"][:, :, i]))
    for i, rule in enumerate(panel.rules.values(), len(panel.channels)):
        sums = summed[i]
        weighted_um2 = math.nan if math.isnan(sums["positive_um2"]) else float(weighted[i])
        rule_values = rule_metrics(rule, panel, sums, cells, weighted_um2, spacing, n)
        measured = _nothing(rule_metric_names(rule, panel), selection) or list(rule_values)
        rows += _with_errors(stack, selection, i, measured, n)
    return rows + _tissue_rows(stack, selection, spacing, n)


def _with_errors(stack: Stack, selection: Selection, i: int, measured: list[Measured], n: int) -> list[_Row]:
    """Return the rows of a marker or phenotype, its volume followed by its coefficients of error."""
    marker, rows = stack.markers[i], []
    carried = _carried(stack, selection, marker)
    for metric, value, own in measured:
        rows.append(_row(stack, selection, marker, metric, value, n, own | carried))
        if metric == "positive_volume_mm3":
            errors = _volume_errors(stack, selection, stack.values["positive_um2"][:, selection.source, i], metric)
            rows += [_row(stack, selection, marker, *error[:2], n, error[2] | carried) for error in errors]
    return rows


def _nothing(names: list[str], selection: Selection) -> list[Measured]:
    return [(name, math.nan, selection.reason) for name in names] if selection.reason else []


def _tissue_rows(stack: Stack, selection: Selection, spacing: float, n: int) -> list[_Row]:
    area = (stack.values["zone_um2"] + stack.values["cavity_um2"])[:, selection.source, 0]
    name = "zone_volume_mm3"
    weighted = float(selection.weight @ np.nan_to_num(area))
    (measured,) = _nothing([name], selection) or [volume(weighted, spacing, n, name)]
    carried = _carried(stack, selection, TISSUE)
    volumes = [measured, *_volume_errors(stack, selection, area, name)]
    rows = [_row(stack, selection, TISSUE, metric, value, n, own | carried) for metric, value, own in volumes]
    if selection.zone == ALL:
        rows.append(_at_epicentre(stack, selection, TISSUE, "spared_tissue_mm2", stack.values["zone_um2"][:, :, 0]))
        drawn = stack.values["white_matter_um2"][:, :, 0]
        if not np.isnan(drawn).all():  # a person drew white matter on some of its sections
            outside = np.where(np.arange(len(stack.zones)) == stack.zones.index(CORE), 0.0, drawn)  # drawn area in the core was left out
            rows.append(_at_epicentre(stack, selection, TISSUE, "spared_white_matter_mm2", outside))
    return rows


def _volume_errors(stack: Stack, selection: Selection, area_um2: DoubleArray, volume_metric: str) -> list[Measured]:
    """Return the coefficient of error (%) of a volume in both classes of smoothness, from areas (n_sections,) of the stack."""
    names = [volume_metric.replace("_mm3", f"_ce_m{m}_pct") for m in (0, 1)]
    if selection.reason:
        return _nothing(names, selection)
    area = area_um2[selection.order]
    why = set()
    if len(area) < TOO_FEW:
        why = {"too_few_sections"}
    elif not selection.even:
        why = {"sections_uneven"}
    elif np.isnan(area).any():
        why = {"no_threshold"}
    elif not area.any():
        why = {"empty_denominator"}
    few = {"few_sections"} if len(area) < FEW else set()
    return [(name, math.nan if why else 100 * coefficient_of_error(area, m), why or few) for m, name in enumerate(names)]


def _at_epicentre(stack: Stack, selection: Selection, marker: str, metric: str, area_um2: DoubleArray) -> _Row:
    """Return the row of an area (n_sections, n_zones) outside the core at the epicentre (mm2); not defined without a lesion."""
    value, own = math.nan, selection.reason
    if not own and stack.epicentre is None:
        own = {stack.why_no_epicentre}
    elif not own and stack.epicentre is not None:
        area = area_um2[stack.epicentre.index]
        value = float(area[stack.zones.index(ALL)] - area[stack.zones.index(CORE)]) * 1e-6
        own = {"epicentre_tie"} if stack.epicentre.tie else set()
        if math.isnan(value):
            own = own | {"not_drawn" if marker == TISSUE else "no_threshold"}
    carried = _carried(stack, selection, marker) | (stack.flags[""] & {"contour_unreviewed"})
    return _row(stack, selection, marker, metric, value, int(not math.isnan(value)), own | carried)


def _carried(stack: Stack, selection: Selection, marker: str) -> set[str]:
    """Return the flags that every row of this zone and marker carries."""
    of_sections = stack.flags[marker if marker != TISSUE else ""]
    flags = of_sections & CARRIED if marker != TISSUE else set()
    if selection.zone != ALL:  # the whole section does not depend on the outline
        flags |= of_sections & {"contour_unreviewed"}
        half = selection.zone not in stack.zones and selection.zone.endswith(HALVES)
        flags |= {"epicentre_tie"} if half and stack.epicentre is not None and stack.epicentre.tie else set()
    if of_sections - UNREMARKABLE - CARRIED:
        flags.add("sections_flagged")
    if len(stack.lost_um):
        flags.add("sections_missing")
    if "uninjured" in stack.roles:
        flags.add("uninjured")
    return flags


def _row(stack: Stack, selection: Selection, marker: str, metric: str, value: float, n: int, flags: set[str]) -> _Row:
    cell = _joined(frozenset(flags))
    unit = str(unit_of(metric))
    return (stack.animal, stack.panel, selection.zone, marker, metric, value, unit, n, selection.n_expected, cell)


@cache
def _joined(flags: frozenset[str]) -> str:
    return join_flags(set(flags))
