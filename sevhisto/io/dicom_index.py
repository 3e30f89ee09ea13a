"""Which files belong to a DICOM slide: those of its series beside it, and those that an index (DICOMDIR; PS3.3, F) lists."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from sevhisto.io.dicom_check import MAX_FRAMES, SERIES, Found, Walk, series_of, start
from sevhisto.types import SlideError

_RECORDS, _RECORD_TYPE, _FILE_ID = 0x00041220, 0x00041430, 0x00041500


def series_files(path: Path) -> list[Path]:
    """Return the files of a slide: those in its folder that show the slide and are of its series, by name; it is among them.

    One that is damaged behind the place where its series stands is among them too, so that it is told of where it is opened.
    """
    try:
        own, _ = series_of(path)
    except (OSError, SlideError):
        return [path]
    found = {path}
    for other in path.parent.glob("*.[dD][cC][mM]") if own else ():
        with suppress(OSError, SlideError):  # no DICOM file
            if series_of(other) == (own, "VOLUME"):
                found.add(other)
    return sorted(found)


def missing_files(path: Path, series: str) -> list[str]:
    """Return the files that a DICOMDIR, in the slide's folder or the two above, lists for a series and that are not there."""
    for folder in (path.parent, *list(path.parent.parents)[:2]):
        listing = folder / "DICOMDIR"
        if listing.is_file():
            return [name for name in _listed(listing, series) if not (folder / name).is_file()]
    return []


def _listed(listing: Path, series: str) -> list[str]:
    """Files of a series in a DICOMDIR, whose records of images follow that of their series; none where it cannot be read."""
    names: list[str] = []
    with listing.open("rb") as file, suppress(SlideError, struct.error, ValueError):
        walk = Walk(listing, file)
        try:
            at, implicit = start(walk)
            found: Found = {}
            walk.left = MAX_FRAMES
            walk.dataset(at, walk.size, implicit, 0, found)
            records: list[Found] = []
            if _RECORDS in found:
                walk.sequence(*found[_RECORDS], implicit, 1, records)
            own = False
            for record in records:
                kind = walk.text(record, _RECORD_TYPE)
                own = walk.text(record, SERIES) == series if kind == "SERIES" else own and kind not in ("PATIENT", "STUDY")
                name = walk.text(record, _FILE_ID).replace("\\", "/")
                if own and name and ".." not in name.split("/"):
                    names.append(name)
        finally:
            walk.close()
    return names
