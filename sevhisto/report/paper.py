"""Every plot of the study for a paper: at the widths of journals, as SVG and PDF whose text can be edited, its numbers beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import pandas as pd

from sevhisto.report.canvas import COLUMN, FULL_WIDTH, Drawing, on_page, pdf_file, stamp_figures, svg_file
from sevhisto.report.chains import sensitivity_figure, shown_chains
from sevhisto.report.choices import choices_figure
from sevhisto.report.estimation import estimation_plot
from sevhisto.report.exposures import exposure_profiles
from sevhisto.report.figures import border_lines, profile_curve, recovery_curves, relation_plot
from sevhisto.report.inputs import ReportInputs, by_animal, shown_endpoints, split_relations

PAGES = {"85mm": COLUMN, "174mm": FULL_WIDTH}
Draw = Callable[[], Drawing]


def plots(inputs: ReportInputs) -> Iterator[tuple[str, Draw]]:
    """Yield the name of each plot that the study has, and what draws it."""
    wide, groups = by_animal(inputs), inputs.groups
    shown = shown_endpoints(inputs, wide)
    for endpoint in shown:
        rows = None if inputs.comparisons is None else inputs.comparisons[inputs.comparisons["endpoint"] == endpoint]
        yield f"estimation_{endpoint}", partial(estimation_plot, wide[endpoint], groups, endpoint, rows)
        curve = None if inputs.specifications is None else inputs.specifications[inputs.specifications["endpoint"] == endpoint]
        if curve is not None and len(curve):
            yield f"choices_{endpoint}", partial(choices_figure, curve, endpoint)
    if inputs.motor is not None and len(inputs.motor):
        yield "recovery", partial(recovery_curves, inputs.motor, groups, inputs.motor_label)
    known, modelled = inputs.exposure, inputs.delivery_profiles
    if known is not None and modelled is not None and len(known) and len(modelled):
        yield "exposure", partial(exposure_profiles, known, modelled, groups)
    drawn = split_relations(inputs.relations, shown)[0]
    pairs = [] if drawn is None else list(dict.fromkeys(zip(drawn["ecm"].astype(str), drawn["motor"].astype(str), strict=True)))
    for ecm, motor in pairs:
        if ecm in wide and motor in wide:
            yield f"relation_{ecm}_{motor}", partial(relation_plot, wide[ecm], wide[motor], groups, (ecm, motor))
    if inputs.mediation is not None and inputs.sensitivity is not None and len(inputs.sensitivity):
        yield "mediation", partial(sensitivity_figure, inputs.sensitivity, shown_chains(inputs.mediation, shown))
    for (panel, marker), rows in () if inputs.profiles is None else inputs.profiles.groupby(["panel", "marker"], sort=False):
        if len(border_lines(rows)):
            yield f"profile_{panel}_{marker}", partial(profile_curve, rows, str(marker), groups)


def plot_files(inputs: ReportInputs) -> Iterator[tuple[str, bytes | pd.DataFrame]]:
    """Yield the files of every plot of the study, as `drawing_files`."""
    for name, draw in plots(inputs):
        yield from drawing_files(name, draw, inputs.banner_flags)


def drawing_files(
    name: str, draw: Draw, stamp: Iterable[str], widths: tuple[str, ...] = tuple(PAGES)
) -> Iterator[tuple[str, bytes | pd.DataFrame]]:
    """Yield file names with bytes, of one drawing at each width as SVG and PDF, and one with a table, of its numbers.

    `stamp` : flags of the whole study, which are written onto it.
    """
    stem, data = file_stem(name), pd.DataFrame()
    for width in widths:
        with on_page(PAGES[width]), stamp_figures(stamp):
            drawing = draw()
            yield f"{stem}_{width}.svg", svg_file(drawing)
            yield f"{stem}_{width}.pdf", pdf_file(drawing)
            data = drawing.data
    yield f"{stem}.csv", data


def file_stem(name: str) -> str:
    """Return a name that every file system takes; what stands for itself is kept."""
    return re.sub(r"[^0-9A-Za-z_.+-]+", "_", name).strip("._")[:120] or "figure"
