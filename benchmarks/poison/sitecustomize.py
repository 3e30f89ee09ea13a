"""Makes chosen slides kill, stop or fill the process that opens them: ``POISON="a.tif=SIGSEGV,b.tif=hang"``, in every Python below."""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from typing import Any

POISON = dict(pair.split("=") for pair in os.environ.get("POISON", "").split(",") if pair)
WHERE = "sevhisto.pipeline.measuring"


def act(what: str) -> None:
    """Do what a poison slide does."""
    if what == "hang":
        time.sleep(1e6)
    elif what == "8GB":
        held = []
        for _ in range(8 * 1024):  # as a decoder does: many blocks, all of them touched
            held.append(b"x" * 2**20)
    else:
        os.kill(os.getpid(), getattr(signal, what))


class Poisoner(importlib.abc.MetaPathFinder):
    """Wraps `open_slide` once the module that calls it is imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """Find the module as ever, and poison it when it has run."""
        if name != WHERE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        real = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            real(module)
            opens = module.open_slide

            def open_slide(file: Any, *args: Any) -> Any:
                if file.name in POISON:
                    act(POISON[file.name])
                return opens(file, *args)

            module.open_slide = open_slide

        spec.loader.exec_module = exec_module
        return spec


if POISON:
    sys.meta_path.insert(0, Poisoner())
