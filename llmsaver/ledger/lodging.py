"""Whether a file is this instance's own: a container's disk goes with it, and no other instance sees what is on it.

Mounts are read from ``/proc/self/mountinfo`` (man 5 proc_pid_mountinfo); a root of ``.../kubernetes.io~empty-dir/...``
is a volume that lives as long as its pod.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["own_disk"]

# Where these are set there are as many instances as there is load, and their disks are never shared.
_SERVERLESS = {"AWS_LAMBDA_FUNCTION_NAME": "AWS Lambda", "K_SERVICE": "Cloud Run", "DYNO": "a Heroku dyno"}
_VARIABLES = {
    "KUBERNETES_SERVICE_HOST": "a Kubernetes pod",
    "ECS_CONTAINER_METADATA_URI_V4": "an ECS task",
    "CONTAINER_APP_NAME": "Azure Container Apps",
}
_FILES = {".dockerenv": "a Docker container", "run/.containerenv": "a Podman container"}
_CGROUP = re.compile(r"docker|kubepods|containerd|libpod|/lxc/|\.slice/ecs")
_FLEETING = frozenset({"overlay", "aufs", "tmpfs", "ramfs", "rootfs"})
_SHARED = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "fuse.gcsfuse", "fuse.sshfs", "virtiofs"})


class _Mount(NamedTuple):
    """Where something is mounted, what part of its file system that is, and of which type."""

    point: str
    root: str
    kind: str


def own_disk(path: Path, environ: Mapping[str, str] = os.environ, top: Path = Path("/")) -> str | None:
    """Return where this runs, such as "a Docker container", if ``path`` is lost with it; None where it is not.

    ``top`` is the root of the file system that is looked at. What cannot be read is taken for a plain machine.
    """
    serverless = next((name for variable, name in _SERVERLESS.items() if environ.get(variable)), None)
    container = serverless or _container(environ, top)
    if container is None:
        return None
    mount = _mount_of(path, top)
    if mount is None:
        return container if serverless else None
    if mount.kind in _SHARED or mount.kind.startswith("nfs"):
        return None
    fleeting = mount.kind in _FLEETING or mount.point == "/" or "kubernetes.io~empty-dir" in mount.root
    return container if serverless or fleeting else None


def _container(environ: Mapping[str, str], top: Path) -> str | None:
    found = [name for variable, name in _VARIABLES.items() if environ.get(variable)]
    found += [name for file, name in _FILES.items() if (top / file).exists()]
    if found:
        return found[0]
    return "a container" if _CGROUP.search(_text(top / "proc/1/cgroup")) else None


def _mount_of(path: Path, top: Path) -> _Mount | None:
    """Return the mount that ``path`` lies on, or will: the longest point, the last of equals."""
    best: _Mount | None = None
    wanted = str(path.absolute())
    for line in _text(top / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) < 5 or not kinds[0]:  # noqa: PLR2004 - the mount point is the fifth field
            continue
        point = _unescaped(fields[4])
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and (best is None or len(point) >= len(best.point)):
            best = _Mount(point, _unescaped(fields[3]), kinds[0])
    return best


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
