"""Text of a host that is shown to people."""

from __future__ import annotations

import pytest

from ssh_gang.errors import HostError
from ssh_gang.text import decode, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b[2J\x1b[Hclean screen", "clean screen"),
        ("\x1bc reset", " reset"),
        ("cut \x1b", "cut \ufffd"),
        ("a\0b\bc\x9b31md", "a\ufffdb\ufffdc\ufffd31md"),
        ("user\u202etxt.exe", "user\ufffdtxt.exe"),
        ("tab\t行 — é\n", "tab\t行 — é\n"),
    ],
)
def test_no_escape_sequence_is_left(text, shown):
    assert printable(text) == shown
    assert decode(text.encode()) == shown


def test_a_title_without_an_end_hides_no_line():
    assert printable("\x1b]0;hidden\nnext\nlast").splitlines() == ["0;hidden", "next", "last"]


def test_broken_utf8_becomes_the_replacement_character():
    assert decode(b"a\xff\x9b31mb") == "a\ufffd\ufffd31mb"


def test_an_error_quotes_a_host_without_its_escape_sequences():
    assert str(HostError("a: \x1b[2Jrefused\x07")) == "a: refused\ufffd"
