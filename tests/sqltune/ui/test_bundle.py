"""The built app is what its source builds, small, and speaks to nobody but Airflow."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sqltune.ui.app import STATIC, create_app
from tests.conftest import ROOT

BUNDLES = ["sqltune.js", "frame.js"]
LIMIT = 150_000
"""Bytes of a bundle, compressed."""


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the app's source with its packages installed."""
    if not shutil.which("npm"):
        pytest.skip("npm is not here: the app cannot be built")
    folder = tmp_path_factory.mktemp("page") / "ui"
    shutil.copytree(ROOT / "ui", folder, ignore=shutil.ignore_patterns("node_modules"))
    run(folder, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    return folder


def run(folder: Path, *command: str) -> None:
    env = {k: v for k, v in os.environ.items() if k != "NODE_ENV"}
    result = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


@pytest.mark.slow
def test_the_committed_bundles_are_what_the_source_builds(source):
    run(source, "npm", "run", "build")
    built = source.parent / "plugins/sqltune/ui/static"
    assert [n for n in BUNDLES if (built / n).read_bytes() != (STATIC / n).read_bytes()] == [], (
        "make ui builds them"
    )


@pytest.mark.slow
def test_the_apps_own_tests_pass(source):
    run(source, "npm", "test")


def test_the_types_of_the_app_are_generated_from_this_api():
    description = json.loads((ROOT / "ui/openapi.json").read_text())
    assert description == json.loads(json.dumps(create_app().openapi())), "make ui writes it"


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_bundle_is_small(bundle):
    assert len(gzip.compress((STATIC / bundle).read_bytes())) < LIMIT


def test_the_bundle_for_airflows_page_holds_no_copy_of_react():
    assert "react.transitional.element" not in (STATIC / "sqltune.js").read_text()


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_bundle_fetches_nothing_from_elsewhere(bundle):
    addresses = set(re.findall(r"https?://[\w.-]+", (STATIC / bundle).read_text()))
    # XML namespaces, the base of React Router's relative addresses, and links in error messages.
    named = {"react.dev", "reactrouter.com", "github.com"}
    assert addresses <= {"http://www.w3.org", "http://localhost", *(f"https://{name}" for name in named)}
