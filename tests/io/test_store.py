from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sevhisto.io import files, records, store
from sevhisto.schema import ANIMALS, STATUS
from sevhisto.types import N_DISTANCE, N_INTENSITY, SectionRecord, SevhistoError

KEY = "ab" * 32
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_WORDS = st.text("abcXY_ 1é", min_size=1, max_size=6)
_INTS = npst.arrays(
    np.int64,
    npst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
    elements=st.one_of(st.just(0), st.integers(-(2**63), 2**63 - 1), st.integers(0, 300)),
)
_FLOATS = npst.arrays(np.float32, 4, elements=st.floats(width=32, allow_nan=True))

_MASKS = npst.arrays(st.sampled_from([np.uint8, np.int16]), npst.array_shapes(max_dims=3, max_side=4))


@st.composite
def drawn_records(draw: st.DrawFn) -> SectionRecord:
    meta = draw(
        st.dictionaries(
            _WORDS, st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), _WORDS, st.none(), st.booleans())
        )
    )
    return SectionRecord(
        meta={**meta, "um_per_px": 0.5},
        markers=tuple(draw(st.lists(_WORDS, max_size=3))),
        counts=draw(_INTS), sums=draw(_INTS), cavity_px=draw(_INTS), masked_px=draw(_INTS),
        joint=draw(st.dictionaries(st.tuples(_WORDS, _WORDS), _INTS, max_size=2)),
        fibres=draw(st.dictionaries(_WORDS, _INTS, max_size=2)),
        cells=draw(st.dictionaries(_WORDS, _FLOATS, max_size=3)),
        masks=draw(st.dictionaries(_WORDS, _MASKS, max_size=2)),
        puncta=draw(st.dictionaries(_WORDS, _INTS, max_size=2)),
        autofluorescent=draw(st.dictionaries(_WORDS, _INTS, max_size=2)),
        local=draw(st.dictionaries(_WORDS, _INTS, max_size=2)),
        cell_spots=draw(st.dictionaries(_WORDS, _INTS, max_size=2)),
        scrambled=draw(st.dictionaries(st.tuples(_WORDS, _WORDS), _INTS, max_size=2)),
    )  # fmt: skip


