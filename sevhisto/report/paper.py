"""Every plot of the study for a paper: at the widths of journals, as SVG and PDF whose text can be edited, its numbers beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import pandas as pd

from sevhisto.report.canvas import COLUMN, FULL_WIDTH, Drawing, on_page, pdf_file, stamp_figures, svg_file
from sevhisto.report.chains import sensitivity_figure, shown_chains
from sevhisto.report.choices import choices_figure
from sevhisto.report.estimation import estimation_plot
from sevhisto.report.exposures import exposure_profiles
from sevhisto.report.figures import border_lines, profile_curve, recovery_curves, relation_plot
from sevhisto.report.inputs import ReportInputs, by_animal, shown_endpoints, split_relations
from sevhisto.report.prose import Picture
from sevhisto.schema import AS_ANALYSED

PAGES = {"85mm": COLUMN, "174mm": FULL_WIDTH}
Draw = Callable[[], Drawing]
File = tuple[str, bytes | pd.DataFrame]
EVERY_ANIMAL = "Every animal is drawn, so there are no error bars; nothing is tested."


class Plot(NamedTuple):
    """A plot of the study: its name, what draws it, and what its legend says of marks, bars and tests."""

    name: str
    draw: Draw
    marks: str


def plots(inputs: ReportInputs) -> Iterator[Plot]:
    """Yield every plot that the study has."""
    wide, groups = by_animal(inputs), inputs.groups
    shown = shown_endpoints(inputs, wide)
    for endpoint in shown:
        rows = None if inputs.comparisons is None else inputs.comparisons[inputs.comparisons["endpoint"] == endpoint]
        yield Plot(f"estimation_{endpoint}", partial(estimation_plot, wide[endpoint], groups, endpoint, rows), _tested(rows))
        curve = None if inputs.specifications is None else inputs.specifications[inputs.specifications["endpoint"] == endpoint]
        if curve is not None and len(curve):
            yield Plot(f"choices_{endpoint}", partial(choices_figure, curve, endpoint), _CHOICES.format(_sizes(curve)))
    if inputs.motor is not None and len(inputs.motor):
        yield Plot("recovery", partial(recovery_curves, inputs.motor, groups, inputs.motor_label), EVERY_ANIMAL)
    known, modelled = inputs.exposure, inputs.delivery_profiles
    if known is not None and modelled is not None and len(known) and len(modelled):
        yield Plot("exposure", partial(exposure_profiles, known, modelled, groups), _MODELLED)
    drawn = split_relations(inputs.relations, shown)[0]
    pairs = [] if drawn is None else list(dict.fromkeys(zip(drawn["ecm"].astype(str), drawn["motor"].astype(str), strict=True)))
    for ecm, motor in pairs:
        if ecm in wide and motor in wide:
            yield Plot(f"relation_{ecm}_{motor}", partial(relation_plot, wide[ecm], wide[motor], groups, (ecm, motor)), _RELATED)
    if inputs.mediation is not None and inputs.sensitivity is not None and len(inputs.sensitivity):
        yield Plot("mediation", partial(sensitivity_figure, inputs.sensitivity, shown_chains(inputs.mediation, shown)), _MEDIATED)
    for (panel, marker), rows in () if inputs.profiles is None else inputs.profiles.groupby(["panel", "marker"], sort=False):
        if len(border_lines(rows)):
            yield Plot(
                f"profile_{panel}_{marker}",
                partial(profile_curve, rows, str(marker), groups),
                f"Panel {panel}, bins of 50 µm. {EVERY_ANIMAL}",
            )


def _tested(rows: pd.DataFrame | None) -> str:
    """Return what bars and tests of an estimation plot are."""
    bars = "Bars beside the dots: 95 % t intervals of the group means."
    if rows is None or rows.empty:
        return bars
    parts = zip(*(f"{str(m).rpartition(' (')[0] or m}; ".split("; ")[:2] for m in rows["method"]), strict=True)
    methods = "; ".join(" or ".join(sorted(set(part))) for part in parts)
    return f"{bars} Differences: mean of the first side minus mean of the second, with 95 % intervals ({methods}); p stands in the text."


def _sizes(curve: pd.DataFrame) -> str:
    """Return the animals of each contrast as analysed."""
    own = curve[curve["choice"] == AS_ANALYSED]
    return "; ".join(f"{c}: {int(a)} and {int(b)}" for c, a, b in zip(own["contrast"], own["n_a"], own["n_b"], strict=True))


_CHOICES = (
    "Differences of means with 95 % intervals; diamond and grey band: as analysed (n = {}). Circle: the conclusion stands, square: the "
    "interval moves on or off zero, cross: the sign changes. Nothing is tested."
)
_MODELLED = "A model of the planned delivery (one compartment), not a measurement: no error bars, no test."
_RELATED = "Slopes with 95 % t intervals and partial correlations stand in the text."
_MEDIATED = "Grey: 95 % percentile intervals over bootstrap samples of animals. Exploratory."


def drawing_files(
    name: str, draw: Draw, stamp: Iterable[str], widths: tuple[str, ...] = tuple(PAGES), marks: str = ""
) -> Generator[File, None, Picture]:
    """Yield file names with bytes, of one drawing at each width as SVG and PDF, and one with a table, of its numbers.

    Parameters
    ----------
    stamp : flags of the whole study, which are written onto it
    marks : what its legend says of marks, bars and tests

    Returns
    -------
    Picture
        For the text, the widest file first.
    """
    stem = file_stem(name)
    for width in widths:
        with on_page(PAGES[width]), stamp_figures(stamp):
            drawing = draw()
            yield f"{stem}_{width}.svg", svg_file(drawing)
            yield f"{stem}_{width}.pdf", pdf_file(drawing)
    yield f"{stem}.csv", drawing.data
    drawn = [f"{stem}_{width}.{kind}" for width in reversed(widths) for kind in ("svg", "pdf")]
    return Picture((*drawn, f"{stem}.csv"), drawing.alt, marks)


def file_stem(name: str) -> str:
    """Return a name that every file system takes; what stands for itself is kept."""
    return re.sub(r"[^0-9A-Za-z_.+-]+", "_", name).strip("._")[:120] or "figure"
