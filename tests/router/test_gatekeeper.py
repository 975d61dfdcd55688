"""The gatekeeper."""

from __future__ import annotations

import json
import random
import struct
import sys
from typing import Any

import pytest

np = pytest.importorskip("numpy")

from llmsaver.errors import MissingExtra  # noqa: E402 - needs numpy, which is an extra's
from llmsaver.router import gatekeeper  # noqa: E402 - the same
from llmsaver.router.features import hashed  # noqa: E402 - the same
from llmsaver.router.gatekeeper import Gatekeeper  # noqa: E402 - the same

EASY = ("the capital of Peru", "the colour of grass", "the author of Hamlet", "the largest ocean")
HARD = ("prove that the integral of x^2 + 3x is", "the eigenvalues of [[1, 2], [3, 4]] are", "solve x^3 = 7x - 6 for")


def traffic(count: int, seed: int = 4, *, known: bool = True) -> tuple[list[str], list[float], list[float]]:
    """Return questions of two kinds, and a cheap model that fails at one of them (or at random)."""
    draw = random.Random(seed)  # noqa: S311 - repeatable
    texts, weak = [], []
    for number in range(count):
        hard = draw.random() < 0.5
        texts.append(f"Question {number}: what is {draw.choice(HARD if hard else EASY)}?")
        fails = hard if known else draw.random() < 0.5
        weak.append(float(draw.random() < (0.3 if fails else 0.95)))
    return texts, weak, [1.0] * count


class Length:
    """Embeds texts as how much of them is letters."""

    dimensions = 2
    name = "length"

    def embed(self, texts: Any) -> Any:
        found = [[sum(map(str.isalpha, text)), sum(map(str.isdigit, text)) + 1] for text in texts]
        vectors = np.array(found, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("embedder", [None, Length()])
def test_it_learns_which_questions_the_strong_model_gains_at(embedder: Any) -> None:
    keeper = Gatekeeper.fit(*traffic(300), embedder=embedder)
    assert keeper.trusted
    assert keeper.labels == 300
    easy = keeper.gain([f"Question 1: what is {text}?" for text in EASY])
    hard = keeper.gain([f"Question 2: what is {text}?" for text in HARD])
    assert max(easy) < keeper.mean_gain < min(hard)
    assert keeper.gain([]) == []


def test_without_evidence_every_question_gets_the_mean() -> None:
    keeper = Gatekeeper.fit(*traffic(60, known=False))
    assert not keeper.trusted
    assert keeper.gain(["one", "two"]) == [keeper.mean_gain] * 2


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_rarely_taken_for_knowledge(seed: int) -> None:
    evidence = [Gatekeeper.fit(*traffic(50, 100 * seed + at, known=False)).trusted for at in range(5)]
    assert sum(evidence) <= 2


def test_labels_that_all_agree_teach_only_their_mean() -> None:
    texts, _, strong = traffic(50)
    keeper = Gatekeeper.fit(texts, strong, strong)
    assert keeper.gain(texts[:1]) == [0.0]
    assert Gatekeeper.fit(texts[:1], [0.0], [1.0]).gain(texts[:1]) == [1.0]


def test_features_serve_as_well_as_texts() -> None:
    texts, weak, strong = traffic(200)
    by_text = Gatekeeper.fit(texts, weak, strong)
    by_features = Gatekeeper.fit([hashed(text) for text in texts], weak, strong)
    assert by_features.gain(texts[:5]) == by_text.gain([hashed(text) for text in texts[:5]])


def test_an_embedder_needs_texts() -> None:
    texts, weak, strong = traffic(50)
    with pytest.raises(ValueError, match="needs the texts"):
        Gatekeeper.fit([hashed(text) for text in texts], weak, strong, embedder=Length())


def test_many_labels_are_judged_on_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Gatekeeper.fit(*traffic(300))
    monkeypatch.setattr(gatekeeper, "_MANY", 100)
    quick = Gatekeeper.fit(*traffic(300), merits=[0.5] * 300)
    assert quick.trusted
    assert quick.gain(["what is the capital of Peru?"]) == pytest.approx(
        exact.gain(["what is the capital of Peru?"]), abs=1e-3
    )


def test_merits_teach_how_far_to_correct_them() -> None:
    texts, weak, strong = traffic(400)
    draw = random.Random(8)  # noqa: S311 - repeatable
    merits = [None if at % 50 == 0 else min(0.99, 0.3 * right + 0.69 * draw.random()) for at, right in enumerate(weak)]
    assert Gatekeeper.fit(texts, weak, strong, merits=merits).blend.weight > 0
    assert Gatekeeper.fit(texts, weak, strong).blend.weight == 0


@pytest.mark.parametrize("lengths", [(0, 0, 0), (3, 2, 3), (3, 3, 2)])
def test_what_it_learns_from_must_be_of_one_length(lengths: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Gatekeeper.fit(["a"] * lengths[0], [0.0] * lengths[1], [1.0] * lengths[2])


@pytest.mark.parametrize("embedder", [None, Length()])
def test_it_survives_being_stored(embedder: Any) -> None:
    texts, weak, strong = traffic(120)
    keeper = Gatekeeper.fit(texts, weak, strong, merits=weak, embedder=embedder)
    again = Gatekeeper.from_bytes(keeper.to_bytes(), embedder=embedder)
    assert again.gain(texts[:9]) == pytest.approx(keeper.gain(texts[:9]))
    assert (again.labels, again.blend, again.evidence) == (keeper.labels, keeper.blend, keeper.evidence)
    assert again.embedder_name == (embedder and embedder.name)


def test_another_embedder_is_refused() -> None:
    texts, weak, strong = traffic(50)
    raw = Gatekeeper.fit(texts, weak, strong, embedder=Length()).to_bytes()
    with pytest.raises(ValueError, match="fitted with the embedder length"):
        Gatekeeper.from_bytes(raw)


def changed(raw: bytes, **changes: Any) -> bytes:
    """Return a stored gatekeeper with another head."""
    start = raw.index(b"\n") + 5
    (length,) = struct.unpack("<I", raw[start - 4 : start])
    head = json.dumps(json.loads(raw[start : start + length]) | changes).encode()
    return raw[: start - 4] + struct.pack("<I", len(head)) + head + raw[start + length :]


@pytest.mark.parametrize(
    "broken",
    [
        lambda _: b"",
        lambda _: b"something else",
        lambda raw: raw[:24],
        lambda raw: raw[:40],
        lambda raw: raw[:-4],
        lambda raw: raw + b"....",
        lambda raw: raw[:-4] + struct.pack("<f", float("nan")),
        lambda raw: changed(raw, blend=None),
        lambda raw: changed(raw, shapes=None),
        lambda raw: changed(raw, shapes={}),
        lambda raw: changed(raw, labels="many"),
    ],
)
def test_what_is_no_gatekeeper_is_refused(broken: Any) -> None:
    raw = Gatekeeper.fit(*traffic(20)).to_bytes()
    with pytest.raises(ValueError, match="this"):
        Gatekeeper.from_bytes(broken(raw))


def test_without_numpy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingExtra, match=r"llmsaver\[router\]"):
        Gatekeeper.fit(["a"], [0.0], [1.0])
