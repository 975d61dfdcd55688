"""The report for machines: exact decimals, null for what is unknown."""

import csv
import io
import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

from llmsaver.ledger import Ledger
from llmsaver.reporting.report import report
from llmsaver.reporting.report_export import as_csv, as_json

NOW = 1_795_000_000.0


def test_json_has_it_all_to_the_nano_dollar(small: Ledger) -> None:
    made = replace(report(small, "user", since=NOW - 200_000, now=NOW), prices_as_of=date(2026, 11, 9))
    told = json.loads(as_json(made))
    assert told["by"] == "user"
    assert told["since"] == "2026-11-16T03:33:20+00:00"
    assert told["until"] is None
    assert told["list_prices_as_of"] == "2026-11-09"
    assert told["total"]["spend_usd"] == "3.5009"
    assert told["total"]["per_1000_calls_usd"] == "437.6125"
    assert (told["total"]["spend_low_usd"], told["total"]["spend_high_usd"]) == ("3.4009", "3.6009")
    assert told["total"]["hits_rate"] == 0.125
    assert [line["name"] for line in told["lines"]] == ["u1", "u2", None]
    mine = told["models"][-1]
    assert (mine["name"], mine["spend_usd"], mine["spend_high_usd"], mine["saved_usd"]) == ("mine", None, None, None)
    assert [day["name"] for day in told["days"]] == ["2026-11-17", "2026-11-18"]


def test_an_empty_report_is_json_too(books: Ledger) -> None:
    told = json.loads(as_json(report(books, now=NOW)))
    assert (told["total"]["calls"], told["total"]["spend_usd"], told["total"]["hits_rate"]) == (0, "0", None)
    assert told["list_prices_as_of"] is None
    assert told["total"]["latency_ms_p50"] is None


def test_csv_lines_add_up(small: Ledger) -> None:
    made = report(small, "model", now=NOW)
    rows = list(csv.DictReader(io.StringIO(as_csv(made))))
    assert [row["model"] for row in rows] == ["gpt-5", "gpt-5-mini", "mine"]
    assert rows[2]["spend_usd"] == ""
    assert sum(Decimal(row["spend_usd"] or 0) for row in rows) == Decimal("3.5009")
    assert sum(int(row["calls"]) for row in rows) == 8
