from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sevhisto.config import parse_config
from sevhisto.report import ReportInputs
from sevhisto.report.checklists import checklist_markdown, checklists
from sevhisto.report.methods_text import PaperFacts, methods
from sevhisto.report.paper import File, drawing_files, plots
from sevhisto.report.prose import Picture, gaps, listed, markdown, plain
from sevhisto.report.results_text import results

Make = Callable[..., ReportInputs]


def facts(make_inputs: Make, **changes: Any) -> PaperFacts:
    inputs = replace(
        make_inputs(pictures=False), run={"program": {"sevhisto": "9.9", "numpy": "1"}, "settings_sha256": "ab" * 32}, **changes
    )  # type: ignore[arg-type]
    channels = [
        {"channel": "c1", "marker": "DAPI", "role": "nuclei"},
        {"channel": "c2", "marker": "fibronectin", "role": "ecm", "antibody": "AB_1", "clone": "x", "dilution": "1:200"},
        {"channel": "c3", "marker": "CD68", "role": "macrophage"},
    ]
    pump = {"start_h": 3, "duration_h": 144, "rate_ul_h": 0.5}
    protocols = {
        "vehicle": {"route": "intravenous", "vehicle": "saline", "total_dose": 0, "dose_unit": "particles", "injections_h": [3]},
        "6-day infusion": {"route": "intravenous", "total_dose": 3e9, "dose_unit": "particles", "infusion": pump},
    }
    data = {
        "study": {"name": "x", "section_spacing_um": 200, "section_thickness_um": 17.5},
        "panels": {"A": {"channels": channels}},
        "protocols": protocols,
    }
    people = pd.DataFrame(
        {"sex": ["f"] * 19 + ["m"], "species": "rat", "weight_g": [210.0] * 19 + [260.5], "block": "1"}, index=inputs.groups.index
    )
    provenance = pd.DataFrame({"outline_from": ["drawn"] * 3 + ["program"] * 17})
    return PaperFacts(inputs, parse_config(data), people, provenance)


def test_the_methods_say_what_the_files_say_and_name_what_is_missing(make_inputs: Make) -> None:
    text = markdown("Methods", methods(facts(make_inputs)), "")
    for said in (
        "20 animals (rat; strain [TO FILL: strain]",
        "19 female and 1 male; weight 210 to 260.5 g",
        "sections of 17.5 µm",
        "200 µm apart",
        "fibronectin (AB\\_1, clone x, 1:200)",
        "3e+09 particles in all",
        "infusion from 3 h after injury for 144 h at 0.5 µl/h",
        "3 drawn by a person and 17 drawn by the program alone",
        "sevhisto 9.9",
    ):
        assert said in text, said
    missing = text[text.index("## What the study files do not say") : text.index("## Where the numbers")]
    assert "- antibody of CD68" in missing and "- strain" in missing and "fibronectin" not in missing


def test_every_statement_names_its_source(make_inputs: Make) -> None:
    statements = [*methods(facts(make_inputs)), *results(facts(make_inputs), ())]
    assert all(s.source for s in statements)
    text = markdown("x", statements, "")
    cited = [int(n) for n in re.findall(r"\[(\d+)\]$", text, re.MULTILINE)]
    assert cited == list(range(1, len(statements) + 1))
    assert all(f"\n{n}. " in text for n in cited)


def test_the_numbers_of_the_results_are_those_of_the_tables(make_inputs: Make) -> None:
    told = facts(make_inputs)
    found = [s for s in results(told, ()) if "results/comparisons.csv: endpoint" in s.source]
    shown = told.inputs.comparisons[told.inputs.comparisons["role"] == "primary"]
    assert len(found) == len(shown)
    duration = next(s.text for s in found if "contrast duration" in s.source)
    assert "lower than 3-day infusion by 0.021 mm³" in duration and "0.005 to 0.037 mm³" in duration


def test_every_figure_is_cited_once_in_order_and_every_link_leads_to_a_file(make_inputs: Make, tmp_path: Path) -> None:
    told = facts(make_inputs)
    pictures: dict[str, Picture] = {}

    def files() -> Iterator[File]:
        for plot in plots(told.inputs):
            pictures[plot.name] = yield from drawing_files(plot.name, plot.draw, (), ("85mm",), plot.marks)

    for name, data in files():
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.to_csv().encode())
    text = markdown("x", results(told, pictures), "", pictures)
    body, shown = text.split("## Figures")
    numbers = [str(n) for n in range(1, len(pictures) + 1)]
    assert re.findall(r"\(#figure-(\d+)\)", body) == re.findall(r"^### Figure (\d+)$", shown, re.MULTILINE) == numbers
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("#")]
    assert {f.name for f in tmp_path.iterdir()} == set(links)
    for said in (
        "n = 5",
        "95 % t intervals of the group means",
        "mean of the first side minus mean of the second",
        "animals, parallel lines",
    ):
        assert said in shown, said


def test_a_caution_stands_once_in_the_results(make_inputs: Make) -> None:
    inputs = make_inputs(pictures=False)
    flagged = inputs.comparisons.assign(**{"flags": "contour_unreviewed"})
    text = markdown("x", results(facts(make_inputs, comparisons=flagged), ()), "")
    assert text.count("nobody has confirmed it") == 1 and "This concerns: Fibronectin volume in the core (" in text


def test_while_groups_are_codes_no_text_tells_how_they_were_treated(make_inputs: Make) -> None:
    blind = facts(make_inputs, blinded=True)
    text = markdown("x", methods(blind), "") + checklist_markdown(checklists(blind))
    assert "infusion from" not in text and "3e+09" not in text


def test_checklists_are_filled_and_list_their_gaps(make_inputs: Make) -> None:
    lists = checklists(facts(make_inputs))
    arrive = {item.number: item.answer for item in lists["ARRIVE 2.0"]}
    assert {f"{n}" for n in range(11, 22)} <= set(arrive) and {"1a", "2b", "3c", "7a", "10b"} <= set(arrive)
    assert "(n = 5)" in arrive["2a"] and "TO FILL" in arrive["14"]
    text = checklist_markdown(lists)
    assert "- ethical statement (for the authors)" in text and "dose in the other unit" in text
    assert all(item.answer for items in lists.values() for item in items)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b", "`x`", "[x](javascript:alert(1))", "# no heading"])
def test_names_stay_text_in_markdown(name: str) -> None:
    shown = plain(name)
    assert re.sub(r"\\(.)", r"\1", shown) == name
    assert not re.search(r"(?<!\\)[<>|`\[\]#]", shown)


def test_small_words() -> None:
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"]), listed([])] == ["a", "a and b", "a, b and c", ""]
    assert gaps(["[TO FILL: x] and [TO FILL: y]", "[TO FILL: x]"]) == ["x", "y"]
