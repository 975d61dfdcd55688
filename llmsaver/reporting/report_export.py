"""A report for machines: JSON with everything, CSV with one line for each value it is cut by."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from llmsaver.reporting.layers import layer_csv, layer_json
from llmsaver.reporting.moments import zone

if TYPE_CHECKING:
    from llmsaver.reporting.report import Report

__all__ = ["as_csv", "as_dict", "as_json"]


def as_dict(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it: dollars are exact decimal strings, times ISO 8601, unknown is null."""

    def told(moment: float | None) -> str | None:
        return None if moment is None else datetime.fromtimestamp(moment, zone(report.tz)).isoformat()

    return {
        "by": report.by,
        "since": told(report.since),
        "until": told(report.until),
        "tz": report.tz,
        "made_at": datetime.fromtimestamp(report.made_at, UTC).isoformat(),
        "ledger": report.ledger,
        "list_prices_as_of": report.prices_as_of.isoformat() if report.prices_as_of else None,
        "lost_rows": report.lost,
        "servers": [server.as_dict() for server in report.servers],
        "local_tokens": report.achieved.as_dict() if report.achieved else None,
        "router": report.routing.as_dict() if report.routing else None,
        "layers": layer_json(report.layers),
        "tiers": [line.as_dict() for line in report.tiers],
        "total": report.total.as_dict(),
        "lines": [line.as_dict() for line in report.lines],
        "models": [line.as_dict() for line in report.models],
        "days": [line.as_dict() for line in report.days],
    }


def as_json(report: Report) -> str:
    """Return the report as a JSON document."""
    return json.dumps(as_dict(report), indent=2)


def as_csv(report: Report) -> str:
    """Return a header and one line for each value the report is cut by; what is unknown is an empty field.

    The columns are those of a line in JSON, the first named after the cut; the lines add up to the totals.
    """
    if report.by == "layer":
        return layer_csv(report.layers)
    out = io.StringIO()
    columns = list(report.total.as_dict())
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([report.by, *columns[1:]])
    writer.writerows(line.as_dict().values() for line in report.lines)
    return out.getvalue()
