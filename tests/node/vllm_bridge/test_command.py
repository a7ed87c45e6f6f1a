"""vLLM's command line, and the version that the repository installs."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sqltune.node_contracts.serving import VLLM_VERSION
from tests.conftest import ROOT
from vllm_bridge.command import Settings, command, environment, gpu_share

SETTINGS = Settings(
    python=Path("/code/vllm-env/bin/python"),
    model=Path("/code/merged"),
    device="cuda",
    dtype="bfloat16",
    gpus=2,
    requests=64,
    cache_gib=None,
    gpu_share=0.35,
)


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose nvidia-smi lists an empty card, and one that is half full, in MiB; with --id the first."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        '#!/bin/sh\necho "80000, 80000"\ncase "$*" in *--id=0*) ;; *) echo "40000, 80000" ;; esac\n'
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def option(settings: Settings, name: str) -> str | None:
    """The value of an option, None without it."""
    words = command(settings, "/tmp/socket")
    return words[words.index(name) + 1] if name in words else None


def test_several_gpus_share_each_layer():
    assert option(SETTINGS, "--tensor-parallel-size") == "2"


def test_vllm_takes_seven_tenths_of_what_is_free_on_the_fullest_gpu(two_gpus):
    assert gpu_share() == pytest.approx(0.35)


def test_the_share_bounds_a_cache_of_any_size():
    assert option(SETTINGS, "--gpu-memory-utilization") == "0.350"
    assert option(replace(SETTINGS, cache_gib=3), "--gpu-memory-utilization") == "0.350"


def test_a_host_without_nvidia_smi_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="does not say how much of the GPUs' memory is free"):
        gpu_share()


def test_only_visible_gpus_are_looked_at(two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpu_share() == pytest.approx(0.7)


def test_without_a_size_vllm_finds_that_of_its_cache():
    assert option(SETTINGS, "--kv-cache-memory-bytes") is None


def test_the_cache_is_divided_between_the_gpus():
    assert option(replace(SETTINGS, cache_gib=3), "--kv-cache-memory-bytes") == str(3 * 2**30 // 2)


def test_on_a_cpu_the_cache_is_small():
    cpu = replace(SETTINGS, device="cpu", gpus=1, gpu_share=None)
    assert option(cpu, "--gpu-memory-utilization") is None
    assert option(cpu, "--kv-cache-memory-bytes") == str(2 * 2**30)


def test_vllm_does_not_see_the_modules_of_the_scripts(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/code/include/node")
    assert "PYTHONPATH" not in environment(SETTINGS)


def test_the_version_that_is_installed_is_that_of_the_answers():
    lines = (ROOT / "include/node/requirements-vllm.txt").read_text().splitlines()
    assert f"vllm=={VLLM_VERSION}" in lines


def test_bootstrap_names_its_options():
    script = ROOT / "include/node/bootstrap.sh"
    result = subprocess.run(["bash", script, "--vllm"], capture_output=True, text=True)
    assert "usage: bash bootstrap.sh [--vllm] TARGET_FOLDER" in result.stderr


def test_adapters_are_loaded_later_where_there_is_a_rank():
    lora = replace(SETTINGS, lora_rank=64)
    assert option(lora, "--max-lora-rank") == "64"
    assert option(lora, "--max-loras") == "2"
    assert environment(lora)["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"


def test_a_whole_model_takes_no_adapters():
    assert "--enable-lora" not in command(SETTINGS, "/tmp/socket")
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in environment(SETTINGS)
