"""Rows of question / context / answer: checked, deduplicated, and split by database. Runs on the hosts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sqltune.errors import DatasetError
from sqltune.sql.create_table import quote_context
from sqltune.sql.normalise import normalise
from sqltune.sql.prompt import training_row

FIELDS = ("question", "context", "answer")

Row = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of the rows.

    Attributes:
        rows: Rows of the dataset.
        invalid: Rows without one of the three texts.
        duplicates: Rows that are there already.
        normalised: Answers that were rewritten to SQLite's dialect.
        unusable: Answers that do not run in SQLite and are left out.
        train: Rows to train on.
        held_out: Rows to evaluate on.
        train_databases: Databases of the training rows.
        held_out_databases: Databases of the held-out rows.
    """

    rows: int
    invalid: int
    duplicates: int
    normalised: int
    unusable: int
    train: int
    held_out: int
    train_databases: int
    held_out_databases: int


@dataclass(frozen=True, kw_only=True)
class ChangedRow:
    """A row whose answer is not the dataset's own.

    Attributes:
        question: The question.
        context: The CREATE TABLE statements.
        answer: The answer in SQLite's dialect; None where it does not run and the row is left out.
        original: The dataset's answer.
        rules: Rules of the normaliser that changed it.
        problem: Why it does not run; None where it does.
    """

    question: str
    context: str
    answer: str | None
    original: str
    rules: Sequence[str]
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Split:
    """Training rows and held-out rows; no database is in both.

    Attributes:
        train: Rows to train on.
        held_out: Rows to evaluate on.
        changed: Each row whose answer is not the dataset's own.
        counts: What became of the rows.
    """

    train: list[Row]
    held_out: list[Row]
    changed: list[ChangedRow]
    counts: Counts


@dataclass(frozen=True, kw_only=True)
class WrittenSplit:
    """Where a split was written; `dataset.json` holds the same.

    Attributes:
        train_path: The training rows, in xtuner's format.
        held_out_path: The held-out rows.
        train_hash: Hash of the training rows' file.
        counts: What became of the rows.
    """

    train_path: str
    held_out_path: str
    train_hash: str
    counts: Counts


def clean(row: object) -> Row | None:
    """Strip a row's three texts and the answer's last semicolon; None for a row that lacks one of them."""
    if not isinstance(row, dict) or not all(isinstance(row.get(f), str) and row[f].strip() for f in FIELDS):
        return None
    cleaned = {f: row[f].strip() for f in FIELDS}
    cleaned["answer"] = cleaned["answer"].rstrip("; \n")
    return cleaned if cleaned["answer"] else None


def database(context: str) -> str:
    """Hash of the database that a context describes; table order, case, spacing and quotes do not matter."""
    unquoted = context.replace('"', "")
    statements = sorted(re.sub(r"\s+", " ", s).strip().lower() for s in unquoted.split(";") if s.strip())
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()[:16]


def held_out(db: str, percent: int) -> bool:
    """Whether a database is held out of training; its own hash decides, so a growing dataset moves none.

    Args:
        db: The database's hash.
        percent: Share of the databases that is held out.
    """
    return int(db, 16) % 100 < percent


def split(rows: Iterable[object], percent: int) -> Split:
    """Check, deduplicate, normalise and split rows by database.

    Args:
        rows: The dataset's rows.
        percent: Share of the databases that is held out.

    Raises:
        DatasetError: no row is left to train on or to evaluate on, or a database is in both parts.
    """
    raw = list(rows)
    cleaned = [row for row in map(clean, raw) if row is not None]
    unique = {tuple(row[f] for f in FIELDS): row for row in cleaned}
    usable, changed = _normalised(unique.values())
    train = [row for row in usable if not held_out(database(row["context"]), percent)]
    out = [row for row in usable if held_out(database(row["context"]), percent)]
    unusable = sum(row.answer is None for row in changed)
    train_databases, out_databases = ({database(row["context"]) for row in part} for part in (train, out))
    counts = Counts(
        rows=len(raw),
        invalid=len(raw) - len(cleaned),
        duplicates=len(cleaned) - len(unique),
        normalised=len(changed) - unusable,
        unusable=unusable,
        train=len(train),
        held_out=len(out),
        train_databases=len(train_databases),
        held_out_databases=len(out_databases),
    )
    _check(counts, len(train_databases & out_databases))
    return Split(train=train, held_out=out, changed=changed, counts=counts)


def _normalised(rows: Iterable[Row]) -> tuple[list[Row], list[ChangedRow]]:
    """Rewrite answers to SQLite's dialect; return the usable rows, and those changed or left out."""
    usable: list[Row] = []
    changed: list[ChangedRow] = []
    for original in rows:
        row = original | {"context": quote_context(original["context"])}
        result = normalise(row["answer"], row["context"])
        if result.rules or result.problem:
            changed.append(
                ChangedRow(
                    question=row["question"],
                    context=row["context"],
                    answer=None if result.problem else result.sql,
                    original=row["answer"],
                    rules=result.rules,
                    problem=result.problem,
                )
            )
        # An answer that does not run would teach the model such answers, and cannot be evaluated.
        if not result.problem:
            usable.append(row | {"answer": result.sql})
    return usable, changed


def _check(counts: Counts, databases_in_both: int) -> None:
    if not counts.train or not counts.held_out:
        raise DatasetError(
            f"of {counts.rows} rows {counts.train} are left for training and {counts.held_out} for "
            f"evaluation ({counts.invalid} lack one of {', '.join(FIELDS)}, {counts.unusable} don't run in "
            "SQLite): check the dataset, or held_out_percent in the recipe"
        )
    if databases_in_both:
        raise DatasetError(
            f"{databases_in_both} databases are in the training rows and the held-out ones, expected none. "
            "This is a fault of the split: report it"
        )


def sample(rows: list[Row], size: int) -> list[Row]:
    """Take at most `size` rows by a fixed hash: the same rows give the same sample in every run."""

    def key(row: Row) -> str:
        return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()

    return sorted(rows, key=key)[:size]


def write(parts: Split, folder: Path) -> WrittenSplit:
    """Write train.jsonl (in xtuner's format), held_out.jsonl, changed.jsonl, and dataset.json about them."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Sequence[object]] = {
        "train": [training_row(**r) for r in parts.train],
        "held_out": parts.held_out,
        "changed": [asdict(row) for row in parts.changed],
    }
    for name, rows in files.items():
        partial = folder / f"{name}.jsonl.partial"
        partial.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
        partial.rename(folder / f"{name}.jsonl")
    written = WrittenSplit(
        train_path=str(folder / "train.jsonl"),
        held_out_path=str(folder / "held_out.jsonl"),
        train_hash=hashlib.sha256((folder / "train.jsonl").read_bytes()).hexdigest()[:16],
        counts=parts.counts,
    )
    (folder / "dataset.json").write_text(json.dumps(asdict(written)), encoding="utf-8")
    return written
