"""`sevhisto selftest`."""

from __future__ import annotations

from typing import Annotated

import typer

from sevhisto.commands.voice import answer, found
from sevhisto.types import Problem, SevhistoError

EXAMPLES = ("sevhisto selftest", "sevhisto selftest --codecs")


def selftest(
    codecs_only: Annotated[bool, typer.Option("--codecs", help="Codecs only: seconds, not a minute.")] = False,
) -> None:
    """Try every codec on pictures of known pixels, and measure a small synthetic study of known truth, on this machine."""
    from sevhisto.pipeline import selftest as try_all

    said = []
    for told in try_all(codecs_only):
        said.append({"state": told.state, "what": told.what, "said": told.said})
        answer(f"{told.state:<7} {told.what:<28} {told.said}")
    found(trials=said)
    wrong = sum(s["state"] == "wrong" for s in said)
    if wrong:
        raise SevhistoError(Problem("this machine", f"{wrong} wrong", "measure nothing on it before they are mended (see constraints.txt)"))
    answer("This machine reads and measures as it should.")
