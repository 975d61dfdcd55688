"""What a caller that waited in vain is told."""

from __future__ import annotations

from typing import Any

from llmsaver.cache.waiting import copied, late
from llmsaver.errors import UpstreamError


def test_an_error_that_cannot_be_copied_is_told_as_it_is() -> None:
    class Odd(Exception):  # noqa: N818 - a stranger's
        def __reduce__(self) -> Any:
            raise TypeError("not for copying")

    odd = Odd()
    told = copied(UpstreamError(odd))
    assert isinstance(told, UpstreamError)
    assert told.original is odd


def test_without_a_native_request_a_late_one_is_just_late() -> None:
    assert isinstance(late(None).original, TimeoutError)
