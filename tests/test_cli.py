"""The command line itself: help, version, usage errors, and the commands that need no run."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sevhisto import __version__, cli
from sevhisto.commands import options, progress, voice

COMMANDS = tuple(module.__name__.rpartition(".")[2] for module in cli.COMMANDS)


@pytest.fixture
def sevhisto(monkeypatch, capsys):
    """Run a command line in this process; return status, output, errors."""

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["sevhisto", *map(str, words)])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = 0 if end.code is None else int(end.code)
        heard = capsys.readouterr()
        return status, heard.out, heard.err

    return command


def test_help_names_every_command_and_every_command_has_help(sevhisto):
    status, out, _ = sevhisto("--help")
    assert status == 0
    assert all(f"  {name} " in out for name in COMMANDS)
    for name in COMMANDS:
        status, out, _ = sevhisto(name, "--help")
        assert status == 0
        assert "Usage: " in out
        assert f"sevhisto {name}" in out


def test_the_version_is_that_of_the_package(sevhisto):
    assert sevhisto("--version") == (0, f"sevhisto {__version__}\n", "")


@pytest.mark.parametrize(
    "words", [["nonsense"], ["run"], ["run", ".", "--jobs", "0"], ["run", ".", "--job-s", "1"], ["phantom", "x", "--seed", "a"]]
)
def test_wrong_usage_ends_with_2(sevhisto, words):
    status, out, err = sevhisto(*words)
    assert status == 2
    assert out == ""
    assert "Usage" in err


def test_a_synthetic_study_is_written_and_found_in_order(sevhisto, tmp_path):
    folder = tmp_path / "new"
    status, out, err = sevhisto("phantom", folder, "--animals", 1, "--sections", 1, "--um-per-px", 4, "--jobs", 1, "--null", "--seed", 3)
    assert status == 0, err
    assert f"sevhisto run {folder}" in out
    assert {p.name for p in folder.iterdir()} == {"study.toml", "slides.csv", "animals.csv", "motor.csv", "slides", "truth"}
    status, out, err = sevhisto("check", folder)
    assert (status, err) == (0, "")
    assert "No problem found" in out
    status, _, err = sevhisto("phantom", folder)
    assert status == 1
    assert "not empty" in err


TOML = """
[study]
name = "small"
orientation = "transverse"
section_spacing_um = 200
[[panels.A.channels]]
channel = 1
marker = "DAPI"
role = "nuclei"
[[panels.A.channels]]
channel = 2
marker = "CD68"
role = "macrophage"
[protocols.saline]
route = "intravenous"
total_dose = 0
dose_unit = "ug"
injections_h = [3]
"""


def write_study(root: Path, toml: str = TOML, **sheets: str) -> Path:
    (root / "slides").mkdir(parents=True)
    files = {
        "slides": "file,animal,section,panel,batch,role,position_um\na.tif,r1,s1,A,b1,sample,0\n",
        "animals": "animal,protocol\nr1,saline\n",
    }
    for name, text in {**files, **sheets}.items():
        (root / f"{name}.csv").write_text(text, "utf-8")
    (root / "study.toml").write_text(toml, "utf-8")
    return root


def test_check_tells_every_problem_at_once(sevhisto, tmp_path):
    rows = "a.tif,r1,s1,A,b1,sample,0\nb.tif,r9,s2,A,b1,sampel,0\nc.tif,r1,s3,X,b1,sample,far\nd.tif,r9,s4,A,b1,sample,0\n"
    root = write_study(tmp_path / "study", slides=f"file,animal,section,panel,batch,role,position_um\n{rows}")
    status, out, err = sevhisto("check", root)
    assert status == 1
    assert out == ""
    assert int(err.split()[0]) >= 8
    for words in ("a.tif", "b.tif", "r9", "'sample'", "row 4", "far", "'X'"):
        assert words in err, err


def test_no_pixel_size_is_told_with_file_row_and_remedy_and_fails_the_section_only(sevhisto, tmp_path):
    root = write_study(tmp_path / "study")
    tifffile.imwrite(root / "slides" / "a.tif", np.zeros((2, 64, 64), np.uint16), photometric="minisblack")
    status, _, err = sevhisto("check", root)
    assert status == 1
    assert "slides.csv, row 2, file a.tif" in err
    assert "um_per_px" in err
    status, out, _ = sevhisto("run", root, "--jobs", 1)
    assert status == 3
    assert "no pixel size" in out


def test_a_text_file_named_tif_is_no_image(sevhisto, tmp_path):
    root = write_study(tmp_path / "study")
    (root / "slides" / "a.tif").write_text("dear diary", "utf-8")
    status, _, err = sevhisto("check", root)
    assert status == 1
    assert "slides.csv, row 2, file a.tif" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('pairs = [["DAPI", "CD86"]]', "did you mean 'CD68'"),
        ('kind = "brightfeld"', "panels.A.kind"),
        ('colour = "red"', "unknown setting"),
    ],
)
def test_a_wrong_panel_is_told_with_its_place(sevhisto, tmp_path, change, said):
    root = write_study(tmp_path / "study", TOML.replace("[[panels.A", f"[panels.A]\n{change}\n[[panels.A", 1))
    for command in ("check", "run", "compare", "report"):
        status, _, err = sevhisto(command, root)
        assert status == 1
        assert "study.toml: panels.A" in err
        assert said in err
    assert not (root / "results").exists()


def test_a_contrast_of_an_unknown_protocol_is_told(sevhisto, tmp_path):
    toml = TOML + '[[contrasts]]\nname = "c"\na = ["x"]\nb = ["y"]\n'
    status, _, err = sevhisto("run", write_study(tmp_path / "study", toml))
    assert status == 1
    assert "contrast 'c' names protocol 'x'" in err


def test_nothing_is_compared_or_reported_before_a_run(sevhisto, tmp_path):
    root = write_study(tmp_path / "study")
    tifffile.imwrite(root / "slides" / "a.tif", np.zeros((2, 64, 64), np.uint16), photometric="minisblack")
    for command in ("compare", "report"):
        status, _, err = sevhisto(command, root)
        assert status == 1
        assert "sevhisto run" in err


def test_init_drafts_a_study_beside_the_slides(sevhisto, tmp_path):
    folder = tmp_path / "mine" / "slides"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "rat1_s1.tif", np.zeros((2, 64, 64), np.uint16), photometric="minisblack")
    status, out, err = sevhisto("init", folder)
    assert status == 0, err
    assert out
    assert (tmp_path / "mine" / "study.toml").is_file()


def test_init_says_where_to_check_and_how_to_type_it(sevhisto, tmp_path):
    folder = tmp_path / "OneDrive - Lab" / "slides"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "rat1 s1.tif", np.zeros((2, 64, 64), np.uint16), photometric="minisblack")
    _, out, _ = sevhisto("init", folder)
    step = out.splitlines()[-1]
    assert step.startswith("Next: ") and step.endswith(f"sevhisto check {shlex.quote(str(folder.parent))}")
    assert '# "rat1 s1.tif"\n[panels.A]' in (folder.parent / "study.toml").read_text("utf-8")


def test_a_name_with_a_space_and_no_quotes_is_told(sevhisto):
    status, _, err = sevhisto("check", "my", "study", "--verbose")
    assert status == 2 and 'in quotes: "my study"' in err


def test_what_is_wrong_alike_gets_one_remedy(sevhisto, tmp_path):
    root = write_study(tmp_path / "study", TOML.replace('"DAPI"', '"?"').replace('"CD68"', '"?"'))
    _, _, err = sevhisto("check", root)
    assert err.count("marker: is still to be filled in") == 2 and err.count("replace the ?") == 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (44.6, "45 s"),
        (59.9, "1 min"),
        (60, "1 min"),
        (95, "2 min"),
        (3599, "1 h 0 min"),
        (11100, "3 h 5 min"),
        (1e6, "277 h 47 min"),
    ],
)
def test_times_are_said_as_people_do(seconds, said):
    assert progress.duration(seconds) == said


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"done": 0, "total": 40, "seconds": 90}, "2 min"),
        ({"done": 2, "total": 40, "seconds": 90}, "2 min"),  # too few to tell
        ({"done": 6, "total": 40, "seconds": 1}, "1 s"),  # too soon to tell
        ({"done": 10, "total": 40, "seconds": 300}, "5 min, 2 per min, about 15 min left"),
        ({"done": 10, "total": 40, "seconds": 300, "failed": 2}, "5 min, 2 per min, about 15 min left, 2 failed"),
        ({"done": 40, "total": 40, "seconds": 1200}, "20 min, 2 per min"),
        # 30 were there before: the 10 that are left take as long as those 5 that were measured now
        ({"done": 35, "total": 45, "seconds": 300, "skipped": 30}, "5 min, 1 per min, about 10 min left"),
        ({"done": 30, "total": 45, "seconds": 300, "skipped": 30}, "5 min"),
        ({"done": 7, "total": 40, "seconds": 300, "at_least": 8}, "5 min"),
        # of 400 seconds, 100 went by with finding what was there before
        ({"done": 35, "total": 45, "seconds": 400, "skipped": 30, "idle": 100}, "7 min, 1 per min, about 10 min left"),
    ],
)
def test_pace_and_time_left_are_told_once_they_mean_something(counts, said):
    assert progress.pace(**counts) == said


def test_a_log_file_gets_a_line_every_half_minute_and_at_the_end(monkeypatch, capsys):
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.progress_bars(2) as show:
        for done in range(13):
            show("sections", done, 12, done // 6)
    assert capsys.readouterr().err.splitlines() == [
        "sections: 3/12, 30 s, 6 per min, about 2 min left",
        "sections: 6/12, 1 min, 6 per min, about 1 min left, 1 failed",
        "sections: 9/12, 2 min, 6 per min, about 30 s left, 1 failed",
        "sections: 12/12, 2 min, 6 per min, 2 failed",
    ]


def test_time_that_went_by_without_work_does_not_slow_the_rest(monkeypatch, capsys):
    clock = iter([0, 100, 200, 260, 320, 320, 380])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.progress_bars(2) as show:
        show("sections", 0, 10)
        show("sections", 2, 10, 0, 2)  # there before
        show("sections", 4, 10, 2, 4)  # may not be read
        show("sections", 5, 10, 2, 4)
        show("sections", 6, 10, 2, 4)
        show("sections", 7, 10, 3, 5)  # refused, at once
        show("sections", 8, 10, 3, 5)
    assert capsys.readouterr().err.splitlines()[-1] == "sections: 8/10, 6 min, 1 per min, about 2 min left, 3 failed"


@pytest.mark.parametrize("terminal", [False, True])
def test_what_the_library_warns_of_is_told_at_once_and_only_the_first_of_many(monkeypatch, capsys, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    log = logging.getLogger("sevhisto.somewhere")
    with progress.progress_bars(2) as show:
        show("sections", 0, 40)
        for i in range(30):
            log.warning(f"S-{i} failed: [red]{'why ' * 40}")
        logging.getLogger("sevhisto.elsewhere").warning("of another kind")
        show("sections", 40, 40, 30)
    told = capsys.readouterr().err
    lines = [line for line in told.splitlines() if "failed: " in line]
    assert len(lines) == voice.MAX_SHOWN and all(f"failed: [red]{'why ' * 40}".strip() in line for line in lines)
    assert "and more" in told and "of another kind" in told
    assert not logging.getLogger("sevhisto").handlers
    monkeypatch.setattr(voice.voice, "quiet", True)
    with progress.progress_bars(2) as show:
        show("sections", 0, 40)
        log.warning("S-1 failed")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_bars(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with progress.progress_bars(2) as show:
        show("sections", 0, 4)
        show("sections", 4, 4, failed=1)
        show("tables", 1, 1)
    shown = capsys.readouterr().err
    assert "sections" in shown and "tables" in shown
    assert "4/4" in shown.replace("\x1b[32m", "").replace("\x1b[0m", "")
    assert "1 failed" in shown


@pytest.mark.parametrize("command", ["run", "demo", "report"])
def test_too_little_memory_for_one_process_is_told_before_anything_is_done(sevhisto, tmp_path, command):
    status, out, err = sevhisto(command, tmp_path / "study", "--memory", 0.2)
    assert (status, out) == (1, "")
    assert "--memory: 205 MB is not enough" in err
    assert not (tmp_path / "study").exists()


def test_memory_lowers_the_processes_and_says_so(monkeypatch, capsys):
    from sevhisto import engine

    assert options.processes(8, 1000) == 8
    assert capsys.readouterr().err == ""
    assert options.processes(8, 1.6) == 2
    assert "2 of 8 processes fit: --memory 1.6" in capsys.readouterr().err
    monkeypatch.setattr(engine, "available_mb", lambda: 2048.0)
    assert options.processes(8, None) == 2
    assert "2.0 GB of memory free now" in capsys.readouterr().err
    monkeypatch.setattr(engine, "available_mb", lambda: 100.0)
    assert options.processes(8, None) == 1  # asked for no limit: try, rather than refuse
    monkeypatch.setattr(engine, "available_mb", lambda: None)
    assert options.processes(8, None) == 8


def test_local_limits_do_not_go_with_a_cluster(sevhisto, tmp_path):
    for option, value in (("--jobs", 2), ("--memory", 4)):
        status, _, err = sevhisto("run", tmp_path, option, value, "--scheduler", "tcp://127.0.0.1:9")
        assert status == 1
        assert f"{option}: means local processes" in err


# ---------------------------------------------------------------- how every command speaks


def commands() -> dict[str, object]:
    import typer

    return typer.main.get_command(cli.app).commands


def test_every_command_speaks_alike_and_gives_examples_that_it_understands(sevhisto):
    for name, command in commands().items():
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        assert {"--json", "--quiet", "-q", "--verbose", "-v"} <= options
        _, out, _ = sevhisto(name, "--help")
        examples = [line.strip() for line in out.partition("Examples:")[2].splitlines() if line.strip()]
        assert examples, name
        for example in examples:
            words = shlex.split(example)
            assert words[:2] == ["sevhisto", name]
            assert {w for w in words if w.startswith("--")} <= options, example
        with command.make_context(name, shlex.split(examples[0])[2:]) as context:  # it parses as it stands
            assert context.params


def test_json_is_one_object_on_stdout(sevhisto, tmp_path):
    status, out, err = sevhisto("phantom", tmp_path / "s", "--animals", 1, "--sections", 1, "--um-per-px", 4, "--jobs", 1, "--json")
    said = json.loads(out)
    assert (status, err, said["command"], said["status"]) == (0, "", "phantom", 0)
    assert said["study"] == str(tmp_path / "s") and said["next"] == [f"sevhisto run {tmp_path / 's'}"]
    status, out, err = sevhisto("check", tmp_path / "none", "--json")
    said = json.loads(out)
    assert (status, err, said["status"], said["command"]) == (1, "", 1, "check")
    assert said["problems"][0].keys() == {"where", "what", "remedy"}
    status, out, _ = sevhisto("check", tmp_path / "s", "--json")
    assert status == 0 and json.loads(out)["lines"] == ["No problem found."]


def test_quiet_says_nothing_but_problems(sevhisto, tmp_path):
    words = ("phantom", tmp_path / "s", "--animals", 1, "--sections", 1, "--um-per-px", 4, "--jobs", 1, "--quiet")
    assert sevhisto(*words) == (0, "", "")
    status, out, err = sevhisto(*words)
    assert (status, out) == (1, "") and "not empty" in err
    status, _, err = sevhisto("check", tmp_path / "s", "--quiet", "--verbose")
    assert status == 1 and "opposite" in err


def test_verbose_tells_time_and_every_line_of_a_list(sevhisto, tmp_path, capsys):
    (tmp_path / "slides").mkdir()
    tifffile.imwrite(tmp_path / "slides" / "rat1_s1.tif", np.zeros((2, 64, 64), np.uint16), photometric="minisblack")
    _, out, _ = sevhisto("init", tmp_path / "slides", "--verbose")
    assert " MB at most" in out or sys.platform == "win32"
    for verbose, shown in ((False, voice.MAX_SHOWN + 1), (True, 30)):
        voice._begin("x", False, False, verbose)
        voice.listed([f"line {i}" for i in range(30)], "failed", "see status.csv")
        assert len(capsys.readouterr().out.splitlines()) == shown
    voice._begin("", False, False, False)


def test_colours_are_for_terminals(sevhisto, tmp_path, monkeypatch, capsys):
    _, out, err = sevhisto("check", tmp_path / "none")
    assert "\x1b" not in out + err and "Problem:" in err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert voice._coloured("Problem:", "red", err=True).startswith("\x1b[")
    monkeypatch.setenv("NO_COLOR", "1")
    assert voice._coloured("Problem:", "red", err=True) == "Problem:"


def test_the_last_line_says_what_to_do_next(sevhisto, tmp_path):
    words = ("phantom", tmp_path / "s", "--animals", 1, "--sections", 1, "--um-per-px", 4, "--jobs", 1)
    _, out, _ = sevhisto(*words)
    assert out.splitlines()[-1] == f"Next: sevhisto run {tmp_path / 's'}"


@pytest.mark.parametrize(
    ("name", "line", "wanted"),
    [
        ("bash", "sevhisto ex", {"exclude", "export"}),
        ("bash", "sevhisto export s --to p", {"prism", "parquet"}),
        ("zsh", "sevhisto export s --to p", {"prism", "parquet"}),
        ("fish", "sevhisto export s --to p", {"prism", "parquet"}),
    ],
)
def test_the_shell_completes_commands_and_formats(name, line, wanted):
    shell = {"_SEVHISTO_COMPLETE": f"complete_{name}", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    shell |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    code = "import sys; sys.argv = ['sevhisto']; from sevhisto.cli import app; app(prog_name='sevhisto')"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **shell}, capture_output=True, text=True, check=False)
    assert set(re.findall(r"[a-z]{4,}", done.stdout.replace("_arguments", ""))) == wanted, done.stderr


def test_help_loads_nothing_heavy():
    code = "import sys; from sevhisto.cli import app\ntry:\n    app(['--help'])\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    heavy = {"pandas", "scipy", "pydantic", "skimage", "cv2", "matplotlib", "statsmodels", "anndata", "zarr", "numba"}
    assert heavy & set(done.stderr.split()) == set()
