"""`sevhisto selftest`."""

from __future__ import annotations

from typing import Annotated

import typer

WRONG = 1


def selftest(
    codecs_only: Annotated[bool, typer.Option("--codecs", help="Codecs only: seconds, not a minute.")] = False,
) -> None:
    """Try every codec on pictures of known pixels, and measure a small synthetic study of known truth, on this machine."""
    from sevhisto.pipeline import selftest as try_all

    wrong = 0
    for told in try_all(codecs_only):
        wrong += told.state == "wrong"
        typer.echo(f"{told.state:<7} {told.what:<28} {told.said}")
    if wrong:
        typer.echo(f"{wrong} wrong: measure nothing on this machine before they are mended (see constraints.txt).", err=True)
        raise typer.Exit(WRONG)
    typer.echo("This machine reads and measures as it should.")
