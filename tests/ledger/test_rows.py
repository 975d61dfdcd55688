"""From an entry to a row, and from a row to what a driver takes."""

from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.core.entry import Attempt, Entry
from llmsaver.core.usage import Usage
from llmsaver.ledger import AttemptRow, CallRow
from llmsaver.ledger.rows import CALL_COLUMNS, attempt_values, call_values, tamed


def test_an_entry_becomes_a_row_with_the_money_added() -> None:
    entry = Entry("chat", "m", feature="search", user="u", tags={"a": "b"}, stream=True)
    entry.usage = Usage(10, 5, cache_read_tokens=3, reasoning_tokens=2)
    entry.latency_s, entry.first_byte_s, entry.status = 0.5, 0.1, 200
    entry.attempts.append(Attempt("host", "m", 500, "boom"))
    entry.act("cache", "miss")
    row = CallRow.of(entry, cost_nano=7, feature_path=("shop", "search"))
    assert (row.id, row.feature, row.user, row.stream, row.cost_nano) == (entry.id, "search", "u", True, 7)
    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens, row.reasoning_tokens) == (10, 5, 3, 2)
    assert (row.latency_ms, row.first_byte_ms) == (500.0, 100.0)
    assert row.feature_path == ("shop", "search")
    assert row.attempts == [AttemptRow("host", "m", "api", 500, "boom")]
    assert row.layers == [{"name": "cache", "action": "miss", "why": ""}]


def test_an_entry_without_usage_or_times_has_none_of_them() -> None:
    row = CallRow.of(Entry("chat", "m"))
    assert (row.input_tokens, row.latency_ms, row.first_byte_ms) == (None, None, None)


def test_empty_values_are_null_and_flags_are_numbers() -> None:
    values = dict(zip(CALL_COLUMNS, call_values(CallRow("e", complete=True, estimated=True)), strict=True))
    assert values["tags"] is values["layers"] is values["chain"] is None
    assert (values["complete"], values["estimated"], values["stream"]) == (1, 1, 0)
    full = CallRow("e", chain=["a", "b"], flags=("x",), tags={"k": "\ud800"})
    values = dict(zip(CALL_COLUMNS, call_values(full), strict=True))
    assert (values["chain"], values["flags"], values["tags"]) == ("a,b", "x", '{"k":"\\ud800"}')
    assert attempt_values(AttemptRow(estimated=True))[-1] == 1


def test_how_a_call_was_routed_is_in_its_row() -> None:
    entry = Entry("chat", "auto")
    entry.escalated, entry.routing = True, MappingProxyType({"tier": "large", "threshold": 0.7})
    row = CallRow.of(entry)
    assert row.escalated
    values = dict(zip(CALL_COLUMNS, call_values(row), strict=True))
    assert (values["escalated"], values["routing"]) == (1, '{"tier":"large","threshold":0.7}')
    assert dict(zip(CALL_COLUMNS, call_values(CallRow("e")), strict=True))["routing"] is None


@given(st.lists(st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary(), st.booleans())))
def test_tamed_values_are_ones_a_driver_takes(values: list[object]) -> None:
    out = tamed(values)
    assert len(out) == len(values)
    for value in out:
        assert value is None or isinstance(value, int | float | str)
        if isinstance(value, int):
            assert abs(value) <= 2**62
        if isinstance(value, str):
            assert "\0" not in value
            value.encode()


def test_lone_surrogates_and_nuls_are_replaced() -> None:
    assert tamed(["a\ud800b\0c", 10**30, True]) == ["a?b\N{REPLACEMENT CHARACTER}c", 2**62, 1]
