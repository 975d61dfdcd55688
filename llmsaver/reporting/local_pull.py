"""A pull that a person watches: a bar with bytes, rate and time left, and one line where it is not a terminal."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from llmsaver.local.pull import pull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmsaver.local.models import LocalModel
    from llmsaver.local.pull import Source, Told

__all__ = ["pulled", "shown"]

_WORDS = {
    "waiting": "another program pulls it",
    "asking": "asking the hub",
    "downloading": "downloading",
    "checking": "checking sha256",
}


def pulled(model: LocalModel, source: Source = "auto", console: Console | None = None) -> Path:
    """Pull the weights, showing how it goes on standard error; return where they are.

    Raises what ``pull`` raises. Ctrl-C leaves what came so far.
    """
    with shown(console, hub=model.repo is not None) as told:
        return pull(model, source=source, told=told)


@contextmanager
def shown(console: Console | None = None, *, hub: bool = False) -> Iterator[Told]:
    """Give what shows how a pull goes; with ``hub`` the hub's own words are kept from breaking through."""
    out = console or Console(stderr=True, highlight=False)
    if hub and find_spec("huggingface_hub") is not None:
        import_module("huggingface_hub.file_download")  # sets its level, once
        # Its own words on its retries would break through the bar; the last one is in our error.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=out,
        expand=True,
        disable=not out.is_terminal,
    ) as progress:
        bar = progress.add_task(_WORDS["asking"], total=None)
        latest = ""

        def told(stage: str, done: int = 0, total: int | None = None) -> None:
            nonlocal latest
            if stage != latest:
                latest = stage
                progress.reset(bar, description=_WORDS[stage])
                if not out.is_terminal:
                    out.print(_WORDS[stage])
            progress.update(bar, completed=done, total=total)

        yield told
