"""Columns and bars, measured in cells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from llmsaver.reporting.layout import Column, bar, clip, columns, fitting, pointed

NAMES = Column("feature", ["search", "a-feature-with-a-long-name"], left=True, least=12)
CALLS = Column("calls", ["1", "20,000"])
SAVED = Column("saved", ["$0.10", "-"], rank=1)
TIMES = Column("p50", ["1.2 s", "420 ms"], rank=2)


def test_all_columns_where_there_is_room() -> None:
    assert columns([NAMES, CALLS, SAVED, TIMES], 80) == [
        "feature                      calls  saved     p50",
        "search                           1  $0.10   1.2 s",
        "a-feature-with-a-long-name  20,000      -  420 ms",
    ]


def test_the_least_needed_columns_go_first_and_long_names_shrink() -> None:
    assert columns([NAMES, CALLS, SAVED, TIMES], 30) == [
        "feature           calls  saved",
        "search                1  $0.10",
        "a-feature-with…  20,000      -",
    ]
    assert columns([NAMES, CALLS, TIMES], 20, ascii_only=True)[2] == "a-feature-w.  20,000"


def test_what_must_stay_stays_however_narrow() -> None:
    assert fitting([NAMES, CALLS], 3) == [NAMES, CALLS]
    assert fitting([SAVED], 1) == [SAVED]


def test_a_short_name_never_grows() -> None:
    assert columns([Column("a", ["b"], left=True, least=12), Column("calls", ["20,000"])], 8)[0] == "a   calls"


@given(
    st.lists(st.text(st.characters(exclude_categories=["C", "M", "Z"]), max_size=40), min_size=1), st.integers(12, 80)
)
def test_no_line_is_wider_than_asked(names: list[str], width: int) -> None:
    found = [
        Column("name", names, left=True, least=3),
        Column("n", ["1"] * len(names)),
        Column("m", ["2"] * len(names), 1),
    ]
    assert all(cell_len(line) <= width for line in columns(found, width))


def test_wide_letters_count_twice() -> None:
    assert clip("名前名前", 5) == "名前…"
    assert clip("名前", 4) == "名前"
    assert cell_len(columns([Column("名", ["名前名前"], left=True, least=5), Column("calls", ["20,000"])], 13)[1]) == 13


def test_decimal_points_stand_in_line() -> None:
    assert pointed(["$1.25", "$0.0004", "unknown", "-", "-$12.00"]) == [
        "$1.25  ",
        "$0.0004",
        "unknown",
        "-",
        "-$12.00  ",
    ]
    assert pointed(["-", "1,200"]) == ["-", "1,200"]
    assert pointed([]) == []


@pytest.mark.parametrize(
    ("share", "drawn", "plain"),
    [
        (-1.0, "", ""),
        (0.0, "", ""),
        (1e-9, "▏", "#"),
        (0.5, "████", "####"),
        (0.55, "████▍", "####"),
        (2.0, "█" * 8, "#" * 8),
    ],
)
def test_bars(share: float, drawn: str, plain: str) -> None:
    assert bar(share, 8) == drawn
    assert bar(share, 8, ascii_only=True) == plain
