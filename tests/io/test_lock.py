"""One run at a time in a results folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sevhisto.io.lock import LOCK, held
from sevhisto.types import OutputError, StudyError

HOLD = """
import sys, time
from pathlib import Path
from sevhisto.io.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_told_who_holds_the_folder_and_nothing_stays(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(StudyError, match=rf"another run holds it: process {os.getpid()} on \S+, since 20"), held(tmp_path):
        pass
    with held(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(StudyError, match=f"process {other.pid}"), held(tmp_path):
            pass
        other.kill()
    assert json.loads((tmp_path / LOCK).read_text("utf-8"))["pid"] == other.pid
    with held(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text("utf-8"))["pid"] == os.getpid()


def test_the_lock_of_another_computer_is_respected_until_a_person_deletes_it(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "2026-01-01T00:00:00+00:00"}), "utf-8")
    with pytest.raises(StudyError, match="process 1 on elsewhere, since 2026-01-01") as refused, held(tmp_path):
        pass
    assert f"delete {LOCK}" in refused.value.problems[0].remedy


def test_a_lock_that_was_torn_with_its_computer_holds_nothing(tmp_path: Path) -> None:
    with held(tmp_path):
        left = (tmp_path / LOCK).read_bytes()
    host = socket.gethostname().encode()
    (tmp_path / LOCK).write_bytes(left.replace(host, host[:-1] + b"}"))
    with held(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text("utf-8"))["host"] == socket.gethostname()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), held(tmp_path / "file" / "results"):
        pass


def test_a_lock_is_not_lost_between_its_end_and_the_next(tmp_path: Path) -> None:
    """Rivals that open the file just before its owner takes it away must not both go on."""
    script = (
        "import sys, time; from pathlib import Path; from sevhisto.io.lock import held; from sevhisto.types import StudyError\n"
        "n = 0; until = time.monotonic() + 1.5; inside = Path(sys.argv[1], 'inside')\n"
        "while time.monotonic() < until:\n"
        "    try:\n"
        "        with held(Path(sys.argv[1])):\n"
        "            inside.touch(exist_ok=False); n += 1; inside.unlink()\n"
        "    except StudyError: pass\n"
        "print(n)"
    )
    rivals = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    counts = [int(r.communicate()[0] or 0) for r in rivals]
    assert all(r.returncode == 0 for r in rivals) and sum(counts) > 10
