"""The text of API keys."""

from __future__ import annotations

import pytest

from sqltune.node_contracts.api_keys import formatted, parse_api_keys


@pytest.mark.parametrize("text", ["", " \n", ",,\r\n"])
def test_a_blank_text_has_no_key(text):
    assert parse_api_keys(text) == {}


def test_a_key_alone_needs_no_name():
    assert parse_api_keys("sk-Zm9v_-=\n") == {"default": "sk-Zm9v_-="}


@pytest.mark.parametrize("text", ["web:a,batch:b:c", "web:a\nbatch:b:c\n", "web:a\r\n\r\n batch:b:c"])
def test_several_keys_are_divided_by_commas_or_line_ends(text):
    assert parse_api_keys(text) == {"web": "a", "batch": "b:c"}


def test_keys_are_read_as_they_are_formatted():
    keys = {"web": "a", "batch": "b:c"}
    assert parse_api_keys(formatted(keys)) == keys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web:a,hidden", "entry 2 is no NAME:KEY"),
        ("web:", "entry 1 is no NAME:KEY"),
        (":hidden", "entry 1 is no NAME:KEY"),
        ("a b:hidden", "entry 1 is no NAME:KEY"),
        ("internal:hidden", "is not 'internal'"),
        ("web:hidden key", "the key of 'web' has white space"),
        ("web:hidden-ü", "or characters beyond ASCII"),
        ("web:hidden,web:b", "the same name stands there twice"),
        ("web:hidden,batch:hidden", "the same key stands there twice"),
    ],
)
def test_a_text_that_is_no_list_of_keys_is_refused_without_quoting_a_key(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_api_keys(text)
    assert "hidden" not in str(error.value)
