"""The salt is one, is private, and hashes tell nothing without it."""

import stat
from pathlib import Path

import pytest

from llmsaver.ledger import Salt
from llmsaver.ledger import salt as module
from llmsaver.ledger.salt import MESSAGES, salt_path


def test_it_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "salt"
    assert Salt(path).value == Salt(path).value
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["salt"]


def test_its_default_place_is_outside_the_ledgers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Salt().value == salt_path().read_bytes()
    assert "config" in str(salt_path()) or str(tmp_path) in str(salt_path())


def test_of_two_makers_at_once_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "salt"
    path.write_bytes(b"w" * 32)
    checks = iter([FileNotFoundError(), None])
    real = module._checked

    def racing(found: Path) -> bytes:
        error = next(checks)
        if error is not None:
            raise error
        return real(found)

    monkeypatch.setattr(module, "_checked", racing)
    assert Salt(path).value == b"w" * 32


def test_without_a_place_one_is_drawn_for_this_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    salt = Salt(tmp_path / "file" / "salt")
    assert len(salt.value) == 32
    assert salt.value == salt.value
    assert "no salt" in caplog.text


def test_a_damaged_one_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "salt").write_bytes(b"short")
    assert len(Salt(tmp_path / "salt").value) == 32
    assert "instead of 32" in caplog.text


def test_hashes_depend_on_the_salt_and_on_nothing_else(tmp_path: Path) -> None:
    one, same, other = Salt(tmp_path / "a"), Salt(tmp_path / "a"), Salt(tmp_path / "b")
    assert one.hide("u42") == same.hide("u42") != other.hide("u42")
    assert one.hide("u42") != one.hide("u43")
    asked = {"model": "m", "messages": ["x"]}
    assert one.prints(asked) == same.prints(asked) != other.prints(asked)
    assert "u42" not in one.hide("u42")
    assert one.hide("\ud800")


def test_requests_share_as_many_hashes_as_leading_messages(tmp_path: Path) -> None:
    salt = Salt(tmp_path / "salt")
    messages = [{"role": "user", "content": str(i)} for i in range(5)]
    changed = [*messages[:3], {"role": "user", "content": "other"}, messages[4]]
    (whole, a), (other, b) = salt.prints({"messages": messages}), salt.prints({"messages": changed})
    assert whole != other
    assert a[:3] == b[:3]
    assert a[3] != b[3]
    assert a[4] != b[4]  # the same message after another history
    assert salt.prints({"input": messages})[1] == a


def test_only_so_many_messages_have_a_hash_but_all_are_in_the_requests(tmp_path: Path) -> None:
    salt = Salt(tmp_path / "salt")
    whole, chain = salt.prints({"messages": ["m"] * 100})
    longer, same = salt.prints({"messages": ["m"] * 101})
    assert len(chain) == len(set(chain)) == MESSAGES
    assert chain == same
    assert whole != longer


def test_the_order_of_keys_makes_no_difference_and_every_value_does(tmp_path: Path) -> None:
    salt = Salt(tmp_path / "salt")
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
    turned = {"temperature": 0.5, "messages": [{"content": "hi", "role": "user"}], "model": "m"}
    assert salt.prints(asked) == salt.prints(turned)
    warmer = salt.prints({**asked, "temperature": 0.7})
    assert warmer[0] != salt.prints(asked)[0]
    assert warmer[1] == salt.prints(asked)[1]


@pytest.mark.parametrize("input_", ["Which?", None, 3, {"text": "Which?"}])
def test_what_is_no_list_of_messages_has_no_chain(tmp_path: Path, input_: object) -> None:
    assert Salt(tmp_path / "salt").prints({"input": input_})[1] == []


@pytest.mark.parametrize("accelerated", [True, False])
def test_what_is_no_json_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, accelerated: bool) -> None:
    if not accelerated:
        monkeypatch.setattr("json.encoder.c_make_encoder", None)
        monkeypatch.setattr(module, "_write", module._canonical())
    loop: list[object] = []
    loop.append(loop)
    salt = Salt(tmp_path / "salt")
    for value in (object(), loop):
        with pytest.raises((TypeError, ValueError, RecursionError)):
            salt.prints({"model": value})
    assert salt.prints({"b": "ü", "a": 1}) == salt.prints({"a": 1, "b": "ü"})
