"""An image that is not what it was at first sight gives no number, whatever its size, its times and its structure say."""

from __future__ import annotations

import json
import os

import pytest

from sevhisto.io.sources import FirstSight, Guard, Source, look_at
from sevhisto.pipeline import measuring, run
from sevhisto.types import SevhistoError, SlideError, StudyError


def flip(path, at=-2000):
    """Change one byte and put the times back."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_changed_image_fails_until_it_is_accepted_and_the_others_stay(study, sevhisto):
    file = study.a_sample()
    before = study.table("sections.csv")
    flip(study.root / "slides" / file)
    said = sevhisto("run", study.root, "--jobs", 1)
    assert said.status == 3 and "changed since it was first seen" in said.out and "0 measured now" in said.out
    assert file not in said.out  # the study is blind
    broken = study.table("status.csv").query("status == 'failed'")
    assert len(broken) == 3 and len(set(broken["animal"])) == 1
    assert not set(study.table("sections.csv")["animal"]) & set(broken["animal"])
    checked = sevhisto("check", study.root, "--sums")
    assert checked.status == 1 and "changed since it was first seen" in checked.err and "--accept" in checked.err
    assert sevhisto("check", study.root, "--accept", "nobody.tif").status == 1
    assert sevhisto("check", study.root, "--accept", file).status == 0
    kept = json.loads((study.results / "key" / "sources.json").read_text("utf-8"))
    assert [a["file"] for a in kept["accepted"]] == [file] and kept["accepted"][0]["was"] != kept["accepted"][0]["now"]
    flip(study.root / "slides" / file)  # the first image is back: and it is another one than was accepted
    assert run(study.root, jobs=1).failed == 3
    assert sevhisto("check", study.root, "--accept", file).status == 0
    done = run(study.root, jobs=1)
    assert (done.failed, done.measured_now) == (0, 0)
    assert study.table("sections.csv").equals(before)


def test_an_image_that_changes_while_it_is_measured_leaves_no_record(study, monkeypatch):
    study.edit("[endpoints]", "[imaging]\nblur_um = 5\n\n[endpoints]")
    path = study.root / "slides" / study.a_sample()
    whole, before = measuring.measure_section, set((study.results / "records").iterdir())

    def measure(slide, *rest, **more):
        record = whole(slide, *rest, **more)
        if slide.path == path and not changed:
            changed.append(flip(path))
        return record

    changed: list[None] = []
    monkeypatch.setattr(measuring, "measure_section", measure)
    done = run(study.root, jobs=1)
    assert changed and done.failed == 3 and done.measured_now == 12
    assert all("changed while it was read" in line for line in done.failures)
    assert len({p for p in set((study.results / "records").iterdir()) - before if p.suffix == ".npz"}) >= 12
    flip(path)
    assert run(study.root, jobs=1).measured_now == 3


def test_an_image_that_differs_from_a_list_beside_it_fails_before_it_was_ever_seen(study, sevhisto):
    file = study.a_sample()
    (study.results / "key" / "sources.json").unlink()
    listed = study.root / "slides" / "SHA256SUMS"
    others = [p for p in sorted((study.root / "slides").glob("*.tif")) if p.name != file]
    listed.write_text(f"{'0' * 64}  {file}\n" + "".join(f"{look_at(p).sha256}  {p.name}\n" for p in others), "utf-8")
    checked = sevhisto("check", study.root, "--sums")
    assert checked.status == 1 and "is not what SHA256SUMS, line 1 says: sha256 000000000000 there" in checked.err
    assert "images have a checksum from before" in checked.out
    said = sevhisto("run", study.root, "--jobs", 1)
    assert said.status == 3 and "is not what SHA256SUMS, line 1 says" in said.out and file not in said.out
    assert file not in json.loads((study.results / "key" / "sources.json").read_text("utf-8"))["files"]
    listed.write_text("no list\n", "utf-8")
    assert "SHA256SUMS, line 1" in sevhisto("check", study.root).err
    assert sevhisto("run", study.root, "--jobs", 1).status == 1
    listed.unlink()
    done = run(study.root, jobs=1)
    assert (done.failed, done.measured_now) == (0, 0)


def test_a_guard_reads_again_only_what_moved_and_sees_what_did_not(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"0123456789")
    guard = Guard(path, look_at(path).sha256)
    os.utime(path, (1, 1))
    guard.check()  # moved, but the same
    flip(path, 3)
    with pytest.raises(SlideError, match="changed while it was read"):
        guard.check()
    path.unlink()
    with pytest.raises(SlideError):
        guard.check(whole=True)


def test_companions_belong_to_the_checksum(tmp_path):
    for name, folder in (("a.vsi", "_a_/stack1"), ("a.mrxs", "a")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x")
        (tmp_path / folder / "data").write_bytes(b"yy")
        first = look_at(tmp_path / name)
        (tmp_path / folder / "data").write_bytes(b"yz")
        assert look_at(tmp_path / name).sha256 != first.sha256 and first.n_bytes == 3


def test_what_is_kept_of_first_sight_is_whole_or_told(tmp_path):
    kept = FirstSight.of(tmp_path)
    assert kept.compare("a.tif", Source("0" * 64, 5)) is None
    kept.save()
    told = FirstSight.of(tmp_path).compare("a.tif", Source("1" * 64, 6))
    assert told is not None and "5 bytes then and 6 now" in told.what
    for damage in (b"", b"{}", b"[]", kept.path.read_bytes()[:-9], b'{"files": {"a": 1}, "accepted": []}'):
        kept.path.write_bytes(damage)
        with pytest.raises(SevhistoError, match="is damaged"):
            FirstSight.of(tmp_path)
    with pytest.raises(StudyError, match="never seen"):
        kept.accept([("b.tif", Source("", 0))])
