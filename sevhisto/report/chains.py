"""How much of a mediated effect an unmeasured factor would take away, as a figure."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from sevhisto.report.canvas import FAINT, INK, SOFT, shorten, styled, to_svg
from sevhisto.report.figures import WIDTH_IN
from sevhisto.report.words import endpoint_words

MOST = 4
_KEY = ["contrast", "mediator", "outcome"]


def shown_chains(mediation: pd.DataFrame, shown: list[str]) -> pd.DataFrame:
    """Return the chains to draw, at most four: those of the shown endpoints first, then as they come."""
    known = mediation[mediation["indirect"].notna()]
    wanted = known["mediator"].isin(shown).astype(int) + known["outcome"].isin(shown).astype(int)
    return known.loc[wanted.sort_values(ascending=False, kind="stable").index[:MOST]]


@styled
def sensitivity_figure(sensitivity: pd.DataFrame, chains: pd.DataFrame, ident: str) -> str:
    """Return one panel per chain: product of paths with its interval against the correlation of errors; SVG.

    Parameters
    ----------
    sensitivity : rows of mediation_sensitivity.csv
    chains : the rows of mediation.csv to draw
    ident : start of every id in the SVG, unique in the page
    """
    figure = Figure(figsize=(WIDTH_IN, 2.9))
    axes = figure.subplots(1, len(chains), squeeze=False)[0]
    figure.subplots_adjust(left=0.075, right=0.99, top=0.76, bottom=0.18, wspace=0.28)
    for ax, chain in zip(axes, chains.to_dict("records"), strict=True):
        own = sensitivity.loc[(sensitivity[_KEY] == [chain[k] for k in _KEY]).all(axis=1)]
        ax.fill_between(own["rho"], own["ci_low"], own["ci_high"], color=FAINT, linewidth=0)
        ax.plot(own["rho"], own["indirect"], color=INK, linewidth=1.6)
        ax.axhline(0, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
        ax.axvline(0, color=SOFT, linewidth=0.6)
        ax.plot([chain["rho_zero"]], [0], "o", color=INK, markersize=5)
        mediator, outcome = (shorten(endpoint_words(str(chain[k])).label, 28) for k in ("mediator", "outcome"))
        ax.set_title(f"{shorten(str(chain['contrast']), 30)}\nthrough {mediator}\nto {outcome}", loc="left", fontsize=7.5)
        ax.set_xlim(-0.9, 0.9)
        ax.set_xlabel("correlation of errors")
    axes[0].set_ylabel("product of paths")
    return to_svg(figure, ident, f"Mediated effect of {len(chains)} chains against the correlation that an unmeasured factor makes.")
