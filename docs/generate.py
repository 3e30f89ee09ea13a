"""Write the tables of docs/ from the code that defines them; ``--check`` only says whether they are up to date."""

from __future__ import annotations

import json
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal

import annotated_types as at
import messages
import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sevhisto.cli import app
from sevhisto.columns import Table
from sevhisto.config import Settings, StudyConfig
from sevhisto.io.slides import EXTRAS, readers
from sevhisto.metrics import METRIC_UNITS
from sevhisto.registry import FLAGS
from sevhisto.schema import TABLES
from sevhisto.schema_evidence import EVIDENCE

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py from the code; change it there. -->"
KINDS = {str: "text", float: "number", int: "whole number", bool: "true or false"}
LEVELS = {"section": "of one section", "animal": "of one animal", "result": "of a comparison or relation"}


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table; a bar inside a cell is escaped."""
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ---------------------------------------------------------------- settings


def kind_of(annotation: Any) -> str:
    """Return an annotation in words: ``list of number``, ``"a" or "b"``."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(a)}`" for a in args)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(kind_of(a) for a in args if a is not type(None))
    if origin is list:
        return f"list of {kind_of(args[0])}"
    if origin is tuple:
        return f"[{', '.join(kind_of(a) for a in args)}]"
    if origin is dict:
        return f"table: name = {kind_of(args[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table, see below"
    return KINDS[annotation]


def bounds_of(field: FieldInfo) -> str:
    """Return a field's bounds in words; empty where it has none."""
    found = []
    for limit in field.metadata:
        match limit:
            case at.Gt():
                found.append(f"> {limit.gt:g}")
            case at.Ge():
                found.append(f">= {limit.ge:g}")
            case at.Lt():
                found.append(f"< {limit.lt:g}")
            case at.Le():
                found.append(f"<= {limit.le:g}")
            case at.MinLen():
                found.append("not empty" if limit.min_length == 1 else f"at least {limit.min_length} entries")
    return ", ".join(found)


def default_of(field: FieldInfo) -> str:
    """Return a field's default as TOML would have it."""
    if field.is_required():
        return "**required**"
    return "none" if field.default is None else f"`{json.dumps(field.default)}`"


