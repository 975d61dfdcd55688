"""Token counts: a frozen value that compares by what it counts."""

from dataclasses import FrozenInstanceError

import pytest

from llmsaver.core.usage import Usage


def test_counts_default_to_nothing_cached_and_nothing_reasoned() -> None:
    usage = Usage(12, 3)
    assert (usage.input_tokens, usage.output_tokens) == (12, 3)
    assert (usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (0, 0, 0)
    assert usage.raw == {}


def test_usage_is_a_value() -> None:
    assert Usage(1, 2, raw={"a": 1}) == Usage(1, 2, raw={"a": 1})
    assert Usage(1, 2) != Usage(1, 3)
    with pytest.raises(FrozenInstanceError):
        Usage(1, 2).input_tokens = 5  # type: ignore[misc]  # what is under test


def test_the_providers_own_object_stays_out_of_logs() -> None:
    assert "secret" not in repr(Usage(1, 2, raw={"note": "secret"}))


def test_each_usage_has_a_raw_of_its_own() -> None:
    assert Usage(1, 2).raw is not Usage(1, 2).raw
