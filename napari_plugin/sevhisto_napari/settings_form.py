"""A form of every setting of study.toml, made from the typed settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from sevhisto.pipeline.settings_form import (
    Place,
    SettingFacts,
    given_settings,
    read_value,
    save_settings,
    section_titles,
    setting_facts,
    shown_value,
)
from sevhisto.types import Problem, SevhistoError

TABLES = "Panels, stain batches, protocols and contrasts are tables of study.toml: change them there, in a text editor."


class SettingsForm(QWidget):  # type: ignore[misc]
    """Shows the settings section by section, with unit, default, bounds and what they mean, and saves those that changed."""

    def __init__(self) -> None:
        super().__init__()
        self._root: Path | None = None
        self._given: dict[Place, Any] = {}
        self.facts = {f.place: f for f in setting_facts()}
        self.editors: dict[Place, QWidget] = {}
        self.section, self._pages = QComboBox(), QStackedWidget()
        for name, title in section_titles().items():
            self.section.addItem(f"[{name}]  {title[:1].upper()}{title[1:]}".strip(), name)
            self._pages.addWidget(self._page(name))
        self.section.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.section.setMinimumContentsLength(20)
        self.section.currentIndexChanged.connect(self._pages.setCurrentIndex)
        self.save_button, self.revert_button = QPushButton("Save to study.toml"), QPushButton("Undo changes")
        self.save_button.clicked.connect(self.save)
        self.revert_button.clicked.connect(self.fill)
        self.message = QLabel(TABLES)
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        buttons = QHBoxLayout()
        buttons.addWidget(self.save_button)
        buttons.addWidget(self.revert_button)
        layout = QVBoxLayout(self)
        for part in (self.section, self._pages):
            layout.addWidget(part)
        layout.addLayout(buttons)
        layout.addWidget(self.message)
        self.setEnabled(False)

    def _page(self, section: str) -> QWidget:
        inner = QWidget()
        form = QFormLayout(inner)
        form.setContentsMargins(4, 4, 18, 4)  # beside the scroll bar, which lies over the form
        for facts in self.facts.values():
            if facts.section == section:
                editor = self.editors[facts.place] = _editor(facts)
                label = QLabel(facts.name)
                label.setToolTip(help_of(facts))
                form.addRow(label, editor)
                words = QLabel(help_of(facts))
                words.setWordWrap(True)
                words.setStyleSheet("font-size: 8pt; margin-bottom: 4px;")
                form.addRow(words)
        page = QScrollArea()
        page.setWidgetResizable(True)
        page.setWidget(inner)
        page.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        return page

    def open(self, root: Path) -> None:
        """Show the settings of a study; SevhistoError where its files are wrong."""
        self._given = given_settings(root)
        self._root = root
        self.setEnabled(True)
        self.fill()

    def fill(self) -> None:
        """Show what study.toml says."""
        for place, editor in self.editors.items():
            facts = self.facts[place]
            value = self._given.get(place)
            if isinstance(editor, QComboBox):
                editor.setCurrentIndex(max(0, editor.findData(value)))
            else:
                editor.setText(shown_value(facts, value))
        self.message.setText(TABLES)

    def changes(self) -> dict[Place, Any]:
        """Return what differs from study.toml; None where a setting shall be taken out. StudyError with all that cannot be read."""
        found: dict[Place, Any] = {}
        problems: list[Problem] = []
        for place, editor in self.editors.items():
            try:
                chosen = editor.currentData() if isinstance(editor, QComboBox) else read_value(self.facts[place], editor.text())
            except SevhistoError as error:
                problems += error.problems
                continue
            if chosen != self._given.get(place):
                found[place] = chosen
        if problems:
            raise SevhistoError(problems)
        return found

    def save(self) -> None:
        """Write what was changed into study.toml, or tell everything that is wrong with it."""
        if self._root is None:
            return
        try:
            changes = self.changes()
            if changes:
                save_settings(self._root, changes)
                self._given = given_settings(self._root)
        except SevhistoError as error:
            self.message.setText(f"Not saved:\n{error}")
            return
        names = ", ".join(f"{section}.{name}" for section, name in changes)
        self.message.setText(f"Saved: {names}. Run the study to apply it." if names else "Nothing was changed.")


def help_of(facts: SettingFacts) -> str:
    """Return what a setting means, with its bounds and default."""
    default = "required" if facts.required else f"default {shown_value(facts, facts.default) or 'none'}"
    return f"{facts.help} ({'; '.join(part for part in (facts.bounds, default) if part)})"


def _editor(facts: SettingFacts) -> QWidget:
    if facts.kind in ("yes/no", "choice"):
        box = QComboBox()
        words: dict[Any, str] = {True: "yes", False: "no"}
        options = (True, False) if facts.kind == "yes/no" else facts.choices
        if not facts.required:
            box.addItem(f"default ({words.get(facts.default, facts.default)})", None)
        for option in options:
            box.addItem(words.get(option, str(option)), option)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(6)
        box.wheelEvent = lambda event: event.ignore()  # scrolling the form must change no setting
        return box
    line = QLineEdit()
    line.setMinimumWidth(60)
    line.setPlaceholderText(f"default: {shown_value(facts, facts.default) or 'none'}" + (f" {facts.unit}" if facts.unit else ""))
    return line
