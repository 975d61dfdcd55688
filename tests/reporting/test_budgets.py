"""Budgets as they are shown and set."""

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from llmsaver.errors import ConfigurationError
from llmsaver.ledger import Budget, Hold, Ledger, LedgerUnavailable
from llmsaver.reporting.budgets import as_json, budget_states, limits, set_budget
from llmsaver.reporting.budgets_view import as_text, told

NOW = 1_795_000_000.0  # 2026-11-18T11:06:40Z


def spend(ledger: Ledger, budget: Budget, nano: int, *, low: int | None = None, **whose: str) -> None:
    hold = ledger.reserve([ledger.claim(budget, **whose)], nano=nano, tokens=100, now=NOW)  # type: ignore[arg-type]
    assert isinstance(hold, Hold)
    ledger.settle(hold, nano, 100, low_nano=low)


def written(ledger: Ledger, now: float = NOW, top: int = 20, **console: Any) -> str:
    file = io.StringIO()
    as_text(
        budget_states(ledger, now), now, Console(file=file, **{"width": 80, "highlight": False, **console}), top=top
    )
    return file.getvalue()


def test_every_budget_with_its_bar(books: Ledger) -> None:
    bot = Budget.usd("support-bot", "5", limit_tokens=1_000)
    spend(books, bot, 1_500_000_000, low=1_000_000_000)
    hold = books.reserve([books.claim(bot)], nano=2_750_000_000, tokens=1, now=NOW)
    assert isinstance(hold, Hold)
    set_budget(books, "whole", limit_nano=10**12, per="month", tz="Europe/Berlin", scope="organisation")
    set_budget(books, "few", limit_calls=3, hard=False)
    assert written(books) == (
        "support-bot  $5.00 and 1,000 tokens per day (UTC), hard; resets in 12 h 53 min\n"
        "  [████████████▊  ]   85 %  spent $1.50 (at least $1.00), held $2.75, left $0.75\n"
        "  [██                  ]   10 %  spent 100 tokens, held 1 token, left 899 tokens\n"
        "few  3 calls in total, soft; never resets\n"
        "  [                    ]    0 %  spent 0 calls, left 3 calls\n"
        "whole\n  $1,000.00 per month (Europe/Berlin), the whole organisation, hard; resets in 12 d 11 h\n"
        "  [                    ]    0 %  spent $0.00, left $1,000.00\n"
    )


def test_one_pot_for_each_user_and_the_fullest_first(books: Ledger) -> None:
    each = Budget.usd("fair", "1", per="hour", scope="user")
    for number in range(5):
        spend(books, each, number * 10**8, user=f"u{number}")
    said = written(books, top=2)
    assert said.splitlines()[0] == "fair [user:u4]  $1.00 per hour, each user, hard; resets in 53 min 20 s"
    assert said.splitlines()[2].startswith("fair [user:u3]")
    assert said.splitlines()[-1] == "3 more with more room; --top shows more"


def test_a_soft_budget_can_be_overdrawn_and_a_limit_can_be_nothing(books: Ledger) -> None:
    soft = Budget.usd("soft", "1", hard=False, per="total", scope="tag:env")
    spend(books, soft, 2 * 10**9, tags={"env": "prod"})  # type: ignore[arg-type]
    set_budget(books, "closed", limit_nano=0)
    said = written(books)
    assert "soft [tag:env:prod]  $1.00 in total, each env, soft; never resets" in said
    assert "200 %  spent $2.00, left $0.00" in said
    assert "closed  $0.00 in total, hard" in said


def test_none_yet(books: Ledger, tmp_path: Path) -> None:
    assert "llmsaver budgets set support-bot --usd 5 --per day" in written(books)
    assert "No budgets yet" in written(Ledger(tmp_path / "none.db"))
    assert not (tmp_path / "none.db").exists()


def test_colours_tell_how_full(books: Ledger) -> None:
    for name, nano in (("low", 1), ("tight", 9 * 10**8), ("full", 10**9)):
        spend(books, Budget.usd(name, "1"), nano)
    said = written(books, force_terminal=True, color_system="standard")
    assert [code in said for code in ("\x1b[32m", "\x1b[33m", "\x1b[31m")] == [True] * 3


