"""What a request needs of a model, and whether a tier has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from llmsaver.router.tier import SKILLS

if TYPE_CHECKING:
    from llmsaver.router.tier import Tier
    from llmsaver.router.views import Asked

__all__ = ["EXTRA", "estimated_tokens", "known_skills", "lacks"]

# Needs that no Tier(skills=) can claim: only what is known of a model answers for them.
EXTRA: Final = frozenset({"audio", "hosted_tools"})
# English has some 4.5 bytes a token, code and German 3 to 4, Chinese and Japanese 3 (tiktoken's o200k_base); less only
# for digits and hexadecimal. A prompt that turns out longer is refused by its tier and goes up.
_BYTES_PER_TOKEN = 3
_PER_REQUEST = 16
# Room for an answer whose length the request leaves open.
_ANSWER = 1_024
# What the validators see a failure of may be tried where nothing is known; the rest would go wrong in silence.
_TRIED: Final = frozenset({"tools", "json_schema"})
_WORDS: Final = {
    "tools": "is not known to call tools",
    "images": "is not known to read images",
    "json_schema": "is not known to keep to a JSON schema",
    "logprobs": "is not known to return log-probabilities",
    "audio": "is not known to take or give sound",
    "hosted_tools": "is not known to have tools that run at the provider",
}
_ALL: Final = SKILLS
_SEES: Final = frozenset({"tools", "images", "json_schema", "hosted_tools"})
# By the vendors' model pages (2026-11); the first match counts. Reasoning models return no log-probabilities.
_KNOWN: Final = tuple(
    (re.compile(pattern), skills)
    for pattern, skills in (
        (r"^local/", frozenset({"tools", "json_schema", "logprobs"})),
        (r"^(?:gpt-4o.*(?:audio|realtime)|gpt-audio|gpt-realtime)", frozenset({"tools", "audio"})),
        (r"^(?:gpt-4o|gpt-4\.1)[^/]*search", frozenset({"images", "json_schema", "hosted_tools"})),
        (r"^gpt-4o-2024-05-13", frozenset({"tools", "images", "logprobs"})),
        (r"^(?:gpt-4o|gpt-4\.1)", _ALL | {"hosted_tools"}),
        (r"^chatgpt-4o", frozenset({"images", "logprobs"})),
        (r"^gpt-4-(?:turbo|vision|1106|0125)", frozenset({"tools", "images", "logprobs"})),
        (r"^gpt-(?:4|3\.5-turbo)(?:-|$)", frozenset({"tools", "logprobs"})),
        (r"^gpt-[5-9]", _SEES),
        (r"^o1-(?:mini|preview)", frozenset[str]()),
        (r"^o3-mini", frozenset({"tools", "json_schema"})),
        (r"^o[134]", _SEES),
        (r"claude-(?:2|instant)", frozenset[str]()),
        (r"claude-(?:3|(?:opus|sonnet)-4(?:-0|-20|$))", frozenset({"tools", "images", "hosted_tools"})),
        (r"claude-", _SEES),
    )
)


def estimated_tokens(asked: Asked) -> int:
    """Return the tokens of a prompt, estimated from its bytes and rather too high than too low."""
    return _PER_REQUEST - (-asked.prompt_bytes // _BYTES_PER_TOKEN)


def lacks(tier: Tier, asked: Asked, *, context: int | None = None, skills: frozenset[str] | None = None) -> str | None:
    """Return what a tier lacks for a request, in words that follow its name; None where it lacks nothing.

    What the tier itself says counts; then ``context`` (tokens of prompt and answer together) and ``skills``, which are
    what the caller knows of the model; then ``known_skills``. A model of which nothing is known may be tried with tools
    and a JSON schema, since validators see it fail, and with nothing else.
    """
    window = tier.max_context or context
    room = estimated_tokens(asked) + (_ANSWER if asked.max_output is None else asked.max_output)
    if window is not None and room > window:
        return f"has a context of {window} tokens, and this needs some {room}"
    known = known_skills(tier.model) if skills is None else skills
    told = known if tier.skills is None else tier.skills | ((known or frozenset()) & EXTRA)
    have = _TRIED if told is None else told
    missing = min(asked.needs - have, default=None)
    return None if missing is None else _WORDS.get(missing, f"is not known to have {missing}")


def known_skills(model: str) -> frozenset[str] | None:
    """Return what is known of a model by its name: some of ``SKILLS`` and ``EXTRA``; None where nothing is."""
    name = model.lower()
    if not name.startswith("local/"):
        name = name.removeprefix("ft:").rpartition("/")[2]
    return next((skills for pattern, skills in _KNOWN if pattern.search(name)), None)
