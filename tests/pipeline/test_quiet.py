"""A run opens no socket to any machine, and nothing of the study but results/ is opened for writing: by it and its processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]
HOOK = """
import os, sys
ROOT, LOG = os.environ["QUIET_ROOT"], os.open(os.environ["QUIET_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def hear(event, args):
    if event in ("socket.bind", "socket.connect", "socket.sendto", "socket.getaddrinfo"):
        where = args[1] if event != "socket.getaddrinfo" else args[:2]
        if isinstance(where, tuple):  # AF_UNIX has a path, or nothing
            os.write(LOG, f"{event} {where}\\n".encode())
    elif event in ("os.remove", "os.rename", "os.link", "os.symlink", "os.truncate", "os.utime", "os.chmod", "shutil.rmtree"):
        note(event, *(a for a in args[:2] if isinstance(a, (str, os.PathLike))))
    elif event == "open" and isinstance(args[0], (str, os.PathLike)):
        mode, flags = args[1] or "", args[2] or 0
        if set(mode) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            note(event, args[0])
def note(event, *paths):
    for path in paths:
        real = os.path.realpath(os.fspath(path))
        if real.startswith(ROOT + os.sep) and not real.startswith(os.path.join(ROOT, "results")):
            os.write(LOG, f"{event} {real}\\n".encode())
sys.addaudithook(hear)
os.write(LOG, b"process\\n")
"""


def test_a_run_with_processes_listens_nowhere_calls_nobody_and_writes_into_results_only(study, tmp_path):
    for record in sorted((study.results / "records").glob("*.npz"))[:1]:
        record.unlink()
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK, "utf-8")
    log = tmp_path / "log.txt"
    path = os.pathsep.join([str(tmp_path / "hook"), str(REPO), str(REPO / "napari_plugin")])
    environment = {**os.environ, "PYTHONPATH": path, "QUIET_ROOT": str(study.root.resolve()), "QUIET_LOG": str(log)}
    inputs = {p: p.read_bytes() for p in study.root.rglob("*") if p.is_file() and study.results not in p.parents}
    before = {p: p.stat().st_mtime_ns for p in inputs}
    command = [sys.executable, "-m", "sevhisto.cli", "run", str(study.root), "--jobs", "2"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "0 measured now" not in done.stdout
    told = log.read_text("utf-8").splitlines()
    assert told.count("process") >= 2, "the processes of the run did not take the hook"
    assert [line for line in told if line != "process"] == []
    assert {p: p.read_bytes() for p in inputs} == inputs and {p: p.stat().st_mtime_ns for p in inputs} == before
