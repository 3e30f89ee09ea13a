"""Pictures of every dock on a screen of 1366 x 768, as docs/napari.md shows them: a study is run, reviewed, taught and compared.
And of the slide viewer in Chromium, as docs/guides/slides.md shows it, which needs no screen.

xvfb-run -a -s "-screen 0 1366x768x24" python docs/screenshots.py [--out DIR]
python docs/screenshots.py --only slides [--out DIR]
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parent / "sample_images" / "study"
SCREEN = 1366, 768
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
COLOURS = 224
SETTLE_S = 0.4


def save(png: bytes, path: Path) -> None:
    """Write a picture with few colours: it is small."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    if picture.width > SCREEN[0]:
        picture = picture.resize(SCREEN)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


class Photographer:
    """A window of the size of a small screen, of which pictures are taken."""

    def __init__(self, out: Path) -> None:
        import napari
        from napari.qt import get_qapp

        self.out, self.app = out, get_qapp()
        out.mkdir(parents=True, exist_ok=True)
        self.viewer: Any = napari.Viewer(show=False, title="sevhisto", show_welcome_screen=False)
        self.window = self.viewer.window._qt_window
        self.window.setGeometry(0, 0, *SCREEN)
        self.window.show()
        self.wait()

    def wait(self, until: Callable[[], bool] = lambda: True, seconds: float = 600.0) -> None:
        """Let the window live until something is so, and a little longer."""
        end, settled = time.monotonic() + seconds, 0.0
        while settled < SETTLE_S:
            if time.monotonic() > end:
                raise TimeoutError("the window did not come to what it should show")
            self.app.processEvents()
            time.sleep(0.02)
            settled = settled + 0.02 if until() else 0.0

    def take(self, name: str) -> None:
        """Write a picture of the window."""
        self.wait()
        from qtpy.QtCore import QBuffer, QByteArray, QIODevice

        held = QByteArray()
        buffer = QBuffer(held)
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        self.window.grab().save(buffer, "PNG")
        save(bytes(held.data()), self.out / f"{name}.png")

    @contextmanager
    def dock(self, widget: Any, title: str) -> Iterator[Any]:
        """Show a dock alone at the right side."""
        held = self.viewer.window.add_dock_widget(widget, name=title, area="right")
        self.wait()
        yield widget
        held.hide()
        self.wait()


def blind_docks(photographer: Photographer, root: Path) -> None:
    """Take pictures of what is done before the key is opened."""
    from sevhisto_napari.figure_dock import WHOLE, FigureDock
    from sevhisto_napari.review import ReviewDock
    from sevhisto_napari.run_dock import RunDock
    from sevhisto_napari.session import session_of
    from sevhisto_napari.teach_dock import TeachDock

    viewer = photographer.viewer
    with photographer.dock(RunDock(viewer), "Run a study") as run:
        session_of(viewer).open(root)
        run.start("run")
        photographer.wait(lambda: not run.runner.running)
        photographer.take("run")
        run.tabs.setCurrentIndex(1)
        run.form.section.setCurrentIndex(run.form.section.findData("imaging"))
        photographer.take("settings")
    with photographer.dock(ReviewDock(viewer), "Review a study") as review:
        review.who.setText("E. Meyer")
        review.step(1)  # the first has no lesion
        for i, name in enumerate(("queue", "lesion", "threshold")):
            review.tabs.setCurrentIndex(i)
            photographer.take(name)
    with photographer.dock(FigureDock(viewer), "Figure of the view") as figure:
        figure.inset.setCurrentText(WHOLE)
        viewer.camera.zoom *= 2
        photographer.wait()
        figure.preview()
        photographer.take("figure")
        viewer.reset_view()
    with photographer.dock(TeachDock(viewer), "Teach a classifier") as teach:
        teach.who.setText("E. Meyer")
        _draw(teach, viewer)
        teach.train()
        photographer.wait(lambda: "answer" in viewer.layers and not teach.runner.running)
        photographer.take("teach")


def _draw(teach: Any, viewer: Any) -> None:
    """Draw strokes where fibronectin is, and where it is not."""
    for name in ("matrix", "other"):
        teach.new_class.setText(name)
        teach.add_class()
    layer, shown = viewer.layers["strokes"], viewer.layers["fibronectin"]
    values = np.where(viewer.layers["tissue"].data > 0, shown.data, np.nan)
    order = np.argsort(np.nan_to_num(values, nan=-1).ravel())
    n, side = int(np.isfinite(values).sum()), np.array([0, 4])
    for name, places in (("matrix", order[-n // 60 :: 40]), ("other", order[-n // 2 : -n // 4 : n // 40])):
        teach.classes.setCurrentRow(teach._class_names().index(name))
        for place in places[:12]:
            at = np.array(shown.data_to_world(np.unravel_index(place, values.shape)))
            layer.add([at - side, at + side], shape_type="path")


def open_docks(photographer: Photographer, root: Path) -> None:
    """Take the picture of what is seen once the key is open."""
    from sevhisto.pipeline import compare
    from sevhisto_napari.plots_dock import PlotsDock
    from sevhisto_napari.session import session_of

    compare(root, True, 1)
    session_of(photographer.viewer).results_changed.emit()
    with photographer.dock(PlotsDock(photographer.viewer), "Plots of a study") as plots:
        plots.show_animal(plots.picture.plot.animals[-1])
        photographer.take("plots")


def take_all(root: Path, out: Path) -> list[Path]:
    """Take pictures of every dock with a study (it is run and compared), and return where they are."""
    photographer = Photographer(out)
    try:
        blind_docks(photographer, root)
        open_docks(photographer, root)
    finally:
        photographer.viewer.close()
    return sorted(out.glob("*.png"))


def slide_viewer(root: Path, out: Path) -> None:
    """Take a picture of the slide viewer with a section of a study, which is run where it was not."""
    from playwright.sync_api import sync_playwright

    from sevhisto.pipeline import run, slides

    if not (root / "results" / "run.json").is_file():
        run(root, jobs=1)
    slides(root, 1)
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SCREEN[0], "height": SCREEN[1]}, reduced_motion="reduce")
        page.goto((root / "results" / "slides" / "view.html").absolute().as_uri())
        page.get_by_role("checkbox", name="CD68+ cells").check()
        page.wait_for_timeout(3000)
        save(page.screenshot(), out / "slides.png")
        browser.close()


def main() -> int:
    """Take the pictures of the sample study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "images")
    parser.add_argument("--study", type=Path, default=SAMPLE, help="is copied before it is used")
    parser.add_argument("--only", choices=["slides"], help="only the slide viewer")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(args.study, Path(folder) / "study"))
        slide_viewer(root, args.out)
        for path in [args.out / "slides.png"] if args.only else take_all(root, args.out):
            sys.stdout.write(f"{path.name}: {path.stat().st_size / 1024:.0f} KB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
