"""A dry run: which tier a request would go to, and why; nothing is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError
from llmsaver.ledger import LedgerUnavailable
from llmsaver.reporting.books import begun, reading
from llmsaver.reporting.router_rows import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmsaver.ledger import Ledger

__all__ = ["DIALECTS", "dialect_of", "explained", "request_of", "tiers_of"]

DIALECTS = ("chat", "responses", "messages")
_LEAST = 2
# What only one dialect's requests have.
_OWN = {
    "responses": frozenset({"input", "instructions", "max_output_tokens", "previous_response_id"}),
    "messages": frozenset({"system", "stop_sequences", "top_k", "thinking", "output_config"}),
    "chat": frozenset(
        {"response_format", "max_completion_tokens", "stop", "n", "logprobs", "top_logprobs", "reasoning_effort"}
    ),
}


def request_of(place: str) -> dict[str, Any]:
    """Return the request's body in a file, or on standard input ("-"); raises ``ConfigurationError``."""
    try:
        body = json.loads(text_of(place))
    except ValueError as error:
        raise ConfigurationError(f"{place}: is no JSON: {error}") from None
    if not isinstance(body, dict) or not ({"messages", "input"} & set(body)):
        raise ConfigurationError(
            f"{place}: must be a request as an SDK sends it, a JSON object with messages (or input), and model"
        )
    return body


def dialect_of(place: str, body: Mapping[str, Any], named: str | None = None) -> str:
    """Return what a request is written in; raises ``ConfigurationError`` for one that mixes two."""
    if named is not None and named not in DIALECTS:
        raise ConfigurationError(f"--dialect must be one of {', '.join(DIALECTS)}, not {named!r}")
    found = {dialect: sorted(own & set(body)) for dialect, own in _OWN.items()}
    marked = [dialect for dialect, names in found.items() if names]
    if len(marked) > 1 or (marked == ["responses"] and "messages" in body):
        told = "; ".join(f"{', '.join(found[dialect])} of {dialect}" for dialect in marked)
        told += "; messages" if marked == ["responses"] else ""
        raise ConfigurationError(f"{place}: mixes dialects ({told}); write the request in one")
    if named is not None:
        if marked not in ([], [named]):
            raise ConfigurationError(f"{place}: is a {marked[0]} request ({', '.join(found[marked[0]])}), not {named}")
        return named
    return marked[0] if marked else "chat"


def tiers_of(ledger: Ledger, given: Sequence[str], feature: str | None = None) -> list[str]:
    """Return the tiers to route between: those given, else those of the latest routed call in the ledger."""
    if given:
        return list(given)
    if begun(ledger):
        try:
            with reading(ledger) as reader:
                for row in reader.routed(feature) or reader.routed():
                    tiers = [str(tier) for tier in row["routing"].get("tiers") or ()]
                    if len(tiers) >= _LEAST:
                        return tiers
        except LedgerUnavailable as failure:
            raise ConfigurationError(f"{failure}; name the tiers: --tier CHEAP --tier DEAR") from failure
    raise ConfigurationError(
        "no routed call tells the tiers yet; name them, the cheapest first: --tier CHEAP --tier DEAR"
    )


def explained(
    ledger: str | None,
    body: Mapping[str, Any],
    tiers: Sequence[str],
    *,
    dialect: str,
    feature: str = "default",
    min_quality: float | None = None,
    risk: float = 0.1,
) -> Any:
    """Return what ``saver.router.explain`` says, with the ledger's labels; raises ``ConfigurationError``."""
    from llmsaver import Cascade, Saver

    cascade = Cascade(list(tiers), min_quality=min_quality, risk=risk)
    with Saver(stack=[..., cascade], ledger=ledger) as saver:
        return saver.router.explain(dialect=dialect, feature=feature, **body)
