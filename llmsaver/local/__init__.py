"""Local models: ``model="local/smollm2-135m"`` is answered by a server on this machine, or one that you name.

What is declared: ``models.py`` (a tier), ``tiers.py`` (from settings), ``catalogue.py`` (known by name).
Weights: ``weights.py`` (where they are), ``pull*.py`` (fetching), ``digest.py`` (the sha256), ``gguf.py`` (the header).
One llama.cpp server for all programs of a user:

- ``servers.py``      the door for the rest of the library: name -> endpoint, busy time, load
- ``slots.py``        one model in one program: brought up once for all who wait, again after a crash
- ``runners.py``      what stands behind an endpoint: a lease, a vLLM of our own, somebody else's server
- ``acquire.py``      the server that runs already, or a new one, with ``room.py`` (memory) and ``machine.py``
- ``lease.py``        the connection that keeps a server alive and counts its calls
- ``launch.py``       a supervisor's start; ``diagnosis.py``: why a server died, from its log
- ``folder.py``       the runtime folder, where programs find each other's servers; ``status.py``: all of them
- ``supervisor.py``   the program that keeps one server, with ``connections.py`` and ``ward.py``
- ``child.py``        the server's own program; the only importer of ``xllamacpp``

Others' servers: ``vllm*.py``, ``attach.py``, ``probe.py``. Money and energy: ``busy.py``, ``energy*.py``. What servers
cannot do by themselves: ``abilities.py``, ``tools*.py``.
"""

from __future__ import annotations

from llmsaver.local.catalogue import known_models
from llmsaver.local.models import Attach, LocalModel, Vllm
from llmsaver.local.servers import Endpoint, LocalServers
from llmsaver.local.status import ServerState, log_path, running, stop
from llmsaver.local.weights import find, installed

__all__ = [
    "Attach",
    "Endpoint",
    "LocalModel",
    "LocalServers",
    "ServerState",
    "Vllm",
    "find",
    "installed",
    "known_models",
    "log_path",
    "running",
    "stop",
]
