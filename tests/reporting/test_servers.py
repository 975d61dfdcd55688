"""What idle local servers cost, by arithmetic that can be done in the head."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from llmsaver.ledger import CallRow, Ledger, ServerRow
from llmsaver.pricing import PriceBook
from llmsaver.pricing.equivalent import PAID
from llmsaver.reporting.report import priced, report
from llmsaver.reporting.report_export import as_json
from llmsaver.reporting.report_view import as_text
from llmsaver.reporting.servers import Achieved, beside, lines, served

NOW = 1_795_000_000.0
HOUR = 3_600.0


def write(books: Ledger) -> None:
    """Write two hours of a server at $1 an hour, half of them busy, and two calls of half a million tokens each."""
    assert books.write_server(ServerRow("s1", "qwen", NOW - 2 * HOUR, NOW, 2 * HOUR, HOUR, 10**9))
    for number, started_at in enumerate((NOW - 2 * HOUR, NOW - HOUR)):
        row = CallRow(f"e{number}", started_at, tier="local", model_answered="local/qwen", status=200)
        row.cost_nano, row.busy_s, row.input_tokens, row.output_tokens = 5 * 10**8, 1_800.0, 400_000, 100_000
        assert books.write(row).ok


def text(books: Ledger, width: int = 80) -> str:
    file = io.StringIO()
    as_text(report(books, now=NOW), Console(file=file, width=width, highlight=False))
    return file.getvalue()


def test_idle_time_and_what_a_million_tokens_came_to(books: Ledger) -> None:
    write(books)
    made = report(books, now=NOW)
    (server,) = made.servers
    assert (server.up_s, server.busy_s, server.idle_s, server.idle_nano) == (7_200.0, 3_600.0, 3_600.0, 10**9)
    assert made.achieved == Achieved(1_000_000, 10**9, 2 * 10**9)
    assert made.total.busy_ms == 3_600_000
    told = json.loads(as_json(made))
    assert told["servers"][0]["idle_usd"] == "1"
    assert told["local_tokens"]["per_1m_with_idle_usd"] == "2"
    assert [line["name"] for line in told["tiers"]] == ["local"]
    assert "qwen  up 2 h, busy 1 h (50 %), idle 1 h: $1.00" in text(books)
    assert "achieved: $1.00 per 1M tokens, $2.00 with idle time" in text(books)
    assert all(len(line) <= 80 for line in text(books).splitlines())


def test_a_time_that_cuts_a_servers_life(books: Ledger) -> None:
    write(books)
    (server,) = report(books, since=NOW - HOUR, now=NOW).servers
    assert (server.up_s, server.busy_s, server.idle_nano, server.cut) == (3_600.0, 1_800.0, 5 * 10**8, True)
    (line,) = lines([server], None, 80)
    assert line.endswith("idle 30 min: $0.50~")


@pytest.mark.parametrize("price", [None, 0])
def test_without_a_price_nothing_is_said_to_be_free(books: Ledger, price: int | None) -> None:
    write(books)
    assert books.write_server(ServerRow("s2", "phi", NOW, NOW, 0.0, 0.0, price))
    made = report(books, now=NOW)
    assert {one.name: one.idle_nano for one in made.servers} == {"qwen": 10**9, "phi": price}
    assert made.achieved is not None
    assert (made.achieved.whole is None) is (price is None)
    if price is None:
        assert "idle 0 s: no hourly price" in text(books)
        assert "with idle time" not in text(books)


def test_beside_what_a_paid_model_asks() -> None:
    found = Achieved(10**6, 10**7, None, 5 * 10**7, "gpt-5-nano")
    assert list(lines((), found, 80)) == [
        "  achieved: $0.01 per 1M tokens",
        "  the same tokens on gpt-5-nano: $0.05 per 1M",
    ]


def test_the_same_tokens_on_a_paid_model(books: Ledger) -> None:
    assert priced(report(books)).achieved is None
    write(books)
    found = priced(report(books, now=NOW)).achieved
    assert found is not None
    # 400,000 in at $0.25 and 100,000 out at $2 per million: $0.30 for half a million.
    assert (found.paid, found.reference) == (600_000_000, "gpt-5-mini")
    assert beside(found, None, PriceBook()) == found
    unknown = replace(PAID[0], model="nobody-knows")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmsaver.reporting.servers.PAID", (unknown,))
        assert priced(report(books, now=NOW)).achieved == report(books, now=NOW).achieved


def test_two_servers_of_one_model_are_one_line() -> None:
    row = {"name": "qwen", "started_at": 0.0, "updated_at": 100.0, "up_s": 100.0, "busy_s": 10.0, "hourly_nano": 3_600}
    (both,) = served([row, {**row, "started_at": 50.0, "updated_at": 50.0}])
    assert (both.up_s, both.busy_s, both.idle_nano, both.cut) == (200.0, 20.0, 180, False)


def test_no_local_model_no_word_of_it(books: Ledger) -> None:
    assert books.write(CallRow("e1", NOW, status=200)).ok
    assert "local models" not in text(books)
    assert report(books).achieved is None


def test_refused_calls_are_told_and_in_no_other_figure(books: Ledger) -> None:
    assert books.write(CallRow("e1", NOW, status=200, cost_nano=10**9)).ok
    assert books.write(CallRow("e2", NOW, refused=3, cost_nano=0, feature="bot")).ok
    made = report(books, now=NOW)
    assert (made.total.calls, made.total.refused, made.total.errors, made.total.per_thousand) == (1, 3, 0, 10**12)
    assert "3  by a budget; never sent" in text(books)
    assert made.lines[1].refused == 3
    assert json.loads(as_json(made))["total"]["refused"] == 3


def test_spilled_calls_are_a_share(books: Ledger) -> None:
    for number in range(4):
        assert books.write(CallRow(f"e{number}", NOW, status=200, cost_nano=0, spilled=number == 0)).ok
    assert "25 % spilled" in text(books)
