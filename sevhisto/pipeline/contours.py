"""Which section a panel without landmark takes its lesion outlines from: the animal's nearest one whose panel has a landmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from sevhisto.config import WITHOUT_LESION
from sevhisto.imaging.lesion import cue_markers, draws_border
from sevhisto.io.study import Study
from sevhisto.pipeline.tasks import ContourSource, PieceOutcome, SlideTask


def takes_contours(task: SlideTask) -> bool:
    """Return whether sections of the slide need the outline of a neighbour."""
    return (
        not draws_border(task.panel, task.imaging)
        and task.imaging.contour_reach_um > 0
        and any(p.role not in WITHOUT_LESION for p in task.pieces)
    )


def with_contours(study: Study, tasks: Sequence[SlideTask], outcomes: Sequence[PieceOutcome]) -> list[SlideTask]:
    """Return the tasks, each piece with the nearest measured section that shows its lesion, where one is near enough.

    Parameters
    ----------
    tasks : slides of panels without landmark
    outcomes : of the panels that have one
    """
    records = {o.row: o.record for o in outcomes if o.record is not None}
    near = neighbours(study, set(records))
    slides = study.slides

    def source(row: int) -> ContourSource | None:
        if row not in near:
            return None
        other, gap = near[row]
        return ContourSource(records[other], bool(slides.loc[row, "flipped"]) != bool(slides.loc[other, "flipped"]), gap)

    return [replace(t, pieces=tuple(replace(p, contour=source(p.row)) for p in t.pieces)) for t in tasks]


def neighbours(study: Study, measured: set[int] | None = None) -> dict[int, tuple[int, float]]:
    """Return {row of slides.csv whose panel lacks a landmark: (row of the nearest section that has one, distance in um)}.

    Of two as near, the more rostral one is taken, then that of the panel named first. `measured` : rows that can give an outline; all
    listed sections where None.
    """
    slides, reach = study.slides, study.config.imaging.contour_reach_um
    usable = slides[(slides["file"] != "") & ~slides["role"].isin(WITHOUT_LESION) & slides["position_um"].notna()]
    lacking = usable["panel"].map({name: not draws_border(p, study.config.imaging) for name, p in study.config.panels.items()}).astype(bool)
    order = {name: i for i, name in enumerate(study.config.panels)}
    givers: dict[str, list[tuple[float, int, int]]] = {}
    for i, row in usable[~lacking].iterrows():
        number = int(str(i))
        if measured is None or number in measured:
            givers.setdefault(str(row["animal"]), []).append((float(row["position_um"]), order[str(row["panel"])], number))
    found = {}
    for i, row in usable[lacking].iterrows():
        at = float(row["position_um"])
        near = min(((abs(p - at), p, panel, n) for p, panel, n in givers.get(str(row["animal"]), [])), default=None)
        if near is not None and near[0] <= reach:
            found[int(str(i))] = (near[3], near[0])
    return found


def contour_notes(study: Study) -> list[str]:
    """Return, for each panel, what draws its lesion outlines where that is not the landmark: a marker, or a neighbouring section."""
    near = neighbours(study)
    reach = study.config.imaging.contour_reach_um
    notes = []
    for name, panel in study.config.panels.items():
        rows = study.slides[(study.slides["panel"] == name) & (study.slides["file"] != "") & ~study.slides["role"].isin(WITHOUT_LESION)]
        by_name = cue_markers(panel, study.config.imaging)
        if by_name and not rows.empty:
            notes.append(f"panel {name}: {', '.join(by_name)} has a part in the lesion's outline, so that its rows are flagged circular")
        if draws_border(panel, study.config.imaging) or rows.empty:
            continue
        alone = rows[[int(str(i)) not in near for i in rows.index]]
        if len(alone) < len(rows):
            notes.append(
                f"panel {name}: no channel with role landmark (GFAP) or other cue of imaging.lesion_cues draws a lesion; "
                f"{_sections(len(rows) - len(alone), 'takes', 'take')} the outline of the nearest section that has one"
            )
        if len(alone):
            notes.append(
                f"panel {name}: {_sections(len(alone), 'has', 'have')} {_without(alone, reach)}: draw their outlines, or only "
                "zone 'all' is measured"
            )
    return notes


def _sections(n: int, one: str, more: str) -> str:
    return f"1 section {one}" if n == 1 else f"{n} sections {more}"


def _without(alone: pd.DataFrame, reach: float) -> str:
    which = ", ".join(f"{r.animal} {r.section}" for r in alone.head(3).itertuples()) + (", ..." if len(alone) > 3 else "")
    return f"no section with a landmark within {reach:g} um along the cord (imaging.contour_reach_um): {which}"
