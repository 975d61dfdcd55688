"""JSON made shorter and read back: the same value, whatever it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.tables import minified, read_back, tabled

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(
        ["<table 1>", "[table 1: 3 rows]", "a\nb", ",", "", "|", "a | b", "a |", "-", "1 | 2", "true", "1e5"]
    )
)
keys = st.sampled_from(["a", "b", "c", "a.b", "", "<table 1>"]) | st.text(max_size=2)
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=4), max_leaves=25
)
rows = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(), "name": st.text(max_size=5)},
        optional={"tags": values, "where": st.dictionaries(keys, scalars, max_size=3) | scalars},
    ),
    max_size=8,
)


@given(values | rows | st.dictionaries(keys, rows, max_size=3))
def test_nothing_is_lost(value: Any) -> None:
    text = json.dumps(value, indent=2)
    told = tabled(text)
    if not isinstance(value, dict | list):
        assert told is None
        return
    if told is not None:
        assert json.dumps(read_back(told)) == json.dumps(value)
        assert len(told) <= len(minified(text) or "")


@given(st.text(max_size=60))
def test_any_text_is_left_or_is_the_same_json(text: str) -> None:
    told = tabled(text)
    if told is not None:
        assert read_back(told) == json.loads(text)


def test_a_list_of_like_objects_is_a_table() -> None:
    orders = [
        {
            "order": n,
            "kind": "sale",
            "customer": {"name": f"c{n}", "city": "Rome"},
            "total": n / 4,
            **({"note": "late"} if n == 3 else {}),
        }
        for n in range(1, 9)
    ]
    told = tabled(json.dumps({"orders": orders, "count": 8}))
    assert told is not None
    assert told.split("\n")[:5] == [
        '{"orders":"<table 1>","count":8}',
        '[table 1: 8 rows; all with {"kind":"sale"}, before "customer.name"]',
        "order | customer.name | customer.city | total | note",
        "---|---|---|---|---",
        "1 | c1 | Rome | 0.25 | -",
    ]
    assert len(told) < 0.65 * len(json.dumps({"orders": orders, "count": 8}, separators=(",", ":")))
    assert read_back(told)["orders"] == orders


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":2}', "[NaN]", "[1", "17", '"text"', "", "[" * 100_000, '["\uf8ff"]', '["\\uF8FF"]']
)
def test_what_would_not_read_back_the_same_is_left(text: str) -> None:
    assert minified(text) is None
    assert tabled(text) is None


def test_numbers_stay_as_they_are_written() -> None:
    numbers = "1.0e2,1e400,-0,0.10,123456789012345678901234567890,10.50"
    assert minified(f"[ {numbers} ]") == f"[{numbers}]"
    rows = [{"price": "@", "name": f"n{n}", "rate": "@" if n else 1} for n in range(5)]
    told = tabled(json.dumps(rows).replace('"@"', "10.50"))
    assert told is not None
    assert told.split("\n")[:4] == [
        '[table 1: 5 rows; all with {"price":10.50}, before "name"]',
        "name | rate",
        "---|---",
        "n0 | 1",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[1]\nrubbish",
        '[table 1: 1 rows]\na\n---\n"1" 2',
        "[table 1: 1 rows]\na\n1",
        "[table 1: 1 rows]\na",
        "[table 1: 1 rows]",
    ],
)
def test_what_is_no_table_is_no_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"first line|below|bar"):
        read_back(text)


def test_a_line_with_too_much_is_no_value() -> None:
    with pytest.raises(ValueError, match="more cells"):
        read_back("[table 1: 1 rows]\na\n---\n1 | 2")


def test_strings_that_could_be_taken_for_something_else_keep_their_marks() -> None:
    cells = [
        "-",
        "true",
        "null",
        "a,b",
        "1",
        "x ",
        "[a",
        "a]b",
        'a"b',
        "",
        "NaN",
        "\u00e9t\u00e9",
        "a\u2028b",
        "_a",
        "\uff8a",
    ]
    rows = [
        {"a long enough name": cell, "a.b": number, "c": {"d.e": 1, "f": number}} for number, cell in enumerate(cells)
    ]
    told = tabled(json.dumps(rows))
    assert told is not None
    assert told.split("\n")[1] == 'a long enough name | ["a.b"] | ["c","d.e"] | c.f'
    assert read_back(told) == rows
    assert "\nNaN |" in told
    assert '\n"true" |' in told


def test_rows_that_are_all_the_same_and_keys_in_their_order() -> None:
    rows = [{"state": "a long state of something", "kind": "k", "at": 1}] * 4
    told = tabled(json.dumps(rows))
    assert told is not None
    assert [list(row.items()) for row in read_back(told)] == [list(row.items()) for row in rows]
    rows = [{"b": "all the same", "n": n, "a": "this too", "z": "and this", "m": -n, "y": 1} for n in range(5)]
    told = tabled(json.dumps(rows))
    assert told is not None
    assert [list(row.items()) for row in read_back(told)] == [list(row.items()) for row in rows]
