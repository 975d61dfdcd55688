"""Ready texts that run a tier on a machine where we do not start it: a command, systemd, Docker, Kubernetes.

They hold no key: each says where it belongs. vLLM's flags are checked against the version that the text names.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from llmsaver.errors import ConfigurationError, LocalModelError
from llmsaver.local.deploy_served import PORT, files, line, served, tier_name, vllm_of, written
from llmsaver.local.deploy_text import (
    assignment,
    dns_name,
    filled,
    kubernetes,
    shell,
    unit_command,
    unit_word,
    yaml,
)
from llmsaver.local.models import LocalModel
from llmsaver.local.vllm_command import DRAIN_SECONDS, arguments, environment
from llmsaver.local.vllm_flags import Known, installed, pinned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.local.deploy_served import Served
    from llmsaver.local.models import Tier

__all__ = ["command", "docker", "k8s", "systemd"]

_HERE = "127.0.0.1"
_GRACE = 30  # beyond the drain
_BUSY_SHARE = 0.8
_KEY_FILE = """# Read by systemd as root; the service cannot see the file, and does not start without it:
# umask 077; echo "VLLM_API_KEY=$(openssl rand -hex 32)" > /etc/{unit}.env
EnvironmentFile=/etc/{unit}.env
"""


def command(tier: Tier, *, known: Known | None = None, host: str = _HERE, port: int = PORT) -> str:
    """Return the command that serves a tier, for a shell.

    vLLM's is made for the installed version, else for the one that ships with this library. Raises ConfigurationError.
    """
    if isinstance(tier, LocalModel):
        return shell(["llmsaver", "local", "serve", tier.name])
    tier = vllm_of(tier)
    known = known or _installed_or_pinned()
    comment = f'# {line(known.where)}. First: export VLLM_API_KEY="$(openssl rand -hex 32)"\n'
    variables = "".join(f"{assignment(*each)} \\\n" for each in environment(tier).items())
    return comment + variables + shell(["vllm", *arguments(tier, known, host=host, port=port)])


def systemd(tier: Tier, *, known: Known | None = None, program: str = "", host: str = _HERE, port: int = PORT) -> str:
    """Return a unit for systemd; ``program`` is the absolute path of ``vllm`` (or ``llmsaver``) on that machine.

    It runs as a user of its own that sees no home folder, restarts after a crash and lets running requests end before
    it stops. Raises ConfigurationError.
    """
    unit = "llmsaver-" + dns_name(tier_name(tier))
    before, secret, variables, paths = "", "", {}, [f"BindReadOnlyPaths={unit_word(path)}" for path in files(tier)]
    if isinstance(tier, LocalModel):
        program = program or "/usr/local/bin/llmsaver"
        words = [program, "local", "serve", tier.name]
        if tier.path is None:
            before = f"ExecStartPre={unit_command([program, 'local', 'pull', tier.name])}\n"
    else:
        tier = vllm_of(tier)
        words = [program or "/usr/local/bin/vllm"]
        words += arguments(tier, known or _installed_or_pinned(), host=host, port=port)
        variables = environment(tier)
        secret = _KEY_FILE.format(unit=unit)
        paths += [f"ReadWritePaths={unit_word(path)}" for path in written(tier)]
    return filled(
        "systemd.service.tmpl",
        {
            "title": line(f"local/{tier.name}").replace("%", "%%"),
            "unit": unit,
            "command": f"{before}ExecStart={unit_command(words)}",
            "secret": secret,
            "environment": "".join(f"Environment={unit_word(f'{n}={v}')}\n" for n, v in variables.items()),
            "grace": DRAIN_SECONDS + _GRACE,
            "paths": "".join(f"{path}\n" for path in paths),
        },
    )


def docker(tier: Tier, *, known: Known | None = None, image: str | None = None, port: int = PORT) -> str:
    """Return the Docker commands: one that fetches the weights into a volume, one that serves them read-only.

    The key is taken from the caller's environment by its name. ``image`` replaces the image that belongs to the version
    in ``known`` (None: the one that ships with this library). Raises ConfigurationError.
    """
    found = served(tier, known, image)
    volume = f"{found.name}-models"
    comment = (
        f'# {found.title}. First: export {found.key_name}="$(openssl rand -hex 32)"\n'
        f"# Stop with: docker stop {found.name} (running requests may end, {DRAIN_SECONDS} s)\n"
    )
    text = comment
    if found.fetch:
        fetch = ["docker", "run", "--rm", "--env=HF_TOKEN", _mount("volume", volume, found.cache)]
        text += shell([*fetch, f"--entrypoint={found.fetch[0]}", found.image, *found.fetch[1:]]) + "\n"
    health = f"python3 -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:{PORT}/health\", timeout=4)'"
    if isinstance(tier, LocalModel):
        health = f"curl --fail --silent http://127.0.0.1:{PORT}/health"
    run = [
        *("docker", "run", "--detach", f"--name={found.name}", "--restart=unless-stopped"),
        *(f"--gpus={found.gpus}", "--ipc=host", f"--publish=127.0.0.1:{port}:{PORT}"),
        *("--cap-drop=ALL", "--security-opt=no-new-privileges", f"--stop-timeout={DRAIN_SECONDS + _GRACE}"),
        *(f"--health-cmd={health}", "--health-start-period=30m", "--health-interval=15s"),
        f"--env={found.key_name}",
        *(f"--env={name}={value}" for name, value in found.variables.items()),
        _mount("volume", volume, found.cache, read_only=not found.fills_cache),
        *(_mount("bind", path, path, read_only=True) for path in found.read),
        *(_mount("bind", path, path) for path in found.written),
        *(f"--entrypoint={found.words[0]}", found.image, *found.words[1:]),
    ]
    return text + shell(run)


def k8s(
    tier: Tier,
    *,
    known: Known | None = None,
    image: str | None = None,
    replicas: tuple[int, int] = (1, 4),
    prometheus: str = "http://prometheus-server.monitoring.svc",
) -> str:
    """Return manifests for Kubernetes: Deployment, Service, PodDisruptionBudget and a KEDA ScaledObject.

    A copy is added where more than ``max_queue`` (4 without one) requests wait per copy, between ``replicas`` of them,
    from the queue that the server reports to ``prometheus``. Raises ConfigurationError.
    """
    found = served(tier, known, image)
    least, most = replicas
    if not 0 <= least <= most or most < 1:
        raise ConfigurationError(f"replicas={replicas!r} must be (fewest, most), with at least one at most")
    paths = [(path, True) for path in found.read] + [(path, False) for path in found.written]
    mounts = "".join(
        f"            - {{name: files-{i}, mountPath: {yaml(path)}, readOnly: {str(read_only).lower()}}}\n"
        for i, (path, read_only) in enumerate(paths)
    )
    volumes = "".join(
        f"        - name: files-{i}\n          "
        + (f"hostPath: {{path: {yaml(path)}}}\n" if read_only else "emptyDir: {}\n")
        for i, (path, read_only) in enumerate(paths)
    )
    return filled(
        "k8s.yaml.tmpl",
        {
            "title": found.title,
            "name": found.name,
            "tier_name": yaml(tier_name(tier)),
            "port": PORT,
            "key_name": found.key_name,
            "drain": DRAIN_SECONDS,
            "grace": DRAIN_SECONDS + _GRACE,
            "image": yaml(found.image),
            "command": f"[{yaml(found.words[0])}]",
            "cache": yaml(found.cache),
            "arguments": "\n".join(f"            - {kubernetes(word)}" for word in found.words[1:]),
            "environment": _variables(found.variables),
            "limits": f'{{nvidia.com/gpu: "{found.gpus}"}}',
            "fetch": _init(found),
            "cache_read_only": str(not found.fills_cache).lower(),
            "mounts": mounts,
            "volumes": volumes,
            "least": least,
            "most": most,
            "prometheus": yaml(prometheus),
            "waiting": yaml(found.waiting),
            "running": yaml(found.running),
            "queue": found.queue,
            "busy": max(1, int(found.slots * _BUSY_SHARE)),
        },
    )


def _variables(variables: dict[str, str]) -> str:
    return "\n".join(f"            - {{name: {name}, value: {kubernetes(value)}}}" for name, value in variables.items())


def _init(found: Served) -> str:
    """Return the init container that fetches the weights, nothing where they are files of the machine."""
    if not found.fetch:
        return ""
    command = ", ".join(kubernetes(word) for word in found.fetch)
    return (
        "      initContainers:\n"
        "        - name: fetch\n"
        f"          image: {yaml(found.image)}\n"
        f"          command: [{command}]\n"
        "          env:\n"
        "            - name: HF_TOKEN\n"
        "              valueFrom:\n"
        "                secretKeyRef: {name: hub-token, key: HF_TOKEN, optional: true}\n"
        "          volumeMounts:\n"
        f"            - {{name: models, mountPath: {yaml(found.cache)}}}\n"
    )


def _installed_or_pinned() -> Known:
    try:
        return installed()
    except LocalModelError:
        return pinned()


def _mount(kind: str, source: str, target: str, *, read_only: bool = False) -> str:
    """Return ``--mount=``, whose fields Docker reads as CSV."""
    row = io.StringIO()
    fields: Sequence[str] = [f"type={kind}", f"source={source}", f"target={target}", *["readonly"] * read_only]
    csv.writer(row, lineterminator="").writerow(fields)
    return f"--mount={row.getvalue()}"
