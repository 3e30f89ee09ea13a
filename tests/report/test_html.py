from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sevhisto.report import ReportInputs, render_report
from sevhisto.report.html import content_policy, part

Make = Callable[..., ReportInputs]
NO_END = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """What a browser would see: the elements, their attributes, the text, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in NO_END:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}


def test_the_page_is_well_formed_and_complete(clean: str) -> None:
    page = Page(clean)
    assert page.open == []
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"] for tag, a in page.elements if tag == "a"}
    assert links and {str(h)[1:] for h in links} <= set(ids)
    words = " ".join(page.text)
    for expected in (
        "What was asked, and what was found",
        "no value for R09",
        "give um_per_px in slides.csv",
        "torn through the core",
        "no_primary",
        "section_spacing_um",
    ):
        assert expected in words


def test_every_figure_can_be_read_aloud(clean: str) -> None:
    page = Page(clean)
    pictures = [a for tag, a in page.elements if tag in ("svg", "img")]
    assert pictures
    assert all(a.get("alt") or a.get("aria-label") or a.get("aria-hidden") for a in pictures)


def test_nothing_is_loaded_and_nothing_runs(attacked: str) -> None:
    page = Page(attacked)
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": content_policy(part("report.js"))}) in page.elements
    for tag, attrs in page.elements:
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "xlink:href", "src"):
                assert str(value).startswith(("#", "data:image/")), (tag, name, value)
            if name not in ("xmlns", "xmlns:xlink", "aria-label", "alt", "title") and not name.startswith("data-"):
                assert "http:" not in str(value) and "https:" not in str(value), (tag, name, value)


def test_hostile_text_stays_text(clean: str, attacked: str, nasty: tuple[str, ...]) -> None:
    page = Page(attacked)
    assert page.open == []
    assert page.tags() <= Page(clean).tags()  # no element that the clean report does not have
    assert [tag for tag, _ in page.elements].count("script") == 1 and f"<script>{part('report.js')}</script>" in attacked
    assert not page.tags() & {"iframe", "object", "embed", "link", "form"}
    words = "".join(page.text)
    for each in nasty:
        assert each in words, each


def test_same_input_same_bytes(make_inputs: Make, clean: str) -> None:
    assert render_report(make_inputs()) == clean


def test_same_bytes_in_another_process_and_style(make_inputs: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    here = render_report(make_inputs(pictures=False))
    code = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import matplotlib as m; m.rcParams['font.size'] = 30;"
        "from conftest import build_inputs; from sevhisto.report import render_report;"
        "sys.stdout.write(hashlib.sha256(render_report(build_inputs(pictures=False)).encode()).hexdigest())"
    )

    monkeypatch.setenv("PYTHONHASHSEED", "77")
    done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, text=True, check=True)
    assert done.stdout == hashlib.sha256(here.encode()).hexdigest()


def test_blinded_report_says_so_and_names_the_next_command(make_inputs: Make) -> None:
    words = " ".join("".join(Page(render_report(make_inputs(blinded=True, compared=False, pictures=False))).text).split())
    assert "Blinded." in words
    assert "sevhisto compare STUDY --unblind" in words
    assert "What was found" not in words
    assert "vehicle" not in words.replace("no injection-route vehicle", "").replace("holds no vehicle animal", "")


def test_banner_flags_are_explained(clean: str) -> None:
    assert "An outline, exclusion or threshold changed after the key was opened." in "".join(Page(clean).text)


def test_failed_sections_come_before_the_gallery_and_every_flag_is_explained(clean: str) -> None:
    assert clean.index("Failed: these sections") < clean.index('class="gallery"')
    words = "".join(Page(clean).text)
    assert "The lesion outline was drawn by the program and nobody has confirmed it." in words
    assert "Fewer than 3 sections: no volume is given." in words


def test_a_study_that_measured_nothing_still_gives_a_report(make_inputs: Make) -> None:
    full = make_inputs(pictures=False)
    empty = ReportInputs("nothing", True, full.status.iloc[:0], full.animals.iloc[:0], full.wide.iloc[:0], pd.Series(dtype=object))
    page = Page(render_report(empty))
    assert page.open == []
    assert "0 animals" in "".join(page.text)


def test_declared_endpoints_that_were_not_measured_are_left_out(make_inputs: Make) -> None:
    inputs = replace(make_inputs(pictures=False), primary=["B_core_collagen_positive_volume_mm3", "BBB_auc_score_days"])
    words = "".join(Page(render_report(inputs)).text)
    assert "BBB area under the recovery curve" in words


def test_animals_without_any_value_are_named(make_inputs: Make) -> None:
    inputs = make_inputs(pictures=False, compared=False)
    inputs = replace(inputs, wide=inputs.wide.assign(BBB_auc_score_days=np.nan))
    asked_for = " ".join("".join(Page(render_report(replace(inputs, primary=["BBB_auc_score_days"]))).text).split())
    assert "no value for R01, R02, R03" in asked_for
    assert "no value for R01, R02, R03" not in " ".join("".join(Page(render_report(replace(inputs, primary=()))).text).split())


def test_a_flag_of_every_result_is_said_once(make_inputs: Make) -> None:
    inputs = make_inputs(pictures=False)
    meaning = "The lesion outline was drawn by the program and nobody has confirmed it."
    before = "".join(Page(render_report(inputs)).text).count(meaning)
    flagged = {name: getattr(inputs, name).assign(flags="contour_unreviewed") for name in ("comparisons", "relations")}
    words = " ".join("".join(Page(render_report(replace(inputs, **flagged))).text).split())
    assert f"Holds for all results on tissue: {meaning}" in words
    assert words.count(meaning) < before  # the banner and the list of flags, and motor results


def test_relations_of_other_endpoints_stand_in_a_table(make_inputs: Make) -> None:
    inputs = make_inputs(pictures=False)
    other = inputs.relations.assign(motor="BBB_plateau_score")
    text = render_report(replace(inputs, relations=pd.concat([inputs.relations, other], ignore_index=True)))
    words = "".join(Page(text).text)
    assert "All other relations" in words and "BBB plateau and fibronectin volume in the core" in words
    assert text.count('id="slopes0-figure_1"') == 1 and "slopes1-" not in text
    assert "adjusted for tissue volume in the core, BBB day-1 score, force_kdyn" in words
