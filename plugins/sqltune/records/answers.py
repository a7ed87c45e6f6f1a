"""Answers by model, decoding and prompt: a prompt that was answered once is not sent again, by any run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from sqltune.records import database
from sqltune.records.models import Answer
from sqltune.records.types import now

CHUNK = 500
"""Prompts in one query: the engines limit the number of parameters."""

_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
"""Characters that a model may answer and a database refuses: NUL (PostgreSQL), half of a surrogate pair."""


def known(model_hash: str, decoding: str, prompts: Iterable[str]) -> dict[str, str]:
    """Return the stored answers, by prompt hash.

    Args:
        model_hash: Hash of the weights, or of a hosted model's name and address.
        decoding: Hash of the template and of everything that decides how an answer is generated.
        prompts: Hashes of the prompts.
    """
    with database.reading() as session:
        return {prompt: row.text for prompt, row in rows(session, model_hash, decoding, prompts).items()}


def rows(session: Session, model_hash: str, decoding: str, prompts: Iterable[str]) -> dict[str, Answer]:
    """Return the rows of the stored answers, by prompt hash."""
    unique_prompts = list(dict.fromkeys(prompts))
    rows: dict[str, Answer] = {}
    for start in range(0, len(unique_prompts), CHUNK):
        statement = select(Answer).where(
            Answer.model_hash == model_hash,
            Answer.decoding == decoding,
            Answer.prompt_hash.in_(unique_prompts[start : start + CHUNK]),
        )
        rows |= {row.prompt_hash: row for row in session.scalars(statement)}
    return rows


def put(model_hash: str, decoding: str, answers: Mapping[str, str]) -> None:
    """Keep answers by prompt hash; an answer that is there already stays.

    Two runs that query one model at the same time must be judged by the same answer. A character that a
    database refuses becomes the replacement character.
    """
    at = now()
    with database.writing() as session:
        database.upsert(
            session,
            Answer,
            [
                {
                    "model_hash": model_hash,
                    "decoding": decoding,
                    "prompt_hash": prompt,
                    "text": _NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", text),
                    "at": at,
                }
                for prompt, text in answers.items()
            ],
            keys=["model_hash", "decoding", "prompt_hash"],
            update=False,
        )
