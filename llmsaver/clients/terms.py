"""What of an HTTP request may decide the answer, beside its URL, its body and whose key it carries."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["terms_of"]

# About the transport, the SDK itself, or who is tracing: they differ between programs and calls that ask the same.
_ABOUT_TRANSPORT = frozenset({
    b"accept",
    b"accept-encoding",
    b"accept-language",
    b"baggage",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"cookie",
    b"elastic-apm-traceparent",
    b"forwarded",
    b"host",
    b"idempotency-key",
    b"keep-alive",
    b"newrelic",
    b"request-id",
    b"sentry-trace",
    b"te",
    b"traceparent",
    b"tracestate",
    b"transfer-encoding",
    b"uber-trace-id",
    b"user-agent",
    b"x-client-request-id",
    b"x-correlation-id",
    b"x-request-id",
})  # fmt: skip
_FAMILIES = (
    b"x-stainless-",
    b"x-llmsaver-",
    b"x-b3-",
    b"x-datadog-",
    b"x-amzn-trace",
    b"x-cloud-trace",
    b"x-forwarded-",
)
# They make the account, which is kept apart already.
_CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key"})


def terms_of(query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return a hash of a URL's query and of every header that is not known to be about transport; "" for none.

    What is unknown counts: a gateway may route by it, or take a key from it. A wrong guess costs a hit, never a lie.
    """
    kept = []
    for name, value in headers:
        lower = name.lower()
        if lower not in _ABOUT_TRANSPORT and lower not in _CREDENTIALS and not lower.startswith(_FAMILIES):
            kept.append(lower + b"\0" + value)
    if not kept and not query:
        return ""
    return blake2b(b"\n".join([query, *sorted(kept)]), digest_size=12, person=b"llmsaver").hexdigest()
