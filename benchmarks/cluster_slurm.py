"""A Slurm of one's own: controller, two nodes and munge as processes of this user on this machine, gone with the folder."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from tiny_study import REPO

os.environ["PATH"] += os.pathsep + "/usr/sbin"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "openssl")
CONFIG = """
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=5
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=10
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=4 RealMemory=8000
PartitionName=long Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def lacking_slurm() -> str:
    """Return what is missing for a Slurm, or nothing."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    missing += [] if importlib.util.find_spec("dask_jobqueue") else ["dask_jobqueue"]
    return ", ".join(missing)


class Slurm:
    """A controller and two nodes of 4 processors and 8 GB each, as Slurm believes."""

    def __init__(self, folder: Path, port: int = 26817) -> None:
        self.folder = folder
        (folder / "state").mkdir(parents=True)
        host = socket.gethostname().partition(".")[0]
        text = CONFIG.format(folder=folder, host=host, port=port, first=port + 1, last=port + 2, user=getpass.getuser())
        (folder / "slurm.conf").write_text(text, "utf-8")
        self.env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self.address = _own_address()

    def __enter__(self) -> Slurm:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        names = {"key-file": key.name, "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log", "seed-file": "seed"}
        self.say("munged", "--force", *(f"--{option}={self.folder / name}" for option, name in names.items()))
        self.say("slurmctld")
        for node in ("n1", "n2"):
            self.say("slurmd", "-N", node)
        until = time.monotonic() + 60
        while self.say("sinfo", "--noheader", "--format=%A").strip() != "0/2" and time.monotonic() < until:
            time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(subprocess.CalledProcessError):
            self.say("scancel", *self.jobs())
        for name in ("slurmd-n1", "slurmd-n2", "slurmctld", "munged"):
            self._end(name, signal.SIGTERM)

    def _end(self, name: str, how: signal.Signals) -> None:
        with suppress(OSError, ValueError):
            os.kill(int((self.folder / f"{name}.pid").read_text("ascii")), how)

    def say(self, *words: str) -> str:
        """Run a command of Slurm."""
        return subprocess.run(words, env=self.env, check=True, capture_output=True, text=True, timeout=120).stdout

    def jobs(self) -> list[str]:
        """Return the numbers of the jobs that wait or run."""
        return self.say("squeue", "--noheader", "--format=%A").split()

    def until_no_job(self) -> float:
        """Wait until no job is left; return how long that took."""
        started = time.monotonic()
        while self.jobs() and time.monotonic() - started < 180:
            time.sleep(0.5)
        return time.monotonic() - started

    def time_out(self) -> None:
        """Let all jobs have a minute, and do nothing until it is over."""
        for job in self.jobs():
            self.say("scontrol", "update", f"JobId={job}", "TimeLimit=1")
        mine = f"SLURM_CONF={self.env['SLURM_CONF']}\0".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                environ = (process / "environ").read_bytes()
                if mine in environ and b"SLURM_JOB_ID=" in environ:
                    os.kill(int(process.name), signal.SIGSTOP)

    def without_controller(self, seconds: float) -> None:
        """Kill the controller, and begin it again."""
        self._end("slurmctld", signal.SIGKILL)
        time.sleep(seconds)
        self.say("slurmctld")

    def settings(self, **more: Any) -> dict[str, str]:
        """Return the environment of a run whose jobs have two workers each, and other settings as given."""
        of_job = {"cores": 2, "processes": 2, "memory": "3GB", "queue": "long", "walltime": "1:00:00", "log-directory": "logs", **more}
        (self.folder / "jobqueue.yaml").write_text(yaml.safe_dump({"jobqueue": {"slurm": of_job}}), "utf-8")
        return {"SLURM_CONF": self.env["SLURM_CONF"], "DASK_CONFIG": str(self.folder / "jobqueue.yaml")}


def _own_address() -> str:
    """Return the address of this machine that others reach, if it has one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"


def certificates(folder: Path) -> Path:
    """Make certificates with the commands that docs/cluster.md has."""
    folder.mkdir(mode=0o700, parents=True)
    for command in (REPO / "docs" / "cluster.md").read_text("utf-8").splitlines():
        if command.startswith("openssl "):
            subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder
