"""The command line: `sevhisto COMMAND`.

Exit status 0: done. 1: the study or the command is wrong, nothing was run. 2: usage. 3: done, but some sections or formats failed.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sevhisto import __version__
from sevhisto.commands import (
    accept,
    agreement,
    check,
    compare,
    demo,
    diff,
    exclude,
    export,
    init,
    paper,
    phantom,
    plan,
    report,
    review,
    run,
    selftest,
    threshold,
    train,
)
from sevhisto.commands.voice import STOPPED, STUDY_WRONG, add_command, told
from sevhisto.types import SevhistoError

app = typer.Typer(
    name="sevhisto",
    help="From a folder of spinal cord slides to per-animal tables and an answer.",
    epilog="\b\nA study, in order:\n  sevhisto init SLIDES, check, run, review, compare --unblind, report, export\n"
    "Every command has --help with examples, --json, --quiet and --verbose.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS = (
    *(demo, init, check, run, review, accept, threshold, exclude, train, compare, report, paper, export),
    *(agreement, diff, plan, phantom, selftest),
)
for module in COMMANDS:
    name = module.__name__.rpartition(".")[2]
    add_command(app, getattr(module, name), module.EXAMPLES)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False) -> None:
    """From a folder of spinal cord slides to per-animal tables and an answer."""
    if show:
        typer.echo(f"sevhisto {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; problems a user can mend are printed without a traceback."""
    try:
        app()
    except SevhistoError as error:
        told(error.problems)
        sys.exit(STUDY_WRONG)
    except SystemExit as end:
        if end.code == STOPPED:
            typer.echo("\nStopped. Nothing is lost: the same command goes on where this one was.", err=True)
        raise


if __name__ == "__main__":
    main()
