"""Text for a paper of which every number can be traced: sentences, what each rests on, and what the study files do not say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_GAP = re.compile(r"\[TO FILL: ([^\]]+)\]")
_MARKUP = re.compile(r"([\\`*_\[\]<>#|])")


class Statement(NamedTuple):
    """One sentence or two under a heading, and where its numbers are from: file and row, column or setting."""

    heading: str
    text: str
    source: str


def gap(what: str) -> str:
    """Return the place holder for what the study files do not say."""
    return f"[TO FILL: {what}]"


def said(value: object, what: str) -> str:
    """Return a text of the study files, safe in Markdown, or the place holder where it is empty."""
    text = str(value).strip()
    return plain(text) if text and text.casefold() != "nan" else gap(what)


def plain(text: object) -> str:
    """Return text that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def gaps(texts: Iterable[str]) -> list[str]:
    """Return what is to be filled in, each once, in order."""
    return list(dict.fromkeys(what for text in texts for what in _GAP.findall(text)))


def listed(names: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def markdown(title: str, statements: Iterable[Statement], intro: str) -> str:
    """Return the statements as Markdown: paragraphs by heading, a numbered source after each statement, gaps at the end."""
    lines, notes, heading = [f"# {title}", "", intro], [], ""
    everything = list(statements)
    for number, s in enumerate(everything, 1):
        if s.heading != heading:
            lines += ["", f"## {s.heading}", ""]
            heading = s.heading
        lines.append(f"{s.text} [{number}]")
        notes.append(f"{number}. {s.source}")
    missing = gaps(s.text for s in everything)
    lines += ["", "## What the study files do not say", ""]
    lines += [f"- {what}" for what in missing] or ["Nothing that this text needs."]
    return "\n".join([*lines, "", "## Where the numbers are from", "", *notes]) + "\n"
