"""A dry run's request, dialect and tiers: found, or asked for in a clear error."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmsaver.errors import ConfigurationError
from llmsaver.ledger import CallRow, Ledger
from llmsaver.reporting.router_explain import dialect_of, explained, request_of, tiers_of


@pytest.mark.parametrize(
    ("body", "named", "dialect"),
    [
        ({"messages": []}, None, "chat"),
        ({"messages": []}, "messages", "messages"),
        ({"messages": [], "system": "x"}, None, "messages"),
        ({"messages": [], "response_format": {}}, "chat", "chat"),
        ({"input": "x"}, None, "responses"),
    ],
)
def test_the_dialect(body: dict[str, Any], named: str | None, dialect: str) -> None:
    assert dialect_of("f", body, named) == dialect


def test_the_request(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"input": "x"}))
    assert request_of(str(tmp_path / "r.json")) == {"input": "x"}


def test_tiers_are_those_of_the_feature_or_of_any(books: Ledger) -> None:
    assert tiers_of(books, ["a", "b"]) == ["a", "b"]
    books.write(CallRow("c1", feature="faq", started_at=1.0, routing={"tiers": ["x", "y"]}))
    books.write(CallRow("c2", feature="mail", started_at=2.0, routing={"tiers": ["small", "big"]}))
    books.write(CallRow("c3", feature="odd", started_at=3.0, routing={"tiers": ["alone"]}))
    assert tiers_of(books, [], "faq") == ["x", "y"]
    with pytest.raises(ConfigurationError, match="name them"):
        tiers_of(books, [], "odd")


def test_a_ledger_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"no database at all, and long enough to be looked at" * 20)
    with pytest.raises(ConfigurationError, match=r"broken\.db.*name the tiers: --tier"):
        tiers_of(Ledger(tmp_path / "broken.db"), [])


def test_a_dry_run_says_which_tier_would_be_asked(books: Ledger, tmp_path: Path) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    place = str(tmp_path / "books" / "ledger.db")
    told = explained(place, body, ["gpt-4o-mini", "gpt-4o"], dialect="chat", feature="faq")
    assert told.as_dict()["tier"] == "gpt-4o-mini"
    assert "gpt-4o-mini" in str(told)
    promised = explained(place, body, ["gpt-4o-mini", "gpt-4o"], dialect="chat", feature="faq", min_quality=0.95)
    assert promised.as_dict()["tier"] == "gpt-4o"
    assert "not enough evidence" in str(promised)
    assert books.evaluations("router") == []
