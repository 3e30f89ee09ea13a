"""The composite matrix index: mean over matrix markers of the logarithm of positive core volume over a reference, with its parts."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from sevhisto.config import StudyConfig
from sevhisto.metrics import COMPOSITE, COMPOSITE_PANEL, METRIC_UNITS
from sevhisto.registry import join_flags, split_flags
from sevhisto.schema import ANIMALS


def composite_rows(animals: pd.DataFrame, config: StudyConfig, reference: Collection[str]) -> pd.DataFrame:
    """Return rows of `schema.ANIMALS` with panel ``ecm``, zone core, metric ``index``: one per marker and animal, and their mean.

    Parameters
    ----------
    animals : DataFrame
        Long animal table.
    config : StudyConfig
        Its channels of role ``ecm`` are the markers; one that several panels show counts once, from the first.
    reference : collection of str
        Animals whose geometric mean is 0: the vehicle groups, or all animals while groups are not known. Differences and slopes do not
        depend on it.

    Notes
    -----
    An animal without a volume in one marker has no composite; a volume of 0 has no logarithm (``no_signal``). One marker makes none.
    """
    volumes = animals[(animals["zone"] == "core") & (animals["metric"] == "positive_volume_mm3")]
    markers: dict[str, str] = {}
    for panel, settings in config.panels.items():
        for channel in settings.channels:
            if channel.role == "ecm":
                markers.setdefault(channel.marker, panel)
    parts, flags = {}, {}
    for marker, panel in markers.items():
        own = volumes[(volumes["panel"] == panel) & (volumes["marker"] == marker)].set_index("animal")
        if len(own):
            logs = np.log(own["value"].where(own["value"] > 0))
            parts[marker] = logs - logs.reindex(list(reference)).mean()
            flags[marker] = pd.Series([_flags(f, v) for f, v in zip(own["flags"], own["value"], strict=True)], index=own.index)
    if not parts:
        return ANIMALS.conform(pd.DataFrame(columns=ANIMALS.names))
    table = pd.DataFrame(parts)
    if len(parts) > 1:
        table[COMPOSITE] = table.mean(axis=1, skipna=False)
        joined = pd.DataFrame(flags).reindex(table.index).fillna("")
        flags[COMPOSITE] = pd.Series([join_flags(set().union(*map(split_flags, row))) for row in joined.to_numpy()], index=table.index)
    rows = [
        (animal, COMPOSITE_PANEL, "core", marker, "index", value, METRIC_UNITS["index"], 0, 0, flags[marker].get(animal, ""))
        for marker in table.columns
        for animal, value in table[marker].items()
    ]
    return ANIMALS.conform(pd.DataFrame(rows, columns=ANIMALS.names))


def _flags(cell: str, volume: float) -> str:
    return join_flags(split_flags(cell) | ({"no_signal"} if volume <= 0 else set()))
