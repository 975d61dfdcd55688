"""The error tree: the one in the docstring, the real one and the exported one are the same."""

import copy
import inspect
import pickle
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from llmsaver import errors
from llmsaver.errors import (
    BudgetExceeded,
    LLMSaverError,
    LocalModelError,
    MiddlewareError,
    MissingExtra,
    UpstreamError,
    in_words,
)


def drawn() -> dict[str, str | None]:
    """Read the tree in the docstring: each class and the class it hangs from."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ((?:\|  |   )*)(?:[|`]- )?([A-Z]\w+)(?:  |$)", line)
        if match is None:
            continue
        branch = re.match(r"    ((?:\|  |   )*)[|`]- ", line)
        depth = 0 if branch is None else len(branch[1]) // 3 + 1
        path = [*path[:depth], match[2]]
        parents[match[2]] = path[depth - 1] if depth else None
    return parents


def real() -> dict[str, str | None]:
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]
    return {cls.__name__: None if cls is LLMSaverError else cls.__mro__[1].__name__ for cls in classes}


def test_the_drawn_tree_is_the_real_one() -> None:
    assert drawn() == real()


def test_every_error_is_exported_and_explained() -> None:
    exported = [name for name in errors.__all__ if inspect.isclass(getattr(errors, name))]
    assert exported == sorted(real())
    for name in errors.__all__:
        assert getattr(errors, name).__doc__


def test_everything_is_an_llmsaver_error() -> None:
    assert all(issubclass(getattr(errors, name), LLMSaverError) for name in real())
    assert not issubclass(LLMSaverError, (OSError, ValueError, RuntimeError))


def test_a_missing_extra_names_the_command() -> None:
    error = MissingExtra("a local model", "local")
    assert str(error) == "a local model needs an optional part: pip install 'llmsaver[local]'"
    assert error.extra == "local"


def test_a_middleware_error_names_its_layer() -> None:
    error = MiddlewareError("broken", "cache")
    assert (str(error), error.layer) == ("broken", "cache")


def test_any_error_can_be_put_in_words() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert in_words(KeyError("k")) == "KeyError: 'k'"
    assert in_words(MuteError()) == "MuteError"


@pytest.mark.parametrize("original", [OSError("down"), KeyboardInterrupt("now")])
def test_an_upstream_error_carries_the_transports_own(original: BaseException) -> None:
    error = UpstreamError(original)
    assert error.original is original
    assert str(error) == f"{type(original).__name__}: {original}"


RESETS = datetime(2026, 11, 22, tzinfo=UTC)
DOLLARS: dict[str, Any] = {"limit": 5 * 10**9, "spent": 4_970_000_000, "held": 20_000_000, "asked": 40_000_000}


class TestBudgetExceeded:
    def test_it_says_which_why_until_when_and_what_to_do(self) -> None:
        error = BudgetExceeded("support-bot", **DOLLARS, per="day", resets_at=RESETS)
        assert str(error) == (
            "Budget 'support-bot' allows $5.00 per day: $4.97 is spent and $0.02 held by calls under way; this call "
            "could cost up to $0.04. It resets on 2026-11-22 00:00 UTC. To go on before, ask for fewer output tokens "
            "or raise the limit: llmsaver budgets set support-bot"
        )

    @pytest.mark.parametrize(
        ("facts", "said"),
        [
            (
                {"unit": "tokens", "limit": 10_000, "spent": 9_000, "held": 900, "asked": 4_096, "per": "hour"},
                (
                    "allows 10,000 tokens per hour: 9,000 are spent and 900 held by calls under way; this call could "
                    "use up to 4,096. It never resets. To go on, ask for fewer output tokens or raise the"
                ),
            ),
            (
                {"unit": "calls", "limit": 1, "held": 1, "asked": 1, "per": "minute"},
                (
                    "allows 1 call per minute: 0 were made and 1 are under way; this call is one more. It never "
                    "resets. To go on, raise the limit: llmsaver budgets set b"
                ),
            ),
            ({"unit": "calls", "limit": 2, "asked": 1}, "allows 2 calls: "),
            ({"limit": 1, "spent": 1, "asked": 1, "per": "total"}, "allows $0.000000001 in total: $0.000000001 is "),
            ({"limit": 1_234_567 * 10**9}, "allows $1,234,567.00: $0.00 is spent and $0.00 held"),
            ({"limit": 5, "spent": -25_000_000}, ": -$0.025 is spent"),
            ({"limit": 0, "asked": 1}, "To go on, raise the limit"),
            ({"limit": 10**9, "key": "user:u42", "per": "day"}, "allows user 'u42' $1.00 per day"),
            ({"limit": 10**9, "key": "tenant:a:b"}, "allows tenant 'a:b' $1.00: "),
            ({"limit": 10**9, "key": "tag:env:prod"}, "allows tag 'env=prod' $1.00: "),
            ({"limit": 10**9, "key": "tenant:"}, "allows calls without a tenant $1.00: "),
        ],
    )
    def test_every_unit_and_allowance_in_words(self, facts: dict[str, Any], said: str) -> None:
        assert said in str(BudgetExceeded("b", **facts))

    def test_a_call_that_cannot_be_bounded_is_told_the_way(self) -> None:
        error = BudgetExceeded("b", limit=5 * 10**9, per="day", reasons=["url-image", "mcp"])
        assert error.reasons == ("url-image", "mcp")
        assert str(error) == (
            "Budget 'b' allows $5.00 per day, and what this call can use cannot be bounded beforehand: url-image, mcp. "
            "Leave that out, or give the budget max_call_usd=, the most that such a call is held at."
        )
        unpriced = BudgetExceeded("b", limit=1, reasons=["unpriced:my-model"])
        assert (
            "unpriced:my-model. Declare the model's price (the setting prices=), or give the budget max_call_usd="
            in str(unpriced)
        )

    def test_its_facts_are_attributes(self) -> None:
        berlin = timezone(timedelta(hours=1))
        error = BudgetExceeded("b", **DOLLARS, key="user:u", resets_at=datetime(2026, 11, 22, 1, tzinfo=berlin))
        assert (error.budget, error.key, error.unit, error.reasons) == ("b", "user:u", "nano", ())
        assert (error.limit, error.spent, error.held, error.asked) == tuple(DOLLARS.values())
        dollars = (error.limit_usd, error.spent_usd, error.held_usd, error.asked_usd)
        assert dollars == (Decimal(5), Decimal("4.97"), Decimal("0.02"), Decimal("0.04"))
        assert error.resets_at == RESETS
        assert error.resets_at.tzinfo is UTC

    def test_dollars_are_exact_and_only_of_money(self) -> None:
        assert str(BudgetExceeded("b", limit=2**62).limit_usd) == "4611686018.427387904"
        assert BudgetExceeded("b", unit="tokens", limit=5).limit_usd is None


@pytest.mark.parametrize(
    "error",
    [
        BudgetExceeded("b", **DOLLARS, resets_at=RESETS, reasons=("mcp",)),
        LocalModelError("gone"),
        LLMSaverError(),
        MiddlewareError("broken", "cache"),
        MissingExtra("a thing", "local"),
    ],
)
def test_errors_survive_copies_and_other_processes(error: LLMSaverError) -> None:
    error.add_note("a note")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 - ours
        assert type(again) is type(error)
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
