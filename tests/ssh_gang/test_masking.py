"""Secrets in an environment that is logged."""

from __future__ import annotations

from ssh_gang.masking import masked


def test_secrets_are_masked_and_the_rest_is_shown():
    env = {
        "HF_TOKEN": "hf_abc",
        "http_proxy": "http://me:pw@proxy:3128",
        "NCCL_IB_HCA": "mlx5",
        "no_proxy": "localhost",
        "TOKENIZERS_PARALLELISM": "false",
    }
    assert masked(env) == env | {"HF_TOKEN": "***", "http_proxy": "***"}
