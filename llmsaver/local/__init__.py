"""Local models: ``model="local/smollm2-135m"`` is answered by a llama.cpp server that this program starts and stops.

- ``weights.py``    names, pinned weights, and where they are on this machine
- ``digest.py``     the sha256 check, done once per file
- ``machine.py``    how many threads and how much memory a server may take
- ``servers.py``    one server per model: started at first use, shared, restarted, closed
- ``launch.py``     one child program: its start, environment, log and end
- ``diagnosis.py``  a server's log -> what is wrong and what to do about it
- ``child.py``      the child program itself; the only importer of ``xllamacpp``
"""

from __future__ import annotations

from llmsaver.local.servers import Endpoint, LocalServers
from llmsaver.local.weights import LocalModel, catalogue, find, installed, known

__all__ = ["Endpoint", "LocalModel", "LocalServers", "catalogue", "find", "installed", "known"]
