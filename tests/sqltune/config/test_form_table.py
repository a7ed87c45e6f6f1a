"""docs/form.md is what the models say."""

from __future__ import annotations

import pytest

from sqltune.config.form_table import page
from sqltune.config.recipe import Training
from sqltune.config.spec import RunSpec
from tests.conftest import ROOT

FILE = ROOT / "docs" / "form.md"


def test_the_page_is_what_is_generated(request):
    text = page()
    if request.config.getoption("--update-golden"):
        FILE.write_text(text, encoding="utf-8")
    assert FILE.read_text(encoding="utf-8") == text, "renew it with: pytest --update-golden"


@pytest.mark.parametrize("name", [*RunSpec.model_fields, *Training.model_fields])
def test_every_field_is_on_the_page(name):
    assert f"| `{name}` |" in FILE.read_text(encoding="utf-8")
