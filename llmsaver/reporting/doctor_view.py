"""How the doctor's findings look on a terminal, and in 80 plain columns elsewhere."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from llmsaver.reporting.doctor import Health
    from llmsaver.reporting.doctor_parts import Finding

__all__ = ["as_text"]

_WIDTH = 80
_NAME = 19
_MARKS = {"ok": ("ok", "green"), "absent": ("-", "yellow"), "broken": ("BROKEN", "bold red")}
_HOW = {
    "openai": "set OPENAI_API_KEY",
    "anthropic": "set ANTHROPIC_API_KEY",
    "local": "install what is missing under 'local models'",
}


def as_text(health: Health, console: Console | None = None) -> None:
    """Write the findings by part, then which models can be called, then the verdict."""
    out = console or Console(highlight=False)
    part = ""
    for finding in health.findings:
        if finding.part != part:
            part = finding.part
            out.print(Text(part, style="bold"))
        for line in _lines(finding):
            out.print(line, soft_wrap=True)  # a long path stays one word, to be copied
    out.print(Text("what can be called", style="bold"))
    for name, ready in health.ready.items():
        how = _HOW[name] if health.works else "mend what is BROKEN first"
        out.print(Text(f"  {name:<{_NAME}} ") + Text("ready" if ready else f"not yet: {how}"))
    broken = sum(finding.state == "broken" for finding in health.findings)
    verdict = "llmsaver works here." if health.works else f"{broken} broken; each line above says how to fix it."
    out.print(Text(verdict, style="bold green" if health.works else "bold red"))


def _lines(finding: Finding) -> list[Text]:
    """Return one finding as lines: name, mark, what was found, and the fix beneath."""
    mark, style = _MARKS[finding.state]
    head = f"  {finding.name:<{_NAME}} "
    room = _WIDTH - len(head) - 7
    first, *others = textwrap.wrap(finding.what, room, break_long_words=False, break_on_hyphens=False) or [""]
    lines = [Text(head) + Text(f"{mark:<7}", style=style) + Text(first)]
    pad = " " * (len(head) + 7)
    lines += [Text(pad + other) for other in others]
    if finding.fix:
        lines += [Text(pad + line, style="yellow") for line in textwrap.wrap(f"-> {finding.fix}", room)]
    return lines
