"""The licences of what is installed."""

from __future__ import annotations

from email.message import Message
from types import SimpleNamespace

import pytest

from lab import licences


def package(name: str = "p", **fields: str | list[str]):
    """A package with the fields of its metadata; `_` in a field's name is a dash."""
    metadata = Message()
    metadata["Name"] = name
    for field, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            metadata[field.replace("_", "-")] = value
    return SimpleNamespace(metadata=metadata)


def test_every_installed_package_has_a_licence_that_is_allowed():
    assert licences.main() == 0


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 AND BSD-3-Clause", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("MIT AND GPL-2.0-only", False),
        ("SSPL-1.0", False),
        ("MIT-like, ask us", False),
        ("Proprietary", False),
        ("", False),
    ],
)
def test_which_licences_are_allowed(licence, allowed):
    assert licences.is_allowed(licence) is allowed
    assert (licences.problems([package(License_Expression=licence)]) == []) is allowed


def test_a_classifier_says_more_than_the_field_licence():
    one = package(Classifier="License :: OSI Approved :: MIT License", License="see LICENSE")
    assert licences.declared(one.metadata) == "MIT License"


def test_a_whole_text_in_the_field_is_known_by_its_first_line():
    assert licences.declared(package(License="BSD\n\nCopyright …").metadata) == "BSD"


def test_an_accepted_package_is_told_of_once_its_licence_changes():
    accepted = {"p": ("", "MIT by its LICENSE file")}
    assert licences.problems([package()], accepted) == []
    [line] = licences.problems([package(License="Proprietary")], accepted)
    assert line.startswith("p: its licence is 'Proprietary', which is not in ALLOWED: read it, then replace")
