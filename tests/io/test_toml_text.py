"""A changed value of study.toml leaves all else as it was written."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevhisto.io.toml_text import toml_value, with_entry, with_value
from sevhisto.types import SevhistoError

TEXT = """# mine
[study]
name = "a # b"   # its name

[zones]
edges_um = [0, 100, # near
  250]
# of imaging
[imaging]
ring_um = 3
"""


def test_only_the_value_changes():
    assert with_value(TEXT, ("imaging",), "ring_um", 2.5) == TEXT.replace("ring_um = 3", "ring_um = 2.5")
    assert with_value(TEXT, ("study",), "name", "c") == TEXT.replace('name = "a # b"   # its', 'name = "c" # its')
    assert with_value(TEXT, ("zones",), "edges_um", [0, 50]) == TEXT.replace("[0, 100, # near\n  250]", "[0, 50]")
    assert with_value(TEXT, ("imaging",), "ring_um", None) == TEXT.replace("ring_um = 3\n", "")
    assert with_value(TEXT, ("motor",), "test", None) == TEXT


def test_what_was_not_there_is_added_to_its_table():
    assert with_value(TEXT, ("study",), "blind", False) == TEXT.replace("# its name\n", "# its name\nblind = false\n")
    assert with_value(TEXT, ("motor",), "test", "BMS").endswith('\n[motor]\ntest = "BMS"\n')
    assert with_value("[study]", ("study",), "name", "x") == '[study]\nname = "x"\n'


def test_windows_line_ends_stay():
    assert with_value(TEXT.replace("\n", "\r\n"), ("imaging",), "blur_um", 1.0).count("\n") == TEXT.count("\n") + 1
    assert "\n" not in with_value(TEXT.replace("\n", "\r\n"), ("imaging",), "blur_um", 1.0).replace("\r\n", "")


@pytest.mark.parametrize("text", ["imaging = { ring_um = 3 }", "imaging.ring_um = 3"])
def test_a_file_that_is_not_understood_is_left_alone(text):
    with pytest.raises(SevhistoError, match="text editor"):
        with_value(text, ("imaging",), "ring_um", 2)


@given(st.recursive(st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists))
def test_values_are_read_as_they_were_written(value):
    assert tomllib.loads(with_value(TEXT, ("zones",), "new", value))["zones"]["new"] == value
    assert tomllib.loads(f"v = {toml_value(value)}")["v"] == value


@pytest.mark.parametrize(
    "text",
    [
        '[panels.A]\nchannels = [\n  { channel = "a" },\n]\n[zones]\nx = 1\n',
        '[panels.A]\nchannels = [\n  { channel = "a" }\n]\n',
        '[panels.A]\nchannels = [{ channel = "a" }]\n',
        '[panels.A]\nx = 1\n[[panels.A.channels]]\nchannel = "a"\n[zones]\nx = 1\n',
    ],
)
def test_an_entry_is_added_however_the_list_is_written(text):
    new = with_entry(text, ("panels", "A", "channels"), {"channel": "scar", "n": 1})
    assert tomllib.loads(new)["panels"]["A"]["channels"] == [{"channel": "a"}, {"channel": "scar", "n": 1}]
    assert all(line in new for line in text.splitlines()[:1])
