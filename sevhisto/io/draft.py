"""`sevhisto init`: the study files drafted from file names and metadata. What could not be told is ``?``, which `load_study` asks for."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sevhisto.columns import Table
from sevhisto.io.channel_set import channel_sets, slide_files
from sevhisto.io.filenames import FileTokens, read_name
from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.markers import guess_panel, guess_stain, is_slice_label
from sevhisto.io.scene import SceneInfo
from sevhisto.io.sheets import PENDING
from sevhisto.io.slides import readers, slide_info
from sevhisto.io.template import HEAD, TAIL
from sevhisto.schema import ANIMALS_SHEET, MOTOR, SLIDES
from sevhisto.types import Problem, SlideError, StudyError

FILES = ("study.toml", "slides.csv", "animals.csv", "motor.csv")
_SKIPPED = ("results", "corrections")


@dataclass
class _Image:
    """One scene of one image, with what its name tells."""

    file: str
    tokens: FileTokens
    info: SceneInfo
    n_scenes: int
    panel: str = ""
    section: str = ""


def draft_study(slides_dir: Path, root: Path | None = None) -> list[str]:
    """Write study.toml, slides.csv, animals.csv and motor.csv for a folder of images; no image is moved, copied or changed.

    Parameters
    ----------
    slides_dir : folder of the images, or a folder with a subfolder ``slides``
    root : where to write; by default the parent of a folder named ``slides``, otherwise the folder given

    Returns
    -------
    notes : what was written, and what is left to do, one line each

    Raises
    ------
    StudyError
        No such folder, no image in it, or one of the files is there already: nothing is ever overwritten, and then nothing is written.
    """
    slides_dir, root = _places(Path(slides_dir), root)
    there = [name for name in FILES if (root / name).exists()]
    if there:
        remedy = "edit it, or move it away first; no file is overwritten"
        raise StudyError([Problem(str(root / name), "is there already", remedy) for name in there])
    images, notes = _images(slides_dir)
    if not images:
        remedy = f"formats that can be read: {', '.join(sorted(readers))}"
        unread = [Problem(str(slides_dir), note) for note in notes]
        raise StudyError([Problem(str(slides_dir), "holds no image that can be read", remedy), *unread])
    panels = _name_panels(images)
    notes += _name_sections(images)
    outputs = {
        "study.toml": _toml(root, slides_dir, images, panels),
        "slides.csv": _sheet(SLIDES, [_slide_row(image) for image in images]),
        "animals.csv": _sheet(ANIMALS_SHEET, _animal_rows(images)),
        "motor.csv": _sheet(MOTOR, []),
    }
    for name, text in outputs.items():
        write_bytes_atomic(root / name, text.encode("utf-8"))
    return [f"wrote {', '.join(FILES)} to {root}", *notes, *_left_to_do(images, panels)]


def study_folder(slides_dir: Path) -> Path:
    """Return where the study files of a folder of images go: beside a folder named slides, otherwise into the folder given."""
    slides_dir = Path(slides_dir)
    if slides_dir.resolve().name != "slides":
        return slides_dir
    return slides_dir.parent if slides_dir.name == "slides" else slides_dir / ".."


def _places(given: Path, root: Path | None) -> tuple[Path, Path]:
    if not given.is_dir():
        raise StudyError(Problem(str(given), "there is no such folder", "give the folder that holds the images"))
    root = (root or study_folder(given)).resolve()
    given = given.resolve()
    inner = given / "slides"
    return (inner if given.name != "slides" and inner.is_dir() else given), root


def _images(folder: Path) -> tuple[list[_Image], list[str]]:
    """Return the images of a folder, channels of one slide in files of their own as one, and notes of what was left out or joined."""
    scenes: dict[Path, list[SceneInfo]] = {}
    refused: dict[Path, list[str]] = {}
    parts_of_others: set[Path] = set()
    for path in _paths(folder):
        file = path.relative_to(folder).as_posix()
        if path in parts_of_others:
            continue
        try:
            found = slide_info(path)
        except SlideError as error:
            problem = error.problems[0]
            refused[path] = [f"left out: {file} {problem.what}" + (f" ({problem.remedy})" if problem.remedy else "")]
            continue
        refused[path] = [f"left out: {file} scene {info.scene} {info.refused}" for info in found if info.refused]
        scenes[path] = [info for info in found if not info.refused]
        if scenes[path]:
            parts_of_others |= {part for part in slide_files(path) if part != path}
    notes = [note for path, told in refused.items() if path not in parts_of_others for note in told]
    for pattern, files in channel_sets({p: s[0] for p, s in scenes.items() if len(s) == 1 and p not in parts_of_others}).items():
        try:
            joined = slide_info(pattern)
        except SlideError:
            continue  # files that are not alike stay slides of their own
        scenes = {pattern if p == files[0] else p: joined if p == files[0] else s for p, s in scenes.items() if p not in files[1:]}
        shown = ", ".join(joined[0].channels)
        notes.append(f"joined: {len(files)} files as the channels of {pattern.relative_to(folder).as_posix()} ({shown})")
    return [
        _Image(file, read_name(file), info, len(found))
        for path, found in scenes.items()
        if path not in parts_of_others
        for file in [path.relative_to(folder).as_posix()]
        for info in found
    ], notes


def _paths(folder: Path) -> list[Path]:
    """Return the files of a folder whose names say that they are images, in natural order."""
    paths = (p for p in folder.rglob("*") if (p.is_file() or p.suffix == ".zarr") and any(p.name.lower().endswith(s) for s in readers))
    usable = ((p, p.relative_to(folder).parts) for p in paths)
    kept = [(p, parts) for p, parts in usable if parts[0] not in _SKIPPED and not any(part.startswith(".") for part in parts)]
    return [p for p, parts in sorted(kept, key=lambda item: [_natural(part) for part in item[1]])]


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a sort key that puts s2 before s10."""
    return [(int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in re.split(r"(\d+)", text) if part]


def _name_panels(images: list[_Image]) -> dict[str, tuple[bool, str, list[tuple[str | int, str, str]]]]:
    """Give images with equal channels one panel, A, B, ... in order of appearance; return colour or not, stain, channels of each."""
    names: dict[tuple[str, ...], str] = {}
    panels: dict[str, tuple[bool, str, list[tuple[str | int, str, str]]]] = {}
    for image in images:
        stain, components = guess_stain(image.file) if image.info.is_rgb else ("", ())
        plain = tuple("" if is_slice_label(c) else c.strip().casefold() for c in image.info.channels)
        channels = ("RGB", stain) if image.info.is_rgb else plain
        if channels not in names:
            n = len(names)
            names[channels] = chr(ord("A") + n) if n < 26 else f"P{n + 1}"
            found = [*components] if image.info.is_rgb else guess_panel(image.info.channels)
            panels[names[channels]] = image.info.is_rgb, stain, list(found)
        image.panel = names[channels]
    return panels


def _name_sections(images: list[_Image]) -> list[str]:
    """Give each image its section id: from its name where all of an animal's are told and differ, else its number in file order."""
    groups: dict[tuple[str, str], list[_Image]] = {}
    for image in images:
        groups.setdefault((image.tokens.animal, image.panel), []).append(image)
    numbered = 0
    for group in groups.values():
        told = [image.tokens.section for image in group]
        if not all(told) or len({t.lstrip("0") for t in told}) < len(told):
            told = [str(n) for n in range(1, len(group) + 1)]
            numbered += len(group)
        for image, section in zip(group, told, strict=True):
            image.section = section
    what = f"slides.csv: {numbered} of {len(images)} rows have no section of their own in the file name"
    return [f"{what}: they were numbered in the order of the files, check them"] if numbered else []


def _slide_row(image: _Image) -> dict[str, str]:
    tokens = image.tokens
    return {
        "file": image.file,
        "animal": tokens.animal or PENDING,
        "section": image.section,
        "piece": "",
        "panel": image.panel,
        "batch": tokens.batch or PENDING,
        "role": tokens.role,
        "position_um": PENDING if tokens.role == "sample" else "",
        "scene": str(image.info.scene) if image.n_scenes > 1 else "",
        "marker": PENDING if tokens.role == "single_stain" else "",
        "um_per_px": "" if image.info.um_per_px is not None else PENDING,
        "notes": tokens.doubtful,
    }


def _animal_rows(images: list[_Image]) -> list[dict[str, str]]:
    sampled = {i.tokens.animal for i in images if i.tokens.role == "sample"}
    animals = dict.fromkeys(i.tokens.animal for i in images if i.tokens.animal)
    rows = [{"animal": a, "protocol": PENDING if a in sampled else ""} for a in animals]
    return rows or [{"animal": PENDING, "protocol": PENDING}]


def _sheet(table: Table, rows: list[dict[str, str]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, table.names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _toml(root: Path, slides_dir: Path, images: list[_Image], panels: dict[str, tuple[bool, str, list[tuple[str | int, str, str]]]]) -> str:
    relative = slides_dir.relative_to(root).as_posix() if slides_dir.is_relative_to(root) else slides_dir.as_posix()
    name = (root.name if relative != "." else slides_dir.name) or "study"
    parts = [HEAD.format(name=_quoted(name), slides_dir=_quoted(relative), pending=PENDING)]
    for panel, (colour, stain, channels) in panels.items():
        files = [image.file for image in images if image.panel == panel]
        lines = [f"# {_quoted(files[0])}" + (f" and {len(files) - 1} more" if len(files) > 1 else ""), f"[panels.{panel}]"]
        if colour:
            lines += ['kind = "brightfield"', f"stain = {_quoted(stain)}"]
        markers = [marker for _, marker, _ in channels]
        if {"CD68", "CD206"} <= set(markers):
            lines.append('pairs = [["CD68", "CD206"]]')
        for channel, marker, role in channels:
            shown = channel if isinstance(channel, int) else _quoted(channel)
            lines += ["", f"[[panels.{panel}.channels]]", f"channel = {shown}", f"marker = {_quoted(marker)}", f"role = {_quoted(role)}"]
        parts.append("\n".join(lines) + "\n")
    return "\n".join([*parts, TAIL])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _left_to_do(images: list[_Image], panels: dict[str, tuple[bool, str, list[tuple[str | int, str, str]]]]) -> list[str]:
    rows = [_slide_row(image) for image in images]
    open_cells = Counter(column for row in rows for column, cell in row.items() if cell == PENDING)
    notes = [f"slides.csv: fill in {column} ({n} of {len(rows)} rows)" for column, n in open_cells.items()]
    stainless = [p for p, (_, stain, _channels) in panels.items() if stain == PENDING]
    if stainless:
        notes.append(f"study.toml: panel {', '.join(stainless)} is colour: fill in its stain, or export raw channels if it is fluorescence")
    unknown = [p for p, (_, stain, channels) in panels.items() if PENDING in (stain, *(v for c in channels for v in c))]
    if unknown:
        notes.append(f"study.toml: fill in marker and role of the channels of panel {', '.join(unknown)}")
    notes.append("study.toml: fill in section_spacing_um, and the protocols; animals.csv: the protocol of each animal")
    notes.append(
        "slides.csv: where a slide holds several sections, copy its row for each and count `piece` in slide order; add lost sections"
    )
    notes.append("slides.csv: take out the rows of files that show no section, such as masks, labels and overviews")
    doubts = sorted({image.tokens.doubtful for image in images if image.tokens.doubtful})
    return notes + [f"slides.csv: {doubt}; check the rows" for doubt in doubts]
