"""The manifest is valid, names what is there, and its docks open from the menu and go without a trace."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from npe2 import PluginManifest

DEFERRED_DELETE = 52


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("sevhisto")


def test_npe2_takes_the_manifest_and_everything_in_it_is_there(manifest: PluginManifest) -> None:
    path = Path(importlib.import_module("sevhisto_napari").__file__ or "").parent / "napari.yaml"
    PluginManifest.from_file(path).validate_imports()
    commands = {c.id for c in manifest.contributions.commands or []}
    used = [*(manifest.contributions.widgets or []), *(manifest.contributions.readers or []), *(manifest.contributions.sample_data or [])]
    assert {c.command for c in used} <= commands


def test_validate_says_so_too() -> None:
    path = Path(importlib.import_module("sevhisto_napari").__file__ or "").parent / "napari.yaml"
    done = subprocess.run([sys.executable, "-m", "npe2", "validate", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "valid" in done.stdout, done.stdout + done.stderr


@pytest.mark.gui
@pytest.mark.filterwarnings("ignore:Private attribute access:FutureWarning")
def test_every_dock_opens_from_the_menu_and_leaves_no_widget(manifest: PluginManifest) -> None:
    pytest.importorskip("qtpy.QtWidgets", reason="no Qt is installed")
    if not os.environ.get("DISPLAY"):
        pytest.skip("needs a screen, or Xvfb")
    napari = pytest.importorskip("napari", reason="napari is not installed")
    from napari.qt import get_qapp

    app = get_qapp()
    before = len(app.topLevelWidgets())
    viewer = napari.Viewer(show=False)
    names = [w.display_name for w in manifest.contributions.widgets or []]
    assert len(names) == len(set(names)) >= 5
    whole = len(app.allWidgets())
    for name in names:
        dock, widget = viewer.window.add_plugin_dock_widget("sevhisto", name)
        assert widget.isEnabled()
        viewer.window.remove_dock_widget(dock)
        widget.deleteLater()
        del dock, widget
    for _ in range(3):
        app.processEvents()
        app.sendPostedEvents(None, DEFERRED_DELETE)
        gc.collect()
    assert len(app.allWidgets()) <= whole
    viewer.close()
    del viewer
    for _ in range(3):
        app.processEvents()
        app.sendPostedEvents(None, DEFERRED_DELETE)
        gc.collect()
    assert len([w for w in app.topLevelWidgets() if "vispy" not in type(w).__module__]) <= before
