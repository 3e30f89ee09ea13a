"""What the name of a channel tells of its marker and role, for a drafted study.toml."""

from __future__ import annotations

import re

_KNOWN: tuple[tuple[str, str, str], ...] = (
    # pattern, marker, role
    (r"dapi", "DAPI", "nuclei"),
    (r"hoechst(?:[ -]?\d+)?", "Hoechst", "nuclei"),
    (r"draq5", "DRAQ5", "nuclei"),
    (r"gfap", "GFAP", "landmark"),
    (r"cd68|ed1", "CD68", "macrophage"),
    (r"cd206|mrc1", "CD206", "macrophage"),
    (r"iba-?1|aif1", "Iba1", "macrophage"),
    (r"cd86", "CD86", "macrophage"),
    (r"cd163", "CD163", "macrophage"),
    (r"arg-?1|arginase(?:[ -]?1)?", "Arg1", "macrophage"),
    (r"inos", "iNOS", "macrophage"),
    (r"f4/80|f480", "F4/80", "macrophage"),
    (r"fibronectin|fn1?", "fibronectin", "ecm"),
    (r"laminin|lam", "laminin", "ecm"),
    (r"cspg|cs-?56", "CSPG", "ecm"),
    (r"col(?:lagen)?[ -]?(?:1|i|1a1)", "collagen I", "ecm"),
    (r"col(?:lagen)?[ -]?(?:3|iii)", "collagen III", "ecm"),
    (r"col(?:lagen)?[ -]?(?:4|iv)", "collagen IV", "ecm"),
    (r"collagen", "collagen", "ecm"),
    (r"mbp|myelin basic protein", "MBP", "myelin"),
    (r"fluoro-?myelin", "FluoroMyelin", "myelin"),
    (r"plp1?", "PLP", "myelin"),
    (r"af(?![ -]?\d)|autofluorescence|autofluo|blank", "autofluorescence", "autofluorescence"),
    (r"s?evs?|exosomes?|pkh-?\d+|tracer", "sEV", "tracer"),
)
# a dye, a filter or a number says nothing of the marker
_DYE = re.compile(
    r"(?:alexa(?: ?fluor)?|af|cy|atto|dylight|cf)[ -]?\d*|fitc|tritc|texas ?red|gfp|yfp|cfp|rfp|mcherry|rhodamine|\d{3}(?: ?nm)?"
    r"|(?:channel|chan|ch|c)[ :_#-]*(?:\d*|[A-Za-z])|bp|lp|filter|mono|camera|default|fluor"
    r"|red|green|blue|cyan|magenta|yellow|far ?red|gr[ae]y|tl|brightfield|\d+",
    re.IGNORECASE,
)
STAINS: tuple[tuple[str, str, tuple[tuple[str, str, str], ...]], ...] = (
    # word in the file name, stain, (component, marker, role)
    (r"dab", "hematoxylin_dab", (("hematoxylin", "hematoxylin", "nuclei"), ("dab", "?", "?"))),
    (r"psr|picro-?sirius|sirius", "picrosirius", (("collagen", "collagen", "ecm"),)),
    (r"masson|trichrome", "masson", (("collagen", "collagen", "ecm"),)),
)


def is_slice_label(channel: str) -> bool:
    """Return whether a channel name is the label that an ImageJ export gave the slice, ``c:1/2 - file name``: it names no channel."""
    return re.match(r"c:\d+/\d+(?!\d)", channel.strip()) is not None


def guess_marker(channel: str) -> tuple[str, str]:
    """Return marker and role of a channel name; ("?", "?") for a dye or a number, the name itself as ``other`` where it is unknown."""
    text = channel.strip()
    for pattern, marker, role in _KNOWN:
        if re.search(rf"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9])", text, re.IGNORECASE):
            return marker, role
    if not text or all(_DYE.fullmatch(part) for part in re.split(r"[\s_/,;]+", text) if part) or _DYE.fullmatch(text):
        return "?", "?"
    return text, "other"


def guess_panel(channels: tuple[str, ...]) -> list[tuple[str | int, str, str]]:
    """Return (channel, marker, role) for each channel: its number where its name is no name, each marker and role at most once."""
    rows: list[tuple[str | int, str, str]] = []
    for number, channel in enumerate(channels, 1):
        nameless = not channel.strip() or is_slice_label(channel)  # a slice label differs from file to file
        named: str | int = channel if channels.count(channel) == 1 and not nameless else number
        marker, role = ("?", "?") if nameless else guess_marker(channel)
        if marker in [m for _, m, _ in rows]:
            marker = "?"
        if role in ("nuclei", "landmark", "autofluorescence") and role in [r for _, _, r in rows]:
            role = "?"
        rows.append((named, marker, role))
    return rows


def guess_stain(path: str) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """Return the brightfield stain that a path names and its components; ``?`` where it names none."""
    for word, stain, components in STAINS:
        if re.search(rf"(?<![A-Za-z])(?:{word})(?![A-Za-z])", path, re.IGNORECASE):
            return stain, components
    return "?", (("?", "?", "?"),)
