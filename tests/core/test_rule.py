"""Declared budgets: how they are read, what a wrong one is told, and which calls they are about."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.core.budget import Budget
from llmsaver.core.entry import Entry
from llmsaver.core.rule import Rule, applicable, joined, rule, rules_from
from llmsaver.errors import ConfigurationError


def told(*facts: Any) -> None:
    """Stand for an application's alert."""


def error_of(name: Any = "b", **terms: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        rule(name, **terms)
    return str(caught.value)


class TestRule:
    def test_the_least_that_is_one(self) -> None:
        assert rule("b", usd=5) == Rule(Budget("b", limit_nano=5 * 10**9, per="total"))
        assert rule("b", usd=5).alert is None

    def test_all_that_can_be_said(self) -> None:
        made = rule(
            "b",
            usd="2.5",
            tokens=1_000,
            calls=7,
            per="month",
            tz="Europe/Berlin",
            scope="tag:env",
            max_call_usd=0.1,
            on_threshold=[0.8, 0.5, 0.5],
            alert="https://hooks.test/x",
        )
        assert made.budget == Budget(
            "b",
            limit_nano=2_500_000_000,
            limit_tokens=1_000,
            limit_calls=7,
            per="month",
            tz="Europe/Berlin",
            scope="tag:env",
        )
        assert made.budget.thresholds == (0.5, 0.8)
        assert (made.name, made.hard, made.on_exceed) == ("b", True, "raise")
        assert (made.max_call_nano, made.alert) == (100_000_000, "https://hooks.test/x")

    @pytest.mark.parametrize("usd", [0.05, "0.05", Decimal("0.05")])
    def test_dollars_are_read_as_written(self, usd: Any) -> None:
        assert rule("b", usd=usd).budget.limit_nano == 50_000_000

    @pytest.mark.parametrize(
        ("terms", "hard", "on_exceed", "thresholds"),
        [
            ({}, True, "raise", ()),
            ({"hard": False}, False, "warn", (1.0,)),
            ({"on_exceed": "downgrade"}, True, "downgrade", ()),
            ({"on_exceed": "downgrade", "alert": told}, True, "downgrade", (1.0,)),
            ({"on_exceed": "downgrade", "hard": False}, False, "warn", (1.0,)),
            ({"on_exceed": "warn"}, False, "warn", (1.0,)),
            ({"on_exceed": "warn", "on_threshold": [0.5]}, False, "warn", (0.5, 1.0)),
            ({"on_exceed": "call", "alert": told}, False, "call", (1.0,)),
            ({"on_exceed": "call", "alert": told, "on_threshold": [0.5]}, False, "call", (0.5, 1.0)),
            ({"alert": told}, True, "raise", (1.0,)),
            ({"alert": told, "on_threshold": (0.5,)}, True, "raise", (0.5,)),
            ({"on_threshold": [1]}, True, "raise", (1.0,)),
            ({"on_threshold": []}, True, "raise", ()),
        ],
    )
    def test_what_is_done_when_it_is_exceeded(
        self, terms: dict[str, Any], hard: bool, on_exceed: str, thresholds: tuple[float, ...]
    ) -> None:
        made = rule("b", calls=1, **terms)
        assert (made.hard, made.on_exceed, made.budget.thresholds) == (hard, on_exceed, thresholds)

    def test_who_is_told_makes_no_other_budget(self) -> None:
        assert rule("b", calls=1, alert=told) == rule("b", calls=1)
        assert rule("b", calls=1, max_call_usd=1) != rule("b", calls=1)

    @pytest.mark.parametrize(
        ("terms", "said"),
        [
            ({}, "budget 'b' caps nothing; give usd=, tokens= or calls="),
            ({"usd": "five"}, "budget 'b': usd= must be dollars, such as 5 or 0.25; 'five' is no amount of dollars"),
            ({"usd": True}, "usd= must be dollars"),
            ({"usd": "1e-10"}, "'1e-10' is finer than a nano-dollar"),
            ({"usd": float("nan")}, "nan is no amount of dollars"),
            ({"usd": -1}, "budget 'b': usd= must not be negative; it is -1"),
            ({"usd": 1, "max_call_usd": "-0.5"}, "budget 'b': max_call_usd= must not be negative; it is '-0.5'"),
            ({"usd": 1, "max_call_usd": []}, "budget 'b': max_call_usd= must be dollars"),
            ({"tokens": 1.5}, "budget 'b': tokens= must be a whole number from 0; it is 1.5"),
            ({"tokens": -1}, "tokens= must be a whole number from 0; it is -1"),
            ({"calls": True}, "calls= must be a whole number from 0; it is True"),
            ({"calls": "3"}, "calls= must be a whole number from 0; it is '3'"),
            ({"calls": 1, "per": "week"}, "per= must be one of minute, hour, day, month, total; it is 'week'"),
            ({"calls": 1, "per": 3}, "budget 'b': per= must be a string, not 3"),
            ({"calls": 1, "tz": "Mars/Olympus"}, "tz= must be an IANA time zone; 'Mars/Olympus' is none"),
            ({"calls": 1, "scope": "everyone"}, "scope= must be one of feature, organisation, user, tenant, tag:NAME"),
            ({"calls": 1, "on_exceed": "panic"}, "on_exceed= must be raise, downgrade, warn or call; it is 'panic'"),
            ({"calls": 1, "on_exceed": "call"}, "on_exceed='call' needs alert=, a function or a webhook's URL"),
            ({"calls": 1, "alert": "hook"}, "alert= must be a function or a webhook's http(s) URL, not 'hook'"),
            ({"calls": 1, "alert": 3}, "alert= must be a function or a webhook's http(s) URL, not 3"),
            ({"calls": 1, "hard": "no"}, "hard= must be true or false; it is 'no'"),
            *(
                (
                    {"calls": 1, "on_threshold": wrong},
                    f"on_threshold= must list shares of the limit such as [0.5, 0.8]; it is {wrong!r}",
                )
                for wrong in (0.5, "0.5", "", [0], [1.5], ["0.5"], [float("nan")], {"a": 1}, None)
            ),
        ],
    )
    def test_a_wrong_one_is_told_the_argument_and_what_is_right(self, terms: dict[str, Any], said: str) -> None:
        assert said in error_of(**terms)

    @pytest.mark.parametrize(
        ("name", "said"), [(3, "must be a string, not 3"), ("", "1 to 200"), ("x" * 201, "1 to 200")]
    )
    def test_a_name_that_is_none(self, name: Any, said: str) -> None:
        assert said in error_of(name, calls=1)


class TestConfiguration:
    def test_tables_become_rules(self) -> None:
        tables = [{"name": "all", "usd": 100, "per": "month", "scope": "organisation"}, {"name": "chat", "calls": 5}]
        assert rules_from(tables) == (
            rule("all", usd=100, per="month", scope="organisation"),
            rule("chat", calls=5),
        )
        assert rules_from([]) == ()

    def test_the_same_twice_is_one(self) -> None:
        assert len(rules_from([{"name": "a", "usd": 1}, {"name": "a", "usd": "1.00"}])) == 1

    @pytest.mark.parametrize(
        ("tables", "said"),
        [
            ([{"name": "a", "usd": 1}, {"usd": 2}], "here[1]: name= is missing; give the budget a name"),
            (
                [{"name": "a", "usd": 1, "pre": "day"}],
                "here[0]: unknown key 'pre': did you mean per? The keys are name, ",
            ),
            (
                [{"name": "a", "usd": 1, "zzz": 0}],
                "here[0]: unknown key 'zzz': remove it. The keys are name, usd, tokens",
            ),
            ([{"name": "a", "per": "day"}], "here[0]: budget 'a' caps nothing; give usd=, tokens= or calls="),
            ([{"name": "a", "calls": "1"}], "here[0]: budget 'a': calls= must be a whole number from 0; it is '1'"),
            ([{"name": "a", "usd": 1}, {"name": "a", "usd": 2}], "here[1]: budget 'a' is declared twice, and not with"),
        ],
    )
    def test_a_wrong_one_is_named(self, tables: list[dict[str, Any]], said: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            rules_from(tables, "here")
        assert str(caught.value).startswith(said)


DECLARED = {
    "chat": rule("chat", usd=1),
    "default": rule("default", usd=1),
    "all": rule("all", usd=9, scope="organisation"),
    "each-user": rule("each-user", usd=1, scope="user"),
    "each-tenant": rule("each-tenant", usd=1, scope="tenant"),
    "each-env": rule("each-env", usd=1, scope="tag:env"),
}


def about(**facts: Any) -> list[str]:
    return [found.name for found in applicable(DECLARED.values(), Entry("chat", "m", **facts))]


class TestApplicable:
    @pytest.mark.parametrize(
        ("facts", "names"),
        [
            ({}, ["default", "all"]),
            ({"feature": "default", "path": ("default",)}, ["default", "all"]),
            ({"feature": "chat", "path": ("chat",)}, ["chat", "all"]),
            ({"feature": "search", "path": ("chat", "search")}, ["chat", "all"]),
            ({"feature": "search", "path": ("search",)}, ["all"]),
            ({"feature": "x", "user": "u"}, ["all", "each-user"]),
            ({"feature": "x", "tenant": "t"}, ["all", "each-tenant"]),
            ({"feature": "x", "tenant": ""}, ["all"]),
            ({"feature": "x", "tags": {"env": "prod"}}, ["all", "each-env"]),
            ({"feature": "x", "tags": {"other": "prod"}}, ["all"]),
            (
                {"path": ("default", "chat"), "user": "u", "tenant": "t", "tags": {"env": ""}},
                ["chat", "default", "all", "each-user", "each-tenant", "each-env"],
            ),
        ],
    )
    def test_a_declared_budget_is_about_the_calls_of_its_scope(self, facts: dict[str, Any], names: list[str]) -> None:
        assert about(**facts) == names

    def test_the_blocks_around_a_call_come_after_and_each_counts_once(self) -> None:
        mine = rule("mine", calls=1)
        found = applicable(DECLARED.values(), Entry("chat", "m", feature="chat"), [mine, DECLARED["chat"]])
        assert [one.name for one in found] == ["chat", "all", "mine"]

    def test_one_declared_otherwise_around_a_call_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="budget 'chat' is declared twice"):
            applicable(DECLARED.values(), Entry("chat", "m", feature="chat"), [rule("chat", usd=2)])

    @given(st.lists(st.sampled_from([rule(name, calls=1) for name in "abc"])))
    def test_joining_keeps_the_first_of_each_in_order(self, rules: list[Rule]) -> None:
        assert joined((), *rules) == tuple(dict.fromkeys(rules))
