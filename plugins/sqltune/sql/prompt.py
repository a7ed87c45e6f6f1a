"""The one prompt template: what a model is trained on is what it is served with and scored on."""

from __future__ import annotations

import hashlib

TEMPLATE = """\
You are a powerful text-to-SQL model. Your job is to answer questions about a database. \
You are given a question and context regarding one or more tables.

You must output the SQL query that answers the question.
### Input:
{question}

### Context:
{context}

### Response:
"""

STOP = ("###", "\n\n")
"""Where a completion ends if the model goes on past its answer."""

TEMPLATE_HASH = hashlib.sha256(TEMPLATE.encode()).hexdigest()[:12]
"""Names the template in caches and records: answers to another template are other answers."""


def render(question: str, context: str) -> str:
    """The prompt for one question over the tables of `context` (CREATE TABLE statements)."""
    return TEMPLATE.format(question=question.strip(), context=context.strip())


def training_row(question: str, context: str, answer: str) -> dict[str, list[dict[str, str]]]:
    """One training example as xtuner's single-turn conversation; the loss is on the answer alone."""
    return {"conversation": [{"input": render(question, context), "output": answer.strip()}]}
