"""From an animal's dot to its sections, and from a cell to its place; not before the key is open."""

from __future__ import annotations

import numpy as np
import pytest

from sevhisto.pipeline import compare
from sevhisto.pipeline.plotting import cell_table, open_plots
from sevhisto.types import SevhistoError

SIZE = (340, 260)


@pytest.fixture(scope="module")
def opened(measured, tmp_path_factory):
    import shutil

    root = tmp_path_factory.mktemp("opened") / "study"
    shutil.copytree(measured, root)
    compare(root, True, 1)
    return root


def test_while_blind_there_are_no_plots_and_it_is_said_why(study):
    with pytest.raises(SevhistoError, match=r"blind(.|\n)*--unblind"):
        open_plots(study.root)


def test_every_dot_is_where_it_is_drawn(opened):
    plots = open_plots(opened)
    assert plots.endpoints and plots.pairs and len(plots.names) == len(plots.endpoints) + len(plots.pairs)
    for number in (0, len(plots.names) - 1):
        plot = plots.plot(number, SIZE)
        assert plot.picture.shape == (SIZE[1], SIZE[0], 4) and set(plot.animals) <= set(plots.groups.index) and plot.animals
        for animal, (x, y) in zip(plot.animals, plot.at_px, strict=True):
            colour = plot.picture[int(y), int(x), :3].astype(int)
            assert np.ptp(colour) > 40  # a colour of a group, no axis and no ground
            assert plot.nearest(x + 2, y - 2) == animal and animal in plots.told(number, animal)
    assert plot.nearest(0, 0) is None
    ring = plots.plot(0, SIZE, plot.animals[0]).picture
    assert (ring != plots.plot(0, SIZE).picture).any()


def test_sections_and_cells_of_an_animal(opened):
    plots = open_plots(opened)
    animal = plots.groups.index[0]
    mine = plots.sections(animal, 0)
    assert len(mine) and set(mine["animal"]) == {animal} and mine["position_um"].is_monotonic_increasing
    record = plots.review.record(0)
    cells = cell_table(record)
    corner = np.array(record.meta["corner_px"]) * record.meta["um_per_px"]
    assert len(cells) == len(record.cells["y_um"]) > 0
    np.testing.assert_allclose(cells["y_um"] - corner[0], record.cells["y_um"], atol=1e-3)


@pytest.mark.gui
def test_a_dot_opens_its_sections_and_a_cell_moves_the_view(opened, study, window):
    from qtpy.QtCore import QPointF, Qt
    from qtpy.QtGui import QMouseEvent

    from sevhisto_napari.plots_dock import PlotsDock
    from sevhisto_napari.review import ReviewDock
    from sevhisto_napari.session import session_of

    dock, session = PlotsDock(window), session_of(window)
    window.window.add_dock_widget(dock, name="Plots")
    session.open(study.root)
    assert "blind" in dock.message.text() and not dock.choice.count()
    session.open(opened)
    assert dock.choice.count() and "Click a dot" in dock.message.text()
    plot = dock.picture.plot
    x, y = plot.at_px[1]
    at = QPointF(x, y + (dock.picture.height() - plot.picture.shape[0]) / 2)
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    dock.picture.mousePressEvent(QMouseEvent(QMouseEvent.Type.MouseButtonPress, at, at, left, left, none))
    assert plot.animals[1] in dock.message.text() and dock.sections.count() > 1
    assert session.place == dock.sections.item(0).data(Qt.ItemDataRole.UserRole)
    assert any(isinstance(d, ReviewDock) for d in window.window.dock_widgets.values()) and "core" in window.layers
    dock.sections.itemClicked.emit(dock.sections.item(1))
    assert session.place == dock.sections.item(1).data(Qt.ItemDataRole.UserRole)
    assert dock.cells.rowCount() == len(window.layers["cells"].data) > 5
    dock.show_cell(5)
    number = int(dock.cells.item(5, 0).text())
    assert window.layers["cells"].visible and window.layers["cells"].selected_data == {number - 1}
    np.testing.assert_allclose(window.camera.center[-2:], window.layers["cells"].data[number - 1], atol=0.1)
