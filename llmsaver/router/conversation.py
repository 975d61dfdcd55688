"""Which turn of which conversation a request is, and what may be decided at it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import as_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llmsaver.router.tier import Tier
    from llmsaver.router.turns import Standing
    from llmsaver.router.views import Asked

__all__ = ["Kept", "TurnKey", "is_follow_up", "kept", "turn_key"]

_SHORT_LETTERS, _SHORT_WORDS = 60, 7
_MARKS = re.compile(r"[^\w\s'-]+")
_FORMULA = re.compile(r"[+*/=<>^]")
_DIGITS = re.compile(r"\d+")
# As much of the instructions as tells one agent from another; their dates and counts change from call to call.
_SYSTEM = 2_000
# What is added out of politeness.
_POLITE = re.compile(
    r"\b(?:please|pls|plz|now|then|thanks|thank you|bitte|jetzt|danke|s'il (?:te|vous) pla\u00eet|stp|svp|merci"
    r"|maintenant|por favor|ahora|gracias|per favore|adesso|grazie|agora|obrigad[oa]|alsjeblieft|nu|prosz\u0119|teraz"
    r"|\u043f\u043e\u0436\u0430\u043b\u0443\u0439\u0441\u0442\u0430|\u0442\u0435\u043f\u0435\u0440\u044c)\b"
)
# An order to do something with what the conversation is about: "commit it", "l\u00f6sch das", "and in Rust?".
_ENGLISH = (
    r"(?!(?:is|was|are|what|who|how|does|did|do you|can|could|when|where|which|write|give) )\w+(?: \w+)? "
    r"(?:(?:it|that|this|them|these|those)(?: (?:up|out|again|too|all|back|shorter|longer|simpler|and \w+(?: it)?))?"
    r"|(?:the|all|my|our) \w+ again)"
)
_GERMAN = (
    r"(?:mach|lass|nimm|l\u00f6sch|speicher|schick|f\u00fchr|erkl\u00e4r|k\u00fcrz|korrigier|\u00e4nder|test|start|commit)"
    r"\w* (?:es|das|dies|sie|ihn)(?: (?:k\u00fcrzer|l\u00e4nger|aus|nochmal|so|weg))?"
)
_AND_WITH = r"(?:and|und|et|y|e|en) (?:in|for|with|f\u00fcr|mit|pour|avec|para|con|per|com|voor|met|en|em|na) [\w#+-]+"
# Who begins with a yes or a no and a comma goes on with something.
_ANSWERS = re.compile(
    r"(?:yes|yeah|yep|no|nope|ok|okay|sure|ja|nein|oui|non|s\u00ed|s\u00ec|sim|n\u00e3o|nee|tak|nie)[,.!;:]\s"
)
_ORDERS = re.compile(rf"(?:(?:ok|okay|yes|and|now|just|so|then|ja|und) )?(?:{_ENGLISH}|{_GERMAN}|{_AND_WITH})")


@dataclass(frozen=True, slots=True)
class TurnKey:
    """Where a request is in its conversation, in fingerprints: nothing of its text can be read from it.

    ``scope`` parts tenants, accounts and conversations; ``turn`` is the same for all requests of one user turn, those
    of its tool loop included; under ``before`` the turn before may be remembered, the surest first.
    """

    scope: str
    turn: str
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """The tier a conversation stays with, by its place, and why.

    ``fixed``: nothing else is to be decided (a tool loop, a follow-up). Otherwise it is where to start: a cheaper
    tier may be gone to where that pays even with the prompt's cache lost.
    """

    tier: int
    fixed: bool
    why: str


def turn_key(
    asked: Asked,
    *,
    body: Mapping[str, Any] | None = None,
    conversation: str | None = None,
    tenant: str | None = None,
    account: str = "",
) -> TurnKey:
    """Return which turn a request is: all its user texts so far, within its tenant, account and instructions.

    Histories tell turns apart without any id, so two conversations that begin alike part where their texts do. With
    a ``conversation`` id, or what the responses dialect says of it in ``body`` (``conversation``,
    ``previous_response_id``), a turn finds the one before also where its history was cut or is kept elsewhere.
    """
    told = as_dict(body)
    named = told.get("conversation")
    held = as_dict(named).get("id") if isinstance(named, dict) else named
    own = conversation if conversation is not None else held if isinstance(held, str) else None
    scope = _hash("scope", tenant or "", account, own or "")
    history = [_DIGITS.sub("", asked.system[:_SYSTEM]) if own is None else "", *asked.turns]
    previous = told.get("previous_response_id")
    linked = previous if isinstance(previous, str) else ""
    before = []
    if linked:
        before.append(answer_key(scope, linked))
    if asked.turns:
        before.append(_hash("turn", scope, "", *history))
    if own is not None:
        before.append(_hash("latest", scope))
    # In a tool loop that is linked by an answer's id only the results are sent: no text tells the turn.
    return TurnKey(scope, _hash("turn", scope, linked, *history, asked.text), tuple(before))


def answer_key(scope: str, answer_id: str) -> str:
    """Return the name under which the turn that an answer belongs to is remembered."""
    return _hash("answer", scope, answer_id)


def latest_key(key: TurnKey) -> str | None:
    """Return the name under which a conversation's latest turn is remembered; None for one without an id."""
    name = _hash("latest", key.scope)
    return name if name in key.before else None


