"""Every section of the study as a card that can be searched, and as a map of what is there."""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from sevhisto.registry import split_flags
from sevhisto.report.tables import flag_list
from sevhisto.report.words import number

MARKS = {"ok": "●", "flagged": "◐", "failed": "✕", "excluded": "–"}
"""Signs of the map: told apart without colour."""


_OUTLINES = {
    "contour_drawn": "drawn by a person",
    "contour_carried": "carried over",
    "contour_unreviewed": "drawn by the program",
}


class SectionCard(NamedTuple):
    """One listed section; `picture` holds PNG or JPEG bytes, none where nothing was measured or pictures are left out.

    `slide` is the address of its page in the slide viewer, where there is one.
    """

    animal: str
    section: str
    panel: str
    role: str
    batch: str
    position_um: float
    status: str
    verdict: str = ""
    reasons: str = ""
    reason: str = ""
    flags: str = ""
    core_um2: float = float("nan")
    picture: bytes = b""
    slide: str = ""


def card_context(card: SectionCard, index: int) -> dict[str, Any]:
    """Return what the template shows of a card; `words` is what a search looks through."""
    flags = flag_list(card.flags)
    place = "" if math.isnan(card.position_um) else f"{card.position_um:g} µm along the cord"
    facts = [card.role.replace("_", " "), f"batch {card.batch}", place]
    if not math.isnan(card.core_um2):
        drawn = next((said for flag, said in _OUTLINES.items() if flag in split_flags(card.flags)), "")
        facts.append(f"core {number(card.core_um2 * 1e-6)} mm²{f', {drawn}' if drawn else ''}" if card.core_um2 else "no lesion core")
    words = (card.animal, card.section, card.panel, card.role, card.batch, card.reasons, card.reason, *(w for f in flags for w in f))
    return {
        "id": f"s{index}",
        "title": f"{card.animal} / {card.section}",
        "panel": card.panel,
        "role": card.role,
        "status": card.status,
        "verdict": card.verdict,
        "facts": " · ".join(f for f in facts if f),
        "reasons": card.reasons or card.reason,
        "flags": flags,
        "flag_names": " ".join(sorted(split_flags(card.flags))),
        "words": " ".join(words).lower(),
        "src": _src(card.picture),
        "slide": card.slide,
    }


def _src(picture: bytes) -> str:
    if not picture:
        return ""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def choices(cards: Sequence[SectionCard]) -> list[tuple[str, str, list[tuple[str, int]]]]:
    """Return what the cards can be filtered by: name, label, and the values with how many cards have each; what all share is left out."""
    flags = [f for c in cards for f in split_flags(c.flags)]
    columns = [
        ("status", "Status", [c.status for c in cards]),
        ("verdict", "Verdict", [c.verdict for c in cards if c.verdict]),
        ("panel", "Panel", [c.panel for c in cards]),
        ("role", "Role", [c.role for c in cards]),
        ("flags", "Flag", flags),
    ]
    counted = [(name, label, [(v, found.count(v)) for v in sorted(set(found))]) for name, label, found in columns]
    return [(n, label, values) for n, label, values in counted if len(values) > 1 or (n == "flags" and values)]


def section_map(cards: Sequence[SectionCard]) -> list[tuple[str, str, list[tuple[str, str, str]]]]:
    """Return one row per animal and panel: its sections along the cord, each with id of its card, sign and title."""
    placed = sorted(
        enumerate(cards), key=lambda n: (n[1].panel, n[1].animal, math.inf if math.isnan(n[1].position_um) else n[1].position_um)
    )
    rows = []
    for (panel, animal), own in itertools.groupby(placed, key=lambda n: (n[1].panel, n[1].animal)):
        cells = [(f"s{i}", MARKS.get(c.status, "?"), ", ".join(t for t in (c.section, c.status, c.verdict) if t)) for i, c in own]
        rows.append((animal, panel, cells))
    return rows
