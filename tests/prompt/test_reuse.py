"""How likely a prefix comes again."""

from __future__ import annotations

import pytest

from llmsaver.prompt.reuse import HORIZONS, Reuse
from llmsaver.prompt.worth import Tariff, best, gain


def test_what_comes_again_soon_is_likely_to() -> None:
    reuse = Reuse()
    for n in range(40):
        reuse.opened("a", "g", n * 20.0)
    soon, later, last = reuse.likely("a", "g", 0.2, 800.0)
    assert 0.9 < soon <= later <= last < 1
    assert reuse.last("a") == 780.0
    assert reuse.last("b") is None


def test_what_comes_every_quarter_of_an_hour_comes_within_half_an_hour() -> None:
    reuse = Reuse()
    for n in range(40):
        reuse.opened("a", "g", n * 900.0)
    soon, later, _ = reuse.likely("a", "g", 0.5, 39 * 900.0 + 1)
    assert soon < 0.1
    assert later > 0.8


def test_a_burst_of_what_never_comes_again_is_doubted_at_once() -> None:
    reuse = Reuse()
    chances = []
    for n in range(40):
        reuse.opened(f"p{n}", "g", n * 0.1)
        chances.append(reuse.likely(f"p{n}", "g", 0.5, n * 0.1)[0])
    assert chances[0] > 0.4
    assert chances[-1] < 0.1
    assert chances == sorted(chances, reverse=True)


def test_a_group_teaches_its_new_members() -> None:
    reuse = Reuse()
    for n in range(30):
        reuse.opened(f"t{n}", "talks", n * 10.0, extends=f"t{n - 1}" if n else None)
    assert reuse.likely("new", "talks", 0.15, 300.0)[0] > 0.8
    assert reuse.likely("new", "others", 0.15, 300.0)[0] == pytest.approx(0.15)
    assert reuse.last("t3") is None


def test_what_did_not_come_is_counted_when_its_time_is_over() -> None:
    reuse = Reuse()
    reuse.opened("a", "g", 0.0)
    before = reuse.likely("b", "g", 0.5, 1.0)[0]
    after = reuse.likely("b", "g", 0.5, HORIZONS[0] + 1)[0]
    long_after = reuse.likely("b", "g", 0.5, HORIZONS[-1] + 1)
    assert after < before
    assert long_after[2] - long_after[0] < before


def test_it_remembers_no_more_than_it_may() -> None:
    reuse = Reuse(most=5)
    for n in range(50):
        reuse.opened(f"p{n}", f"g{n}", float(n))
    assert reuse.last("p44") is None
    assert reuse.last("p49") == 49.0
    assert reuse.likely("p49", "g0", 0.3, 50.0)[0] > 0


def test_what_is_worth_keeping_follows_from_price_and_chance() -> None:
    claude = Tariff(0.1, {"5m": 1.25, "1h": 2.0})
    assert best(claude, (0.21, 0.21, 0.21)) is None
    assert best(claude, (0.23, 0.23, 0.23)) == "5m"
    assert best(claude, (0.1, 0.5, 0.9)) == "1h"
    assert best(claude, (0.97, 0.97, 0.975)) == "5m"
    assert gain(claude, "5m", 1.0) == pytest.approx(0.9)
    assert gain(claude, "1h", 0.0) == pytest.approx(-1.0)


def test_a_tariff_is_read_off_the_rates() -> None:
    rates = {"input": 1000, "cache_read": 100, "cache_write_5m": 1250, "cache_write_1h": 2000}
    assert Tariff.of(rates, ("5m", "1h")) == Tariff(0.1, {"5m": 1.25, "1h": 2.0})
    assert Tariff.of(rates, ("30m",)) is None
    assert Tariff.of({"input": 0, "cache_read": 0}, ("5m",)) is None
    assert Tariff.of({"input": 10}, ("5m",)) is None


def test_what_is_heard_of_late_was_followed_by_what_is_known() -> None:
    reuse = Reuse()
    reuse.opened("a", "g", 1000.0)
    before = reuse.likely("new", "g", 0.2, 1000.0)[0]
    for at in (700.0, 850.0):
        reuse.opened("a", "g", at)
    assert reuse.last("a") == 1000.0
    assert reuse.likely("new", "g", 0.2, 1000.0)[0] > before
    reuse.opened("b", "h", 10_000.0)
    reuse.opened("b", "h", 1.0)
    assert reuse.likely("b", "h", 0.2, 10_000.0)[2] < 0.3


def test_a_prefix_that_goes_on_elsewhere_came_again() -> None:
    one, other = Reuse(), Reuse()
    for reuse in (one, other):
        reuse.opened("a", "g", 0.0)
    one.came("a", 50.0)
    one.came("a", 60.0)
    one.came(None, 60.0)
    assert one.last("a") is None
    assert one.likely("new", "g", 0.2, 60.0)[0] > other.likely("new", "g", 0.2, 60.0)[0]
    other.followed("g", 40.0)
    assert other.last("a") == 0.0
    assert other.likely("new", "g", 0.2, 60.0)[0] > 0.2


def test_nothing_is_given_up_before_it_is_known_what_others_did() -> None:
    reuse = Reuse()
    reuse.opened("a", "g", 0.0)
    reuse.known_until = 200.0
    open_still = reuse.likely("new", "g", 0.5, 4000.0)
    reuse.known_until = 4000.0
    given_up = reuse.likely("new", "g", 0.5, 4000.0)
    assert given_up[0] < open_still[0]


def test_what_waits_stays_bounded_while_nothing_is_known_of_others() -> None:
    reuse = Reuse(most=10)
    reuse.known_until = 0.0
    for n in range(500):
        reuse.opened("a" if n % 2 else f"p{n}", "g", 100.0 * n)
    assert max(map(len, reuse._waiting)) <= 2 * 10 + 3
    reuse.known_until = 10**6
    reuse.likely("a", "g", 0.2, 10.0**6)
    assert [len(waiting) for waiting in reuse._waiting] == [0, 0, 0]
    assert reuse._groups["g"].open == 0