def is_follow_up(asked: Asked) -> bool:
    """Tell whether the last user text only goes on with what was said: "yes", "commit it", "weiter", "pourquoi ?".

    Eleven languages; by lists of such phrases and a few forms, never by length alone: "Capital of Peru?" is short too.
    Whether there is a turn to go on with is not told.
    """
    text = asked.text.strip().lower().replace("\u2019", "'")
    if not text or len(text) > _SHORT_LETTERS or len(text.split()) > _SHORT_WORDS:
        return False
    bare = " ".join(_MARKS.sub(" ", text).split())
    if not bare or _FORMULA.search(text):
        return not bare  # "?", a thumb up
    if _ANSWERS.match(text):
        return True
    short = " ".join(_POLITE.sub(" ", bare).split())
    phrases = _phrases()
    return any(phrases.fullmatch(each) or _ORDERS.fullmatch(each) for each in (bare, short)) or not short


def kept(
    tiers: Sequence[Tier], standing: Standing | None, asked: Asked, lacking: Callable[[Tier], str | None]
) -> Kept | None:
    """Return the tier that a request stays with, None where nothing stands and all is to be decided anew.

    One decision per user turn: a tool loop and a short follow-up keep the tier they have. A new turn begins where the
    one before ended. A tier that lacks something (``lacking`` says what) is left upwards, to the first that lacks
    nothing, else to the last.
    """
    models = [tier.model for tier in tiers]
    loop = asked.in_tool_loop
    if standing is None or standing.tier not in models or (standing.same_turn and not loop and not asked.turns):
        # A first turn that comes again is another conversation, or its user asks for another answer.
        return None
    if loop:
        why = "the turn's tools are being called"
    elif follows := is_follow_up(asked):
        why = "it follows up on the turn before"
    else:
        why = "the conversation is there"
    place = models.index(standing.tier)
    missing = lacking(tiers[place])
    if missing is None:
        return Kept(place, loop or follows, why)
    above = range(place + 1, len(tiers))
    up = next((each for each in above if lacking(tiers[each]) is None), len(tiers) - 1)
    return Kept(up, loop or follows, f"{why}, but {models[place]} {missing}")


def _hash(kind: str, *texts: str) -> str:
    each = blake2b(digest_size=16, person=kind.encode())
    for text in texts:
        written = text.encode(errors="surrogatepass")
        each.update(len(written).to_bytes(8, "big"))
        each.update(written)
    return each.hexdigest()


@cache
def _phrases() -> re.Pattern[str]:
    table = json.loads(files("llmsaver.router").joinpath("follow_ups.json").read_text(encoding="utf-8"))
    listed = "|".join(table.values())
    return re.compile(rf"(?:{listed})(?: (?:{listed}))?")
