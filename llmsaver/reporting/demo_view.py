"""How the demo looks: rich on a terminal, plain lines of at most 80 columns elsewhere."""

from __future__ import annotations

import inspect
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmsaver.core.stack import layer_name
from llmsaver.reporting.demo_spend import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.status import Status

    from llmsaver.reporting.demo import Report
    from llmsaver.reporting.demo_calls import Step
    from llmsaver.reporting.demo_proofs import Made
    from llmsaver.saver import Saver

__all__ = ["View"]

_WIDTH = 80
_INDENT = " " * 5
_WARNING = (
    "SmolLM2-135M is a tiny model for trying things out, not a good one: expect wrong answers. "
    "What is real here is everything around it: the SDKs, the stack, the server."
)


class View:
    """Writes the demo to a console (standard output by default) while it runs."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._width = min(self._console.width, _WIDTH)
        self._status: Status | None = None

    def opening(self, saver: Saver) -> None:
        """Say what is about to happen and on what."""
        stack = " -> ".join([*(layer_name(layer) for layer in saver.layers), "local server"])
        self._say("llmsaver demo: real calls through the whole stack, on this machine, no key", style="bold")
        self._say(_WARNING, style="yellow")
        self._say(f"stack: {stack}")

    @contextmanager
    def starting(self, *, fetching: bool) -> Iterator[None]:
        """Show that the local server starts, or that its weights (98 MB) are fetched first."""
        self._say(("fetching the weights (98 MB), then " if fetching else "") + "starting the llama.cpp server ...")
        with self._spinner("starting"):
            yield
        self._say("")

    @contextmanager
    def asking(self, step: Step, number: int) -> Iterator[None]:
        """Show that a step is under way."""
        with self._spinner(f"{number} {step.title}"):
            yield

    def growing(self, text: str) -> None:
        """Show an answer's text so far; only a terminal sees it."""
        if self._status is not None:
            self._status.update(Text(textwrap.shorten(text, self._width - 6, placeholder=" ...")))

    def asked(self, call: Made) -> None:
        """Say what one call asked and got, and what each layer did to it."""
        step, entry, tokens = call.step, call.said.entry, call.tokens
        note = f"  ({step.note})" if step.note else ""
        self._say(f"{call.number:>3}. {step.title}{note}", style="bold")
        self._say(_INDENT + "Q " + step.question)
        if call.said.refused:
            self._say(_INDENT + "refused: " + call.said.text, style="yellow", hang=len(_INDENT) + 2)
        else:
            said = textwrap.shorten(call.said.text, self._width - 8, placeholder=" ...")
            self._say(_INDENT + "A " + said, style="cyan")
        acts = [f"{act.name} {act.action}" + (f" ({act.why})" if act.why else "") for act in call.acts]
        if entry is None:
            acts = ["none: past every layer"]
        elif call.said.refused:
            acts = ["budget refused"]
        self._say(_INDENT + "layers: " + ("; ".join(acts) or "record"), style="green", hang=len(_INDENT) + 8)
        facts = ["past the stack" if entry is None else f"tier {entry.tier}"]
        facts.append("no tokens used" if tokens is None else f"{tokens[0]} tokens in, {tokens[1]} out")
        facts.append(f"{call.seconds:.2f} s")
        if entry is not None and entry.first_byte_s is not None:
            facts.append(f"first byte after {entry.first_byte_s:.2f} s")
        self._say(_INDENT + ", ".join(facts))

    def closing(self, report: Report) -> None:
        """Show the sums, what every layer did, and what the demo did not."""
        counted = [call.tokens for call in report.calls if call.tokens is not None]
        entries = [call.said.entry for call in report.calls if call.said.entry is not None and not call.said.refused]
        sums = Table(box=None, pad_edge=False, show_header=False)
        for label, value in (
            ("calls", f"{len(report.calls)}, {sum(call.step.streamed for call in report.calls)} streamed"),
            ("async", str(sum(inspect.iscoroutinefunction(call.step.ask) for call in report.calls))),
            ("tokens", f"{sum(t[0] for t in counted)} in, {sum(t[1] for t in counted)} out"),
            ("answered here", f"{sum(not entry.attempts for entry in entries)} without an upstream call"),
            ("seconds", f"{report.seconds:.1f} in all"),
        ):
            sums.add_row(label, value)
        if report.spend is None:
            sums.add_row("cost", "not known: these calls are in no ledger")
        layers = Table(box=None, pad_edge=False)
        for heading in ("layer", "effect", "what it did"):
            layers.add_column(heading, overflow="fold")
        for proof in report.proofs:
            word = Text("yes", style="green") if proof.holds else Text("NONE", style="bold red")
            layers.add_row(proof.layer, word, proof.figures)
        self._console.print()
        self._console.print(sums, width=self._width)
        self._console.print()
        self._console.print(layers, width=self._width)
        self._console.print()
        if report.spend is not None:
            for line in lines_of(report.spend, self._width, ascii_only=self._console.options.ascii_only):
                self._console.print(Text(line) if isinstance(line, str) else line, soft_wrap=True)
            self._console.print()
        for proof in report.failures:
            self._say(f"FAILED: the layer {proof.layer!r} had no effect ({proof.figures})", style="bold red")
        self._say(_WARNING, style="yellow")

    def interrupted(self) -> None:
        """Say that Ctrl-C ended it."""
        self._say("Interrupted; the local server is stopped.")

    @contextmanager
    def _spinner(self, words: str) -> Iterator[None]:
        """Turn a spinner on a terminal; a file or a pipe gets no line for it."""
        with self._console.status(Text(words)) as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None

    def _say(self, text: str, *, style: str = "", hang: int = 0) -> None:
        """Write lines of at most 80 columns; ``hang`` indents the second and later ones."""
        for line in textwrap.wrap(text, self._width, subsequent_indent=" " * hang, drop_whitespace=True) or [""]:
            self._console.print(Text(line, style=style))
