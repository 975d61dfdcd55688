"""The costliest prompts, and what would make each cheaper, by rows alone."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from llmsaver.ledger import CallRow, Ledger, Salt
from llmsaver.ledger.prefixes import PromptRow
from llmsaver.pricing import PriceBook
from llmsaver.reporting.prompts import Prompt, as_json, prompts, prompts_of
from llmsaver.reporting.prompts_view import as_text, described

BOOK = PriceBook()
HOSTS = {"messages": "api.anthropic.com", "chat": "api.openai.com"}


def told(prefix: str = "p" * 24, size: int = 3000, static: str = "5m", **more: Any) -> list[Any]:
    """Return what a planner writes down."""
    values = {"model": "claude-sonnet-5", "tail": "", "old": 0, "minimum": 1024} | more
    return [values["model"], values["minimum"], prefix, size, 4000, values["old"], static, values["tail"], "w"]


def rows(count: int = 12, every: float = 60.0, **more: Any) -> list[PromptRow]:
    """Return calls on one prompt, so many seconds apart; a function makes a field of the number."""
    values: dict[str, Any] = {
        "feature": "f",
        "dialect": "messages",
        "model": "claude-sonnet-5-2026",
        "upstream": HOSTS.get(more.get("dialect", "messages")),
        "stream": 1,
        "fingerprint": str,
        "first": "m" * 16,
        "input_tokens": 4000,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "cost_nano": 1000,
        "unpriced": 0,
        "shaped": None,
        "prefix": None,
    }
    values |= more
    return [PromptRow(n * every, **{k: v(n) if callable(v) else v for k, v in values.items()}) for n in range(count)]


def only(found: list[PromptRow]) -> Prompt:
    (line,) = prompts_of(found, BOOK)
    return line


def advice(found: list[PromptRow]) -> dict[str, str]:
    return dict(only(found).advice)


def test_calls_that_begin_alike_are_one_line() -> None:
    line = only(rows(cache_read_tokens=3000, prefix=told()))
    assert (line.feature, line.model, line.prefix, line.calls) == ("f", "claude-sonnet-5", "p" * 24, 12)
    assert (line.input_tokens, line.read_share, line.cost_nano, line.gap_s) == (48_000, 0.75, 12_000, 60.0)
    assert line.advice == ()


def test_what_no_two_calls_share_is_one_line_too() -> None:
    various = rows(prefix=lambda n: told(prefix=f"{n}"))
    line, other = prompts_of([*various, *rows(3, feature="g", first="", cost_nano=None)], BOOK)
    assert (line.prefix, line.calls, line.gap_s) == ("", 12, 60.0)
    assert (other.feature, other.cost_nano, other.prefix) == ("g", None, "")
    assert only(rows(1)).gap_s is None
    assert only(rows(prefix=told(size=0))).prefix == ""


def test_the_costliest_come_first() -> None:
    made = [*rows(3, feature="cheap", cost_nano=1), *rows(2, feature="dear"), *rows(2, feature="free", unpriced=1)]
    assert [line.feature for line in prompts_of(made, BOOK)] == ["dear", "cheap", "free"]


def test_a_prefix_that_breaks_its_own_cache() -> None:
    what = "date in the system prompt, line 3"
    found = advice(
        rows(
            prefix=lambda n: told(prefix=str(n)),
            shaped=lambda n: {"prompt cache": [None, None, 0, what]} if n else {"prompt cache": 5},
        )
    )
    assert found == {"broken": f"breaks its own cache: {what} (11 of 12 calls)"}


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"input_tokens": 900}, "too short to be kept (900 of 1,024 tokens)"),
        ({"input_tokens": 900, "dialect": "chat", "model": "gpt-6"}, "too short to be kept (900 of 1,024 tokens)"),
        ({"input_tokens": 3000, "model": "claude-haiku-4-5"}, "too short to be kept (3,000 of 4,096 tokens)"),
        ({"prefix": told(size=800)}, "tools and instructions too short to be kept (about 800 of 1,024 tokens)"),
        ({"prefix": told(size=800, tail="5m")}, None),
        ({"input_tokens": 900, "cache_read_tokens": 800}, None),
        ({"input_tokens": 900, "dialect": "embeddings"}, None),
    ],
)
def test_what_is_too_short(more: dict[str, Any], wanted: str | None) -> None:
    assert advice(rows(**more)).get("short") == wanted


@pytest.mark.parametrize(
    ("more", "off"),
    [
        ({}, True),
        ({"dialect": "chat", "cache_read_tokens": 1000}, True),
        ({"dialect": "chat", "cache_read_tokens": 3000}, False),
        ({"upstream": "gateway.example"}, False),
        ({"cache_write_tokens": 1}, False),
        ({"shaped": {"prompt cache": [None, None, 0]}}, False),
        ({"prefix": told()}, False),
        ({"first": ""}, False),
    ],
)
def test_where_the_layer_is_not_on(more: dict[str, Any], off: bool) -> None:
    assert ("off" in advice(rows(**more))) is off


def test_what_comes_again_after_nine_minutes_is_better_kept_for_an_hour() -> None:
    found = advice(rows(every=540.0, prefix=told()))
    assert found["ttl"] == "asked again after 9 min at the median: ttl 1h would pay, 79 % less for its 3,000 tokens"


@pytest.mark.parametrize(
    ("every", "more"),
    [
        (60.0, {}),
        (540.0, {"prefix": told(static="1h")}),
        (7200.0, {}),
        (540.0, {"dialect": "chat", "prefix": told(model="gpt-6-luna", static="30m")}),
        (540.0, {"prefix": told(model="nobody-knows-it")}),
        (540.0, {"prefix": told(size=500)}),
    ],
)
def test_where_an_hour_would_not_pay_nothing_is_said(every: float, more: dict[str, Any]) -> None:
    assert "ttl" not in advice(rows(every=every, **{"prefix": told(), **more}))


def test_old_tool_outputs() -> None:
    made: dict[str, Any] = {"prefix": told(old=2400)}
    assert advice(rows(**made))["tools"] == "old tool outputs are 60 % of it: Compress makes them shorter"
    assert "tools" not in advice(rows(**made, shaped={"compress": [8, 4]}))
    assert "tools" not in advice(rows(prefix=told(old=400)))


def test_the_same_request_again_and_again() -> None:
    same: dict[str, Any] = {"fingerprint": "x", "prefix": told()}
    assert advice(rows(20, **same))["same"] == "sent as a whole 20 times a day: ExactCache answers it for nothing"
    assert "same" not in advice(rows(20, every=43_200.0, **same))
    assert "same" not in advice(rows(20, fingerprint=None))


def test_many_calls_at_once_that_nobody_watched() -> None:
    many: dict[str, Any] = {"prefix": told(), "stream": 0}
    wanted = "120 calls in 10 minutes, none streamed: half the price with llmsaver batch"
    assert advice(rows(200, every=5.0, **many))["batch"].startswith("121 calls in 10 minutes")
    assert advice(rows(120, every=1.0, **many))["batch"] == wanted
    assert "batch" not in advice(rows(200, every=60.0, **many))
    assert "batch" not in advice(rows(200, every=1.0, **{**many, "stream": 1}))
    assert "batch" not in advice(rows(200, every=1.0, **many, upstream="gateway.example"))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    with Ledger(tmp_path / "l.db", salt=Salt(tmp_path / "salt")) as ledger:
        for n in range(30):
            row = CallRow(
                f"e{n}", started_at=1000.0 + n, feature="f" if n % 3 else "g", cost_nano=10**6, dialect="chat"
            )
            row.upstream, row.model_asked, row.input_tokens, row.stream = "api.openai.com", "gpt-6-luna", 4000, True
            row.chain = [f"{n % 3 > 0}" * 4]
            assert ledger.write(row).ok
    return ledger


def test_a_ledgers_prompts_as_text_and_json(ledger: Ledger) -> None:
    found = prompts(ledger, since=900.0, limit=1, book=BOOK)
    assert (found.number, found.calls, found.cut) == (2, 30, False)
    made = json.loads(as_json(found))
    assert (made["since"], made["number"], made["calls"]) == ("1970-01-01T00:15:00Z", 2, 30)
    (line,) = made["prompts"]
    assert (line["feature"], line["calls"], line["spend_usd"], line["median_gap_s"]) == ("f", 20, "0.02", 1.0)
    marked_none = "PromptCache marked none of 20 calls that began alike, 0 % was read: is it on?"
    assert line["advice"] == [{"kind": "off", "told": marked_none}]
    told_lines = [each.plain for each in described(found, 80)]
    assert marked_none in " ".join(" ".join(told_lines).split())
    assert "1 more; --limit shows more" in told_lines
    out = io.StringIO()
    as_text(prompts(ledger, book=BOOK, most=30), Console(file=out, width=60, highlight=False))
    assert "older calls than the latest 30 are left out" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines()[:-1])) <= 60


def test_no_ledger_and_no_calls(tmp_path: Path, ledger: Ledger) -> None:
    for found in (prompts(Ledger(tmp_path / "none.db"), book=BOOK), prompts(ledger, since=9999.0, book=BOOK)):
        assert found.lines == ()
        assert "Widen --since" in [each.plain for each in described(found)][1]
    line = Prompt("f", "m", "", 1, 0, 0, 0, None, None)
    assert (line.read_share, line.as_dict()["cache_read_share"], line.as_dict()["spend_usd"]) == (None, None, None)
