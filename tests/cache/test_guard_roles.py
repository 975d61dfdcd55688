"""Questions of the same words that want different answers, and rewordings that such rules must leave alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.cache.guard_roles import flipped, told_apart
from llmsaver.cache.guards import equivalent, sketch


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Should I refrigerate it if the jar is not open?", "Should I not refrigerate it if the jar is open?"),
        ("Is it rude not to tip in Japan?", "Is it not rude to tip in Japan?"),
        ("Why is it fine not to rinse the rice?", "Why is it not fine to rinse the rice?"),
        ("Who can hire me?", "Who can I hire?"),
        ("Can you delete my account?", "Can I delete my account?"),
        ("Can someone use my car?", "Can I use my car?"),
        ("Will they close our shop?", "Will you close our shop?"),
        ("Can my boss send a letter to me?", "Can my boss send a letter from me?"),
        ("Can I borrow your ladder?", "Can I borrow my ladder?"),
        ("May I open a letter?", "May I open your letter?"),
        ("How do I page up in vim?", "How do I page down in vim?"),
        ("Should I rest if I had a fever?", "Should I rest if I have a fever?"),
        ("Can I vote if I moved abroad?", "Can I vote if I move abroad?"),
        ("How long does the glue last?", "How long does the glue take?"),
        ("Is it possible to film in court?", "Is it permitted to film in court?"),
        ("Am I expected to bring a gift?", "Am I obliged to bring a gift?"),
        ("Can I eat vitamin A at night?", "Can I eat vitamins at night?"),
        ("How do I remove R on Linux?", "How do I remove on Linux?"),
    ],
)
def test_the_same_words_may_ask_for_something_else(one: str, other: str) -> None:
    a, b = sketch(one), sketch(other)
    assert told_apart(a, b)
    assert told_apart(b, a)
    assert not equivalent(a, b)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I delete my account?", "what's the way to delete my account"),
        ("Can I return a hat?", "May I return a hat please?"),
        ("Is it possible to return a hat?", "Can I return a hat?"),
        ("Please tell me how to delete my account", "How can I delete my account?"),
        ("How long does delivery take?", "how long will delivery take"),
        ("Why does my phone not charge?", "why doesn't my phone charge"),
        ("What does vitamin A do?", "what does vitamin a do"),
        ("Should I water a cactus?", "should one water a cactus"),
    ],
)
def test_rewordings_are_left_alone(one: str, other: str) -> None:
    assert not told_apart(sketch(one), sketch(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What does high tide cause?", "What causes high tide?"),
        ("How does light affect plants?", "How do plants affect light?"),
        ("Does coffee cause headaches?", "Do headaches cause coffee?"),
        ("Who trained Maria?", "Who did Maria train?"),
    ],
)
def test_what_acts_and_what_is_acted_on_may_change_places(one: str, other: str) -> None:
    assert flipped(sketch(one), sketch(other))
    assert flipped(sketch(other), sketch(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What causes high tide?", "what is it that causes high tide"),
        ("Who wrote Emma?", "By whom was Emma written?"),
        ("What does HTML mean?", "what is the meaning of HTML"),
        ("How does light affect plants?", "How are plants affected by light?"),
        ("How do I convert a file to text?", "Where can I buy a hat?"),
        ("How do plants use light?", "how is light used by plants"),
    ],
)
def test_a_passive_or_another_order_flips_nothing(one: str, other: str) -> None:
    assert not flipped(sketch(one), sketch(other))


@given(st.text(max_size=200))
def test_no_text_differs_from_itself(text: str) -> None:
    one = sketch(text)
    assert not told_apart(one, one)
    assert not flipped(one, one)
