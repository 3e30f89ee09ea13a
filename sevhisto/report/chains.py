"""How much of a mediated effect an unmeasured factor would take away, as a figure."""

from __future__ import annotations

import pandas as pd

from sevhisto.report.canvas import FAINT, INK, SOFT, Drawing, current_page, pt, shorten, styled
from sevhisto.report.words import endpoint_words

MOST = 4
_KEY = ["contrast", "mediator", "outcome"]


def shown_chains(mediation: pd.DataFrame, shown: list[str]) -> pd.DataFrame:
    """Return the chains to draw, at most four: those of the shown endpoints first, then as they come."""
    known = mediation[mediation["indirect"].notna()]
    wanted = known["mediator"].isin(shown).astype(int) + known["outcome"].isin(shown).astype(int)
    return known.loc[wanted.sort_values(ascending=False, kind="stable").index[:MOST]]


@styled
def sensitivity_figure(sensitivity: pd.DataFrame, chains: pd.DataFrame) -> Drawing:
    """Return one panel per chain: product of paths with its interval against the correlation of errors.

    Parameters
    ----------
    sensitivity : rows of mediation_sensitivity.csv
    chains : the rows of mediation.csv to draw
    """
    page = current_page()
    columns = min(max(len(chains), 1), 4 if page.width > 50 else 2)
    rows = -(-max(len(chains), 1) // columns)
    figure = page.figure(3.8 + 18 * rows)
    page.grid(figure, 6, 3.8, 0.8, 5)
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"wspace": 0.32, "hspace": 0.75})
    for ax in axes.ravel()[len(chains) :]:
        ax.set_axis_off()
    letters = int(page.width / columns * 1.45)
    for ax, chain in zip(axes.ravel(), chains.to_dict("records"), strict=False):
        own = sensitivity.loc[(sensitivity[_KEY] == [chain[k] for k in _KEY]).all(axis=1)]
        ax.fill_between(own["rho"], own["ci_low"], own["ci_high"], color=FAINT, linewidth=0)
        ax.plot(own["rho"], own["indirect"], color=INK, linewidth=pt(1.6))
        ax.axhline(0, color=SOFT, linewidth=pt(0.9), linestyle=(0, (4, 3)))
        ax.axvline(0, color=SOFT, linewidth=pt(0.6))
        ax.plot([chain["rho_zero"]], [0], "o", color=INK, markersize=pt(5))
        mediator, outcome = (shorten(endpoint_words(str(chain[k])).label, letters - 8) for k in ("mediator", "outcome"))
        ax.set_title(f"{shorten(str(chain['contrast']), letters)}\nthrough {mediator}\nto {outcome}", loc="left", fontsize=pt(7.5))
        ax.set_xlim(-0.9, 0.9)
        ax.set_xlabel("correlation of errors")
    for ax in axes[:, 0]:
        ax.set_ylabel("product of paths")
    told = f"Mediated effect of {len(chains)} chains against the correlation that an unmeasured factor makes."
    return Drawing(figure, told, chains[_KEY].merge(sensitivity, on=_KEY))
