"""Usage payloads whose cost was worked out by hand: golden.jsonl.

``arithmetic`` is the sum in dollars per million tokens, with the rates of list_prices.json written out (searches:
dollars per thousand times 1,000); ``nano_usd`` is that sum times 1,000, halves up. Neither comes from this library.
"""

import ast
import json
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices.data_snapshot import get_snapshot

from llmsaver.pricing import Billed, PriceBook
from llmsaver.pricing.sheet import Prices, Sheet, Table
from llmsaver.pricing.table import GenaiPrices
from llmsaver.wire.chat import Chat
from llmsaver.wire.messages import Messages
from llmsaver.wire.responses import Responses

if TYPE_CHECKING:
    from llmsaver.wire.dialect import Dialect

ROWS = [json.loads(line) for line in (Path(__file__).parent / "golden.jsonl").read_text().splitlines()]
TRANSCRIBED_FROM = "0.2.3"
LIVE = PriceBook()
_CONTEXT = Context(prec=60)
_ENVELOPE = ("service_tier", "tool_usage", "tools", "output")


def worked_out(arithmetic: str) -> int:
    """Evaluate a written sum exactly: numbers, + - * / and brackets, nothing else."""

    def value(node: ast.expr) -> Decimal:
        if isinstance(node, ast.Constant):
            return Decimal(ast.get_source_segment(arithmetic, node) or "")
        assert isinstance(node, ast.BinOp), node
        left, right = value(node.left), value(node.right)
        operations = {ast.Add: _CONTEXT.add, ast.Sub: _CONTEXT.subtract, ast.Mult: _CONTEXT.multiply}
        return operations[type(node.op)](left, right)

    return int((value(ast.parse(arithmetic, mode="eval").body) * 1000).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def billed(row: dict[str, Any], usage: Any) -> Billed:
    facts = {name: row[name] for name in (*_ENVELOPE, "asked", "route") if name in row}
    return Billed(row["dialect"], row["model"], usage, host=row["host"], **facts)


def test_there_are_enough() -> None:
    assert len(ROWS) >= 200
    assert {row["dialect"] for row in ROWS} == {"chat", "responses", "messages", "embeddings"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_the_text_adds_up(row: dict[str, Any]) -> None:
    assert worked_out(row["arithmetic"]) == row["nano_usd"]
    for end in ("low", "high"):
        if end in row:
            assert worked_out(row[end]) == row[f"{end}_nano"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_to_the_nano_dollar(row: dict[str, Any], book: PriceBook) -> None:
    cost = book.cost(billed(row, row["usage"]))
    assert cost.nano_usd == row["nano_usd"], cost.explain()
    assert list(cost.flags) == row.get("flags", [])
    assert cost.estimated == ("flags" in row)
    assert sum(line.nano_usd for line in cost.lines) == cost.nano_usd
    if "low" in row:
        assert (cost.low_nano, cost.high_nano) == (row["low_nano"], row["high_nano"])
    elif not cost.estimated:
        assert cost.low_nano == cost.nano_usd == cost.high_nano


# Embeddings don't stream, and the wire takes no count that is written as a float.
STREAMED = [row for row in ROWS if row["dialect"] != "embeddings" and row["id"] != "chat-whole-floats"]


@pytest.mark.parametrize("row", STREAMED, ids=lambda row: row["id"])
def test_streamed_to_the_nano_dollar(row: dict[str, Any], book: PriceBook) -> None:
    dialects: dict[str, Dialect] = {"chat": Chat(), "responses": Responses(), "messages": Messages()}
    dialect = dialects[row["dialect"]]
    answer: dict[str, Any] = {"id": "x", "model": row["model"], "usage": row["usage"]}
    if row["dialect"] == "chat":
        message = {"role": "assistant", "content": "hi"}
        answer |= {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    elif row["dialect"] == "responses":
        answer |= {"object": "response", "status": "completed", "output": row.get("output", [])}
    else:
        answer |= {"type": "message", "role": "assistant", "content": [], "stop_reason": "end_turn"}
    meter = dialect.meter(streamed=True)
    for event in dialect.replay(answer, {"stream": True, "stream_options": {"include_usage": True}}):
        meter.feed(event)
    usage = meter.usage()
    assert usage is not None
    assert book.cost(billed(row, dict(usage.raw))).nano_usd == row["nano_usd"]


@pytest.mark.parametrize("row", [row for row in ROWS if "flags" not in row], ids=lambda row: row["id"])
def test_the_live_table_agrees(row: dict[str, Any]) -> None:
    cost = LIVE.cost(billed(row, row["usage"]))
    if cost.nano_usd != row["nano_usd"] and _edition() != TRANSCRIBED_FROM:
        pytest.skip(f"genai-prices {_edition()} has other rates: {cost.explain()}")
    assert cost.nano_usd == row["nano_usd"], cost.explain()
    assert not cost.estimated


def _edition() -> str:
    sheet = GenaiPrices().sheet("openai", "gpt-4o", _now())
    assert sheet is not None
    return sheet.source.split()[-1]


def _now() -> datetime:
    return datetime.now(tz=UTC)


def _told(prices: Prices) -> set[tuple[str, int, int]]:
    steps = [(0, prices.base), *prices.above]
    return {(kind, start, rate) for start, rates in steps for kind, rate in rates.items()}


def test_the_transcription_is_the_table(listed: Table) -> None:
    """A release of genai-prices that moves a rate shows here which one; only our own edition must agree."""
    live = GenaiPrices()
    assert get_snapshot() is live.edition
    differences = []
    written: dict[str, dict[str, Any]] = listed.written  # type: ignore[attr-defined]  # the frozen table's own
    for provider, models in written.items():
        for model in models:
            name = models[model].get("names", [model])[0]
            ours, theirs = (table.sheet(provider, name, _now()) for table in (listed, live))
            assert ours is not None
            if theirs is None:
                differences.append(f"{provider} {model}: gone")
                continue
            differences += [f"{provider} {model}: {line}" for line in _compare(ours, theirs)]
    if differences and _edition() != TRANSCRIBED_FROM:
        pytest.skip("; ".join(differences))
    assert not differences


def _compare(ours: Sheet, theirs: Sheet) -> list[str]:
    lines = [f"standard {sorted(_told(ours.prices) ^ _told(theirs.prices))}"]
    for term, variant in ours.variants.items():
        other = theirs.variants.get(term)
        lines.append(f"{term} {sorted(_told(variant.prices) ^ _told(other.prices)) if other else 'gone'}")
    if ours.context_window != theirs.context_window:
        lines.append(f"context window {theirs.context_window}")
    return [line for line in lines if not line.endswith("[]")]
