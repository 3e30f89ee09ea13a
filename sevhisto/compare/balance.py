"""Whether what was left out is spread evenly over the groups; asked only once the key is open."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from sevhisto.schema_evidence import EXCLUSION_BALANCE


def exclusion_balance(excluded: pd.DataFrame, status: pd.DataFrame, groups: pd.Series[str]) -> pd.DataFrame:
    """Return `schema_evidence.EXCLUSION_BALANCE`: one row per group.

    Parameters
    ----------
    excluded : `schema_evidence.EXCLUSIONS`
    status : `schema.STATUS` of all listed sections
    groups : animal to group, in the order of the rows; all animals, those left out too
    """
    rows = []
    for group in dict.fromkeys(groups):
        members = set(groups.index[groups == group])
        own, sections = excluded[excluded["animal"].isin(members)], status[status["animal"].isin(members)]
        whole = set(own.loc[own["level"] == "animal", "animal"])
        gone = ((sections["status"] == "excluded") | sections["animal"].isin(whole)).to_numpy()
        reasons = Counter(r or "none given" for r in own["reason"])
        rows.append(
            {
                "group": group,
                "n_animals": len(members),
                "n_animals_excluded": len(whole),
                "n_sections": len(sections),
                "n_sections_excluded": int(gone.sum()),
                "n_sections_failed": int((sections["status"] == "failed").sum()),
                "n_areas": int((own["level"] == "area").sum()),
                "areas_um2": float(own["area_um2"].sum()),
                "reasons": "; ".join(f"{reason} {n}" for reason, n in sorted(reasons.items())),
            }
        )
    return EXCLUSION_BALANCE.conform(pd.DataFrame(rows, columns=EXCLUSION_BALANCE.names))
