"""The plots dock: from an animal's dot to its sections, and from a cell of a table to its place. Only once the key is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from sevhisto.pipeline.plotting import StudyPlots, cell_table, open_plots
from sevhisto.report.dots import DotPlot
from sevhisto.types import SevhistoError
from sevhisto_napari.navigate import show_in_review
from sevhisto_napari.session import session_of

if TYPE_CHECKING:
    import napari

CLOSED = "Open a study first: in the dock 'Review a study' or 'Run a study'."
ADVICE = "Click a dot: the animal's sections are listed, and the first is shown."
CELL_TITLES = ("cell", "area µm²", "to lesion µm")
CELL_ZOOM = 8.0
PLOT_PX = 260


class DotPicture(QLabel):  # type: ignore[misc]
    """A plot whose dots can be clicked; `clicked` gives the animal, and the pointer shows it."""

    clicked = Signal(str)
    resized = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.plot: DotPlot | None = None
        self.words: Callable[[str], str] = str
        self.setMouseTracking(True)
        self.setFixedHeight(PLOT_PX)
        self.setMinimumWidth(200)

    def show_plot(self, plot: DotPlot | None) -> None:
        """Show a plot, or nothing."""
        self.plot = plot
        if plot is None:
            self.clear()
            return
        h, w = plot.picture.shape[:2]
        self.setPixmap(QPixmap.fromImage(QImage(plot.picture.tobytes(), w, h, 4 * w, QImage.Format.Format_RGBA8888)))

    def _animal(self, event: Any) -> str | None:
        at = event.position()
        return None if self.plot is None else self.plot.nearest(at.x(), at.y() - (self.height() - self.plot.picture.shape[0]) / 2)

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802  Qt's name
        """Tell the animal that was clicked."""
        animal = self._animal(event)
        if animal is not None:
            self.clicked.emit(animal)

    def mouseMoveEvent(self, event: Any) -> None:  # noqa: N802
        """Show what a dot is."""
        animal = self._animal(event)
        self.setCursor(Qt.CursorShape.ArrowCursor if animal is None else Qt.CursorShape.PointingHandCursor)
        if animal is not None:
            QToolTip.showText(event.globalPosition().toPoint(), self.words(animal), self)

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        """Have it drawn in the new size."""
        super().resizeEvent(event)
        self.resized.emit()


class PlotsDock(QWidget):  # type: ignore[misc]
    """Shows the plots of an open study; dots lead to sections, rows of the cell table to places.

    Parameters
    ----------
    napari_viewer : the window; napari gives it
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer, self._session = napari_viewer, session_of(napari_viewer)
        self._plots: StudyPlots | None = None
        self._animal = ""
        self.choice, self.picture, self.message = QComboBox(), DotPicture(), QLabel(CLOSED)
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.setMinimumContentsLength(20)
        self.choice.currentIndexChanged.connect(self._draw)
        self.picture.clicked.connect(self.show_animal)
        self.picture.resized.connect(self._draw)
        self.message.setWordWrap(True)
        self.sections, self.cells = QListWidget(), QTableWidget(0, len(CELL_TITLES))
        self.sections.itemClicked.connect(lambda item: self._want(item))
        self.cells.setHorizontalHeaderLabels(CELL_TITLES)
        self.cells.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.cells.verticalHeader().hide()
        self.cells.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.cells.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.cells.cellClicked.connect(lambda row, _: self.show_cell(row))
        tabs = QTabWidget()
        tabs.addTab(self.sections, "Sections of the animal")
        tabs.addTab(self.cells, "Cells of the section")
        layout = QVBoxLayout(self)
        for part in (self.choice, self.picture, self.message, tabs):
            layout.addWidget(part)
        for signal in (self._session.opened, self._session.results_changed):
            signal.connect(self.load)
        self._session.section_shown.connect(self._fill_cells)
        self.load()

    def load(self) -> None:
        """Take the study of the window; while it is blind, say why there are no plots."""
        self._plots, said = None, CLOSED
        if self._session.root is not None:
            try:
                self._plots, said = open_plots(self._session.root), ADVICE
            except SevhistoError as error:
                said = str(error)
        for part in (self.choice, self.sections, self.cells, self.picture):
            part.setVisible(self._plots is not None)
        self.choice.blockSignals(True)
        self.choice.clear()
        self.choice.addItems(self._plots.names if self._plots is not None else [])
        self.choice.blockSignals(False)
        self.message.setText(said)
        self.sections.clear()
        self._draw()
        self._fill_cells()

    def _draw(self) -> None:
        number = self.choice.currentIndex()
        if self._plots is None or number < 0:
            self.picture.show_plot(None)
            return
        plots, size = self._plots, (max(200, self.picture.width()), PLOT_PX)
        self.picture.words = lambda animal: plots.told(number, animal)
        self.picture.show_plot(plots.plot(number, size, self._animal))

    def show_animal(self, animal: str) -> None:
        """List the sections of an animal, and show the first."""
        if self._plots is None:
            return
        self._animal = animal
        self._draw()
        self.message.setText(self._plots.told(self.choice.currentIndex(), animal))
        self.sections.clear()
        for row in self._plots.sections(animal, self.choice.currentIndex()).itertuples():
            item = QListWidgetItem(f"{row.section}, panel {row.panel}, {row.position_um:.0f} µm: {row.verdict}")
            item.setData(Qt.ItemDataRole.UserRole, (row.animal, row.section, row.panel))
            self.sections.addItem(item)
        if self.sections.count():
            self.sections.setCurrentRow(0)
            self._want(self.sections.item(0))

    def _want(self, item: QListWidgetItem) -> None:
        show_in_review(self._viewer, tuple(item.data(Qt.ItemDataRole.UserRole)))

    def _fill_cells(self) -> None:
        self._cells = None
        plots, place = self._plots, self._session.place
        self.cells.setSortingEnabled(False)
        self.cells.setRowCount(0)
        row = None if plots is None or place is None else plots.review.row_of(place)
        if plots is None or row is None:
            return
        try:
            self._cells = table = cell_table(plots.review.record(row))
        except SevhistoError as error:
            self.message.setText(str(error))
            return
        self.cells.setRowCount(len(table))
        for i, values in enumerate(table[["cell", "area_um2", "distance_um"]].itertuples(index=False)):
            for k, value in enumerate(values):
                item = QTableWidgetItem()
                if value == value:
                    item.setData(Qt.ItemDataRole.DisplayRole, int(value) if k == 0 else round(float(value), 1))
                self.cells.setItem(i, k, item)
        self.cells.setSortingEnabled(True)

    def show_cell(self, row: int) -> None:
        """Move the view to the cell in a row of the table, and select it."""
        if self._cells is None:
            return
        number = int(self.cells.item(row, 0).text())
        y, x = self._cells[["y_um", "x_um"]].to_numpy(float)[number - 1]
        self._viewer.camera.center = (y, x)
        self._viewer.camera.zoom = max(self._viewer.camera.zoom, CELL_ZOOM)
        if "cells" in self._viewer.layers:
            layer = self._viewer.layers["cells"]
            layer.visible = True
            layer.selected_data = {number - 1}
