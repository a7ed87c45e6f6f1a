"""Hostile values for the trigger form: the same ones for a seed, for tests in process and over REST.

`hostile_forms(n)` yields forms of one field each, in turn over all fields; a form may be accepted or refused,
but nothing else may happen.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError

from sqltune.config.spec import RunSpec

MARK = "PWNED"
"""Part of each command that a value would run: a file or a word of this name is a proof."""

COMMANDS = (
    "; touch PWNED",
    "$(touch PWNED)",
    "`touch PWNED`",
    "| touch PWNED",
    "&& touch PWNED",
    "& touch PWNED &",
    "\ntouch PWNED\n",
    "\r\ntouch PWNED",
    "' ; touch PWNED ; '",
    '" ; touch PWNED ; "',
    "'$(touch PWNED)'",
    "<(touch PWNED)",
    "> PWNED",
    "${IFS}touch${IFS}PWNED",
    "\\\ntouch PWNED",
    "{touch,PWNED}",
    "!touch PWNED",
    "#\ntouch PWNED",
    "--use-compress-program=touch PWNED",
    "-oProxyCommand=touch PWNED",
)
QUOTES = ("'", '"', "`", "\\", "''", '"\'"', "\\'", "\\\\", "$'", "'\"'\"'")
CONTROLS = (
    *("\0", "a\0b", "\x1b[2J", "\x07", "\x08\x08", "\x7f", "\x9b31m", "\t", "\v"),
    *("\u202egnp.exe", "\u2066x\u2069", "\u200b", "\ufeff", "\u2028", "\ud800", "\uffff"),
    *("e\u0301", "Ａ", "ı", "٣", "①", "𝟙", "👩‍👩‍👧", "表"),
)
FORMATS = (
    *("%s%s%s%n", "%(x)s", "%99999999d", "{}", "{0.__class__}", "{run_id!r:>99999999}"),
    *("$PATH", "${HOME:-x}", "${SQLTUNE_API_KEY}", "~", "~root", "*", "?", "[a-z]*", "{a,b}"),
)
TEMPLATES = (
    "{{ 7 * 7 }}",
    "{{ conn.sqltune_glm.password }}",
    "{{ var.value.x }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ self.__init__.__globals__.__builtins__.__import__('os').system('touch PWNED') }}",
    "{# comment #}",
    "${{ github.token }}",
    "<%= 7 * 7 %>",
    "#{7*7}",
)
PATHS = (
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "/",
    "a/../../b",
    "....//....//etc",
    "%2e%2e%2f",
    "..\\..\\x",
    "file:///etc/passwd",
    "~/../root",
    "/dev/zero",
    "/proc/self/environ",
    "C:\\x",
    "//host/share",
    "http://127.0.0.1:1/x",
    "-rf",
    "--help",
    "-",
    "CON",
)
OTHERS = (
    "' OR 1=1 --",
    "Robert'); DROP TABLE runs;--",
    "<script>alert('PWNED')</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "=cmd|'/c calc'!A1",
    "!!python/object/apply:os.system ['touch PWNED']",
    "&a [*a, *a]",
    "null",
    "true",
    "NaN",
    "1e999",
    "0x10",
    "1_000",
    " 1",
    "",
    " ",
)
NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    -0.0,
    1.5,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
)
SHAPES: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [None],
    ["a", 1],
    {"a": {"b": ["; touch PWNED"]}},
    {"__class__": "os.system", "__type": "x", "__var": {"k": "v"}},
    {"$ref": "#/x"},
    {"type": "string", "value": "x"},
    [["[" * 100]],
    json.loads("[" * 200 + "]" * 200),
)
LENGTHS = (129, 257, 501, 4097, 70_000, 1_000_000)


TEXTS = (*COMMANDS, *QUOTES, *CONTROLS, *FORMATS, *TEMPLATES, *PATHS, *OTHERS)
LISTED = len((*TEXTS, *NUMBERS, *SHAPES)) + 2 * len(LENGTHS)
"""Values that are not put together of others."""


def hostile_values(seed: int = 0) -> Iterator[Any]:
    """Values without end: first each of the lists above, then pieces of them put together."""
    yield from (*TEXTS, *NUMBERS, *SHAPES)
    yield from ("a" * length for length in LENGTHS)
    yield from ("a/" * (length // 2) + "a" for length in LENGTHS)
    chance = random.Random(seed)
    innocent = (
        "main",
        "team/data",
        "/code/models/base",
        "lab",
        "zero2",
        "1",
        "a_b-c.d",
        "spider_dev, dusql_dev",
    )
    while True:
        pieces = [chance.choice((*TEXTS, *innocent)) for _ in range(chance.randint(2, 4))]
        text = "".join(pieces)
        yield chance.choice([text, text, text, [text], {text: text}, text * chance.choice([10, 1000])])


def hostile_forms(n: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """`n` forms, each with one hostile value; every field gets every value of the lists in its turn.

    Args:
        n: How many.
        seed: Another one puts other pieces together, and goes through the lists in another order.
    """
    values = list(itertools.islice(hostile_values(seed), LISTED))
    pairs = [(name, value) for name in RunSpec.model_fields for value in values]
    random.Random(seed).shuffle(pairs)
    further = itertools.islice(hostile_values(seed), LISTED, None)
    forms = itertools.chain(pairs, zip(itertools.cycle(RunSpec.model_fields), further, strict=False))
    yield from ({name: value} for name, value in itertools.islice(forms, n))


def refusal(form: dict[str, object], params: ParamsDict) -> str:
    """What Airflow says of a form, as it does when a run is triggered; empty where it takes it."""
    [(name, value)] = form.items()
    given = ParamsDict({name: params.get_param(name)})
    try:
        # A value that is not JSON does not get here.
        given.update({name: value})
        given.validate()
    except (ParamValidationError, ValueError) as e:
        return str(e)
    return ""


PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/~@+, "
"""The characters of a plain word or path."""


def is_harmless(value: object) -> bool:
    """Whether a value that a field took is a plain word, path or number."""
    if value is None or isinstance(value, (bool, int, float)):
        return True
    return isinstance(value, str) and len(value) <= 500 and set(value) <= set(PLAIN) and ".." not in value
