"""Headers and queries that decide an answer count; those of transport and tracing do not."""

import pytest

from llmsaver.clients.terms import terms_of

PLAIN = [
    (b"Host", b"api.test"),
    (b"Authorization", b"Bearer k"),
    (b"X-API-Key", b"k"),
    (b"User-Agent", b"x"),
    (b"X-Stainless-Retry-Count", b"1"),
    (b"traceparent", b"00-1"),
    (b"X-Datadog-Trace-Id", b"3"),
]


def test_transport_tracing_and_credentials_are_no_terms() -> None:
    assert terms_of(b"", PLAIN) == ""


@pytest.mark.parametrize(
    ("query", "more"),
    [
        (b"api-version=1", []),
        (b"api-version=2", []),
        (b"", [(b"anthropic-beta", b"a")]),
        (b"", [(b"openai-organization", b"a")]),
        (b"", [(b"openai-project", b"a")]),
        (b"", [(b"x-gateway-route", b"a")]),
        (b"", [(b"x-gateway-route", b"b")]),
    ],
)
def test_everything_else_is(query: bytes, more: list[tuple[bytes, bytes]]) -> None:
    found = terms_of(query, [*PLAIN, *more])
    assert len(found) == 24
    assert found == terms_of(query, [*((name.upper(), value) for name, value in more), *reversed(PLAIN)])
    assert found != terms_of(b"api-version=3", PLAIN)
