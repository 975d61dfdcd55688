"""A request: immutable, changed by copies, and able to say what the layers ask of it."""

from dataclasses import FrozenInstanceError

import pytest

from llmsaver.core.options import Options
from llmsaver.core.request import Request


def test_a_request_cannot_be_changed_in_place(asked: Request) -> None:
    with pytest.raises(FrozenInstanceError):
        asked.url = "elsewhere"  # type: ignore[misc]  # what is under test


@pytest.mark.parametrize(("body", "model"), [({"model": "m"}, "m"), ({}, None), ({"model": 3}, None)])
def test_model_is_the_bodys_where_it_names_one(asked: Request, body: dict[str, object], model: str | None) -> None:
    assert asked.replace(body=body).model == model


@pytest.mark.parametrize(("value", "stream"), [(True, True), (False, False), (None, False), (1, False), ("yes", False)])
def test_stream_is_asked_for_by_true_alone(asked: Request, value: object, stream: bool) -> None:
    assert asked.with_body(stream=value).stream is stream
    assert asked.stream is False


def test_the_entry_says_who_asks(asked: Request) -> None:
    assert (asked.feature, asked.tenant, asked.conversation) == ("search", "acme", "c1")


def test_replacing_the_model_copies_the_body(asked: Request) -> None:
    changed = asked.replace(model="cheap")
    assert changed.body == {"model": "cheap", "messages": []}
    assert changed.model == "cheap"
    assert asked.model == "m"
    assert changed.entry is asked.entry


def test_replacing_model_and_body_puts_the_model_into_the_new_body(asked: Request) -> None:
    body = {"model": "m", "input": "hi"}
    assert asked.replace(model="cheap", body=body).body == {"model": "cheap", "input": "hi"}
    assert body["model"] == "m"


def test_replacing_other_fields_keeps_the_very_body(asked: Request) -> None:
    changed = asked.replace(attempt=2, deadline=1.5, account="a")
    assert (changed.attempt, changed.deadline, changed.account) == (2, 1.5, "a")
    assert changed.body is asked.body


def test_an_unknown_field_is_refused(asked: Request) -> None:
    with pytest.raises(TypeError, match="temperature"):
        asked.replace(temperature=0)


def test_with_body_sets_keys_of_a_copy(asked: Request) -> None:
    changed = asked.with_body(temperature=0, model="n")
    assert changed.body == {"model": "n", "messages": [], "temperature": 0}
    assert asked.body == {"model": "m", "messages": []}


def test_defaults_and_what_a_repr_leaves_out(asked: Request) -> None:
    assert (asked.attempt, asked.deadline, asked.account, asked.carrier) == (0, None, "", None)
    assert asked.options == Options()
    assert "sk-secret" not in repr(asked.replace(carrier="sk-secret"))
    assert asked.replace(carrier="one") == asked.replace(carrier="two")