def inner_models(annotation: Any) -> list[type[Settings]]:
    """Return the settings models inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [m for a in typing.get_args(annotation) for m in inner_models(a)]


def all_models(model: type[Settings]) -> list[type[Settings]]:
    """Return the models of the sections under `model`, in the order of the file."""
    return [m for f in model.model_fields.values() for inner in inner_models(f.annotation) for m in (inner, *all_models(inner))]


def settings_section(model: type[Settings]) -> str:
    """Return heading, sentence and table of one section of study.toml."""
    heading, _, sentence = (model.__doc__ or "").strip().partition(": ")
    rows = []
    for name, field in model.model_fields.items():
        unit = field.json_schema_extra.get("unit", "") if isinstance(field.json_schema_extra, dict) else ""
        rows.append([f"`{name}`", kind_of(field.annotation), str(unit), default_of(field), bounds_of(field), field.description or ""])
    table = markdown_table(["setting", "kind", "unit", "default", "bounds", "what it is"], rows)
    return f"## `{heading}`\n\n{sentence[:1].upper()}{sentence[1:]}\n\n{table}\n"


def settings_page() -> str:
    """Return the text of docs/settings.md."""
    intro = (
        "# Settings: study.toml\n\n"
        f"{NOTE}\n\n"
        "Every setting, with its default. A key that is not listed here is an error, and so is a value outside its bounds;\n"
        "`sevhisto check` names all of them at once. `X` stands for a name of your choice; double brackets may be given many times."
    )
    return "\n\n".join([intro, *(settings_section(m).strip() for m in all_models(StudyConfig))]) + "\n"


# ---------------------------------------------------------------- tables


def table_section(table: Table) -> str:
    """Return heading and columns of one table."""
    rows = [[f"`{c.name}`", c.kind, c.unit, "yes" if c.additive else "", "" if c.required else "yes", c.doc] for c in table.columns]
    lines = [f"## {table.name}", f"One row per {table.row}."]
    if table.key:
        lines.append(f"No two rows share {', '.join(f'`{k}`' for k in table.key)}.")
    if table.open_ended:
        lines.append("Further columns are allowed.")
    head = f"{lines[0]}\n\n{' '.join(lines[1:])}"
    return f"{head}\n\n{markdown_table(['column', 'kind', 'unit', 'can be summed', 'optional', 'what it is'], rows)}"


def tables_page() -> str:
    """Return the text of docs/tables.md."""
    intro = (
        "# Tables and flags\n\n"
        f"{NOTE}\n\n"
        "The sheets that describe a study, and the tables under `results/`. A column may be summed over rows only where it says so:\n"
        "ratios are made once per animal, as ratios of sums. An empty number means *not measurable*, and a flag says why;\n"
        "0 is a measurement."
    )
    metrics = "## Metrics of animals.csv\n\n" + markdown_table(["metric", "unit"], [[f"`{m}`", u] for m, u in METRIC_UNITS.items()])
    flags = "## Flags\n\nA cell may hold several, joined by `;`.\n\n" + markdown_table(
        ["flag", "says something", "meaning"], [[f"`{f.name}`", LEVELS[f.level], f.meaning] for f in FLAGS.values()]
    )
    return "\n\n".join([intro, *(table_section(t) for t in (*TABLES, *EVIDENCE)), metrics, flags]) + "\n"


# ---------------------------------------------------------------- formats

FORMATS = (
    # format, suffixes, library, checked with, remarks
    ("OME-TIFF, BigTIFF", (".ome.tif", ".ome.tiff", ".btf"), "tifffile", "synthetic files", "companion files beside it; SubIFD pyramids"),
    ("ImageJ hyperstack, plain TIFF", (".tif", ".tiff"), "tifffile", "real files", "a pixel size only where it is no screen resolution"),
    (
        "one TIFF per channel",
        (".tif", ".tiff"),
        "tifffile",
        "synthetic files",
        "in slides.csv as `R12_s3_*.tif`; the star names the channels",
    ),
    ("Aperio SVS", (".svs",), "tifffile", "a real file", "brightfield"),
    ("Akoya QPTIFF", (".qptiff",), "tifffile", "synthetic files only", ""),
    ("Leica SCN", (".scn",), "tifffile", "synthetic files only", ""),
    ("Hamamatsu NDPI", (".ndpi",), "tifffile", "synthetic files only", "brightfield; parts too large to read by region are refused"),
    ("Nikon ND2", (".nd2",), "nd2", "real files", "Z stacks as their maximum; time series are refused"),
    ("Leica LIF", (".lif",), "liffile", "synthetic files only", "images are scenes; tiles that were not merged are refused"),
    ("Zeiss CZI", (".czi",), "slideio", "a real file with two scenes and Z", "full resolution only, raw or JPEG XR; colour is refused"),
    ("Olympus VSI", (".vsi",), "slideio", "**untested**: no file was at hand", "full resolution only; colour is refused"),
    ("OME-Zarr 0.4 and 0.5", (".zarr",), "zarr", "real files of both versions", "a folder; a missing chunk is an error"),
    ("MIRAX, Ventana", (".mrxs", ".bif"), "OpenSlide", "the reader with a real SVS; no such file was at hand", "brightfield"),
    (
        "DICOM whole slide",
        (".dcm",),
        "pydicom",
        "synthetic files only",
        "name the largest file; channels and smaller copies of its series are found beside it",
    ),
    ("JPEG, PNG", (".jpg", ".jpeg", ".png"), "imagecodecs", "real files", "no calibration: give um_per_px"),
)


def formats_page() -> str:
    """Return the text of docs/formats.md; formats without a reader are left out."""
    rows = []
    for name, suffixes, library, checked, remarks in FORMATS:
        here = [s for s in suffixes if s in readers]
        extra = EXTRAS.get(here[0], "") if here else ""
        if here:
            rows.append([name, " ".join(f"`{s}`" for s in here), library, f"`{extra}`" if extra else "base", checked, remarks])
    intro = (
        "# Formats\n\n"
        f"{NOTE}\n\n"
        "One reader per row. `pip install 'sevhisto[EXTRA]'` installs what a reader needs, `formats` everything; a missing one is named\n"
        "in the error. Pixels are measured at full resolution; the smaller copies that a file holds serve overviews only, and only where\n"
        "they agree with the image. What is checked before a library opens a file, and which\n"
        "damage is told: [reliability.md](reliability.md). Colour of more than 8 bits is scaled by its range to 8 when it is read.\n"
        "A new format is one registered function (`sevhisto.io.slides.readers`)."
    )
    return intro + "\n\n" + markdown_table(["format", "suffix", "library", "extra", "checked with", "remarks"], rows) + "\n"


# ---------------------------------------------------------------- errors

CHAPTERS = {
    "The command line": ("sevhisto/commands/", "sevhisto/types.py", "sevhisto/registry.py"),
    "Settings: study.toml": (
        *("sevhisto/mistakes.py", "sevhisto/config.py", "sevhisto/panels.py", "sevhisto/treatment.py", "sevhisto/settings.py"),
        *("sevhisto/rules.py", "sevhisto/io/toml_text.py", "sevhisto/pipeline/settings_form.py", "sevhisto/pipeline/own_segmenter.py"),
    ),
    "The folder and its sheets": (
        *("sevhisto/io/study.py", "sevhisto/io/sheets.py", "sevhisto/io/crosscheck.py", "sevhisto/io/deliveries.py", "sevhisto/columns.py"),
        *("sevhisto/io/draft.py", "sevhisto/pipeline/copying.py"),
    ),
    "Outlines, labels and classifiers": (
        *("sevhisto/io/annotations.py", "sevhisto/io/rois.py", "sevhisto/io/outlines.py", "sevhisto/io/labels.py", "sevhisto/io/models.py"),
        *("sevhisto/io/training.py", "sevhisto/io/versions.py", "sevhisto/imaging/labels.py", "sevhisto/imaging/classify.py"),
        *("sevhisto/pipeline/training.py", "sevhisto/pipeline/teaching.py", "sevhisto/pipeline/editing.py"),
    ),
    "Exclusions, acceptances and thresholds by hand": (
        *("sevhisto/io/exclusions.py", "sevhisto/io/accepted.py", "sevhisto/io/hand_thresholds.py", "sevhisto/io/journals.py"),
        *("sevhisto/pipeline/excluding.py", "sevhisto/pipeline/accepting.py"),
    ),
    "Comparing": ("sevhisto/compare/", "sevhisto/pipeline/answering.py", "sevhisto/pipeline/planning.py", "sevhisto/pipeline/opening.py"),
    "Reports, exports and other results": (
        *("sevhisto/export/", "sevhisto/report/", "sevhisto/pipeline/exporting.py", "sevhisto/pipeline/differing.py"),
        *(
            "sevhisto/pipeline/agreeing.py",
            "sevhisto/pipeline/readings.py",
            "sevhisto/pipeline/plotting.py",
            "sevhisto/pipeline/reviewing.py",
        ),
        *("sevhisto/pipeline/view_figures.py", "napari_plugin/"),
    ),
    "Running": (
        *(
            "sevhisto/engine/",
            "sevhisto/decide/",
            "sevhisto/pipeline/",
            "sevhisto/io/lock.py",
            "sevhisto/io/key.py",
            "sevhisto/io/store.py",
        ),
        *("sevhisto/io/records.py", "sevhisto/io/files.py", "sevhisto/io/sources.py", "sevhisto/imaging/"),
    ),
    "Images of slides": ("sevhisto/io/",),
    "Synthetic studies": ("sevhisto/phantom/",),
}
"""Where messages arise; a module belongs to the first chapter that names it."""


def errors_page() -> str:
    """Return the text of docs/errors.md."""
    chapters: dict[str, list[messages.Message]] = {name: [] for name in CHAPTERS}
    for message in messages.messages(messages.read_modules(DOCS.parent, ("sevhisto", "napari_plugin"))):
        chapters[next(name for name, places in CHAPTERS.items() if message.module.startswith(places))].append(message)
    intro = (
        "# Errors\n\n"
        f"{NOTE}\n\n"
        "Everything that can be told to be wrong: a message is a place, what is wrong there, and what to do. `<...>` stands for a name\n"
        "or a number. Search this page for a word of yours. Problems are told all at once where that is possible, and nothing is run\n"
        "before they are mended; one that concerns a single slide fails its sections only, and stands in `status.csv`. What a *flag*\n"
        "means is in [tables and flags](tables.md)."
    )
    return "\n\n".join([intro, *(errors_section(name, told) for name, told in chapters.items() if told)]) + "\n"


def errors_section(name: str, told: list[messages.Message]) -> str:
    """Return one chapter of errors.md, ordered by what is wrong."""
    rows = {(m.what, m.where, re.sub(r"^<[^>]*>$", "", m.remedy)) for m in told}
    ordered = sorted(rows, key=lambda row: (re.sub(r"^[^A-Za-z]*(<[^>]*>)?[^A-Za-z]*", "", row[0]).casefold(), row))
    shown = [[plain(what), plain(where), plain(remedy)] for what, where, remedy in ordered]
    return f"## {name}\n\n" + markdown_table(["what is wrong", "where", "what to do"], shown)


def plain(text: str) -> str:
    """Return a text in which markdown takes nothing for a mark."""
    return re.sub(r"([\\*<]|(?<!\w)_|_(?!\w))", r"\\\1", text)


# ---------------------------------------------------------------- commands


def commands() -> dict[str, Any]:
    """Return every command of the command line by name, in the order of its help."""
    return dict(typer.main.get_command(app).commands)


def option_row(option: Any) -> list[str]:
    """Return names, what it takes, its default and its help; `option` : a parameter of the command line."""
    told = getattr(option, "help", "") or ""
    default = "" if option.default in (None, "", False, ...) or option.required else f"`{option.default}`"
    if option.param_type_name == "argument":
        return [f"`{option.metavar or option.name.upper()}`", "", default, told]
    takes = "" if option.is_flag else f"`{option.metavar or option.name.upper()}`"
    return [", ".join(f"`{n}`" for n in [*option.opts, *option.secondary_opts]), takes, default, told]


def command_section(name: str, command: Any) -> str:
    """Return heading, what it does, and its arguments and options."""
    rows = [option_row(p) for p in command.params]
    said = re.sub(r"\s+", " ", command.help or "").strip()
    return f"## sevhisto {name}\n\n{said}\n\n{markdown_table(['argument or option', 'takes', 'default', 'what it is'], rows)}"


def commands_page() -> str:
    """Return the text of docs/commands.md."""
    intro = (
        "# Commands\n\n"
        f"{NOTE}\n\n"
        "`STUDY` is the folder that holds study.toml. Exit status: 0 done, 1 the study or the command is wrong (nothing was run),\n"
        "2 usage, 3 done, but some sections failed or some formats of an export could not be made."
    )
    return "\n\n".join([intro, *(command_section(n, c) for n, c in commands().items())]) + "\n"


# ---------------------------------------------------------------- limits


def limits_page() -> str:
    """Return the text of docs/limits.md: that part of README.md, with links from here."""
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    part = text[text.index("## Limits\n") + len("## Limits\n") : text.index("## Citing")].strip()
    part = re.sub(r"\]\((?!https?:|#)(?:docs/)?([^)]+)\)", lambda m: f"]({m[1] if 'docs/' in m[0] else '../' + m[1]})", part)
    note = "<!-- Written by docs/generate.py from README.md; change it there. -->"
    return f"# Limits\n\n{note}\n\nWhat cannot be told, or has not been shown.\n\n{part}\n"


def pages() -> dict[Path, str]:
    """Return the path and text of every generated page."""
    made = {
        "settings.md": settings_page,
        "tables.md": tables_page,
        "formats.md": formats_page,
        "commands.md": commands_page,
        "errors.md": errors_page,
        "limits.md": limits_page,
    }
    return {DOCS / name: make() for name, make in made.items()}


def main() -> int:
    """Write the pages, or with ``--check`` report those that differ; the exit status says whether all is well."""
    stale = [p for p, text in pages().items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        sys.stderr.writelines(f"docs/{p.name} is not up to date; type: make docs\n" for p in stale)
        return int(bool(stale))
    for path in stale:
        path.write_text(pages()[path], encoding="utf-8", newline="\n")
        sys.stdout.write(f"docs/{path.name} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
