"""What the texts of a request become, and that a conversation's beginning never changes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.prompt import tables
from llmsaver.prompt.blocks import with_texts
from llmsaver.prompt.shorter import ALL, LOSSLESS, Recipe, Shaper, shortened
from llmsaver.prompt.tables import read_back

ROWS = json.dumps([{"id": n, "name": f"name {n}", "price": n / 8} for n in range(30)], indent=2)
LOG = "\n".join(f"2026-11-21 10:00:{n % 60:02d} INFO request {n} served" for n in range(200))
PAGE = "<html><body><h1>Prices</h1>" + "<p>Tea costs two euros.</p>" * 30 + "</body></html>"
PROSE = "\n\n".join(
    f"Title: {name}\n{name} lies by the sea. It was founded in {year}. Many people visit it yearly. The food is fine."
    for name, year in [("Rome", 753), ("Oslo", 1049), ("Paris", 259), ("Lima", 1535), ("Cairo", 969), ("Bonn", 11)] * 2
)
CODE = "```python\n" + "x = 1   \n" * 100 + "```"


def after(text: str, steps: Any = ALL, question: str = "When was Oslo founded?", **more: Any) -> str:
    body = {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": "let me look"},
            {"role": "tool", "content": text},
        ]
    }
    # In the request in which a result is new, the question is the user's last.
    body["messages"].insert(2, {"role": "user", "content": question})
    made = shortened("chat", body, Recipe(tuple(steps), **more))
    return with_texts(body, made.texts)["messages"][3]["content"]  # type: ignore[no-any-return]


def test_each_text_gets_what_suits_it() -> None:
    assert read_back(after(ROWS)) == json.loads(ROWS)
    assert len(after(ROWS)) < len(ROWS) / 2
    assert after(LOG).startswith("[log of 200 lines")
    assert after(PAGE).startswith("# Prices\n\nTea costs")
    assert "Oslo was founded" not in PROSE
    assert "founded in 1049" in after(PROSE)
    assert len(after(PROSE, ratio=4)) < len(PROSE) / 3
    assert "bytes in base64" in after("the file is " + "aB3" * 300)
    assert after("line   \n" * 50) == "line\n" * 50


def test_what_must_stay_stays() -> None:
    assert after(CODE) == CODE
    assert after(f"<keep>{PROSE}</keep>") == f"<keep>{PROSE}</keep>"
    half = after(f"<keep>{ROWS}</keep>{ROWS}")
    assert half.startswith(f"<keep>{ROWS}</keep>[table 1")
    assert after("short   ") == "short   "
    assert after(PROSE, LOSSLESS) == PROSE
    assert after(PROSE, keep=0.9999) == PROSE
    listing = "\n".join(f"src/file_{n}.py {n * 17}" for n in range(90))
    assert after(listing) == listing


@pytest.mark.parametrize("step", ALL)
def test_each_step_can_be_taken_alone(step: str) -> None:
    texts = [ROWS, LOG, PAGE, PROSE, "aB3" * 300, "line   \n" * 50]
    changed = [text for text in texts if after(text, [step]) != text]
    assert len(changed) == (0 if step == "duplicates" else 1)


def test_a_text_that_comes_twice_is_told_once() -> None:
    turns: list[Any] = [{"role": "user", "content": "look"}]
    for _ in range(2):
        turns += [{"role": "assistant", "content": "so"}, {"role": "tool", "content": PROSE}]
    made = shortened("chat", {"messages": turns}, Recipe())
    assert made.texts == {("messages", 4, "content"): "[the same text as in message 3 above]"}
    assert made.saved["duplicates"] == made.before - made.after


def test_json_of_the_users_stays_json() -> None:
    turns = [{"role": "user", "content": [{"type": "text", "text": ROWS}, {"type": "text", "text": "sum?"}]}]
    (text,) = shortened("chat", {"messages": turns}, Recipe()).texts.values()
    assert json.loads(text) == json.loads(ROWS)


def test_documents_between_tags_are_chosen_from() -> None:
    asked = f"Please answer from these. <documents>\n{PROSE}\n</documents>\nWhen was Oslo founded?"
    turns = [{"role": "user", "content": asked}]
    (text,) = shortened("chat", {"messages": turns}, Recipe(ALL, ratio=4)).texts.values()
    assert text.startswith("Please answer from these. <documents>")
    assert text.endswith("</documents>\nWhen was Oslo founded?")
    assert "founded in 1049" in text
    assert len(text) < len(asked) / 2


turn = st.one_of(
    st.builds(
        lambda text: {"role": "user", "content": text}, st.sampled_from(["When was Oslo founded?", "And Rome?", ""])
    ),
    st.builds(lambda text: {"role": "assistant", "content": text}, st.sampled_from(["let me see", ROWS, ""])),
    st.builds(lambda text: {"role": "tool", "content": text}, st.sampled_from([ROWS, LOG, PAGE, PROSE, "x", CODE])),
    st.builds(
        lambda text: {"role": "user", "content": [{"type": "text", "text": text}, {"type": "text", "text": "Rome?"}]},
        st.sampled_from([PROSE, ROWS, f"<keep>{PROSE}</keep>"]),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(turn, min_size=2, max_size=9), st.sampled_from([LOSSLESS, ALL]))
def test_what_was_sent_is_sent_again_byte_by_byte(turns: list[Any], steps: tuple[str, ...]) -> None:
    """Requests end where the model answers: each is the beginning of the next, after shaping as before."""
    ends = [at for at in range(1, len(turns)) if turns[at]["role"] == "assistant"] + [len(turns)]
    sent: list[str] = []
    for end in ends:
        body = {"messages": turns[:end]}
        made = with_texts(body, shortened("chat", body, Recipe(steps)).texts)
        sent.append(json.dumps(made["messages"])[:-1])
    for one, next_one in itertools.pairwise(sent):
        assert next_one.startswith(one)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(turn, min_size=1, max_size=6), min_size=1, max_size=4), st.integers(0, 20_000))
def test_what_is_remembered_changes_nothing(talks: list[list[Any]], most: int) -> None:
    """Whatever was shaped before, and however little may be remembered of it."""
    shaper = Shaper(Recipe(ALL), most)
    for turns in talks:
        body = {"messages": turns}
        assert shaper.shape(shaper.look("chat", body)) == shortened("chat", body, Recipe(ALL))
        assert shaper._used <= most


def test_a_conversation_costs_what_is_new_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shaped: list[str] = []
    table = tables.tabled

    def noted(text: str) -> str | None:
        shaped.append(text)
        return table(text)

    monkeypatch.setattr(tables, "tabled", noted)
    shaper = Shaper(Recipe())
    turns: list[Any] = [{"role": "user", "content": "look"}]
    for number in range(20):
        text = json.dumps([{"id": n, "of": number} for n in range(40)])
        turns += [{"role": "assistant", "content": "so"}, {"role": "tool", "content": text}]
        seen = shaper.look("chat", {"messages": turns})
        assert shaper.fresh(seen) == len(text)
        shaper.shape(seen)
        assert shaper.fresh(seen) == 0
    assert len(shaped) == 20


def test_what_was_used_last_is_remembered_longest() -> None:
    shaper = Shaper(Recipe(), 3_000)
    texts = [json.dumps([{"id": n, "name": f"{number} {n}"} for n in range(20)], indent=2) for number in range(9)]
    bodies = [{"messages": [{"role": "tool", "content": text}]} for text in texts]
    for body in bodies[:2] * 2 + bodies[2:]:
        shaper.shape(shaper.look("chat", body))
        shaper.shape(shaper.look("chat", bodies[0]))
    assert shaper.fresh(shaper.look("chat", bodies[0])) == 0
    assert shaper.fresh(shaper.look("chat", bodies[1])) > 0


def test_nothing_is_told_as_the_same_as_what_is_left_out() -> None:
    turns = [{"role": "tool", "content": PROSE} for _ in range(3)]
    shaper = Shaper(Recipe())
    seen = shaper.look("chat", {"messages": turns})
    made = shaper.shape(seen, frozenset({("messages", 0, "content")}))
    assert made.texts == {("messages", 2, "content"): "[the same text as in message 2 above]"}


def test_lone_surrogates_and_nul_bytes() -> None:
    text = json.dumps([{"id": n, "name": "\ud800\0"} for n in range(60)], ensure_ascii=False, indent=2)
    made = shortened("chat", {"messages": [{"role": "tool", "content": text}]}, Recipe())
    (told,) = made.texts.values()
    assert read_back(told) == json.loads(text)
