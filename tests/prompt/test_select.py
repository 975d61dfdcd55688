"""Which sentences a question needs, on passages small enough to see why."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.select import Passage, ranked, within
from llmsaver.prompt.stems import STOP, stems

ROME = Passage("Rome", ["Rome is the capital of Italy.", "Its founding is dated to 753 BC.", "Many tourists come."])
TIBER = Passage("Tiber", ["The Tiber flows through many towns.", "It is 405 kilometres long."])
CHESS = Passage("Chess", ["Chess is played on a board.", "Two players move in turn."])


def first(question: str, *passages: Passage) -> str:
    passage, sentence = ranked(question, passages)[0]
    return passages[passage].sentences[sentence]


def test_forms_of_a_word_come_to_the_same() -> None:
    for forms in ("founded founding founds", "cities city", "running run", "nation nations", "quickly quick"):
        assert len(set(stems(forms))) == 1, forms
    assert stems("Is it?") == ["is", "it"]
    assert "what" in STOP


def test_the_sentence_with_the_asked_words_comes_first() -> None:
    assert first("How long is the Tiber in kilometres?", ROME, TIBER, CHESS) == "It is 405 kilometres long."
    assert first("When was Rome founded?", ROME, TIBER, CHESS) in ROME.sentences[:2]


def test_a_title_speaks_for_every_sentence_of_its_passage() -> None:
    ranking = ranked("Tiber length in kilometres", [CHESS, TIBER])
    assert ranking[0] == (1, 1)
    assert {passage for passage, _ in ranking[:2]} == {1}


def test_a_passage_that_the_best_sentences_name_is_the_second_hop() -> None:
    film = Passage("Night Train", ["Night Train was directed by Ada Moss.", "It won a prize."])
    person = Passage("Ada Moss", ["She was born in Lisbon.", "She lives in Oslo."])
    other = Passage("Eva Lund", ["She was born in Bergen.", "She lives in Rome."])
    order = ranked("Where was the director of Night Train born?", [other, film, person])
    assert order.index((2, 0)) < order.index((0, 0))


def test_what_fits_is_told_in_the_texts_order() -> None:
    assert within([(1, 0), (0, 1), (0, 0)], [[5, 3], [4]], 8) == [(0, 1), (1, 0)]
    assert within([(1, 0), (0, 1), (0, 0)], [[5, 3], [4]], 8, heads=[2, 1]) == [(1, 0)]
    assert within([(0, 0), (0, 1)], [[5, 3]], 10, heads=[2]) == [(0, 0), (0, 1)]
    assert within([(0, 0), (0, 1)], [[5, 1]], 2) == [(0, 0)]


@given(
    st.text(max_size=40),
    st.lists(st.builds(Passage, st.text(max_size=10), st.lists(st.text(max_size=30), max_size=4)), max_size=4),
)
def test_every_sentence_is_ranked_once(question: str, passages: list[Passage]) -> None:
    expected = [(at, n) for at, passage in enumerate(passages) for n in range(len(passage.sentences))]
    assert sorted(ranked(question, passages)) == expected
