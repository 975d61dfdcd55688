"""What the demo's calls cost, and what the same tokens cost elsewhere."""

from pathlib import Path

import pytest

from llmsaver.ledger import AttemptRow, CallRow, Ledger
from llmsaver.pricing import PriceBook
from llmsaver.pricing.equivalent import Paid
from llmsaver.reporting import demo_spend
from llmsaver.reporting.demo_spend import lines_of, spend_of

NOW = 1_795_000_000.0


def row(number: int, tier: str = "local", *, asked: bool = True) -> CallRow:
    attempts = (AttemptRow("127.0.0.1", "local/smollm2-135m", tier, 200, None, 80.0, 0),) if asked else ()
    return CallRow(
        f"c{number}",
        NOW + number,
        tier=tier,
        model_answered="local/smollm2-135m",
        cost_nano=0 if asked else None,
        input_tokens=1_000,
        output_tokens=200,
        attempts=attempts,
        status=200,
    )


def test_the_tokens_that_a_model_was_asked_for_at_paid_prices(books: Ledger) -> None:
    for one in (row(1), row(2), row(3, "memo", asked=False), row(4)):
        assert books.write(one).ok
    spend = spend_of(books, {"c1", "c2", "c3", "lost"}, NOW)
    assert spend is not None
    assert (spend.report.total.calls, spend.input_tokens, spend.output_tokens, spend.missing) == (3, 2_000, 400, 1)
    as_of = PriceBook().as_of.isoformat()
    assert [str(line) for line in lines_of(spend)] == [
        "spend report of this run, from its ledger rows (llmsaver report shows them all)",
        "  calls                  3  0 failed (0 %)",
        "  spend              $0.00",
        "  saved                  -  nothing to compare with",
        "  per 1,000 calls    $0.00",
        "  tokens per call    1,000  in, 200 out",
        "",
        "tier   calls  spend  saved  $/1,000     in  out  p50  p99  first",
        "local      2  $0.00      -    $0.00  1,000  200    -    -      -",
        "memo       1  $0.00      -    $0.00  1,000  200    -    -      -",
        "1 call without a row: the ledger could not be written",
        "",
        "list price of the same tokens (2,000 in, 400 out)",
        # 2,000 x $0.25/M + 400 x $2/M, and 2,000 x $1/M + 400 x $5/M
        "  gpt-5-mini        $0.0013",
        "  claude-haiku-4-5  $0.004",
        f"  at list prices as of {as_of}; another model counts and writes other tokens",
    ]


def test_a_model_without_a_list_price_is_left_out(books: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    assert books.write(row(1)).ok
    monkeypatch.setattr(demo_spend, "PAID", (Paid("no-such-model", "chat", "https://api.openai.com/v1"),))
    spend = spend_of(books, {"c1"}, NOW)
    assert spend is not None
    assert spend.elsewhere == ()
    assert "list price" not in "".join(str(line) for line in lines_of(spend))


def test_no_ledger_no_report(books: Ledger, tmp_path: Path) -> None:
    assert spend_of(None, {"c1"}, NOW) is None
    assert spend_of(Ledger(tmp_path / "none.db"), {"c1"}, NOW) is None
    assert spend_of(books, {"c1"}, NOW) is None
