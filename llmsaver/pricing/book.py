"""Usage to money: the one place where counts meet rates."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from llmsaver.pricing import overrides as declared
from llmsaver.pricing.bound import bound_call, output_room
from llmsaver.pricing.card import Card, compile_card, reference_card
from llmsaver.pricing.estimate import estimate_reading
from llmsaver.pricing.fees import fees, image_generation
from llmsaver.pricing.messages_reading import read_messages
from llmsaver.pricing.places import Place, place_of, regional
from llmsaver.pricing.reading import Reading, read_embeddings, read_openai
from llmsaver.pricing.sheet import KINDS, Factor
from llmsaver.pricing.table import GenaiPrices
from llmsaver.pricing.terms import STANDARD, terms_for
from llmsaver.pricing.totals import Total
from llmsaver.pricing.values import Billed, Bound, Cost, Rates

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from llmsaver.pricing.sheet import Sheet, Table

__all__ = ["PriceBook"]

_DAY: Final = 86_400
_NAMES: Final = {"chat": ("prompt", "completion"), "responses": ("input", "output")}
# Distinct models and terms in one process; beyond it someone is sending made-up names.
_KEPT: Final = 4096


class PriceBook:
    """What calls cost; safe to share between threads.

    ``prices`` declares rates (see ``overrides.parse``). ``hosts`` maps glob patterns of host names to provider ids, for
    gateways and proxies: ``{"llm.internal:8080": "openai"}``. ``project_tier`` is the service tier that the OpenAI
    project has been set to, which requests with ``service_tier`` "auto" or none are served on; only ``upper_bound``
    needs it. ``table`` replaces the list prices.
    """

    def __init__(
        self,
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        hosts: Mapping[str, str] | None = None,
        project_tier: str = "default",
        table: Table | None = None,
    ) -> None:
        self._overrides = declared.parse(prices)
        self._hosts = dict(hosts or {})
        self.project_tier = project_tier
        self._table: Table = table if table is not None else GenaiPrices()
        self._cards: dict[tuple[Any, ...], Card] = {}
        self._edition: object = None

    @property
    def as_of(self) -> date:
        """The day whose list prices are used; show it beside every sum."""
        return self._table.as_of

    def cost(self, billed: Billed) -> Cost:
        """Return what an answer cost.

        Never raises and never returns $0 for what is unknown: a missing price, nonsense in the usage or terms nobody
        documents make an ``estimated`` figure with flags. A model that nobody priced is booked at a reference rate
        under the flag ``unpriced:<model>``.
        """
        usage = billed.usage if isinstance(billed.usage, dict) else None
        if usage is None:
            return self._total(billed, [estimate_reading(billed, {}, self._card_of(billed, {}))], {})
        names = _NAMES.get(billed.dialect)
        if names is not None:
            readings = [read_openai(usage, names)]
        elif billed.dialect == "messages":
            readings = read_messages(usage)
        else:
            readings = [read_embeddings(usage)]
        first = readings[0]
        if not first.input_tokens and not first.unknown:
            # No request has no input; what says so did not count.
            first.flags.append("usage:zero")
            first.unknown = "input"
        if first.unknown:
            readings[0] = estimate_reading(billed, usage, self._card_of(billed, usage), first)
        return self._total(billed, readings, usage)

    def estimate(self, billed: Billed, *, hard: bool = False) -> Cost:
        """Return what an answer that was cut short cost, as a range; never $0.

        ``billed.body`` is the request, ``billed.message`` what arrived of the answer and ``billed.usage`` what the
        provider had reported by then (``message_start``'s). Output is counted in the bytes that arrived, tool
        arguments included; where hidden reasoning was possible, or with ``hard`` (under a hard cap), the figure is the
        most that the call can have cost.
        """
        usage = billed.usage if isinstance(billed.usage, dict) else {}
        card = self._card_of(billed, usage)
        reading = estimate_reading(billed, usage, card, aborted=True, hard=hard)
        return self._total(billed, [reading], usage)

    def load(self) -> date:
        """Read the price table now rather than at the first call, which it delays by up to a quarter second."""
        self.rates("openai", "gpt-5")
        return self.as_of

    def upper_bound(
        self, body: Mapping[str, Any], *, dialect: str, host: str = "", model: str | None = None, route: str = ""
    ) -> Bound:
        """Return the most a call can cost: see ``bound.bound_call``.

        ``model`` is needed where the body names none: Azure and Bedrock have it in the URL.
        """
        body = body if model is None else {**body, "model": model}
        card, cards = self._bound_cards(body, dialect, host, route)
        return bound_call(body, dialect, card.provider, cards)

    def output_room(
        self,
        remaining_nano: int,
        body: Mapping[str, Any],
        *,
        dialect: str,
        host: str = "",
        model: str | None = None,
        route: str = "",
    ) -> int | None:
        """Return the largest max-tokens value whose bound fits ``remaining_nano``, at most the request's own.

        0 where not even the input fits, None where no number bounds the call.
        """
        body = body if model is None else {**body, "model": model}
        card, cards = self._bound_cards(body, dialect, host, route)
        return output_room(remaining_nano, body, dialect, card.provider, cards)

    def rates(self, provider: str, model: str, *, when: datetime | None = None) -> Rates | None:
        """Return what a model costs on standard terms, or None where nobody has priced it.

        ``provider`` is a provider's id, or the URL that is called.
        """
        place = place_of(provider, model.lower(), self._table, self._hosts)
        sheet = self._sheet(place, (model.lower(),), when or datetime.now(tz=UTC))
        if sheet is None:
            return None
        card = compile_card(sheet, STANDARD, regional(place, sheet.model), [place.flag] if place.flag else ())
        *above, base = card.steps
        known = set(sheet.prices.base) | {kind for kind in KINDS if kind not in base.unsure and base.rates[kind]}
        return Rates(
            provider=place.provider or "",
            model=sheet.model,
            kinds={kind: base.rates[kind] for kind in KINDS if kind in known},
            above=tuple((step.above, step.rates) for step in reversed(above)),
            context_window=sheet.context_window,
            source=sheet.source,
            flags=card.flags,
        )

    def _total(self, billed: Billed, readings: list[Reading], usage: Mapping[str, Any]) -> Cost:
        extra = fees(billed, usage) if usage or billed.output else None
        if extra is not None:
            # Fees belong to the answer's own model, and to no long-context step.
            readings[0].append(extra.units)
            readings[0].flags += extra.flags
        if billed.tool_usage and (drawn := image_generation(billed)) is not None:
            readings.append(drawn)
        total = Total()
        main = self._card_of(billed, usage)
        for reading in readings:
            card = main if reading.model is None else self._card_of(billed, usage, reading.model)
            total.add(card, reading, "" if card is main else card.model)
        return total.cost()

    def _card_of(self, billed: Billed, usage: Mapping[str, Any], model: str | None = None) -> Card:
        """Return the compiled rates for what an answer says of its terms, from the cache where it is warm."""
        tier = billed.service_tier or usage.get("service_tier") or ""
        speed, geo = usage.get("speed") or "", usage.get("inference_geo") or ""
        when = billed.when
        stamp = int(time.time()) if when is None else int(when.timestamp())
        name = model or (billed.model if isinstance(billed.model, str) else None)
        asked = billed.asked if model is None and isinstance(billed.asked, str) else None
        return self.card(billed.host, name, asked, tier, speed, geo, billed.route, stamp)

    def card(
        self,
        host: str,
        model: str | None,
        asked: str | None,
        tier: object,
        speed: object,
        geo: object,
        route: str,
        stamp: int,
    ) -> Card:
        """Return the rates of a model on given terms; ``stamp`` is in Unix seconds."""
        edition = self._table.edition
        if edition is not self._edition:
            self._cards, self._edition = {}, edition
        try:
            key = (host, model, asked, tier, speed, geo, route, stamp // _DAY)
            card = self._cards.get(key)
        except TypeError:
            # An answer may say anything, also what cannot be hashed.
            key = (host, model, asked, str(tier), str(speed), str(geo), route, stamp // _DAY)
            card = self._cards.get(key)
        if card is None:
            card, timed = self._compile(*key[:7], stamp=stamp)
            if not timed:
                if len(self._cards) >= _KEPT:
                    self._cards = {}
                self._cards[key] = card
        return card

    def _compile(
        self,
        host: str,
        model: str | None,
        asked: str | None,
        tier: object,
        speed: object,
        geo: object,
        route: str,
        *,
        stamp: int,
    ) -> tuple[Card, bool]:
        names = tuple(dict.fromkeys(name.lower() for name in (model, asked) if isinstance(name, str) and name))
        place = place_of(host, names[0] if names else "", self._table, self._hosts)
        when = datetime.fromtimestamp(stamp, tz=UTC)
        sheet = self._sheet(place, names, when)
        flags = [place.flag] if place.flag else []
        if sheet is None:
            return reference_card(names[0] if names else "model", place.provider, flags), False
        if sheet.declared:
            flags = []
        terms = terms_for(
            sheet, tier=str(tier), speed=str(speed), geo=str(geo), batch=route == "batch", day=when.date()
        )
        surcharge = Factor() if sheet.declared else regional(place, sheet.model)
        timed = any(place.provider is not None and self._table.timed(place.provider, name) for name in names)
        return compile_card(sheet, terms, surcharge, flags), timed

    def _sheet(self, place: Place, names: tuple[str, ...], when: datetime) -> Sheet | None:
        """Return the declared or listed prices under any of a call's names, the answer's own first.

        At a cloud that resells models the answer says less than the request: Bedrock's ids carry the region there.
        """
        provider = place.provider
        ordered = names[::-1] if provider == "aws" else names
        listed = None
        if provider is not None:
            listed = next(filter(None, (self._table.sheet(provider, name, when) for name in ordered)), None)
        override = declared.find(self._overrides, provider, names)
        if override is None:
            return listed
        return declared.apply(override, listed, provider, names[0])

    def _bound_cards(
        self, body: Mapping[str, Any], dialect: str, host: str, route: str
    ) -> tuple[Card, tuple[Card, ...]]:
        """Return the rates of every set of terms that a request may be served on, the plainest first."""
        model = body.get("model")
        name = model if isinstance(model, str) else None
        asked = str(body.get("service_tier") or "auto").lower()
        served = self.project_tier if asked == "auto" and dialect != "messages" else asked
        tiers = ["", "" if served in ("auto", "default", "standard_only") else served]
        speed = body.get("speed") or ""
        geo = body.get("inference_geo") or ("us" if dialect == "messages" else "")
        stamp = int(time.time())
        found = [
            self.card(host, name, None, tier, fast, where, route, stamp)
            for tier in dict.fromkeys(tiers)
            for fast in dict.fromkeys(("", speed))
            for where in dict.fromkeys(("", geo))
        ]
        cards = tuple({id(card): card for card in found}.values())
        return cards[0], cards