def same(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    else:
        assert a == b and type(a) is type(b)


@FEW
@given(drawn_records())
def test_record_round_trip(tmp_path: Path, record: SectionRecord) -> None:
    path = records.save_record(tmp_path, KEY, record)
    again = records.load_record(path)
    meta, cells = again.meta, again.cells
    assert meta == record.meta
    for name in (
        "markers",
        "counts",
        "sums",
        "cavity_px",
        "masked_px",
        "joint",
        "fibres",
        "masks",
        "puncta",
        "autofluorescent",
        "local",
        "cell_spots",
        "scrambled",
    ):
        same(getattr(record, name), getattr(again, name))
    same(record.cells, cells)
    assert records.save_record(tmp_path / "again", KEY, again).name == path.name


def typical() -> SectionRecord:
    rng = np.random.default_rng(1)
    counts = np.zeros((5, 2, N_DISTANCE, N_INTENSITY), np.int64)
    counts[:, :, 140:300, 200:400] = rng.poisson(3, (5, 2, 160, 200)) * (rng.random((5, 2, 160, 200)) < 0.5)
    return SectionRecord({"um_per_px": 0.5}, tuple("abcde"), counts, counts * 37, counts.sum((0, 3)), counts[0, :, :, 0],
                         joint={("a", "b"): rng.poisson(0.01, (2, 93, 64, 64))}, cells={"y_um": rng.random(3000, np.float32)})  # fmt: skip


def test_typical_record_is_small(tmp_path: Path) -> None:
    path = records.save_record(tmp_path, KEY, typical())
    same(records.load_record(path).sums, typical().sums)
    assert path.stat().st_size < 1_000_000
    assert path.name.startswith("ab" * 16 + ".")


@FEW
@given(st.data())
def test_a_flipped_byte_is_detected(tmp_path: Path, data: st.DataObject) -> None:
    record = SectionRecord({"um_per_px": 1.0}, ("a",), *(np.arange(9) for _ in range(4)))
    path = records.save_record(tmp_path, KEY, record)
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    with pytest.raises(SevhistoError, match="damaged"):
        records.load_record(path)
    assert records.find_record(tmp_path, KEY) is None
    assert records.load_record(records.save_record(tmp_path, KEY, record)).meta == record.meta


def test_find_record(tmp_path: Path) -> None:
    assert records.find_record(tmp_path / "nowhere", KEY) is None
    arrays = [np.arange(9)] * 4
    one = records.save_record(tmp_path, KEY, SectionRecord({"um_per_px": 1.0}, ("a",), *arrays))
    other = records.save_record(tmp_path, KEY, SectionRecord({"um_per_px": 2.0}, ("a",), *arrays))
    first, second = sorted((one, other))  # by name: which was written last must not matter
    assert records.find_record(tmp_path, KEY) == first
    first.write_bytes(b"torn")
    assert records.find_record(tmp_path, KEY) == second
    assert records.find_record(tmp_path, "cd" * 32) is None
    with pytest.raises(ValueError, match="hex"):
        records.find_record(tmp_path, "../../x")


def test_atomic_write_leaves_old_bytes_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    files.write_bytes_atomic(path, b"old")
    files.write_bytes_atomic(path, b"new")
    assert path.read_bytes() == b"new" and [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(SevhistoError, match="cannot be written"):
        files.write_bytes_atomic(tmp_path / "folder", b"x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "folder"]


def test_a_link_in_results_never_leads_to_the_slide(tmp_path: Path) -> None:
    slide, link = tmp_path / "slide.tif", tmp_path / "status.csv"
    slide.write_bytes(b"pixels")
    link.symlink_to(slide)
    files.write_bytes_atomic(link, b"table")
    assert slide.read_bytes() == b"pixels" and link.read_bytes() == b"table"


def test_tables(tmp_path: Path) -> None:
    rows = [
        ("007", "A", "core", "NA", "m", 1 / 3, "", 1, 3, ""),
        ("1E5", "A", "all", "x", "m", np.nan, 'a "quoted", one', 2, 3, "a;b"),
    ]
    frame = pd.DataFrame(rows, columns=ANIMALS.names)
    path = tmp_path / "animals.csv"
    store.write_table(path, frame, ANIMALS)
    assert path.read_bytes().splitlines()[1] == b"007,A,core,NA,m,0.333333333333,,1,3,"
    again = store.read_table(path, ANIMALS)
    assert list(again["animal"]) == ["007", "1E5"] and list(again["marker"]) == ["NA", "x"]
    pd.testing.assert_frame_equal(again, ANIMALS.conform(frame), rtol=1e-11)
    first = path.read_bytes()
    store.write_table(path, again, ANIMALS)
    assert path.read_bytes() == first
    with pytest.raises(SevhistoError, match="infinite"):
        store.write_frame(path, pd.DataFrame({"x": [np.inf, -0.0]}))
    with pytest.raises(SevhistoError, match="is not there"):
        store.read_table(tmp_path / "status.csv", STATUS)
    with pytest.raises(SevhistoError, match="missing"):
        store.read_table(path, STATUS)


def test_empty_table(tmp_path: Path) -> None:
    store.write_table(tmp_path / "s.csv", pd.DataFrame(columns=STATUS.names), STATUS)
    assert list(store.read_table(tmp_path / "s.csv", STATUS).columns) == STATUS.names


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "run.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_an_overview_is_made_once_and_again_where_it_was_damaged(tmp_path: Path) -> None:
    made = []

    def make() -> tuple[Any, int]:
        made.append(1)
        return np.arange(12, dtype=np.float32).reshape(1, 3, 4), 7

    for _ in range(2):
        image, step = records.kept_overview(tmp_path, KEY, make)
        assert step == 7 and np.array_equal(image, make()[0])
        made.pop()
    assert len(made) == 1
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert np.array_equal(records.kept_overview(tmp_path, KEY, make)[0], image)
    assert len(made) == 2
