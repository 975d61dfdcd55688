"""Embedders behind an API: OpenAI's over the fake provider, llama.cpp's over a real server where there is one."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

np = pytest.importorskip("numpy")

import httpx2  # noqa: E402 - after the extra's
import openai  # noqa: E402 - the same

import llmsaver  # noqa: E402 - the same
from llmsaver import ConfigurationError, LocalModel, MissingExtra, Saver  # noqa: E402 - the same
from llmsaver.embed import LlamaCpp, OpenAIEmbeddings, served, vectors  # noqa: E402 - the same
from llmsaver.local import weights  # noqa: E402 - the same
from llmsaver.testing import FakeProvider  # noqa: E402 - the same

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fake() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def client(fake: FakeProvider) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-test", http_client=httpx2.Client(transport=fake.transport()))


class TestOpenAI:
    def test_texts_become_unit_vectors_in_their_order(self, client: openai.OpenAI, fake: FakeProvider) -> None:
        embedder = OpenAIEmbeddings(client)
        texts = ["How do I reset my password?", "how do i reset my password", "Which countries?", "", "\ud800"]
        found = embedder.embed(texts)
        assert (found.shape, found.dtype) == ((5, embedder.dimensions), np.float32)
        assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
        assert found[0] @ found[1] > found[0] @ found[2]
        assert len(fake.requests) == 1
        assert (embedder.embed(texts[1:2])[0] == found[1]).all()

    def test_many_texts_take_several_calls(
        self, client: openai.OpenAI, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(served, "_AT_ONCE", 2)
        assert len(OpenAIEmbeddings(client).embed(["a", "b", "c"])) == 3
        assert len(fake.requests) == 2
        assert OpenAIEmbeddings(client).embed([]).shape == (0, 1536)

    def test_names_keep_models_sizes_and_addresses_apart(self, client: openai.OpenAI) -> None:
        elsewhere = openai.OpenAI(api_key="sk-test", base_url="https://other.test/v1")
        names = {
            OpenAIEmbeddings(client).name,
            OpenAIEmbeddings(client, "text-embedding-3-large").name,
            OpenAIEmbeddings(client, dimensions=256).name,
            OpenAIEmbeddings(elsewhere).name,
        }
        assert len(names) == 4
        assert "text-embedding-3-small@https://api.openai.com/v1:1536" in names

    def test_fewer_dimensions_are_asked_for(self, client: openai.OpenAI) -> None:
        assert OpenAIEmbeddings(client, dimensions=64).embed(["a"]).shape == (1, 64)

    def test_an_unknown_models_size_is_asked_once(self) -> None:
        asked = []

        def create(**body: Any) -> Any:
            asked.append(body["input"])
            return SimpleNamespace(data=[SimpleNamespace(index=0, embedding=[3.0, 4.0])])

        embedder = OpenAIEmbeddings(SimpleNamespace(embeddings=SimpleNamespace(create=create)), "mine")
        assert embedder.dimensions == 2
        assert embedder.embed(["a"])[0].tolist() == pytest.approx([0.6, 0.8])
        assert asked == [["dimensions"], ["a"]]
        assert embedder.name == "mine@:2"

    @pytest.mark.parametrize("given", [[[1.0, float("nan")]], [[1.0]], [["x", "y"]], []])
    def test_what_is_no_vector_is_refused(self, given: list[Any]) -> None:
        def create(**_: Any) -> Any:
            return SimpleNamespace(data=[SimpleNamespace(index=at, embedding=one) for at, one in enumerate(given)])

        one = OpenAIEmbeddings(SimpleNamespace(embeddings=SimpleNamespace(create=create)), "m", dimensions=2)
        with pytest.raises(ConfigurationError, match="was asked for 1 vectors of 2 numbers"):
            one.embed(["a"])

    def test_an_async_client_cannot_be_used(self) -> None:
        with pytest.raises(ConfigurationError, match="not AsyncOpenAI"):
            OpenAIEmbeddings(openai.AsyncOpenAI(api_key="sk-test"))

    def test_without_numpy_the_extra_is_named(self, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(MissingExtra, match=r"pip install 'llmsaver\[semantic\]'"):
            OpenAIEmbeddings(client)

    def test_through_our_own_client_it_is_booked_and_serves_a_semantic_cache(
        self, fake: FakeProvider, tmp_path: Path
    ) -> None:
        ledger = str(tmp_path / "ledger.db")
        http = httpx2.Client(transport=fake.transport())
        with Saver(ledger=ledger) as asking:
            embedder = OpenAIEmbeddings(llmsaver.OpenAI(api_key="sk-test", saver=asking, http_client=http))
            layer = llmsaver.SemanticCache(embedder=embedder)
            with Saver(stack=[..., layer], ledger=str(tmp_path / "other.db")) as saver:
                client = llmsaver.OpenAI(api_key="sk-test", saver=saver, http_client=http)
                for text in ("How do I reset my password?", "how do I reset my password"):
                    turns: Any = [{"role": "user", "content": text}]
                    client.chat.completions.create(model="gpt-5-mini", messages=turns)
                    layer.learning.drain()
                assert saver.recent(1)[0].hit_kind == "semantic", saver.recent(1)[0].layers
            assert {entry.dialect for entry in asking.recent()} == {"embeddings"}


class Server:
    """A llama-server's models, as its client tells them."""

    def __init__(self, *metas: Any) -> None:
        told = [SimpleNamespace(id="m", meta=meta) for meta in metas]
        self.models = SimpleNamespace(list=lambda: SimpleNamespace(data=told))
        self.embeddings = SimpleNamespace(create=lambda **_: None)