def test_setting_says_what_changed(books: Ledger) -> None:
    first = set_budget(books, "bot", **limits(usd="$5"), per="day")
    assert told(first) == "budget bot: new, $5.00 per day (UTC), hard"
    assert first.differences == []
    more = set_budget(books, "bot", **limits(usd="10", calls="1,000"), hard=False, tz="Asia/Tokyo")
    assert told(more) == (
        "budget bot: $5.00 -> $10.00, calls no limit -> 1,000, tz UTC -> Asia/Tokyo, hard -> soft; "
        "in force now for every program that shares the ledger"
    )
    assert told(set_budget(books, "bot", **limits(usd="10"))).startswith(
        "budget bot: unchanged, $10.00 and 1,000 calls"
    )
    none = set_budget(books, "bot", **limits(calls="none"))
    assert none.differences == [("limit_calls", 1_000, None)]
    (state,) = budget_states(books)
    assert (state.budget.limit_nano, state.budget.per, state.budget.hard) == (10 * 10**9, "day", False)


def test_what_is_in_force_is_what_was_set(books: Ledger) -> None:
    in_code = Budget.usd("bot", "1", per="total")
    spend(books, in_code, 9 * 10**8)
    set_budget(books, "bot", **limits(usd="0.5"))
    assert not isinstance(books.reserve([books.claim(in_code)], nano=1, now=NOW), Hold)
    (state,) = budget_states(books)
    assert (state.rooms[0].remaining, state.used) == (0, 1.8)


def test_thresholds_stay(books: Ledger) -> None:
    books.set_budget(Budget.usd("bot", "1", thresholds=(0.5,)))
    (state,) = budget_states(books)
    assert set_budget(books, "bot", **limits(usd="2")).after.thresholds == state.budget.thresholds


@pytest.mark.parametrize(
    "terms",
    [{}, {"limit_nano": -1}, {"limit_nano": 1, "per": "year"}, {"limit_nano": 1, "tz": "Mars"}, {"limit_calls": None}],
)
def test_terms_that_make_no_sense(books: Ledger, terms: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        set_budget(books, "bot", **terms)
    assert budget_states(books) == []


def test_nothing_to_change(books: Ledger) -> None:
    set_budget(books, "bot", limit_calls=1)
    with pytest.raises(ConfigurationError, match="nothing to change"):
        set_budget(books, "bot")
    with pytest.raises(ConfigurationError, match="scope"):
        set_budget(books, "bot", scope="user")


@pytest.mark.parametrize("given", [{"usd": "five"}, {"usd": "0.0000000001"}, {"tokens": "1.5"}, {"calls": "many"}])
def test_limits_that_are_none(given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        limits(**given)


def test_limits_as_they_are_typed() -> None:
    assert limits(usd=" $0.0004", tokens="1_000", calls="None") == {
        "limit_nano": 400_000,
        "limit_tokens": 1_000,
        "limit_calls": None,
    }
    assert limits() == {}


def test_another_file_is_not_turned_into_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("no ledger")
    with pytest.raises(LedgerUnavailable):
        set_budget(Ledger(tmp_path / "notes"), "bot", limit_calls=1)
    assert (tmp_path / "notes").read_text() == "no ledger"


def test_json_is_exact(books: Ledger) -> None:
    spend(books, Budget.usd("bot", "1", per="day"), 1, low=0)
    set_budget(books, "later", limit_calls=2)
    bot, later = json.loads(as_json(budget_states(books, NOW)))
    assert (bot["limit_usd"], bot["spent_usd"], bot["spent_low_usd"]) == ("1", "0.000000001", "0")
    assert Decimal(bot["remaining_usd"]) == Decimal("0.999999999")
    assert bot["resets_at"] == 1_795_046_400.0
    assert (later["limit_calls"], later["spent_calls"], later["resets_at"], later["key"]) == (2, 0, None, None)
