"""`sevhisto paper`: text, checklists, figures and plates of sections for a paper, from what the results folder holds."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.engine import default_jobs
from sevhisto.export.text import inert_frame
from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.key import codes
from sevhisto.io.records import load_view
from sevhisto.io.store import read_table, write_frame
from sevhisto.io.study import Study, load_study
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.picturing import batch_contrasts
from sevhisto.pipeline.reporting import report_inputs
from sevhisto.pipeline.running import is_open, quiet, unaware
from sevhisto.pipeline.stages import Progress
from sevhisto.report.checklists import checklist_markdown, checklists
from sevhisto.report.figures import group_order
from sevhisto.report.inputs import ReportInputs, by_animal, shown_endpoints
from sevhisto.report.methods_text import PaperFacts, methods
from sevhisto.report.montage import montage
from sevhisto.report.paper import File, drawing_files, plots
from sevhisto.report.prose import Picture, markdown, plain
from sevhisto.report.results_text import results as found
from sevhisto.schema import RECORDS, SECTIONS
from sevhisto.schema_evidence import PROVENANCE

FOLDER = "paper"
CHOSEN = (
    "Of each group the animal nearest to its median of the first endpoint, of that the section with the largest core. Bars: 1 mm. "
    "Nothing is tested."
)


def paper(root: Path, jobs: int | None = None, progress: Progress = quiet) -> list[Path]:
    """Write results/paper/ and return the paths of its files: text, checklists, plots at 85 and 174 mm, their numbers, plates of sections.

    Parameters
    ----------
    jobs : processes that read records; one per core where None
    """
    study = load_study(root)
    inputs = report_inputs(study)
    folder = study.results_dir / FOLDER
    folder.mkdir(exist_ok=True)
    written = []
    pictures: dict[str, Picture] = {}
    parts = (_plots(inputs, pictures), _plates(study, inputs, jobs or default_jobs(), pictures), _texts(study, inputs, pictures))
    for name, data in itertools.chain(*parts):
        path = folder / name
        if isinstance(data, bytes):
            write_bytes_atomic(path, data)
        else:
            write_frame(path, inert_frame(data))
        written.append(path)
        progress("files for a paper", len(written), len(written))
    return written


def _plots(inputs: ReportInputs, pictures: dict[str, Picture]) -> Iterator[File]:
    """Yield the files of every plot of the study, and note what its legend says."""
    for plot in plots(inputs):
        pictures[plot.name] = yield from drawing_files(plot.name, plot.draw, inputs.banner_flags, marks=plot.marks)


def _texts(study: Study, inputs: ReportInputs, pictures: dict[str, Picture]) -> Iterator[File]:
    """Yield the files of text: methods, results, and checklists."""
    names = Names.of(codes(study), is_open(study))
    config = study.config if is_open(study) else unaware(study).config
    shown = config.study.model_copy(update={"sampling": names.written(config.study.sampling)})  # free text may hold names
    config = config.model_copy(update={"study": shown})
    people = study.animals.assign(shown=[names.animals[a] for a in study.animals["animal"]]).set_index("shown")
    people = people.map(lambda cell: names.written(cell) if isinstance(cell, str) else cell)
    facts = PaperFacts(inputs, config, people, read_table(study.results_dir / PROVENANCE.name, PROVENANCE))
    intro = "Filled from the run; a draft to be read, not a text to be sent. The numbers in brackets lead to where each is from."
    texts = {
        "methods.md": markdown(f"Methods: {plain(inputs.study_name)}", methods(facts), intro),
        "results.md": markdown(f"Results: {plain(inputs.study_name)}", found(facts, pictures), intro, pictures),
        "checklists.md": checklist_markdown(checklists(facts)),
    }
    for name, text in texts.items():
        yield name, text.encode("utf-8")


def _plates(study: Study, inputs: ReportInputs, jobs: int, pictures: dict[str, Picture]) -> Iterator[File]:
    """Yield the files of one plate per panel and batch that has sections of animals."""
    results = study.results_dir
    listed = read_table(results / "records.csv", RECORDS)
    excluded = inputs.status["status"].isin(("excluded", "failed")).to_numpy()
    listed = listed[(listed["record"] != "") & ~excluded].reset_index(drop=True)
    chosen = typical_sections(listed, inputs, read_table(results / "sections.csv", SECTIONS))
    if chosen.empty:
        return
    contrasts = batch_contrasts(listed, results / "records", jobs)
    for (panel, batch), rows in chosen.groupby(["panel", "batch"], sort=True):
        roles: dict[str, str] = {c.marker: c.role for c in study.config.panels[str(panel)].channels}
        records = [load_view(results / "records" / str(name)) for name in rows["record"]]
        titles = [f"{r['group']}\n{r['animal']}, {r['section']}" for r in rows.to_dict("records")]
        contrast = contrasts[str(panel), str(batch)]
        draw = partial(montage, list(zip(titles, records, strict=True)), contrast, roles)
        name, of = f"plate_{panel}_{batch}", f"Panel {panel}, batch {batch}; n = {len(records)} animals, one per group"
        pictures[name] = yield from drawing_files(name, draw, inputs.banner_flags, ("174mm",), f"{of}. {CHOSEN}")


def typical_sections(listed: pd.DataFrame, inputs: ReportInputs, sections: pd.DataFrame) -> pd.DataFrame:
    """Return one section per group, panel and batch: of the animal nearest its group's median, the one with the largest lesion core.

    The median is that of the first endpoint shown; animals that tie go by name. Column group is added. No eye chooses.
    """
    wide, order = by_animal(inputs), group_order(inputs.groups)
    shown = shown_endpoints(inputs, wide)
    core = sections[sections["zone"] == "core"].drop_duplicates(["animal", "section", "panel"])
    area = (core["zone_um2"] + core["cavity_um2"] + core["masked_um2"]).to_numpy()
    key = ["animal", "section", "panel"]
    own = listed[listed["role"] == "sample"].merge(core[key].assign(core_um2=area), on=key, how="left")
    own["group"] = inputs.groups.astype(str).reindex(own["animal"]).to_numpy()
    picked: list[dict[Hashable, Any]] = []
    for (_, _, group), rows in own.dropna(subset="group").groupby(["panel", "batch", "group"], sort=True):
        members = inputs.groups.index[inputs.groups.astype(str).to_numpy() == group]
        values = wide[shown[0]].reindex(members).astype(float) if shown else pd.Series(0.0, index=members)
        far = (values - values.median()).abs().reindex(rows["animal"]).to_numpy()
        best = rows.assign(far=far).sort_values(["far", "animal", "core_um2"], ascending=[True, True, False], kind="stable")
        picked.append(best.iloc[0].to_dict())
    found = pd.DataFrame(picked, columns=[*own.columns])
    return found.sort_values(["panel", "batch", "group"], key=lambda c: c.map(order.index) if c.name == "group" else c, kind="stable")
