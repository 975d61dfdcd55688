"""Retrieved texts taken apart and put together with fewer sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.passages import FLOORS, hops, ratio_for, selected, split

WAYS = {
    "title": "Title: {title}\n{text}\n\n",
    "document": "Document [{n}](Title: {title}) {text}\n",
    "tag": '<document index="{n}" title="{title}">{text}</document>\n',
    "inner": "<document>\n<source>{title}</source>\n{text}\n</document>\n",
    "heading": "## {title}\n{text}\n\n",
    "numbered": "Source {n}: {title}\n{text}\n",
}
TEXTS = {
    "Rome": "Rome is the capital of Italy. It was founded in 753 B.C. by Romulus. Many tourists come.",
    "Chess": "Chess is played on a board. Two players move in turn. It is old.",
    "Tea": "Tea is a drink. It is made from leaves. Mr. Lee sells it.",
}


def written(way: str) -> str:
    return "".join(WAYS[way].format(n=n, title=title, text=text) for n, (title, text) in enumerate(TEXTS.items(), 1))


@pytest.mark.parametrize("way", WAYS)
def test_documents_are_found_with_their_titles(way: str) -> None:
    parts = split(written(way))
    assert [part.title for part in parts] == list(TEXTS)
    assert [len(part.sentences) for part in parts] == [3, 3, 3]


@pytest.mark.parametrize("way", WAYS)
def test_what_the_question_needs_is_left(way: str) -> None:
    short = selected(written(way), "Who founded Rome?", 3)
    assert "founded in 753 B.C. by Romulus" in short
    assert "Rome" in short.split("founded")[0]
    assert "Chess" not in short
    assert len(short) < len(written(way)) / 2
    assert short.count("<document") == short.count("</document>")


def test_sentences_left_out_leave_a_mark() -> None:
    text = "Title: Rome\nNothing of note here at all. Rome was founded by Romulus. Pizza is eaten. The end.\n"
    assert selected(text, "Who founded Rome?", 2.3) == "Title: Rome\n... Rome was founded by Romulus.\n"


def test_paragraphs_are_passages_too() -> None:
    text = "Chess is old. It is played.\n\nRome was founded by Romulus. It is large.\n\nTea is a drink. It is hot."
    assert selected(text, "Who founded Rome?", 4) == "Rome was founded by Romulus.\n"


def test_a_block_of_code_is_kept_or_left_out_whole() -> None:
    text = "## Set-up\n```python\nimport rome\n\nrome.found()\n```\n\n## Tea\nTea is a drink. It is hot.\n"
    assert "```python\nimport rome\n\nrome.found()\n```" in selected(text, "how do I call rome found?", 1.8)


@given(
    st.text(max_size=200) | st.lists(st.sampled_from([*TEXTS.values(), "\n\n", "Title: x\n", "</doc>"])).map("".join)
)
def test_the_parts_are_the_text(text: str) -> None:
    assert "".join(part.head + "".join(part.sentences) + part.tail for part in split(text)) == text


@given(st.text(max_size=200), st.text(max_size=40), st.floats(1, 20))
def test_it_never_grows_beyond_its_marks(text: str, question: str, ratio: float) -> None:
    short = selected(text, question, ratio)
    assert len(short.replace("... ", "").rstrip("\n")) <= len(text)


@pytest.mark.parametrize(
    ("question", "count"),
    [
        ("who wrote the odyssey", 1),
        ("when is the next film being released", 1),
        ("Are both Oslo and Rome older than Paris?", 2),
        ("Where was the director of the film that won the prize born?", 2),
    ],
)
def test_how_many_passages_a_question_needs(question: str, count: int) -> None:
    assert hops(question) == count


def test_what_one_passage_answers_may_become_shorter() -> None:
    assert ratio_for("who wrote the odyssey", 0.95) == 8
    assert ratio_for("who wrote the odyssey", 0.999) == 1
    assert ratio_for("Are both Oslo and Rome older than Paris?", 0.95) == 1
    assert ratio_for("Are both Oslo and Rome older than Paris?", 0.75) == 2
    assert ratio_for("Are both Oslo and Rome older than Paris?", 0.70) == 4
    for floors in FLOORS.values():
        assert list(floors.values()) == sorted(floors.values(), reverse=True)
