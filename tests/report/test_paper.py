from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from sevhisto.pipeline.papering import typical_sections
from sevhisto.report import ReportInputs, batch_contrast, tissue_histograms
from sevhisto.report.canvas import FULL_WIDTH, on_page, svg_file
from sevhisto.report.montage import montage
from sevhisto.report.paper import drawing_files, file_stem, plots
from sevhisto.types import SectionRecord

VOLUME, AUC = "ECM_core_fibronectin_positive_volume_mm3", "BBB_auc_score_days"


def test_every_plot_of_the_report_can_be_had_for_a_paper(make_inputs: Callable[..., ReportInputs]) -> None:
    found = {plot.name: plot for plot in plots(make_inputs(pictures=False))}
    relation = f"relation_{VOLUME}_{AUC}"
    assert set(found) == {f"estimation_{VOLUME}", f"estimation_{AUC}", "recovery", relation, "profile_A_fibronectin", "profile_A_CD68"}
    files = dict(drawing_files("recovery", found["recovery"].draw, ["changed_after_unblinding"], ("85mm",)))
    svg, pdf, data = files["recovery_85mm.svg"], files["recovery_85mm.pdf"], files["recovery.csv"]
    assert isinstance(svg, bytes) and b"changed after unblinding" in svg
    assert isinstance(pdf, bytes) and pdf.startswith(b"%PDF")
    assert isinstance(data, pd.DataFrame) and (data["what"] == "animal").sum() == 160  # 20 animals, 8 days


@pytest.mark.parametrize(("name", "stem"), [("a/b:c*", "a_b_c"), ("../x", "x"), ("<script>", "script"), ("№ 5", "5"), ("鼠", "figure")])
def test_names_of_files_are_harmless(name: str, stem: str) -> None:
    assert file_stem(name) == stem


def test_a_plate_shows_every_marker_with_one_contrast(make_record: Callable[..., SectionRecord]) -> None:
    records = [make_record(0), make_record(1, core=False)]
    contrast = batch_contrast(map(tissue_histograms, records))
    with on_page(FULL_WIDTH):
        drawing = montage([("one", records[0]), ("two", records[1])], contrast)
        svg = svg_file(drawing).decode()
    assert [ax.get_title() for ax in drawing.figure.axes[:6]] == ["DAPI", "GFAP", "CD68", "fibronectin", "all", "inset"]
    assert drawing.data[["marker", "black_grey", "white_grey"]].drop_duplicates()["marker"].is_unique
    assert "1 mm" in svg and "two" in svg


def test_the_section_shown_is_that_of_the_animal_nearest_the_median(make_inputs: Callable[..., ReportInputs]) -> None:
    inputs = make_inputs(pictures=False)
    animals = [f"R{i:02d}" for i in range(1, 6)]
    listed = pd.DataFrame(
        [(a, s, "A", "1", "sample", 0.0, "r") for a in animals for s in ("s1", "s2")],
        columns=["animal", "section", "panel", "batch", "role", "position_um", "record"],
    )
    core = {"s1": 10.0, "s2": 30.0}
    sections = pd.DataFrame(
        [(a, s, "A", "core", area, 0.0, 0.0) for a in animals for s, area in core.items()],
        columns=["animal", "section", "panel", "zone", "zone_um2", "cavity_um2", "masked_um2"],
    )
    values = inputs.wide.set_index("animal")[VOLUME].reindex(animals)
    middle = values.index[np.argsort(values.to_numpy())[2]]
    chosen = typical_sections(listed, inputs, sections)
    assert chosen[["animal", "section", "group"]].to_numpy().tolist() == [[middle, "s2", "vehicle"]]
