"""Corrections: gold queries that a person found wrong, and what they should be.

They are entries of `include/configs/regression/corrections.yaml`, under version control, each with its author
and reason. Every suite applies them by question id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import yaml
from pydantic import Field, ValidationError

from sqltune.config import paths
from sqltune.config.loading import describe
from sqltune.errors import ConfigError
from sqltune.evaluation.questions import CORRECTED, Question
from sqltune.sql.normalise import normalise
from ssh_gang.model import Model

FILE = "corrections.yaml"
"""Name of the file, beside the suites."""
_WHERE = f"regression/{FILE}"


class Correction(Model):
    """A gold query that replaces the one of a suite."""

    id: str = Field(min_length=1, description="Id of the question, as in the log and in the report.")
    gold: str = Field(min_length=1, description="The corrected query, in SQLite's dialect.")
    author: str = Field(min_length=1, description="Who corrected it.")
    reason: str = Field(min_length=1, description="What is wrong with the published one.")


def load() -> dict[str, Correction]:
    """Return all corrections by question id; none where the file does not exist.

    Raises:
        ConfigError: the file has mistakes; it names every one.
    """
    file = paths.CONFIGS / "regression" / FILE
    if not file.is_file():
        return {}
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeError) as e:
        raise ConfigError([f"{_WHERE}: is not YAML ({' '.join(str(e).split())}): correct it"]) from e
    if not isinstance(entries, list | None):
        raise ConfigError([f"{_WHERE}: is not a list: begin each correction with '- id: …'"])
    return _validated(entries or [])


def _validated(entries: Sequence[object]) -> dict[str, Correction]:
    corrections: list[Correction] = []
    mistakes: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            corrections.append(Correction.model_validate(entry))
        except ValidationError as e:
            mistakes += describe(e, f"{_WHERE}[{number}]")
    repeated = [name for name, times in Counter(c.id for c in corrections).items() if times > 1]
    mistakes += [f"{_WHERE}: id {name!r} is corrected more than once: keep one" for name in repeated]
    if mistakes:
        raise ConfigError(mistakes)
    return {correction.id: correction for correction in corrections}


def apply(questions: Sequence[Question], corrections: Mapping[str, Correction]) -> list[Question]:
    """Return the questions with corrected gold queries; those that were corrected have the tag `corrected`.

    Raises:
        ConfigError: a corrected query does not run on its question's schema; it names every one.
    """
    mistakes: list[str] = []
    corrected = [_corrected(q, corrections[q.id], mistakes) if q.id in corrections else q for q in questions]
    if mistakes:
        raise ConfigError(mistakes)
    return corrected


def _corrected(question: Question, correction: Correction, mistakes: list[str]) -> Question:
    result = normalise(correction.gold, question.context)
    if result.problem:
        mistakes.append(
            f"{_WHERE}: gold of {correction.id!r} does not run on its question's schema "
            f"({result.problem}): correct it"
        )
    return question.model_copy(update={"gold": result.sql, "tags": (*question.tags, CORRECTED)})


def described(questions: Sequence[Question], corrections: Mapping[str, Correction]) -> list[str]:
    """Return one line for each question that was corrected: which, by whom, and why."""
    applied = [corrections[q.id] for q in questions if CORRECTED in q.tags and q.id in corrections]
    return [f"gold of {c.id} corrected by {c.author}: {c.reason}" for c in applied]
