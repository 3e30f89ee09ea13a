"""run.json: what a run rests on, and the seal on its tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sevhisto.io.files import all_together, digest, read_sealed, write_sealed
from sevhisto.types import Problem, SevhistoError

RUN_FACTS = "run.json"
"""Says that the tables beside it are of one run, which ended, and which bytes they had."""
SUMS = "tables_sha256"
_AGAIN = "run `sevhisto run` again; it reads no slide twice"


@contextmanager
def sealed(results: Path, facts: dict[str, Any]) -> Iterator[None]:
    """Write tables of a run in this block; all appear together, with `facts` and the checksum of each in run.json."""
    with all_together(results / RUN_FACTS) as sums:
        yield
        write_sealed(results / RUN_FACTS, facts | {SUMS: facts.get(SUMS, {}) | sums()})


def last_facts(results: Path) -> dict[str, Any]:
    """Return run.json of the last run; SevhistoError where there is none, or where its tables are no longer what it wrote."""
    path = results / RUN_FACTS
    if not path.is_file():
        raise SevhistoError(Problem(str(results), "holds no finished run", "run `sevhisto run` on the study first"))
    try:
        facts = read_sealed(path)
        sums = dict(facts.get(SUMS, {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise SevhistoError(Problem(str(path), f"is damaged ({error})", _AGAIN)) from error
    changed = [name for name, sha256 in sorted(sums.items()) if not (results / name).is_file() or digest(results / name) != sha256]
    if changed:
        what = "is not as the run wrote it: edited, or damaged"
        raise SevhistoError([Problem(str(results / name), what, f"{_AGAIN}, and edit copies only") for name in changed])
    return facts
