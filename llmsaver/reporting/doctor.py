"""``llmsaver doctor``: what is installed, what works, and how to fix what does not; it checks, it does not guess."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import llmsaver
from llmsaver.reporting.doctor_books import books
from llmsaver.reporting.doctor_calls import call_path, local_call
from llmsaver.reporting.doctor_parts import keys, local_models, sdks, settings, this_python

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmsaver.reporting.doctor_parts import Finding

__all__ = ["Health", "examine"]


@dataclass(frozen=True, slots=True)
class Health:
    """Everything that was looked at, in the order in which to show it."""

    findings: tuple[Finding, ...]

    @property
    def works(self) -> bool:
        """Whether nothing that every call needs is broken; keys and local models are a choice, not a need."""
        return not any(finding.state == "broken" for finding in self.findings)

    @property
    def ready(self) -> dict[str, bool]:
        """Which models a program on this machine can call now, as far as can be told without calling them."""
        states = {(finding.part, finding.name): finding.state for finding in self.findings}
        return {
            "openai": self.works and states.get(("keys", "OPENAI_API_KEY")) == "ok",
            "anthropic": self.works
            and "ok" in {states.get(("keys", name)) for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")},
            "local": self.works
            and states.get(("local models", "xllamacpp")) == "ok"
            and any(state == "ok" and name.startswith("local/") for (_, name), state in states.items()),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints; no key's value is in it."""
        return {
            "llmsaver": llmsaver.__version__,
            "works": self.works,
            "ready": self.ready,
            "findings": [asdict(finding) for finding in self.findings],
        }


def examine(*, deep: bool = False) -> Health:
    """Look at this machine: imports, versions, keys (present or not), settings, and calls against a fake provider.

    Nothing leaves the process and nothing is started, but with ``deep`` the local model is, for one call.
    """
    checks: list[Iterable[Finding]] = [this_python(), sdks(), settings(), keys(), local_models(), books(), call_path()]
    if deep:
        checks.append(local_call())
    return Health(tuple(finding for findings in checks for finding in findings))
