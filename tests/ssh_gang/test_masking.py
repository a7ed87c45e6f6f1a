"""Secrets in an environment that is logged."""

from __future__ import annotations

import pytest

from ssh_gang.masking import masked, masked_text


def test_secrets_are_masked_and_the_rest_is_shown():
    env = {
        "HF_TOKEN": "hf_abc",
        "http_proxy": "http://me:pw@proxy:3128",
        "NCCL_IB_HCA": "mlx5",
        "no_proxy": "localhost",
        "TOKENIZERS_PARALLELISM": "false",
    }
    assert masked(env) == env | {"HF_TOKEN": "***", "http_proxy": "***"}


@pytest.mark.parametrize(
    "name",
    [
        "WANDB_API_KEY",
        "OPENAI_APIKEY",
        "MYSQL_PASSWD",
        "DB_PASSWORDS",
        "GOOGLE_CREDENTIALS",
        "KEY_PASSPHRASE",
    ],
)
def test_a_name_of_a_secret_hides_its_value(name):
    assert masked({name: "s3cret"}) == {name: "***"}


@pytest.mark.parametrize("name", ["KEYBOARD", "MONKEY", "TOKENIZER", "PASSENGERS"])
def test_a_name_that_only_looks_like_one_hides_nothing(name):
    assert masked({name: "plain"}) == {name: "plain"}


@pytest.mark.parametrize("address", ["https://ghp_abc@github.com/me/x", "http://me:p%40ss@proxy:3128"])
def test_an_address_with_a_token_or_a_password_is_hidden(address):
    assert masked({"A": address}) == {"A": "***"}


def test_an_address_without_one_is_shown():
    env = {"A": "http://proxy:3128/path?to=me@home"}
    assert masked(env) == env


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("get http://me:pw@hub:80/x", "get http://***@hub:80/x"),
        ("HF_TOKEN=abc, seed=3", "HF_TOKEN=***, seed=3"),
        ("password: abc", "password: ***"),
        ("iter 3/5: loss 0.3", "iter 3/5: loss 0.3"),
        ("https://hub/x: refused", "https://hub/x: refused"),
    ],
)
def test_secrets_in_a_text_are_masked(text, masked):
    assert masked_text(text) == masked
