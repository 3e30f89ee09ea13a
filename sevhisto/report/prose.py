"""Text for a paper of which every number can be traced: sentences, what each rests on, and what the study files do not say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

_GAP = re.compile(r"\[TO FILL: ([^\]]+)\]")
_MARKUP = re.compile(r"([\\`*_\[\]<>#|])")


class Statement(NamedTuple):
    """One sentence or two under a heading, where its numbers are from (file and row, column or setting), and the figures that it cites."""

    heading: str
    text: str
    source: str
    figures: tuple[str, ...] = ()


class Picture(NamedTuple):
    """A figure of a paper: its files (the one to show first), what it shows, and what its marks, bars and tests are."""

    files: tuple[str, ...]
    shows: str
    marks: str


def gap(what: str) -> str:
    """Return the place holder for what the study files do not say."""
    return f"[TO FILL: {what}]"


def said(value: object, what: str) -> str:
    """Return a text of the study files, safe in Markdown, or the place holder where it is empty."""
    text = str(value).strip()
    return plain(text) if text and text.casefold() != "nan" else gap(what)


def _shown(number: str, picture: Picture) -> Iterator[str]:
    """Yield a heading, which is where citations lead, the figure, its legend, and links to its files."""
    stem = picture.files[-1].removesuffix(".csv")
    files = ", ".join(f"[{file.removeprefix(stem).lstrip('_.')}]({file})" for file in picture.files)
    yield from ("", f"### Figure {number}", "", f"![Figure {number}]({picture.files[0]})", "")
    yield from (f"**Figure {number}.** {plain(picture.shows)} {plain(picture.marks)}", "", f"Files: {files}.")


def plain(text: object) -> str:
    """Return text that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def gaps(texts: Iterable[str]) -> list[str]:
    """Return what is to be filled in, each once, in order."""
    return list(dict.fromkeys(what for text in texts for what in _GAP.findall(text)))


def listed(names: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def markdown(title: str, statements: Iterable[Statement], intro: str, pictures: Mapping[str, Picture] | None = None) -> str:
    """Return the statements as Markdown: paragraphs by heading, a numbered source after each statement, figures and gaps at the end.

    Parameters
    ----------
    pictures : the figures that there are, by name; they are numbered in the order in which the statements cite them, others are not shown
    """
    lines, notes, heading = [f"# {title}", "", intro], [], ""
    everything = list(statements)
    cited: dict[str, str] = {}
    for number, s in enumerate(everything, 1):
        if s.heading != heading:
            lines += ["", f"## {s.heading}", ""]
            heading = s.heading
        numbers = [cited.setdefault(name, str(len(cited) + 1)) for name in s.figures if name in (pictures or {})]
        links = listed([f"[{n}](#figure-{n})" for n in numbers])
        word = "Figure" if len(numbers) == 1 else "Figures"
        lines.append(f"{s.text}{f' ({word} {links})' if links else ''} [{number}]")
        notes.append(f"{number}. {s.source}")
    if pictures and cited:
        lines += ["", "## Figures", *(line for name, n in cited.items() for line in _shown(n, pictures[name]))]
    missing = gaps(s.text for s in everything)
    lines += ["", "## What the study files do not say", ""]
    lines += [f"- {what}" for what in missing] or ["Nothing that this text needs."]
    return "\n".join([*lines, "", "## Where the numbers are from", "", *notes]) + "\n"
