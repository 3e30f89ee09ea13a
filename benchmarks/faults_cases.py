"""A hundred wrong and odd studies: sheets, settings, archives and folders, each one change to a good study, with what must come of it.

`CASES` maps a name to (what is done to the study folder, what must come of it): text that a problem must hold, or a function that looks
at the study that was read. One problem may not hide another: only that the wanted one is told is asked.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from sevhisto.io.study import Study

TOML = """[study]
name = "tiny"
section_spacing_um = 200

[panels.A]
channels = [
  { channel = "DAPI", marker = "DAPI", role = "nuclei" },
  { channel = "GFAP", marker = "GFAP", role = "landmark" },
]

[protocols.vehicle]
route = "intravenous"
total_dose = 0
dose_unit = "particles"
injections_h = [24]
"""
SLIDES = """file,animal,section,piece,panel,batch,role,position_um,um_per_px,notes
a.ome.tif,R01,1,,A,1,sample,-200,,
b.ome.tif,R02,1,,A,1,sample,0,,
"""
ANIMALS = "animal,protocol,sex,dpi,weight_g,excluded,exclusion_reason\nR01,vehicle,f,28,250,,\nR02,vehicle,f,28,251,,\n"
MOTOR = "animal,day,score\nR01,1,0\nR01,7,8\nR02,1,1\n"
GEOJSON = {
    "type": "Feature",
    "properties": {"name": "lesion"},
    "geometry": {"type": "Polygon", "coordinates": [[[1, 1], [9, 1], [9, 9], [1, 1]]]},
}

Change = Callable[[Path], object]
Look = Callable[[Study], bool]
CASES: dict[str, tuple[Change, str | Look]] = {}


def good_study(root: Path) -> Path:
    """Write the study that every case starts from."""
    (root / "slides").mkdir(parents=True)
    (root / "corrections").mkdir()
    for name, text in {"study.toml": TOML, "slides.csv": SLIDES, "animals.csv": ANIMALS, "motor.csv": MOTOR}.items():
        (root / name).write_text(text, "utf-8")
    data = np.arange(2 * 32 * 32, dtype=np.uint16).reshape(2, 32, 32)
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    meta = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFAP"]}, **size}
    for name in ("a.ome.tif", "b.ome.tif"):
        tifffile.imwrite(root / "slides" / name, data, metadata=meta, photometric="minisblack", tile=(16, 16), compression="zlib")
    return root


def _text(name: str, old: str, new: str, encoding: str = "utf-8") -> Change:
    def change(root: Path) -> None:
        text = (root / name).read_text("utf-8")
        assert old in text, (name, old)
        (root / name).write_bytes(text.replace(old, new, 1).encode(encoding))

    return change


def _all(name: str, old: str, new: str, encoding: str = "utf-8") -> Change:
    return lambda root: (root / name).write_bytes((root / name).read_text("utf-8").replace(old, new).encode(encoding))


def _rename(old: str, new: str) -> Change:
    """Give an animal another id in every sheet."""

    def change(root: Path) -> None:
        for name in ("slides.csv", "animals.csv", "motor.csv"):
            (root / name).write_text((root / name).read_text("utf-8").replace(old, new), "utf-8")

    return change


def _bytes(name: str, data: bytes | Callable[[], bytes]) -> Change:
    def change(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data if isinstance(data, bytes) else data())

    return change


def _both(*changes: Change) -> Change:
    return lambda root: [change(root) for change in changes]


def _case(name: str, change: Change, expected: str | Look) -> None:
    assert name not in CASES, name
    CASES[name] = change, expected


def _animals(*names: str) -> Look:
    return lambda study: list(study.animals["animal"]) == list(names)


def _good(study: Study) -> bool:
    return list(study.animals["animal"]) == ["R01", "R02"] and list(study.slides["position_um"]) == [-200, 0]


# ---------------------------------------------------------------- ids
_case("s01 id 1E5 stays text", _rename("R01", "1E5"), _animals("1E5", "R02"))
_case("s02 id 007 stays text", _rename("R01", "007"), _animals("007", "R02"))
_case("s03 id NA stays an animal", _rename("R01", "NA"), _animals("NA", "R02"))
_case("s04 id null stays an animal", _rename("R01", "null"), _animals("null", "R02"))
_case("s05 id None stays an animal", _rename("R01", "None"), _animals("None", "R02"))
_case("s06 id 1.10 stays text", _rename("R01", "1.10"), _animals("1.10", "R02"))
_case("s07 id TRUE stays text", _rename("R01", "TRUE"), _animals("TRUE", "R02"))
_case("s08 ids 007 and 7", _both(_rename("R01", "007"), _rename("R02", "7")), "hard to tell apart")
_case("s09 ids A1 and a1", _both(_rename("R01", "A1"), _rename("R02", "a1")), "hard to tell apart")
_case("s10 id with a blank", _text("slides.csv", "R01,1", "R01 ,1"), "hard to tell apart")
_case("s11 id with a no-break space", _text("slides.csv", "R01,1", "R01\u00a0,1"), "hard to tell apart")
_case("s12 NFC and NFD", _both(_rename("R01", "Ä1"), _text("slides.csv", "Ä1", "A\u03081")), "hard to tell apart")
_case("s13 Cyrillic A", _both(_rename("R01", "A1"), _text("slides.csv", "A1", "\u04101")), "hard to tell apart")
_case("s14 wide digits", _text("slides.csv", "R01,1", "R０1,1"), "hard to tell apart")
_case("s15 id that Excel made a date", _rename("R01", "2-Sep"), "what a spreadsheet makes of an id")
_case("s16 id that Excel made a power", _rename("R01", "1.00E+05"), "what a spreadsheet makes of an id")
_case("s17 id that is a date with year stays text", _rename("R01", "2024-09-02"), _animals("2024-09-02", "R02"))
_case("s18 id that is a formula", _rename("R01", "=1+1"), "is no id")
_case("s19 id with a slash", _rename("R01", "R/01"), "is no id")
_case("s20 id with a line break", _rename("R01", '"R\n01"'), "is no id")
_case("s21 one animal in two rows", _text("animals.csv", "R02,vehicle", "R01,vehicle"), "stands 2 times")
_case("s22 animal that no sheet knows", _text("slides.csv", "R02", "R03"), "is not in animals.csv")
_case("s23 one section twice", _text("slides.csv", "b.ome.tif,R02", "b.ome.tif,R01"), "stand for the same thing")
_case("s24 one slide twice", _text("slides.csv", "b.ome.tif", "a.ome.tif"), "stand for the same thing")
_case("s25 empty id", _text("slides.csv", "R02", ""), "is empty")
# ---------------------------------------------------------------- cells and rows
_case("s30 decimal comma between commas", _text("slides.csv", "-200", '"-200,5"'), "has a decimal comma")
_case("s31 1,500", _text("slides.csv", "-200", '"1,500"'), "can be read in two ways")
_case(
    "s32 semicolons and decimal comma",
    _both(_all("slides.csv", ",", ";"), _text("slides.csv", "-200", "-200,5")),
    lambda s: s.slides["position_um"].iloc[0] == -200.5,
)
_case("s33 tabs", _all("slides.csv", ",", "\t"), _good)
_case("s34 UTF-16", _all("slides.csv", "", "", "utf-16"), _good)
_case("s35 UTF-8 with mark", _all("slides.csv", "", "", "utf-8-sig"), _good)
_case("s36 Latin-1", _text("animals.csv", "R02,vehicle,f", "R02,vehicle,\u00fc", "latin-1"), "neither UTF-8 nor UTF-16")
_case("s37 zero bytes", _all("slides.csv", "", "", "utf-16-le"), "zero bytes")
_case("s38 one field too many", _text("slides.csv", "-200,,", "-200,,,"), "has 11 fields, the header has 10")
_case("s39 one field too few", _text("slides.csv", ",-200,,", ",-200,"), "has 9 fields, the header has 10")
_case("s40 a delimiter at each end", _all("slides.csv", "\n", ",\n"), "has no name")
_case("s41 a header twice", _text("slides.csv", "um_per_px", "section"), "stands 2 times")
_case("s42 a header misspelt", _text("slides.csv", "position_um", "positon_um"), "is missing")
_case("s43 a header in another case", _text("animals.csv", "dpi", "DPI"), "differs from 'dpi' by case only")
_case("s44 an open quote", _text("slides.csv", "a.ome.tif", '"a.ome.tif'), "never closed")
_case("s45 CR line ends", _all("slides.csv", "\n", "\r\n"), _good)
_case("s46 blank rows", _all("slides.csv", "\n", "\n\n"), _good)
_case("s47 empty sheet", _bytes("slides.csv", b""), "is empty")
_case("s48 header only", _bytes("slides.csv", SLIDES.splitlines()[0].encode()), "lists no section")
_case("s49 no sheet", lambda root: (root / "animals.csv").unlink(), "is missing")
_case("s50 an Excel workbook", _bytes("slides.csv", b"PK\x03\x04" + bytes(2000)), "is an Excel workbook")
_case("s51 a number with a unit", _text("slides.csv", "-200", "-200 um"), "is not a number")
_case("s52 nan as a number", _text("slides.csv", "-200", "nan"), "is not a number")
_case("s53 inf as a number", _text("slides.csv", "-200", "1e999"), "is too large")
_case("s54 #REF!", _text("slides.csv", "-200", "#REF!"), "is an error of the spreadsheet")
_case("s55 #N/A in a note", _text("slides.csv", ",0,,", ",0,,#N/A"), "is an error of the spreadsheet")
_case("s56 a formula in a sex", _text("animals.csv", "vehicle,f", 'vehicle,"=HYPERLINK(""x"")"'), "is a formula")
_case("s57 a formula in a note is text", _text("slides.csv", ",0,,", ",0,,=1+1"), _good)
_case("s58 script in a note is text", _text("slides.csv", ",0,,", ",0,,<script>alert(1)</script>"), _good)
_case("s59 a typographic minus", _text("slides.csv", "-200", "\u2212200"), "is not a number")
_case("s60 a date as a number", _text("animals.csv", "f,28", "f,2024-09-02"), "is not a number")
_case("s61 half a piece", _text("slides.csv", "R01,1,,", "R01,1,1.5,"), "is not a whole number")
_case("s62 a pixel size of 0", _text("slides.csv", "-200,,", "-200,0,"), "is not above 0")
_case("s63 a pixel size that the file contradicts", _text("slides.csv", "-200,,", "-200,0.25,"), "0.25")
_case("s64 a score off the scale", _text("motor.csv", "7,8", "7,80"), "is not on the scale")
_case("s65 one score twice", _text("motor.csv", "R01,7,8", "R01,1,8"), "stand for the same thing")
_case("s66 excluded: maybe", _text("animals.csv", "251,,", "251,maybe,x"), "is neither yes nor no")
_case("s67 excluded without a reason", _text("animals.csv", "251,,", "251,yes,"), "say why")
_case("s68 a sheet of 120 MB", lambda root: os.truncate(root / "slides.csv", 120_000_000), "is larger than 100 MB")
# ---------------------------------------------------------------- paths
_case("p01 ../", _text("slides.csv", "a.ome.tif", "../a.ome.tif"), "leaves the folder")
_case("p02 absolute", _text("slides.csv", "a.ome.tif", "/etc/passwd"), "leaves the folder")
_case("p03 a drive", _text("slides.csv", "a.ome.tif", "C:\\a.tif"), "leaves the folder")
_case(
    "p04 a link that leaves",
    _both(
        lambda r: (r / "x.ome.tif").write_bytes((r / "slides" / "a.ome.tif").read_bytes()),
        lambda r: (r / "slides" / "a.ome.tif").unlink(),
        lambda r: (r / "slides" / "a.ome.tif").symlink_to(r / "x.ome.tif"),
    ),
    "is a link that leaves",
)
_case(
    "p05 a link in a circle",
    _both(lambda r: (r / "slides" / "a.ome.tif").unlink(), lambda r: (r / "slides" / "a.ome.tif").symlink_to(r / "slides" / "a.ome.tif")),
    "a.ome.tif",
)
_case("p06 no such file", _text("slides.csv", "a.ome.tif", "z.ome.tif"), "there is no file")
_case("p07 a name of 300 letters", _text("slides.csv", "a.ome.tif", "a" * 300 + ".tif"), "File name too long")
_case(
    "p08 umlaut and blank",
    _both(_text("slides.csv", "a.ome.tif", "Tür 1.ome.tif"), lambda r: (r / "slides" / "a.ome.tif").rename(r / "slides" / "Tür 1.ome.tif")),
    _good,
)
_case("p09 Mac's shadow file", _bytes("slides/._a.ome.tif", b"\0\5\26\7"), _good)
_case("p10 an unknown format", _both(_text("slides.csv", "a.ome.tif", "a.xyz"), _bytes("slides/a.xyz", b"1")), "cannot be read")
_case(
    "p11 a copy that is not done",
    _both(_text("slides.csv", "a.ome.tif", "a.ome.tif.partial"), _bytes("slides/a.ome.tif.partial", b"1")),
    "cannot be read",
)
_case("p17 a copy under way beside it", _bytes("slides/a.ome.tif.filepart", b"1"), "is still under way")
_case("p12 no folder of slides", lambda r: (r / "slides").rename(r / "pictures"), "there is no such folder")
_case("p13 results that lead into the slides", lambda r: (r / "results").symlink_to(r / "slides"), "never written to")
_case(
    "p14 records that lead into the slides",
    _both(lambda r: (r / "results").mkdir(), lambda r: (r / "results" / "records").symlink_to(r / "slides")),
    "never written to",
)
_case(
    "p15 a VSI without its folder",
    _both(_text("slides.csv", "a.ome.tif", "a.vsi"), _bytes("slides/a.vsi", b"II*\0")),
    "needs the folder _a_",
)
_case(
    "p16 a MIRAX without its folder",
    _both(_text("slides.csv", "a.ome.tif", "a.mrxs"), _bytes("slides/a.mrxs", b"\xff\xd8")),
    "needs the folder 'a'",
)
# ---------------------------------------------------------------- settings
_case("c01 a key twice", _text("study.toml", 'name = "tiny"', 'name = "tiny"\nname = "b"'), "is not valid TOML")
_case("c02 an unknown key", _text("study.toml", 'name = "tiny"', 'name = "tiny"\nspacing = 2'), "spacing")
_case("c03 true for a number", _text("study.toml", "section_spacing_um = 200", "section_spacing_um = true"), "neither a number nor text")
_case("c04 nan", _text("study.toml", "section_spacing_um = 200", "section_spacing_um = nan"), "not a finite number")
_case("c05 out of bounds", _text("study.toml", "section_spacing_um = 200", "section_spacing_um = 1e12"), "100000")
_case("c06 below 0", _text("study.toml", "section_spacing_um = 200", "section_spacing_um = -1"), "greater than 0")
_case("c07 a YAML tag is text", _text("study.toml", 'name = "tiny"', 'name = "!!python/object/apply:os.system [id]"'), _good)
_case("c08 not TOML", _bytes("study.toml", b"study: {name: tiny}"), "is not valid TOML")
_case("c09 nested too deeply", _bytes("study.toml", b"a = " + b"[" * 5000), "is not valid TOML")
_case("c10 a key of 100,000 parts", _bytes("study.toml", b".".join([b"a"] * 100_000) + b" = 1"), "dots")
_case("c11 2 MB", _bytes("study.toml", b"#" * 2_000_000), "is larger than 1000 kB")
_case("c12 not UTF-8", _text("study.toml", "tiny", "Lütt", "latin-1"), "is not UTF-8")
_case("c13 a channel that the file has not", _text("study.toml", 'channel = "GFAP"', 'channel = "CD68"'), "CD68")
_case("c14 a channel number too high", _text("study.toml", 'channel = "GFAP"', "channel = 3"), "3")
_case("c15 no panel", _text("study.toml", "[panels.A]", "[panel.A]"), "panel")


# ---------------------------------------------------------------- what people draw, and archives
def _zip(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Callable[[], bytes]:
    def make() -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            for name, data in members:
                archive.writestr(name, data)
        return out.getvalue()

    return make


_ROI = b"Iout" + struct.pack(">HBBhhhh", 228, 1, 0, 2, 2, 9, 9) + bytes(48)
_case("d01 an outline", _bytes("corrections/a.ome.tif.geojson", json.dumps(GEOJSON).encode()), _good)
_case("d02 cut short", _bytes("corrections/a.ome.tif.geojson", json.dumps(GEOJSON).encode()[:-9]), "is not valid GeoJSON")
_case("d03 nested 100,000 times", _bytes("corrections/a.ome.tif.geojson", b"[" * 100_000), "is not valid GeoJSON")
_case(
    "d04 a million points",
    _bytes("corrections/a.ome.tif.geojson", lambda: b"[" + b"[1,2]," * 1_000_000 + b"[]]"),
    "more than 200000 points",
)
_case("d05 30 MB", _bytes("corrections/a.ome.tif.geojson", lambda: b" " * 30_000_000), "is larger than 20 MB")
_case("d06 NaN", _bytes("corrections/a.ome.tif.geojson", json.dumps(GEOJSON).replace("9", "NaN").encode()), "not a finite number")
_case("d07 1e300", _bytes("corrections/a.ome.tif.geojson", json.dumps(GEOJSON).replace("9", "1e300").encode()), "outside any image")
_case(
    "d07b a number of 500 digits",
    _bytes("corrections/a.ome.tif.geojson", json.dumps(GEOJSON).replace("9", "9" * 500).encode()),
    "is not valid GeoJSON",
)
_case("d08 of no slide", _bytes("corrections/z.ome.tif.geojson", json.dumps(GEOJSON).encode()), "belongs to no slide")
_case(
    "d09 two for one slide",
    _both(
        _bytes("corrections/a.geojson", json.dumps(GEOJSON).encode()), _bytes("corrections/a.ome.tif.geojson", json.dumps(GEOJSON).encode())
    ),
    "are both for",
)
_case("d10 an unknown name", _bytes("corrections/a.ome.tif.geojson", json.dumps(GEOJSON).replace("lesion", "leison").encode()), "leison")
_case(
    "d11 a lesion that is a line",
    _bytes(
        "corrections/a.ome.tif.geojson",
        json.dumps(GEOJSON).replace("Polygon", "LineString").replace("[[[", "[[").replace("]]]", "]]").encode(),
    ),
    "has no area",
)
_case("z01 a zip bomb", _bytes("corrections/a.ome.tif.zip", _zip(("lesion.roi", bytes(60_000_000)))), "more than")
_case(
    "z02 3,000 members", _bytes("corrections/a.ome.tif.zip", _zip(*((f"{i}.roi", b"Iout") for i in range(3000)))), "more than 2000 outlines"
)
_case("z03 a member that leaves the folder", _bytes("corrections/a.ome.tif.zip", _zip(("../../lesion.roi", b"nothing"))), "is damaged")
_case(
    "z04 a bzip2 member",
    _bytes("corrections/a.ome.tif.zip", _zip(("lesion.roi", bytes(9_000_000)), method=zipfile.ZIP_BZIP2)),
    "packed in a way",
)
_case("z05 a zip cut short", _bytes("corrections/a.ome.tif.zip", lambda: _zip(("lesion.roi", _ROI))()[:-20]), "is not a readable zip")
_case("z06 a ROI of nonsense", _bytes("corrections/a.ome.tif.roi", b"Iout" + b"\xff" * 200), "is damaged")
_case("z07 an empty zip", _bytes("corrections/a.ome.tif.zip", _zip()), "holds no ImageJ outline")
_case("z08 a rectangle", _bytes("corrections/lesion/a.roi", _ROI), "belongs to no slide")
