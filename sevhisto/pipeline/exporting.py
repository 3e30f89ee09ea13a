"""`sevhisto export`: the results of a study for other programs."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from sevhisto import __version__
from sevhisto.columns import Table
from sevhisto.compare.endpoints import choose_endpoints, wide, with_endpoints
from sevhisto.compare.protocols import study_contrasts
from sevhisto.export.given import Given, PlacedSection, PlacedSlide, formats
from sevhisto.export.names import FORMATS
from sevhisto.io.annotations import Outline, kind_of, read_outlines
from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.key import codes
from sevhisto.io.records import load_view
from sevhisto.io.store import read_table
from sevhisto.io.study import Study, load_study
from sevhisto.pipeline.further import with_composite
from sevhisto.pipeline.grouping import study_groups
from sevhisto.pipeline.running import frozen_now, is_open, last_facts, quiet, stamp_of
from sevhisto.pipeline.stages import Progress
from sevhisto.pipeline.tables import Names
from sevhisto.registry import did_you_mean
from sevhisto.rings import Shape, nested
from sevhisto.schema import ANIMALS, CELLS, EXPOSURE, RECORDS, TABLES
from sevhisto.schema_evidence import EVIDENCE, EXCLUSION_BALANCE, ODC_SCI_EXCLUSIONS
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
    return [name for name in FORMATS if name in formats] + [name for name in formats if name not in FORMATS]


def export(root: Path, to: Sequence[str], out: Path | None = None, progress: Progress = quiet) -> ExportSummary:
    """Write the results of a study for other programs, each format into a folder of its own, which replaces an earlier one.

    Parameters
    ----------
    root : the study's folder
    to : formats; ``all`` is every one
    out : where the folders lie; ``results/export`` where None

    Raises
    ------
    SevhistoError
        An unknown format, a study that was not run, a table or library that is missing. Formats written before it stay.
    """
    known = export_formats()
    wanted = list(dict.fromkeys(known if "all" in to else to))
    wrong = [Problem("--to", f"unknown format {name!r}", did_you_mean(name, [*known, "all"])) for name in wanted if name not in known]
    if wrong or not wanted:
        raise SevhistoError(wrong or [Problem("--to", "names no format", f"give one of {', '.join([*known, 'all'])}")])
    given = gather(load_study(root))
    place = out or root / "results" / FOLDER
    folders, notes = {}, []
    for i, name in enumerate(wanted):
        progress("formats", i, len(wanted))
        folders[name] = place / name
        notes += [f"{name}: {note}" for note in _write(name, given, folders[name])]
    progress("formats", len(wanted), len(wanted))
    return ExportSummary(folders, tuple(notes), given.blinded)


def _load_formats() -> None:
    from sevhisto.export import cells, imagej, label_images, odc, parquet, prism, qupath, r_script, spreadsheet  # noqa: F401


def _write(name: str, given: Given, folder: Path) -> list[str]:
    """Write one format beside its place and then move it there whole: what was exported before goes only when this is done."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder.parent))
        try:
            made.chmod(0o755)  # mkdtemp gives 0700; results are shared in a lab
            notes = formats[name](given, made)
            lines = [*given.notes(), FORMATS.get(name, ""), *notes]
            write_bytes_atomic(made / ABOUT, "".join(f"{line}\n" for line in lines if line).encode())
            notes += _make_room(folder)
            made.replace(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        remedy = "close its files in other programs, or check free space and permissions"
        raise SevhistoError(Problem(str(folder), f"cannot be written: {error.strerror or error}", remedy)) from error
    return notes


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


# ---------------------------------------------------------------- what exports are made of


class _Tables(Mapping[str, tuple[Table, pd.DataFrame]]):
    """The tables of results/, each read when it is asked for."""

    def __init__(self, results: Path, opened: bool) -> None:
        hidden = (CELLS,) if opened else (CELLS, EXPOSURE, EXCLUSION_BALANCE)  # cells may not fit into memory; a profile tells the group
        self._results = results
        self._known = {t.name: t for t in (*TABLES, *EVIDENCE) if t not in hidden and (results / t.name).is_file()}
        self._read: dict[str, pd.DataFrame] = {}

    def __getitem__(self, name: str) -> tuple[Table, pd.DataFrame]:
        table = self._known[name]
        if name not in self._read:
            self._read[name] = read_table(self._results / name, table)
        return table, self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def gather(study: Study) -> Given:
    """Return a study that was run as exports take it: under codes until its key is open. SevhistoError where it was not run."""
    from sevhisto.report.words import endpoint_words

    results, opened = study.results_dir, is_open(study)
    facts = last_facts(results)
    key = codes(study)
    names = Names.of(key, opened)
    groups, config, people = study_groups(study, key, names)
    left_out = list(people.index[people["excluded"]])
    kept = groups[~groups.index.isin(left_out)]
    animals = read_table(results / ANIMALS.name, ANIMALS)
    kept = kept[kept.index.isin(set(animals["animal"]))]
    if len(kept):
        animals = with_composite(animals, kept, config, opened)
    long, flat = with_endpoints(animals), wide(animals)
    primary, secondary = choose_endpoints(config, flat.columns)
    words = {name: endpoint_words(name) for name in flat.columns[1:]}
    units = dict(zip(long["endpoint"], long["unit"], strict=True))
    motor = study.motor[study.motor["test"] == config.motor.test]
    return Given(
        study=names.written(study.config.study.name),
        blinded=not opened,
        stamp=tuple(sorted(stamp_of(study, frozen_now(study, facts)))),
        made={"version": __version__, "finished": str(facts["finished"])},
        tables=_Tables(results, opened),
        cells=results / CELLS.name,
        animals=long,
        wide=flat,
        groups=kept,
        plan=study_contrasts(config, set(kept)) if len(kept) else [],
        roles=dict.fromkeys(primary, "primary") | dict.fromkeys(secondary, "secondary"),
        titles={name: (word.label, units[name]) for name, word in words.items()},
        motor=motor.assign(animal=[names.animals[a] for a in motor["animal"]])[["animal", "day", "score"]].reset_index(drop=True),
        people=_people(study, names),
        exclusions=read_table(results / ODC_SCI_EXCLUSIONS.name, ODC_SCI_EXCLUSIONS),
        config=config,
        slides=_slides(study, names),
    )


def _people(study: Study, names: Names) -> pd.DataFrame:
    """Return animals.csv by shown name; while blind only what cannot tell the group."""
    shown = study.animals if names.key is None else study.blinded().animals
    index = pd.Index([names.animals[a] for a in shown["animal"]], name="animal", dtype=object)
    people = shown.drop(columns=["animal", "protocol", "excluded", "exclusion_reason"], errors="ignore").set_axis(index, axis=0)
    texts = [c for c in people if not pd.api.types.is_numeric_dtype(people[c])]
    return people.assign(**{str(c): [names.written(str(v)) for v in people[c]] for c in texts}).sort_index()


def _slides(study: Study, names: Names) -> list[PlacedSlide]:
    """Return every scene with a measured section, in file order."""
    listed = read_table(study.results_dir / RECORDS.name, RECORDS)
    keys = listed[["animal", "section", "panel"]].itertuples(index=False, name=None)
    records = dict(zip(keys, listed["record"].astype(str), strict=True))
    found: dict[tuple[str, int], list[PlacedSection]] = {}
    for line in study.slides.to_dict("records"):
        place = (*names.shown(line["animal"], line["section"]), line["panel"])
        record = records.get(place, "")
        if record:
            path = study.results_dir / "records" / record
            told = (line["role"], float(line["position_um"]), record)
            found.setdefault((line["file"], int(line["scene"])), []).append(PlacedSection(*place, *told, partial(load_view, path)))
    return [PlacedSlide(_slide_name(names.files[f], s), sections, _drawn(study, f, s)) for (f, s), sections in found.items()]


def _slide_name(file: str, scene: int) -> str:
    """Return the name that outlines of a scene have in corrections/."""
    return file.replace("*", "all") + ("" if scene == 1 else f"_scene{scene}")


def _drawn(study: Study, file: str, scene: int) -> list[Shape]:
    """Return white matter and excluded areas as they were drawn; lesions come from the records."""
    path = study.corrections(file, scene)
    outlines = [] if path is None else read_outlines(path)
    return [Shape(_drawn_name(o), nested(o.polygons, o.holes)) for o in outlines if kind_of(o.name) in ("white_matter", "excluded")]


def _drawn_name(outline: Outline) -> str:
    if outline.kind == "white_matter":
        return "white matter"
    return f"exclude: {outline.reason}" if outline.reason else "exclude"
