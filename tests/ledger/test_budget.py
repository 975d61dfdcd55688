"""Declarations, pots and windows: arithmetic on paper first."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.errors import ConfigurationError
from llmsaver.ledger import Budget


def at(text: str, tz: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp()


@pytest.mark.parametrize(
    ("per", "tz", "now", "window", "seconds"),
    [
        ("minute", "UTC", "2026-11-21T10:11:59", "minute 2026-11-21T10:11Z", 60),
        ("hour", "UTC", "2026-11-21T10:11:59", "hour 2026-11-21T10:00Z", 3600),
        ("hour", "Asia/Kolkata", "2026-11-21T10:11:00", "hour 2026-11-21T04:30Z", 3600),
        ("day", "UTC", "2026-11-21T23:59:59", "day 2026-11-21 UTC", 86_400),
        ("day", "Europe/Berlin", "2026-03-29T12:00:00", "day 2026-03-29 Europe/Berlin", 82_800),
        ("day", "Europe/Berlin", "2026-10-25T12:00:00", "day 2026-10-25 Europe/Berlin", 90_000),
        ("month", "UTC", "2026-12-31T23:00:00", "month 2026-12 UTC", 31 * 86_400),
        ("month", "UTC", "2028-02-10T00:00:00", "month 2028-02 UTC", 29 * 86_400),
    ],
)
def test_a_window_is_named_by_period_moment_and_zone(per: str, tz: str, now: str, window: str, seconds: int) -> None:
    found = Budget("b", limit_calls=1, per=per, tz=tz).window(at(now, tz))
    assert found.id == window
    assert found.start is not None
    assert found.end is not None
    assert found.end - found.start == seconds


def test_no_hour_is_cut_anew_when_a_zone_moves_by_half_an_hour() -> None:
    budget = Budget("b", limit_calls=1, per="hour", tz="Australia/Lord_Howe")
    change = at("2026-04-04T15:00:00")  # summer time ends there, by 30 minutes
    windows = {budget.window(change + minute * 60.0) for minute in range(-120, 120)}
    starts = sorted(window.start or 0.0 for window in windows)
    assert {b - a for a, b in pairwise(starts)} == {3600.0}


def test_a_total_budget_has_one_window_without_end() -> None:
    assert Budget("b", limit_calls=1, per="total").window(0.0) == ("total", None, None)


ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"]


@given(
    now=st.integers(0, 4_000_000_000),
    per=st.sampled_from(["minute", "hour", "day", "month"]),
    tz=st.sampled_from(ZONES),
)
def test_windows_cover_every_moment_once(now: int, per: str, tz: str) -> None:
    budget = Budget("b", limit_calls=1, per=per, tz=tz)
    window = budget.window(float(now))
    assert window.start is not None
    assert window.end is not None
    assert window.start <= now < window.end
    assert budget.window(window.start) == window
    assert budget.window(window.end - 1).id == window.id
    after = budget.window(window.end)
    assert after.id != window.id
    assert after.start == window.end


@pytest.mark.parametrize(
    ("scope", "key"),
    [("feature", ""), ("organisation", ""), ("user", "user:u1"), ("tenant", "tenant:"), ("tag:env", "tag:env:prod")],
)
def test_a_call_draws_on_the_pot_of_its_scope(scope: str, key: str) -> None:
    budget = Budget("b", limit_calls=1, scope=scope)
    assert budget.key(user="u1", tags={"env": "prod"}) == key


def test_a_tag_that_a_call_lacks_is_one_pot() -> None:
    assert Budget("b", limit_calls=1, scope="tag:env").key() == "tag:env:"


@pytest.mark.parametrize(("usd", "nano"), [(5, 5 * 10**9), (0.1, 10**8), ("0.000000001", 1), (0.05, 5 * 10**7)])
def test_dollars_are_read_as_written(usd: Any, nano: int) -> None:
    assert Budget.usd("b", usd).limit_nano == nano


def test_a_budget_without_money_counts_something_else() -> None:
    assert Budget.usd("b", limit_tokens=10).limit_nano is None


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"limit_calls": -1},
        {"limit_calls": 2**62},
        {"limit_calls": 1, "per": "week"},
        {"limit_calls": 1, "scope": "tag:"},
        {"limit_calls": 1, "scope": "everyone"},
        {"limit_calls": 1, "tz": "Mars/Olympus"},
        {"limit_calls": 1, "tz": "../etc"},
        {"limit_calls": 1, "thresholds": (1.5,)},
    ],
)
def test_terms_that_cannot_work_are_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Budget("b", **terms)


@pytest.mark.parametrize("usd", ["five", "1e-10", float("nan"), float("inf"), "-1"])
def test_amounts_that_cannot_be_are_refused(usd: Any) -> None:
    with pytest.raises(ConfigurationError):
        Budget.usd("b", usd)


def test_a_budget_needs_a_name() -> None:
    with pytest.raises(ConfigurationError, match="name"):
        Budget("", limit_calls=1)


def test_terms_survive_being_written_down() -> None:
    budget = Budget.usd("b", "1.5", per="month", tz="Europe/Berlin", scope="user", hard=False, thresholds=(0.5,))
    again = Budget.from_terms("b", budget.terms(), budget.thresholds)
    assert again == budget
    assert again.thresholds == (0.5,)
    assert budget.replace(hard=True) != budget


def test_moments_are_utc_where_nothing_else_is_said() -> None:
    assert Budget("b", limit_calls=1).window(datetime(2026, 1, 1, tzinfo=UTC).timestamp()).id == "day 2026-01-01 UTC"
