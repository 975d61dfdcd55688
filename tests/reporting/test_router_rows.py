"""Files of outcomes: read whole, packed or not, and refused with the line that is wrong."""

import gzip
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.errors import ConfigurationError
from llmsaver.reporting.router_rows import number, rows_of, share, text_of


def test_csv_and_json_lines_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\ufeffweak, strong\n1,"two\nlines"\n', encoding="utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"weak": 1}\n\n{"weak": true}\n'))
    assert rows_of(str(tmp_path / "a.csv")) == [(3, {"weak": "1", "strong": "two\nlines"})]
    assert rows_of(str(tmp_path / "b.jsonl.gz")) == [(1, {"weak": 1}), (3, {"weak": True})]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\n1\n")))
    assert text_of("-") == "a\n1\n"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"weak,strong\n", "no rows"),
        (b"weak,strong\n1\n", "line 2: has not as many"),
        (b"weak,strong\n1,2,3\n", "line 2: has not as many"),
        (b'weak\n"1\n', "is no CSV"),
        (b"{nonsense\n", "line 1: is no JSON"),
        (b"[1]\n", "must be a JSON object"),
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"\x1f\x8bnothing", "cannot be read|no text"),
        (gzip.compress(b"weak,strong\n1,1\n" * 50)[:-9], "no text in UTF-8"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, raw: bytes, why: str) -> None:
    (tmp_path / "file").write_bytes(raw)
    with pytest.raises(ConfigurationError, match=why):
        rows_of(str(tmp_path / "file"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        rows_of(str(tmp_path / "none"))


@given(st.text())
def test_any_text_is_rows_or_a_clear_refusal(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    place = tmp_path_factory.getbasetemp() / "any"
    place.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert rows_of(str(place))
    except ConfigurationError as error:
        assert str(place) in str(error)  # noqa: PT017 - either is right


def test_numbers_and_shares() -> None:
    assert number("f", 1, "x", " 1.5 ") == 1.5
    assert number("f", 1, "x", "-inf", endless=True) == float("-inf")
    assert [share("f", 1, "x", value) for value in ("True", "no", 1, 0.25, False)] == [1.0, 0.0, 1.0, 0.25, 0.0]


@pytest.mark.parametrize("value", ["nan", "inf", "", "yes", None, [], {}])
def test_no_number(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="f, line 7: x must be a number"):
        number("f", 7, "x", value)


@pytest.mark.parametrize("value", [1.1, "-0.1"])
def test_no_share(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="f, line 7: x must lie between 0 and 1"):
        share("f", 7, "x", value)
