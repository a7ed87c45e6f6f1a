"""What held-out rows have in common with training rows, though no database is in both.

Two measures stand beside the split by database. The *skeleton* of a query is the query without names and
values: a model that has seen it has seen the structure of the answer (Finegan-Dollak et al., ACL 2018, split
datasets by it). Two questions are *near* when the sets of their character trigrams have a Jaccard similarity
of at least `NEAR`.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

from sqltune.node_contracts.data_check import NearQuestion, Overlap
from sqltune.sql.names import RESERVED
from sqltune.sql.tokens import meaningful, tokens, words

NEAR = 0.8
"""Jaccard similarity from which on two questions are near."""
EXAMPLES = 20
"""Pairs of near questions that are shown."""

Row = dict[str, str]

_KEPT = RESERVED | words(
    """
    abs asc avg by cast coalesce count desc end glob ifnull iif inner julianday left length like lower max min
    nullif offset outer over replace right round strftime substr sum total trim upper using with
    """
)
"""Words of a query that are its structure; all others are names."""


@lru_cache(maxsize=65536)
def skeleton(query: str) -> str:
    """A query with `_` for each name and `?` for each value: `select count ( * ) from _ where _ > ?`."""
    parts: list[str] = []
    for token in meaningful(tokens(query)):
        if token.kind in ("text", "number"):
            parts.append("?")
        elif token.kind == "name" or (token.kind == "word" and token.key not in _KEPT):
            parts.append("_")
        else:
            parts.append(token.key or token.text)
    # A qualified name is a name.
    return " ".join(parts).replace("_ . _", "_").rstrip("; ")


@lru_cache(maxsize=65536)
def plain(question: str) -> str:
    """A question without case, width, blanks and punctuation."""
    folded = unicodedata.normalize("NFKC", question).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LN")


def overlap(train: Sequence[Row], held_out: Sequence[Row]) -> Overlap:
    """Measure what held-out rows have in common with training rows.

    Args:
        train: Rows with `question` and `answer`.
        held_out: Rows of other databases.
    """
    skeletons = {skeleton(row["answer"]) for row in train}
    questions = {plain(row["question"]): row["question"] for row in train}
    pairs = nearest([row["question"] for row in held_out], questions)
    return Overlap(
        held_out=len(held_out),
        same_skeleton=sum(skeleton(row["answer"]) in skeletons for row in held_out),
        same_question=sum(plain(row["question"]) in questions for row in held_out),
        near_question=len(pairs),
        examples=sorted(pairs, key=lambda pair: (-pair.similarity, pair.held_out))[:EXAMPLES],
    )


def nearest(held_out: Iterable[str], train: dict[str, str]) -> list[NearQuestion]:
    """For each held-out question that is near to a training question, the nearest one.

    It compares only questions that share one of their rarest trigrams. That finds every pair: two sets with a
    Jaccard similarity of at least t share an element among the first |x| - ceil(t |x|) + 1 of each, in any
    common order (prefix filtering: Chaudhuri, Ganti and Kaushik, ICDE 2006).

    Args:
        held_out: The questions to look for.
        train: The training questions by their `plain` form.
    """
    sets = {question: _trigrams(form) for form, question in train.items()}
    frequency = Counter(gram for grams in sets.values() for gram in grams)

    def prefix(grams: frozenset[str]) -> list[str]:
        length = len(grams) - math.ceil(NEAR * len(grams)) + 1
        return sorted(grams, key=lambda gram: (frequency[gram], gram))[:length]

    by_gram: dict[str, list[str]] = defaultdict(list)
    for question, grams in sets.items():
        for gram in prefix(grams):
            by_gram[gram].append(question)
    found: list[NearQuestion] = []
    for question in held_out:
        grams = _trigrams(plain(question))
        candidates = {near for gram in prefix(grams) for near in by_gram.get(gram, ())}
        similar = [(_jaccard(grams, sets[near]), near) for near in candidates]
        best, near = max(similar, default=(0.0, ""))
        if best >= NEAR:
            found.append(NearQuestion(held_out=question, train=near, similarity=round(best, 3)))
    return found


def _trigrams(form: str) -> frozenset[str]:
    return frozenset(form[i : i + 3] for i in range(max(1, len(form) - 2)))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
