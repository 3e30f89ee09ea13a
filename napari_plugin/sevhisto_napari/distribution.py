"""A plot of intensities under a slider: controls behind, samples over them, the thresholds as lines."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from sevhisto.types import AnyArray, IntArray

CONTROLS, SAMPLES, CHOSEN, LADDER = QColor("#56B4E9"), QColor("#E69F00"), QColor("#FFFFFF"), QColor("#56B4E9")
HEIGHT_PX = 130
_SMOOTH = np.full(9, 1 / 9)
"""Where bins are finer than a grey level every second one is empty."""


class Distribution(QWidget):  # type: ignore[misc]
    """Share of pixels by intensity bin, on a square-root scale; one column for each step of the slider."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._heights: list[AnyArray] = []
        self._ladder: float | None = None
        self._chosen = 0.0
        self._n = 1
        self._words = ("", "")

    def show_counts(self, controls: IntArray, samples: IntArray, ladder: float | None, words: tuple[str, str]) -> None:
        """Show two histograms, (n,) pixels by step, and a mark.

        Parameters
        ----------
        ladder : step of the threshold that the controls give; None where they give none
        words : what the two histograms are called
        """
        tallest = [np.sqrt(np.convolve(c / max(int(c.sum()), 1), _SMOOTH, "same")) for c in (controls, samples)]
        top = max((float(t.max()) for t in tallest if len(t)), default=1.0) or 1.0
        self._heights = [t / top for t in tallest]
        self._n, self._ladder, self._words = max(len(controls), 1), ladder, words
        self.update()

    def move_to(self, step: float) -> None:
        """Draw the chosen threshold at a step."""
        self._chosen = step
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802  Qt's name
        """Draw; Qt calls it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for heights, colour in zip(self._heights, (CONTROLS, SAMPLES), strict=False):
            self._area(painter, heights, colour)
        if self._ladder is not None:
            self._line(painter, self._ladder, QPen(LADDER, 2, Qt.PenStyle.DashLine))
        self._line(painter, self._chosen, QPen(CHOSEN, 2))
        for row, (word, colour) in enumerate(zip(self._words, (CONTROLS, SAMPLES), strict=True)):
            painter.setPen(colour)
            where = QRectF(4, 2 + 16 * row, self.width() - 8, 16)
            painter.drawText(where, int(Qt.AlignmentFlag.AlignRight), word)
        painter.end()

    def _x(self, step: float) -> float:
        return (step + 0.5) / self._n * float(self.width())

    def _area(self, painter: QPainter, heights: AnyArray, colour: QColor) -> None:
        tall = self.height() - 2
        points = [QPointF(self._x(i), self.height() - tall * float(h)) for i, h in enumerate(heights)]
        ends = [QPointF(self._x(0), self.height()), QPointF(self._x(self._n - 1), self.height())]
        fill = QColor(colour)
        fill.setAlpha(110)
        painter.setPen(QPen(colour, 1))
        painter.setBrush(fill)
        painter.drawPolygon(QPolygonF([ends[0], *points, ends[1]]))

    def _line(self, painter: QPainter, step: float, pen: QPen) -> None:
        painter.setPen(pen)
        painter.drawLine(QPointF(self._x(step), 0), QPointF(self._x(step), self.height()))
