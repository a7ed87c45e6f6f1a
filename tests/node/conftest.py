"""The scripts of the hosts import each other by bare names."""

from __future__ import annotations

import sys

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "include/node"))
