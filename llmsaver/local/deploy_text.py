"""Words for a shell, for systemd and for YAML: every character of a value survives, and none is taken for syntax."""

from __future__ import annotations

import re
import shlex
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["assignment", "dns_name", "filled", "kubernetes", "shell", "unit_command", "unit_word", "yaml"]

_BYTE, _SHORT = 0xFF, 0xFFFF
_PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)
_LABEL = 40  # of the 63 characters that Kubernetes allows; its controllers append to it


def shell(words: Sequence[str]) -> str:
    """Return a command as a POSIX shell reads it, its flags on a line each."""
    text = ""
    for word in words:
        gap = "" if not text else " \\\n  " if word.startswith("-") else " "
        text += gap + shlex.quote(word)
    return text + "\n"


def assignment(name: str, value: str) -> str:
    """Return ``NAME=value`` as a shell reads it in front of a command."""
    return f"{name}={shlex.quote(value)}"


def unit_word(word: str) -> str:
    """Return a word of ``ExecStart=`` or an ``Environment=`` as systemd reads it; see systemd.syntax(7).

    ``%`` would be a specifier and ``$`` a variable; the latter only in commands, so a value with one is doubled there
    by ``unit_command``.
    """
    if _PLAIN.fullmatch(word):
        return word
    return '"' + "".join(_unit_character(each) for each in word) + '"'


def unit_command(words: Sequence[str]) -> str:
    """Return ``ExecStart=``'s words."""
    return " ".join(unit_word(word).replace("$", "$$") for word in words)


def _unit_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character == "%":
        return "%%"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def yaml(value: str) -> str:
    """Return a value as a YAML string in double quotes, in ASCII."""
    return '"' + "".join(_yaml_character(each) for each in value) + '"'


def _yaml_character(character: str) -> str:
    code = ord(character)
    if character in '"\\':
        return "\\" + character
    if character.isascii() and character.isprintable():
        return character
    if code <= _BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _SHORT else f"\\U{code:08x}"


def kubernetes(word: str) -> str:
    """Return an argument or variable of a container as YAML: ``$(NAME)`` would be replaced by Kubernetes."""
    return yaml(word.replace("$(", "$$("))


def dns_name(name: str) -> str:
    """Return a model's name as Kubernetes, Docker and systemd allow it: lower case, digits and "-"."""
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LABEL].strip("-")
    return found if found and found[0].isalpha() else f"llm-{found}".strip("-")


def filled(template: str, values: Mapping[str, object]) -> str:
    """Return one of the templates of ``deployments/`` with its values; a missing one raises KeyError."""
    text = resources.files("llmsaver.local").joinpath("deployments", template).read_text(encoding="utf-8")
    return Template(text).substitute(values)
