"""How every command speaks: plain lines, one JSON object, or hardly a word; and how a command is made of a function.

What is answered goes to stdout, what merely accompanies it (progress, problems) to stderr. Colours are for terminals only.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import math
import os
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from sevhisto.types import Problem, SevhistoError

STUDY_WRONG, SOME_FAILED, STOPPED = 1, 3, 130
MAX_SHOWN = 20
"""Lines of a list that are shown without --verbose."""


@dataclass
class Voice:
    """How the command of this process speaks, and in JSON what it has said.

    Attributes
    ----------
    command : its name
    lines, notes, facts : what it answered, what a reader must know besides, and what it found, for JSON
    following : what to do next
    """

    command: str = ""
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    started: float = 0.0
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    following: list[str] = field(default_factory=list)


voice = Voice()


def answer(text: str = "") -> None:
    """Print a line that was asked for; in JSON keep it."""
    voice.lines.append(text)
    if not voice.as_json:
        typer.echo(text)


def answer_in_short(lines: Iterable[str], sentences: Iterable[str]) -> None:
    """Print lines that were asked for; in JSON keep the sentences that say the same."""
    voice.lines += sentences
    if not voice.as_json and (shown := "\n".join(lines)):
        typer.echo(shown)


def width() -> int:
    """Return the letters in a line of the terminal; a hundred where there is none."""
    return max(shutil.get_terminal_size((100, 24)).columns, 60)


def say(text: str) -> None:
    """Print a line of what was done; not with --quiet."""
    voice.lines.append(text)
    if not (voice.as_json or voice.quiet):
        typer.echo(text)


def note(text: str) -> None:
    """Print what a reader must know besides; not with --quiet."""
    voice.notes.append(text)
    if not (voice.as_json or voice.quiet):
        if sys.stdout.isatty() or os.environ.get("COLUMNS"):
            text = textwrap.fill(text, width() - 6, break_long_words=False, break_on_hyphens=False).replace("\n", "\n      ")
        typer.echo(f"{_coloured('note', 'yellow')}: {text}")


def listed(lines: Sequence[str], kind: str, more: str) -> None:
    """Print a list of one kind, its first lines only without --verbose; `more` says where the others are."""
    shown = lines if voice.verbose else lines[:MAX_SHOWN]
    for line in shown:
        say(f"  {kind}: {line}")
    if len(shown) < len(lines):
        say(f"  and {len(lines) - len(shown)} more: {more}")


def next_step(text: str) -> None:
    """Say what to do next, at the end."""
    voice.following.append(text)


def typed(path: object) -> str:
    """Return a path as it is typed in a shell: one with spaces stands in quotes."""
    text = str(path)
    if os.name != "nt":
        return shlex.quote(text)
    return f'"{text}"' if " " in text else text


def found(**facts: Any) -> None:
    """Keep facts for JSON; paths, tables and numbers become plain."""
    voice.facts |= {name: _plain(value) for name, value in facts.items()}


def told(problems: Iterable[Problem]) -> None:
    """Print problems to stderr, or as JSON."""
    every = list(problems)
    if voice.as_json:
        _print_json(STUDY_WRONG, problems=[{"where": p.where, "what": p.what, "remedy": p.remedy} for p in every])
        return
    n = len(every)
    typer.echo(_coloured(f"{n} problems:" if n > 1 else "Problem:", "red", err=True), err=True)
    for problem, after in itertools.zip_longest(every, every[1:]):
        again = after is not None and (after.what, after.remedy) == (problem.what, problem.remedy)
        typer.echo(f"  {replace(problem, remedy='') if again else problem}", err=True)  # one remedy for all that are wrong alike


def _print_json(status: int, **more: Any) -> None:
    said = {"lines": [line for line in voice.lines if line], "notes": voice.notes, "next": voice.following}
    typer.echo(json.dumps({"command": voice.command, "status": status, **voice.facts, **said, **more}, ensure_ascii=True, allow_nan=False))


def _coloured(text: str, colour: str, err: bool = False) -> str:
    stream = sys.stderr if err else sys.stdout
    return typer.style(text, fg=colour, bold=True) if stream.isatty() and not os.environ.get("NO_COLOR") else text


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return [_plain(row) for row in value.to_dict("records")]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---------------------------------------------------------------- from a function to a command

_SPOKEN: dict[str, Any] = {
    "as_json": Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for other programs.")],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Only what was asked for, and problems.")],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Every line of long lists; time and memory at the end.")],
}
"""Options that every command has."""


class _Command(TyperCommand):
    """A command that tells who typed a name with a space, the commonest slip in a shell, what to do."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return list(super().parse_args(ctx, args))
        except typer.BadParameter.__base__ as error:  # type: ignore[misc]
            if "unexpected extra argument" in str(error):
                error.message += f'\nA name with a space stands in quotes: "{" ".join(w for w in given if not w.startswith("-"))}"'
            raise


def add_command(app: typer.Typer, work: Callable[..., None], examples: Sequence[str]) -> None:
    """Make a command of a function: its help is its docstring with `examples`, and it speaks as its options say."""
    name = work.__name__

    @functools.wraps(work)
    def command(*, as_json: bool, quiet: bool, verbose: bool, **given: Any) -> None:
        _begin(name, as_json, quiet, verbose)
        status = 0
        try:
            work(**given)
        except typer.Exit as end:
            status = end.exit_code
        _end(status)
        if status:
            raise typer.Exit(status)

    hints = get_type_hints(work, include_extras=True)  # the annotations of the modules are text
    own = [p.replace(annotation=hints[n]) for n, p in inspect.signature(work).parameters.items()]
    extra = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=a) for n, a in _SPOKEN.items()]
    command.__signature__ = inspect.Signature([*own, *extra])  # type: ignore[attr-defined]
    command.__annotations__ = {**hints, **_SPOKEN}
    del command.__wrapped__
    epilog = "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)
    app.command(name, cls=_Command, epilog=epilog)(command)


def _begin(name: str, as_json: bool, quiet: bool, verbose: bool) -> None:
    if quiet and verbose:
        raise SevhistoError(Problem("--quiet", "and --verbose ask for opposite things", "give one of them"))
    vars(voice).update(vars(Voice(name, as_json, quiet, verbose, time.monotonic())))


def _end(status: int) -> None:
    if voice.verbose:
        found(seconds_in_all=round(time.monotonic() - voice.started, 1), peak_memory_mb=_peak_mb())
        peak = f", {voice.facts['peak_memory_mb']} MB at most in this process" if voice.facts["peak_memory_mb"] else ""
        say(f"{voice.facts['seconds_in_all']:g} s{peak}.")
    if voice.as_json:
        _print_json(status)
    elif not voice.quiet:
        for step in voice.following:
            typer.echo(f"{_coloured('Next', 'cyan')}: {step}")


def _peak_mb() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024**2 if sys.platform == "darwin" else 1024))
