"""The figure dock: what the window shows as PNG and SVG, with scale bar, legend of the channels and an inset."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QFormLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from sevhisto.pipeline.view_figures import save_view
from sevhisto.report.view_figure import WIDTHS_MM, Field, View
from sevhisto.types import Problem, SevhistoError
from sevhisto_napari.session import session_of
from sevhisto_napari.view_layers import INSET, rectangle, shown_field, view_of, whole_field

if TYPE_CHECKING:
    import napari

SHOWN, WHOLE, NONE, DRAWN = "what the window shows", "the whole image", "none", "a rectangle that I draw"


class FigureDock(QWidget):  # type: ignore[misc]
    """Saves the visible layers as a figure.

    Parameters
    ----------
    napari_viewer : the window; napari gives it
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer, self._session = napari_viewer, session_of(napari_viewer)
        self.part, self.inset, self.width = QComboBox(), QComboBox(), QComboBox()
        self.part.addItems((SHOWN, WHOLE))
        self.inset.addItems((NONE, WHOLE, DRAWN))
        self.inset.setToolTip("A small picture in the corner: the whole image with the place of the figure in it, or a magnified part.")
        self.inset.currentTextChanged.connect(self._offer_rectangle)
        for name, mm in WIDTHS_MM.items():
            self.width.addItem(f"{name} ({mm:g} mm)", mm)
        self.bar = QCheckBox("scale bar")
        self.bar.setChecked(True)
        self.look, self.save = QPushButton("Preview"), QPushButton("Save as PNG and SVG ...")
        self.look.clicked.connect(self.preview)
        self.save.clicked.connect(self._ask_for_file)
        self.picture, self.message = QLabel(), QLabel("Shows the visible layers as the window does. Hide what the figure shall not show.")
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.message.setWordWrap(True)
        form = QFormLayout()
        for name, part in (("show", self.part), ("inset", self.inset), ("width", self.width), ("", self.bar)):
            form.addRow(name, part)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        for part in (self.look, self.save, self.message, self.picture):
            layout.addWidget(part)
        layout.addStretch()

    def _offer_rectangle(self, chosen: str) -> None:
        """Add a layer to draw the inset's place in, with the tool for it in hand."""
        if chosen != DRAWN:
            return
        layer = next((x for x in self._viewer.layers if x.metadata.get(INSET)), None)
        if layer is None:
            like = {"units": ("um", "um"), "axis_labels": ("y", "x")}
            look = {"edge_color": "white", "face_color": "transparent", "edge_width": 2.0, "metadata": {INSET: True}}
            layer = self._viewer.add_shapes(name="place of the inset", ndim=2, **look, **like)
        self._viewer.layers.selection.active = layer
        layer.mode = "add_rectangle"
        self.message.setText("Draw a rectangle around what shall be magnified, then preview or save.")

    def _views(self) -> tuple[View, View | None]:
        layers = list(self._viewer.layers)
        field = whole_field(layers) if self.part.currentText() == WHOLE else shown_field(layers)
        if field is None:
            raise SevhistoError(Problem("the window", "shows no image", "open a study or a slide, and make its channels visible"))
        place = self._inset_field(layers)
        return view_of(layers, field), None if place is None else view_of(layers, place)

    def _inset_field(self, layers: list[napari.layers.Layer]) -> Field | None:
        if self.inset.currentText() == NONE:
            return None
        place = whole_field(layers) if self.inset.currentText() == WHOLE else rectangle(layers)
        if place is None:
            raise SevhistoError(Problem("the inset", "has no place yet", "draw a rectangle in the layer 'place of the inset'"))
        return place

    def preview(self) -> None:
        """Show the figure in the dock."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "figure.png"
            if self.save_to([path]):
                picture = QPixmap(str(path))
                self.picture.setPixmap(picture.scaledToWidth(max(200, self.width_px()), Qt.TransformationMode.SmoothTransformation))
                self.message.setText("As it will be saved; smaller here.")

    def width_px(self) -> int:
        """Return the width that a preview has in the dock."""
        return min(320, int(self.look.width()))

    def save_to(self, paths: list[Path]) -> bool:
        """Write the figure; what is wrong is told in the dock."""
        try:
            view, inset = self._views()
            save_view(view, paths, self._session.root, width_mm=self.width.currentData(), inset=inset, bar=self.bar.isChecked())
        except SevhistoError as error:
            self.message.setText(str(error))
            return False
        self.message.setText("Saved " + " and ".join(str(path) for path in paths))
        return True

    def _ask_for_file(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Name of the figure, without ending", "figure")
        if name:
            path = Path(name)
            self.save_to([path.with_name(path.name.removesuffix(".png").removesuffix(".svg") + suffix) for suffix in (".png", ".svg")])
