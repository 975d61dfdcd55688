"""A backstop for answers that run away: a wide limit, learned per feature, where the caller gave none."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError, in_words
from llmsaver.middleware.continuation import Continuation
from llmsaver.pricing.limits import answers, asked_tokens, model_tokens
from llmsaver.prompt.forms import cap_name, capped, structured, tooled
from llmsaver.prompt.lengths import Lengths
from llmsaver.wire.payload import as_dict

if TYPE_CHECKING:
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.ledger import Ledger
    from llmsaver.pricing import PriceBook

__all__ = ["OutputCap"]

log = logging.getLogger("llmsaver")

_REFUSED = 400
_MOST_WIDTHS = 2_000
_DIALECTS = frozenset({"chat", "responses", "messages"})


@dataclass(slots=True)
class _Width:
    """How much wider than learned a limit is, and since then how many answers it was set on and how many it cut."""

    times: int = 1
    answers: int = 0
    cut: int = 0


class OutputCap:
    """Limits an answer to ``times`` the ``quantile`` of its feature's own lengths, where the request has no limit.

    At least ``floor`` tokens, and nothing before ``minimum_samples`` answers of this feature, model and effort are
    known, those in the ledger included. Never where tools are offered or JSON is asked for. Answers that ran into the
    limit are counted (``truncated``); where they are more than the share that ``quantile`` leaves, so that they are no
    mere run-aways, the limit is doubled from then on. ``continue_truncated``: go on with an answer that was cut off, by
    this limit or another, as ``Continuation()`` does. Raises ``ConfigurationError``.
    """

    name = "output cap"

    def __init__(
        self,
        *,
        quantile: float = 0.995,
        times: float = 2.0,
        floor: int = 1024,
        minimum_samples: int = 50,
        continue_truncated: bool = False,
    ) -> None:
        if not 0.5 <= quantile <= 1:  # noqa: PLR2004 - below the median it would cut every other answer
            raise ConfigurationError(f"OutputCap(quantile=) must be a share from 0.5 to 1, not {quantile!r}")
        if times < 1:
            raise ConfigurationError(f"OutputCap(times=) must be 1 or more, not {times!r}")
        if floor < 1 or minimum_samples < 1:
            raise ConfigurationError("OutputCap(floor=) and OutputCap(minimum_samples=) must be 1 or more")
        self._quantile = quantile
        self._times = times
        self._floor = floor
        self._least = minimum_samples
        self._continuation = Continuation() if continue_truncated else None
        self.lengths = Lengths()
        self.truncated = 0
        self._widths: OrderedDict[tuple[str, str, str], _Width] = OrderedDict()
        self._unknown: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._failed = False

    @property
    def policy(self) -> str:
        """What may decide an answer: part of the key of every cache above."""
        return f"{self._quantile} {self._times} {self._floor} {self._continuation is not None}"

    def use_books(self, prices: PriceBook | None, ledger: Ledger | None, *_: object) -> None:
        """Take the Saver's ledger, whose history is read in the background at the first call."""
        del prices
        self._ledger = ledger

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass on with a limit where one is due, and learn how long the answer got."""
        ledger, self._ledger = self._ledger, None
        if ledger is not None and not request.runtime.detach(partial(self._look, ledger)):
            self._ledger = ledger
        if request.dialect not in _DIALECTS:
            return await call_next(request)
        if self._continuation is None:
            return await self._answer(request, call_next)
        return await self._continuation(request, partial(self._answer, call_next=call_next))

    async def _answer(self, request: Request, call_next: CallNext) -> Response:
        if tooled(request.body) or structured(request.body):
            return await call_next(request)  # and how long it gets says nothing of an answer in words
        key = _key(request)
        limited = None
        try:
            limited = self._limited(request, key)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in here costs nobody the call
            self._fault(error)
        if limited is None:
            response = await call_next(request)
            response.on_complete(partial(self._ended, request, key, None))
            return response
        sent, cap = limited
        response = await call_next(sent)
        if response.status == _REFUSED and "max_" in (await response.read()).decode("utf-8", "replace"):
            with self._lock:
                self._unknown.add((request.url, request.model or ""))
            request.entry.act(self.name, "refused", "the provider does not take the limit; sent as it was")
            return await call_next(request)
        response.on_complete(partial(self._ended, request, key, cap))
        return response

    def _limited(self, request: Request, key: tuple[str, str, str]) -> tuple[Request, int] | None:
        """Return the request with its limit; None where it is to be left as it is."""
        body, model = request.body, request.model or ""
        name = cap_name(request.dialect, request.url, model)
        if name is None or capped(request.dialect, body):
            return None
        if (request.url, model) in self._unknown:
            return None
        found = self.lengths.quantile(key, self._quantile, self._least)
        if found is None:
            return None
        length, number = found
        width = self._widths.get(key)
        cap = max(self._floor, round(length * self._times)) * (1 if width is None else width.times)
        most = model_tokens(model, None)
        if most is not None and cap >= most:
            return None
        why = f"{name}={cap}: {self._quantile:.1%} of {number:,} answers have at most {length:,} tokens"
        request.entry.act(self.name, "limited", why, limit=cap)
        return request.with_body(**{name: cap}), cap

    def _ended(self, request: Request, key: tuple[str, str, str], cap: int | None, outcome: Outcome) -> None:
        """Learn from a whole answer; one that was cut off tells only that it would have been longer."""
        usage = outcome.usage
        if usage is None or not outcome.complete or answers(request.body, request.dialect) != 1:
            return
        tokens, limits = usage.output_tokens, (cap, asked_tokens(request.body, request.dialect))
        if any(limit is not None and tokens >= limit for limit in (*limits, request.entry.clamped_to)):
            self.lengths.note(key, 2 * tokens)
        else:
            self.lengths.note(key, tokens)
        if cap is not None and self._counted(key, cut=tokens >= cap):
            request.entry.act(self.name, "truncated", f"the answer ran into {cap:,} tokens")

    def _counted(self, key: tuple[str, str, str], *, cut: bool) -> bool:
        """Count a limited answer, widen the limit where too many are cut off, and return whether this one was."""
        with self._lock:
            width = self._widths.setdefault(key, _Width())
            self._widths.move_to_end(key)
            if len(self._widths) > _MOST_WIDTHS:
                self._widths.popitem(last=False)
            width.answers += 1
            width.cut += cut
            self.truncated += cut
            if cut and width.cut > (1 - self._quantile) * width.answers:
                width.times, width.answers, width.cut = width.times * 2, 0, 0
        return cut

    def _look(self, ledger: Ledger) -> None:
        try:
            found = self.lengths.read(ledger)
        except Exception as error:  # noqa: BLE001 - no history is what a new feature has too
            log.debug("llmsaver: lengths of earlier answers cannot be read: %s", in_words(error))
        else:
            log.debug("llmsaver: %d lengths of earlier answers read", found)

    def _fault(self, error: Exception) -> None:
        level, self._failed = logging.DEBUG if self._failed else logging.WARNING, True
        log.log(level, "llmsaver: no limit is set on answers: %s", in_words(error))


def _key(request: Request) -> tuple[str, str, str]:
    """Return what an answer's length depends on, as far as the request tells."""
    body: Any = request.body
    effort = (
        body.get("reasoning_effort")
        or as_dict(body.get("reasoning")).get("effort")
        or as_dict(body.get("output_config")).get("effort")
    )
    return request.feature, request.model or "", effort if isinstance(effort, str) else ""