class TestLlamaCpp:
    def test_the_name_is_of_the_weights(self, tmp_path: Path) -> None:
        file = tmp_path / "m.gguf"
        file.write_bytes(b"1")
        first = LlamaCpp(Server(), "local/mine", weights=file).name
        file.write_bytes(b"2")
        assert first.startswith("mine:")
        assert LlamaCpp(Server(), "local/mine", weights=str(file)).name != first

    def test_or_of_what_the_server_says_of_them(self) -> None:
        one, other = ({"n_params": n, "size": 1} for n in (1, 2))
        assert LlamaCpp(Server(None, one), "m").name == LlamaCpp(Server(one), "m").name
        assert LlamaCpp(Server(one), "m").name != LlamaCpp(Server(other), "m").name
        with pytest.raises(ConfigurationError, match="name the file, weights="):
            _ = LlamaCpp(Server(None), "m").name

    def test_weights_that_are_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="no embedding model at"):
            LlamaCpp(Server(), "m", weights=tmp_path / "none.gguf")
        with pytest.raises(ConfigurationError, match="say which weights local/mine runs"):
            LlamaCpp(Server(), "local/mine")


@pytest.mark.local
def test_a_local_model_embeds_for_real(tmp_path: Path) -> None:
    path = weights.installed("smollm2-135m")
    if path is None or find_spec("xllamacpp") is None:
        pytest.skip("needs xllamacpp and the SmolLM2 weights")
    tier = LocalModel("embedder", path=path, context=256, parallel=1, embeddings=True)
    with Saver(local_models=[tier], ledger=str(tmp_path / "ledger.db")) as saver:
        client = llmsaver.OpenAI(api_key="none", saver=saver)
        embedder = LlamaCpp(client, "local/embedder", weights=path)
        found = embedder.embed(["one question", "", "one question"])
        assert found.shape == (3, 576) == (3, embedder.dimensions)
        assert found[0] @ found[2] == pytest.approx(1, abs=1e-3)
        assert found[0] @ found[1] < 0.99
        with pytest.raises(llmsaver.LLMSaverError, match="gives vectors, no answers"):
            client.chat.completions.create(model="local/embedder", messages=[{"role": "user", "content": "hi"}])


def test_no_vectors_need_none_asked() -> None:
    assert vectors.unit_rows([], 0, 3, "m").shape == (0, 3)
