"""Which disks are an instance's own, by the mounts that such machines show."""

from pathlib import Path

import pytest

from llmsaver.ledger import Ledger
from llmsaver.ledger.lodging import own_disk

OVERLAY = "600 500 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b\n"
PROC = "601 600 0:53 / /proc rw,nosuid - proc proc rw\n"
VOLUME = "602 600 8:1 /var/lib/docker/volumes/books/_data /data rw - ext4 /dev/sda1 rw\n"
EMPTY_DIR = "603 600 8:1 /var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/x /scratch rw - ext4 /dev/sda1 rw\n"
CLAIM = "604 600 8:16 / /claimed rw - ext4 /dev/sdb rw\n"
EFS = "605 600 0:60 / /mnt/efs rw - nfs4 127.0.0.1:/ rw\n"
MEMORY = "606 600 0:61 / /dev/shm rw - tmpfs shm rw\n"
SPACE = "607 600 8:1 / /my\\040books rw - ext4 /dev/sda1 rw\n"
PLAIN = "25 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\nbroken line\n26 25 0:22 / /short\n"
ALL = OVERLAY + PROC + VOLUME + EMPTY_DIR + CLAIM + EFS + MEMORY + SPACE


def machine(top: Path, mounts: str, *files: str, cgroup: str = "0::/\n") -> Path:
    """Make what of a machine's files is looked at."""
    for name, content in {"proc/self/mountinfo": mounts, "proc/1/cgroup": cgroup, **dict.fromkeys(files, "")}.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(content)
    return top


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/root/.local/share/llmsaver/ledger.db", True),
        ("/data/ledger.db", False),
        ("/database/ledger.db", True),
        ("/scratch/ledger.db", True),
        ("/claimed/ledger.db", False),
        ("/mnt/efs/ledger.db", False),
        ("/dev/shm/ledger.db", True),  # noqa: S108 - a name, nothing is written
        ("/my books/ledger.db", False),
    ],
)
def test_a_pods_mounts(tmp_path: Path, path: str, own: bool) -> None:
    top = machine(tmp_path, ALL)
    found = own_disk(Path(path), {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, top)
    assert found == ("a Kubernetes pod" if own else None)


def test_what_tells_a_container(tmp_path: Path) -> None:
    path = Path("/ledger.db")
    assert own_disk(path, {}, machine(tmp_path / "docker", ALL, ".dockerenv")) == "a Docker container"
    assert own_disk(path, {}, machine(tmp_path / "podman", ALL, "run/.containerenv")) == "a Podman container"
    cgroup = "12:pids:/docker/0123456789\n"
    assert own_disk(path, {}, machine(tmp_path / "old", ALL, cgroup=cgroup)) == "a container"


def test_a_plain_machine_keeps_its_disk(tmp_path: Path) -> None:
    assert own_disk(Path("/ledger.db"), {}, machine(tmp_path, PLAIN)) is None
    assert own_disk(Path("/ledger.db"), {}, tmp_path / "nothing to read") is None


def test_where_instances_come_and_go_only_a_network_disk_is_shared(tmp_path: Path) -> None:
    lambda_ = {"AWS_LAMBDA_FUNCTION_NAME": "f"}
    top = machine(tmp_path, ALL)
    assert own_disk(Path("/claimed/l.db"), lambda_, top) == "AWS Lambda"
    assert own_disk(Path("/mnt/efs/l.db"), lambda_, top) is None
    assert own_disk(Path("/l.db"), {"K_SERVICE": "s"}, tmp_path / "nothing to read") == "Cloud Run"
    assert own_disk(Path("/l.db"), {"CONTAINER_APP_NAME": "a"}, tmp_path / "nothing to read") is None


def test_a_ledger_knows_what_it_lies_on(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.setattr("llmsaver.ledger.lodging._text", lambda _: "")
    assert Ledger(tmp_path / "l.db").own_disk() == "AWS Lambda"
    assert Ledger(postgres).own_disk() is None
