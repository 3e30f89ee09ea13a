"""`sevhisto export`: the results of a study for other programs."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sevhisto.engine import run_tasks
from sevhisto.export.given import GivenSlide, formats, slide_formats
from sevhisto.export.names import FORMATS
from sevhisto.io.files import TEMPORARY, new_folder, remove_unfinished, write_bytes_atomic
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
    """What was written: format to folder, and what a reader must know; of ``all``, what could not be made."""

    folders: dict[str, Path]
    notes: tuple[str, ...]
    blinded: bool
    left_out: tuple[Problem, ...] = ()


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
    to : formats; ``all`` is every one that can be made
    out : where the folders lie; ``results/export`` where None
    jobs : processes: formats of tables take one, slides are shared among the others

    Raises
    ------
    SevhistoError
        An unknown format, a study that was not run; of a format that was asked for by name, or of all of them, a table or library that is
        missing. What was exported before stays.
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
        earlier = [place / name for name in wanted if _is_export(place / name)]
        made = {name: stack.enter_context(new_folder(place / name)) for name in wanted}
        found = _written(study, made, jobs, progress)
        failed = {name: told for name, told in found.items() if isinstance(told, SevhistoError)}
        fatal = failed if len(failed) == len(wanted) else {name: failed[name] for name in failed if name in to}
        if fatal:
            raise SevhistoError(_problems(fatal))
        notes = {name: told for name, told in found.items() if not isinstance(told, SevhistoError)}
        for name in notes:
            lines = [*said, FORMATS.get(name, ""), *notes[name]]
            write_bytes_atomic(made[name] / ABOUT, "".join(f"{line}\n" for line in lines if line).encode())
        for name, kept in _put({place / name: made[name] for name in notes}, earlier).items():
            notes[name] += kept
    told = tuple(f"{name}: {note}" for name in notes for note in notes[name])
    stale = {name: [f"what lies in {place / name} is of an earlier export"] for name in failed if place / name in earlier}
    return ExportSummary({name: place / name for name in notes}, told, not is_open(study), tuple(_problems(failed, stale)))


def _problems(failed: Mapping[str, SevhistoError], more: Mapping[str, Sequence[str]] | None = None) -> list[Problem]:
    """Return what hinders each format, each with what else is to be said of it."""
    every = [(name, p) for name, error in failed.items() for p in error.problems]
    return [replace(p, where=f"{name}: {p.where}", what="; ".join([p.what, *(more or {}).get(name, [])])) for name, p in every]


def _load_formats() -> None:
    from sevhisto.export import cells, imagej, label_images, odc, parquet, prism, qupath, r_script, spreadsheet  # noqa: F401


@contextmanager
def _told(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "close its files in other programs, or check free space and permissions"
        raise SevhistoError(Problem(str(place), f"cannot be written: {error.strerror or error}", remedy)) from error


Found = list[str] | SevhistoError
"""The notes of a format, or why it could not be made."""
Work = Callable[[], dict[str, Found]]
"""Writes formats, or one slide of them."""


def _written(study: Study, made: Mapping[str, Path], jobs: int, progress: Progress) -> dict[str, Found]:
    """Write formats into their folders, and return what is found of each."""
    tables = {name: folder for name, folder in made.items() if name in formats}
    shown = {name: folder for name, folder in made.items() if name in slide_formats}
    work: list[Work] = [partial(_write_tables, study.root, tables)] if tables else []
    work += [partial(_write_slide, make, shown) for make in (given_slides(study) if shown else [])]
    found: dict[int, dict[str, Found]] = {}
    for i, told in run_tasks(_do, work, jobs):
        if isinstance(told, BaseException):
            raise told
        found[i] = told
        progress("parts of the export", len(found), len(work))
    return {name: _joined([found[i][name] for i in sorted(found) if name in found[i]]) for name in made}


def _joined(found: Sequence[Found]) -> Found:
    failed = next((told for told in found if isinstance(told, SevhistoError)), None)
    return failed or list(dict.fromkeys(note for told in found if not isinstance(told, SevhistoError) for note in told))


def _do(work: Work) -> dict[str, Found]:
    _load_formats()
    return work()


def _write_tables(root: Path, folders: Mapping[str, Path]) -> dict[str, Found]:
    given = gather(load_study(root))
    return {name: _tried(partial(formats[name], given, folder)) for name, folder in folders.items()}


def _write_slide(make: Callable[[], GivenSlide], folders: Mapping[str, Path]) -> dict[str, Found]:
    given = make()  # here, so that what it reads goes with it
    return {name: _tried(partial(slide_formats[name], given, folder)) for name, folder in folders.items()}


def _tried(write: Callable[[], list[str]]) -> Found:
    try:
        return write()
    except SevhistoError as error:
        return error


def _is_export(folder: Path) -> bool:
    """Return whether an earlier export is there; SevhistoError where something else is."""
    if not folder.exists():
        return False
    about = folder / ABOUT
    if not (about.is_file() and "made by sevhisto" in about.read_text("utf-8", "replace")):
        raise SevhistoError(Problem(str(folder), "is there and was not made by an export", "name another folder with --out"))
    return True


def _put(made: Mapping[Path, Path], earlier: Sequence[Path]) -> dict[str, list[str]]:
    """Put folders into place, all or none; an earlier export is removed, or kept beside where a person changed files in it.

    Folders are renamed only: one with a file that another program holds cannot be (Windows), and then every one is as it was.
    """
    undo: list[tuple[Path, Path]] = []
    notes: dict[str, list[str]] = {}
    removed = []
    try:
        for folder, new in made.items():
            if folder in earlier:
                changed = _changed(folder)
                aside = _beside(folder) if changed else new.with_name(f".{folder.name}.old{TEMPORARY}")
                folder.replace(aside)
                undo.append((aside, folder))
                if changed:
                    newer = ", ".join(changed[:3])
                    notes[folder.name] = [f"the earlier export is kept as {aside.name}, since files in it are newer: {newer}"]
                else:
                    removed.append(aside)
            new.replace(folder)
            undo.append((folder, new))
    except OSError:
        for now, before in reversed(undo):
            with suppress(OSError):
                now.replace(before)
        raise
    for folder in removed:
        shutil.rmtree(folder, ignore_errors=True)  # else the next export there removes it
    return notes


def _changed(folder: Path) -> list[str]:
    """Return the files of an export that a person changed or added."""
    written = (folder / ABOUT).stat().st_mtime_ns  # the last file of an export
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.stat().st_mtime_ns > written)


def _beside(folder: Path) -> Path:
    return next(path for i in itertools.count(1) if not (path := folder.with_name(f"{folder.name}_before_{i}")).exists())
