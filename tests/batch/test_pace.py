"""Which failures pass, how long is waited, and lines cut where the network cut them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.batch import BatchInterrupted, Pace
from llmsaver.batch.pace import passing, status_of, unproven
from llmsaver.batch.provider import lines_of


class Said(Exception):  # noqa: N818 - stands for an SDK's error
    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(status)
        self.status_code = status
        self.response = type("Response", (), {"headers": {name.replace("_", "-"): v for name, v in headers.items()}})()


class APIConnectionError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "passes", "unknown"),
    [
        (Said(400), False, False),
        (Said(429), True, False),
        (Said(409), True, True),
        (Said(500), True, True),
        (Said(529), True, True),
        (APIConnectionError(), True, True),
        (ValueError(), False, False),
    ],
)
def test_which_failures_pass(error: Exception, passes: bool, unknown: bool) -> None:
    assert (passing(error), unproven(error)) == (passes, unknown)
    assert status_of(ValueError()) is None


def waits(*failures: Exception, **changes: Any) -> list[float]:
    waited: list[float] = []
    left = list(failures)

    def call() -> int:
        if left:
            raise left.pop(0)
        return 1

    assert Pace(sleep=waited.append, **changes).stubborn(call) == 1
    return waited


def test_it_waits_as_asked_and_else_longer_each_time() -> None:
    assert waits(Said(429, retry_after="3"), Said(503, retry_after_ms="250")) == [3.0, 0.25]
    first, second, third = waits(Said(500), Said(500, retry_after="soon"), Said(500, retry_after="99999"))
    assert 0.5 <= first <= 1 <= second <= 2 <= third <= 4
    pace = Pace()
    assert 4 <= pace.between(0) <= 6
    assert 48 <= pace.between(1000) <= 72


def test_it_gives_up_in_the_end() -> None:
    with pytest.raises(BatchInterrupted, match="kept failing"):
        waits(*[Said(500)] * 3, attempts=3)
    with pytest.raises(ValueError, match="no"):
        waits(ValueError("no"))


@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line and line.strip())), st.integers(1, 7))
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], size: int) -> None:
    whole = b"\n".join(lines)
    assert list(lines_of(whole[at : at + size] for at in range(0, len(whole), size))) == lines
