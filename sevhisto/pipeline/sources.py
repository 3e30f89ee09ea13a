"""The images of a study, held against what they were at first sight, before any of them is opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sevhisto.io.canary import need_codecs
from sevhisto.io.checksums import Told, summary, told_of
from sevhisto.io.sources import FirstSight, Look, Source, compared, image_files
from sevhisto.io.study import Study
from sevhisto.pipeline.stages import RunTasks
from sevhisto.pipeline.tasks import SlideTask
from sevhisto.types import Problem, StudyError

Show = Callable[[str, int, int], None]


def compared_sources(
    study: Study, run_all: RunTasks, progress: Show | None = None, accept: Sequence[str] = ()
) -> tuple[dict[Path, Source], dict[Path, tuple[Problem, ...]]]:
    """Read every image whole, note those that are new, and return what each is, and what is wrong with those that changed.

    An image that differs from a list of checksums beside it is wrong too, and is not noted as seen.

    Parameters
    ----------
    accept : images, as slides.csv names them, that are taken as they are now

    Raises
    ------
    SlideError
        A codec on this machine hands out wrong pixels (`io.canary`).
    StudyError
        An image of an even field, on which all numbers of its batch rest, changed; one to be accepted was never seen; or a list of
        checksums makes no sense.
    """
    paths = study_images(study)
    shared = {f: study.root / f for b in study.config.batches.values() if b.shading is not None for f in b.shading.flat.values()}
    paths |= {f"{file} (even field)": path for file, path in shared.items()}
    for path in paths.values():
        need_codecs(path)
    names = list(paths)
    told = told_of(study.slides_dir, paths.values())
    looks = [Look(path, _told_of_image(path, told)) for path in paths.values()]
    kept = FirstSight.of(study.results_dir)
    now: dict[Path, Source] = {}
    wrong: dict[Path, tuple[Problem, ...]] = {}
    for done, (i, found) in enumerate(run_all(compared, looks), 1):
        if isinstance(found, tuple):
            now[paths[names[i]]], differing = found
            wrong |= {paths[names[i]]: differing} if differing else {}
        else:
            said = found.strerror if isinstance(found, OSError) else str(found)
            wrong[paths[names[i]]] = (Problem(paths[names[i]].name, f"cannot be read ({said})", "copy it again, then run again"),)
        if progress is not None:
            progress("checksums", done, len(names))
    kept.accept((file, _present(file, paths, now)) for file in accept)
    for name in names:  # in the order of slides.csv, whatever came first
        if paths[name] not in now or (paths[name] in wrong and name not in kept.files):
            continue
        problem = kept.compare(name, now[paths[name]])
        if problem is not None:
            wrong[paths[name]] = (problem,)
    kept.save()
    flats = [problem for path in shared.values() for problem in wrong.get(path, ())]
    if flats:
        raise StudyError(flats)
    return now, wrong


def study_images(study: Study) -> dict[str, Path]:
    """Return the path of every image that slides.csv names."""
    return {str(file): study.slide_path(str(file)) for file in dict.fromkeys(study.slides["file"]) if file}


def checksum_notes(study: Study) -> list[str]:
    """Return how many images have a checksum from before they came here; StudyError for a list that makes no sense."""
    paths = study_images(study)
    told = told_of(study.slides_dir, paths.values())
    said = summary(told, {name: image_files(path) for name, path in paths.items()}) if told else ""
    return [said] if said else []


def _told_of_image(path: Path, told: dict[str, list[Told]]) -> tuple[Told, ...]:
    """What is told of the files of an image, and of those that a folder should hold and does not."""
    if not told:
        return ()
    found = [t for file in image_files(path) for t in told.get(os.path.realpath(file), ())]
    if path.is_dir():
        home = os.path.realpath(path) + os.sep
        found = [t for file, entries in told.items() if file.startswith(home) for t in entries]
    return tuple(found)


def _present(file: str, paths: dict[str, Path], now: dict[Path, Source]) -> Source:
    if paths.get(file) not in now:
        raise StudyError(Problem("--accept", f"{file!r} is no image of this study", "give it as slides.csv does"))
    return now[paths[file]]


def with_sources(tasks: Sequence[SlideTask], now: dict[Path, Source], wrong: dict[Path, tuple[Problem, ...]]) -> list[SlideTask]:
    """Return the tasks with the checksum of each image, and with why it may not be read."""
    return [replace(t, sha256=now[t.path].sha256 if t.path in now else "", refused=wrong.get(t.path, ())) for t in tasks]
