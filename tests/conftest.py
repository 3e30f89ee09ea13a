"""What tests of every package share."""

from __future__ import annotations

from pathlib import Path

import pytest

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
