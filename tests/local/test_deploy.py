"""Texts that others run: parsed by what will parse them, with names and paths that try to break out."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.errors import ConfigurationError, LocalModelError
from llmsaver.local import deploy, deploy_text
from llmsaver.local.models import Attach, LocalModel, Vllm
from llmsaver.local.vllm_command import arguments
from llmsaver.local.vllm_flags import Known, pinned

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = pinned()
FULL = Vllm(
    "meta-llama/Llama-3.1-8B-Instruct",
    name="llama 8%b $(x) `y`",
    quantization="awq_marlin",
    kv_offload="native",
    kv_offload_gib=16,
    kv_offload_disk="/kv dir",
    gpus=2,
    max_seqs=64,
    max_queue=8,
    spill_to="gpt",
    lora={"triage": "/lora/a,b"},
    speculative={"method": "ngram", "num_speculative_tokens": 3},
)
GGUF = LocalModel("qwen", repo="Qwen/Qwen3-4B-GGUF", file="q.gguf", context=8192, parallel=2, lora={"a": "/l/a.gguf"})
# What a tier's name may be: anything without ":" or spaces at its ends.
NAMES = st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: bool(name.strip()) and name == name.strip()
)


def split(text: str) -> list[str]:
    """Return a shell's words; shlex does not know that a backslash at a line's end goes on with the next."""
    return shlex.split(re.sub(r"(?<= )\\\n *", "", text), comments=True)


def documents(text: str) -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def container(text: str) -> Any:
    return documents(text)["Deployment"]["spec"]["template"]["spec"]["containers"][0]


def test_a_command_is_what_vllm_gets_with_its_variables_in_front() -> None:
    text = deploy.command(FULL, known=KNOWN)
    assert text.startswith("# vLLM 0.32.0. First: export VLLM_API_KEY=")
    variable, *words = split(text)
    assert variable == "VLLM_NO_USAGE_STATS=1"
    assert words == ["vllm", *arguments(FULL, KNOWN, host="127.0.0.1", port=8000)]


def test_a_command_is_for_the_installed_version_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def mine() -> Known:
        return Known("0.1", KNOWN.flags)

    def none() -> Known:
        raise LocalModelError("none")

    monkeypatch.setattr(deploy, "installed", mine)
    assert deploy.command(Vllm("m")).startswith("# vLLM 0.1. ")
    monkeypatch.setattr(deploy, "installed", none)
    assert deploy.command(Vllm("m")).startswith("# vLLM 0.32.0. ")
    assert "--host=127.0.0.1" in deploy.systemd(Vllm("m"))


def test_a_variable_is_quoted_after_its_name() -> None:
    text = deploy.command(Vllm("m", kv_offload="lmcache", kv_offload_disk="/a b"), known=KNOWN)
    assert "LMCACHE_LOCAL_DISK='file:///a b/' \\\n" in text


@pytest.mark.parametrize("make", [deploy.command, deploy.systemd, deploy.docker, deploy.k8s])
def test_a_server_that_runs_already_is_not_deployed(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="local/there is served by somebody else already"):
        make(Attach("there", base_url="http://h/v1"))


@pytest.mark.parametrize("make", [deploy.command, deploy.systemd, deploy.docker, deploy.k8s])
def test_wrong_flags_are_refused_in_every_text(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="has no --max-model-length"):
        make(Vllm("m", extra={"--max-model-length": "1"}), known=KNOWN)


def test_llama_cpp_is_our_own_command() -> None:
    assert deploy.command(GGUF) == "llmsaver local serve qwen\n"
    unit = deploy.systemd(GGUF)
    assert (
        "ExecStartPre=/usr/local/bin/llmsaver local pull qwen\nExecStart=/usr/local/bin/llmsaver local serve qwen"
        in unit
    )
    assert "EnvironmentFile" not in unit
    own = deploy.systemd(LocalModel("m", path="/models/m.gguf"), program="/opt/llmsaver")
    assert "ExecStartPre" not in own
    assert "BindReadOnlyPaths=/models/m.gguf" in own


@settings(deadline=None)
@given(NAMES)
def test_any_name_passes_through_a_shell(name: str) -> None:
    tier = Vllm("org/m", name=name)
    words = split(deploy.command(tier, known=KNOWN))
    assert words[1:] == ["vllm", *arguments(tier, KNOWN, host="127.0.0.1", port=8000)]
    text = deploy.docker(tier, known=KNOWN)
    assert f"--served-model-name={name}" in split(text)


def test_a_real_shell_reads_the_words_as_they_were_meant() -> None:
    shell = shutil.which("sh")
    assert shell is not None
    words = ["-n", "a b", "$(id)", "`id`", "'", '"', "\\", "\n", "!", "*", "é", ""]
    text = deploy_text.shell(["printf", r"%s\0", *words])
    done = subprocess.run([shell, "-c", text], capture_output=True, check=True)  # noqa: S603 - the words above
    assert done.stdout.decode().split("\0")[:-1] == words


@settings(deadline=None, max_examples=30)  # YAML in pure Python, on busy cores
@given(NAMES)
def test_any_name_passes_through_yaml(name: str) -> None:
    tier = Vllm("org/m", name=name)
    text = deploy.k8s(tier, known=KNOWN)
    expected = [word.replace("$(", "$$(") for word in arguments(tier, KNOWN, host="0.0.0.0", port=8000)]  # noqa: S104 - a container
    assert container(text)["args"] == expected
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", documents(text)["Service"]["metadata"]["name"])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_one_yaml_string(text: str) -> None:
    assert yaml.safe_load(deploy_text.yaml(text)) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_one_word_of_a_unit(text: str) -> None:
    word = deploy_text.unit_word(text)
    assert "\n" not in word
    # As systemd undoes it: specifiers, then C escapes within the quotes.
    inside = word.removeprefix('"').removesuffix('"').replace("%%", "%") if word.startswith('"') else word
    raw = re.sub(r'\\(x[0-9a-f]{2}|["\\])', lambda found: _escaped(found[1]), inside)
    assert raw.encode("utf-8", "surrogateescape").decode() == text


def _escaped(found: str) -> str:
    if not found.startswith("x"):
        return found
    return bytes([int(found[1:], 16)]).decode("utf-8", "surrogateescape")


def test_kubernetes_gets_all_that_keeps_a_service_up() -> None:
    text = deploy.k8s(FULL, known=KNOWN, replicas=(0, 3), prometheus="http://prom:9090")
    found = documents(text)
    assert set(found) == {"Deployment", "Service", "PodDisruptionBudget", "ScaledObject"}
    pod = found["Deployment"]["spec"]["template"]["spec"]
    server = container(text)
    assert server["image"] == "vllm/vllm-openai:v0.32.0"
    assert server["command"] == ["vllm"]
    assert server["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert server["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "llama-8-b-x-y-key", "key": "VLLM_API_KEY"}
    assert {"startupProbe", "readinessProbe", "livenessProbe", "lifecycle"} <= set(server)
    assert pod["terminationGracePeriodSeconds"] == 60
    assert {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"} in pod[
        "tolerations"
    ]
    (fetch,) = pod["initContainers"]
    assert fetch["command"] == ["hf", "download", FULL.model]
    mounts = {each["mountPath"]: each.get("readOnly", False) for each in server["volumeMounts"]}
    assert mounts == {"/root/.cache/huggingface": True, "/dev/shm": False, "/lora/a,b": True, "/kv dir": False}  # noqa: S108 - a container's
    scaled = found["ScaledObject"]["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 3)
    queue, busy = (trigger["metadata"] for trigger in scaled["triggers"])
    assert queue["query"] == f'sum(vllm:num_requests_waiting{{model_name="{FULL.name}"}})'
    assert (queue["threshold"], busy["threshold"], queue["serverAddress"]) == ("8", "51", "http://prom:9090")


@pytest.mark.parametrize("replicas", [(-1, 2), (3, 2), (0, 0)])
def test_replicas_that_cannot_be_are_refused(replicas: tuple[int, int]) -> None:
    with pytest.raises(ConfigurationError, match="fewest, most"):
        deploy.k8s(FULL, known=KNOWN, replicas=replicas)


def test_docker_fetches_once_and_serves_from_what_it_cannot_write() -> None:
    lines = deploy.docker(FULL, known=KNOWN, port=9000).split("\n\n")
    fetch, run = (split(each) for each in lines)
    assert fetch[-3:] == ["vllm/vllm-openai:v0.32.0", "download", FULL.model]
    assert {
        "--gpus=2",
        "--ipc=host",
        "--publish=127.0.0.1:9000:8000",
        "--env=VLLM_API_KEY",
        "--stop-timeout=60",
    } <= set(run)
    mounts = [next(csv.reader([word.removeprefix("--mount=")])) for word in run if word.startswith("--mount=")]
    volume = "source=llama-8-b-x-y-models"
    assert ["type=volume", volume, "target=/root/.cache/huggingface", "readonly"] in mounts
    assert ["type=bind", "source=/lora/a,b", "target=/lora/a,b", "readonly"] in mounts
    assert ["type=bind", "source=/kv dir", "target=/kv dir"] in mounts
    at = run.index("vllm/vllm-openai:v0.32.0")
    assert run[at + 1 :] == arguments(FULL, KNOWN, host="0.0.0.0", port=8000)  # noqa: S104 - a container


def test_a_folder_is_mounted_where_the_command_looks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    for model in ("weights", "./weights"):
        text = deploy.docker(Vllm(model, name="m"), known=KNOWN)
        folder = str(tmp_path / "weights")
        assert f"source={folder},target={folder},readonly" in text
        assert f"serve {folder}" in text
        assert "hf_" not in text.lower()
    assert "initContainers" not in deploy.k8s(Vllm("weights", name="m"), known=KNOWN)
    assert f"BindReadOnlyPaths={tmp_path}/weights" in deploy.systemd(Vllm("weights", name="m"), known=KNOWN)


def test_llama_cpp_in_a_container_is_its_own_server() -> None:
    server = container(deploy.k8s(GGUF, image="llama:b1"))
    assert server["command"] == ["/app/llama-server"]
    assert server["image"] == "llama:b1"
    assert {"--hf-repo=Qwen/Qwen3-4B-GGUF", "--hf-file=q.gguf", "--ctx-size=16384", "--parallel=2"} <= set(
        server["args"]
    )
    assert "--lora=/l/a.gguf" in server["args"]
    text = deploy.docker(LocalModel("m", path="/w/m.gguf", gpu_layers=3))
    assert "--model=/w/m.gguf" in text
    assert "--n-gpu-layers=3" in text
    assert "curl --fail" in text
    scaled = documents(deploy.k8s(GGUF))["ScaledObject"]["spec"]["triggers"]
    assert scaled[0]["metadata"]["query"] == 'sum(llamacpp:requests_deferred{pod=~"qwen-.*"})'


@pytest.mark.parametrize(
    ("tier", "known", "said"),
    [
        (LocalModel("m", file="m.gguf", package="p"), KNOWN, "comes from a package"),
        (Vllm("m", kv_offload="lmcache"), KNOWN, "may lack LMCache"),
        (Vllm("m"), Known("1.0rc1.dev2", KNOWN.flags), "there is no image of vLLM 1.0rc1.dev2"),
    ],
)
def test_what_no_image_has_is_said(tier: Any, known: Known, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        deploy.docker(tier, known=known)
    if isinstance(tier, Vllm):
        assert "mine:1" in deploy.docker(tier, known=known, image="mine:1")


def test_a_unit_restarts_drains_and_sees_little() -> None:
    unit = deploy.systemd(FULL, known=KNOWN, program="/opt/venv/bin/vllm")
    for line in (
        *("Restart=on-failure", "KillSignal=SIGTERM", "KillMode=mixed", "TimeoutStopSec=60", "DynamicUser=yes"),
        *("NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "Environment=VLLM_NO_USAGE_STATS=1"),
        *("EnvironmentFile=/etc/llmsaver-llama-8-b-x-y.env", 'ReadWritePaths="/kv dir"', "BindReadOnlyPaths=/lora/a,b"),
    ):
        assert f"\n{line}\n" in unit
    assert '"--served-model-name=llama 8%%b $$(x) `y`"' in unit


VERIFY = shutil.which("systemd-analyze")
if VERIFY is not None:  # not everywhere; the round trip above is

    @pytest.mark.parametrize("tier", [FULL, GGUF])
    def test_systemd_itself_takes_the_unit(tmp_path: Path, tier: Any) -> None:
        path = tmp_path / "llmsaver-test.service"
        text = deploy.systemd(tier, program="/bin/true", known=KNOWN)
        path.write_text(text, encoding="utf-8")
        command = [str(VERIFY), "verify", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our text
        assert (done.returncode, [line for line in done.stderr.splitlines() if "llmsaver-test" in line]) == (0, [])


@pytest.mark.parametrize(
    ("name", "host"), [("Qwen3-4B", "qwen3-4b"), ("8b", "llm-8b"), ("日本", "llm"), ("a" * 90, "a" * 40)]
)
def test_names_become_hosts(name: str, host: str) -> None:
    assert deploy_text.dns_name(name) == host
