"""`sevhisto export`: the results of a study for other programs."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sevhisto.engine import run_tasks
from sevhisto.export.given import GivenSlide, formats, slide_formats
from sevhisto.export.names import FORMATS
from sevhisto.io.files import new_folder, remove_unfinished, write_bytes_atomic
from sevhisto.io.lock import held
from sevhisto.io.study import Study, load_study
from sevhisto.pipeline.gathering import gather, given_slides, study_notes
from sevhisto.pipeline.running import is_open, quiet
from sevhisto.pipeline.stages import Progress
from sevhisto.registry import did_you_mean
from sevhisto.types import Problem, SevhistoError

FOLDER = "export"
"""Where exports lie in results/, a folder each."""
ABOUT = "about.txt"


@dataclass(frozen=True)
class ExportSummary:
    """What was written: format to folder, and what a reader must know."""

    folders: dict[str, Path]
    notes: tuple[str, ...]
    blinded: bool


def export_formats() -> list[str]:
    """Return the names of all formats, in the order in which they are written."""
    _load_formats()
    known = [*formats, *slide_formats]
    return [name for name in FORMATS if name in known] + [name for name in known if name not in FORMATS]


def export(root: Path, to: Sequence[str], out: Path | None = None, jobs: int = 1, progress: Progress = quiet) -> ExportSummary:
    """Write the results of a study for other programs, each format into a folder of its own, which replaces an earlier one.

    Parameters
    ----------
    root : the study's folder
    to : formats; ``all`` is every one
    out : where the folders lie; ``results/export`` where None
    jobs : processes: formats of tables take one, slides are shared among the others

    Raises
    ------
    SevhistoError
        An unknown format, a study that was not run, a table or library that is missing. What was exported before stays.
    """
    known = export_formats()
    wanted = list(dict.fromkeys(known if "all" in to else to))
    wrong = [Problem("--to", f"unknown format {name!r}", did_you_mean(name, [*known, "all"])) for name in wanted if name not in known]
    if wrong or not wanted:
        raise SevhistoError(wrong or [Problem("--to", "names no format", f"give one of {', '.join([*known, 'all'])}")])
    place = out or root / "results" / FOLDER
    study = load_study(root)
    said = study_notes(study)
    with _told(place), held(place), ExitStack() as stack:
        remove_unfinished(place)
        made = {name: stack.enter_context(new_folder(place / name)) for name in wanted}
        found = _written(study, made, jobs, progress)
        for name in wanted:
            lines = [*said, FORMATS.get(name, ""), *found[name]]
            write_bytes_atomic(made[name] / ABOUT, "".join(f"{line}\n" for line in lines if line).encode())
            found[name] += _make_room(place / name)
            made[name].replace(place / name)
    told = tuple(f"{name}: {note}" for name in wanted for note in found[name])
    return ExportSummary({name: place / name for name in wanted}, told, not is_open(study))


def _load_formats() -> None:
    from sevhisto.export import cells, imagej, label_images, odc, parquet, prism, qupath, r_script, spreadsheet  # noqa: F401


@contextmanager
def _told(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "close its files in other programs, or check free space and permissions"
        raise SevhistoError(Problem(str(place), f"cannot be written: {error.strerror or error}", remedy)) from error


Work = Callable[[], dict[str, list[str]]]
"""Writes formats, or one slide of them; returns the notes of each."""


def _written(study: Study, made: Mapping[str, Path], jobs: int, progress: Progress) -> dict[str, list[str]]:
    """Write formats into their folders, and return the notes of each."""
    tables = {name: folder for name, folder in made.items() if name in formats}
    shown = {name: folder for name, folder in made.items() if name in slide_formats}
    work: list[Work] = [partial(_write_tables, study.root, tables)] if tables else []
    work += [partial(_write_slide, make, shown) for make in (given_slides(study) if shown else [])]
    found: dict[int, dict[str, list[str]]] = {}
    for i, told in run_tasks(_do, work, jobs):
        if isinstance(told, BaseException):
            raise told
        found[i] = told
        progress("parts of the export", len(found), len(work))
    return {name: list(dict.fromkeys(n for i in sorted(found) for n in found[i].get(name, []))) for name in made}


def _do(work: Work) -> dict[str, list[str]]:
    _load_formats()
    return work()


def _write_tables(root: Path, folders: Mapping[str, Path]) -> dict[str, list[str]]:
    given = gather(load_study(root))
    return {name: formats[name](given, folder) for name, folder in folders.items()}


def _write_slide(make: Callable[[], GivenSlide], folders: Mapping[str, Path]) -> dict[str, list[str]]:
    given = make()  # here, so that what it reads goes with it
    return {name: slide_formats[name](given, folder) for name, folder in folders.items()}


def _make_room(folder: Path) -> list[str]:
    """Take an earlier export away; where a person changed or added files in it, only aside, and say so.

    SevhistoError where the folder is no export.
    """
    if not folder.exists():
        return []
    about = folder / ABOUT
    if not (about.is_file() and "made by sevhisto" in about.read_text("utf-8")):
        raise SevhistoError(Problem(str(folder), "is there and was not made by an export", "name another folder with --out"))
    written = about.stat().st_mtime_ns  # the last file of an export
    changed = sorted(p.name for p in folder.rglob("*") if p.is_file() and p.stat().st_mtime_ns > written)
    if not changed:
        shutil.rmtree(folder)
        return []
    aside = next(path for i in itertools.count(1) if not (path := folder.with_name(f"{folder.name}_before_{i}")).exists())
    folder.replace(aside)
    return [f"the earlier export is kept as {aside.name}, since files in it are newer: {', '.join(changed[:3])}"]
