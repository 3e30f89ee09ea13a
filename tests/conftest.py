"""What tests of every package share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REPO = Path(__file__).resolve().parents[1]


def _beside_the_repo(name: str) -> Path:
    folder = REPO.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"needs the folder shared/{name} beside the repository; it is not there")
    return folder


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the repository."""
    return REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real files that nobody here made; tests that need them are skipped where they are absent."""
    return _beside_the_repo("data")


@pytest.fixture(scope="session")
def bad_inputs() -> Path:
    """Makers of damaged and hostile files; tests that need them are skipped where they are absent."""
    return _beside_the_repo("bad_inputs")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a screen; tests that need it are skipped where it or playwright is missing."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()
