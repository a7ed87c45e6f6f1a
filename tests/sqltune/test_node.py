"""What is copied to the hosts, and what a log shows of their environment."""

from __future__ import annotations

import io
import tarfile

from sqltune.node import bundle, masked


def test_the_same_files_give_the_same_version_and_hold_what_the_scripts_import():
    version, content = bundle()
    assert bundle()[0] == version and len(version) == 12
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = set(tar.getnames())
    assert {
        "preflight.py",
        "serving.py",
        "xtuner_host_shim.py",
        "sqltune/dataset/split.py",
        "sqltune/prompt.py",
    } <= names
    assert not any("operators" in n or "hooks" in n for n in names)


def test_secrets_are_masked_and_the_rest_is_shown():
    env = {
        "HF_TOKEN": "hf_abc",
        "http_proxy": "http://me:pw@proxy:3128",
        "NCCL_IB_HCA": "mlx5",
        "no_proxy": "localhost",
        "TOKENIZERS_PARALLELISM": "false",
    }
    assert masked(env) == env | {"HF_TOKEN": "***", "http_proxy": "***"}
