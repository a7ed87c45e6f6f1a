"""A verdict as JSON, for tests of what follows the gate."""

from __future__ import annotations

COMPARISON = {
    "questions": 100,
    "gained": 9,
    "lost": 1,
    "difference": 0.08,
    "low": 0.02,
    "high": 0.14,
    "p_value": 0.02,
}
PASSED = {"passed": True, "rules": [], "comparison": COMPARISON}
