"""Rows of question / context / answer: checked, deduplicated, and split by database. Runs on the hosts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sqltune.errors import DatasetError
from sqltune.prompt import training_row
from sqltune.sql.create_table import quote_context
from sqltune.sql.normalise import normalise

FIELDS = ("question", "context", "answer")

Row = dict[str, str]


@dataclass(frozen=True)
class Counts:
    """What became of the rows: `normalised` ones were brought to SQLite's dialect, `unusable` ones don't run in it and are left out."""

    rows: int
    invalid: int
    duplicates: int
    normalised: int
    unusable: int
    train: int
    held_out: int
    train_databases: int
    held_out_databases: int


@dataclass(frozen=True)
class Split:
    """Training rows and held-out rows; no database is in both. `changed` tells of each answer that is not the data set's own: original, answer or null, rules, problem."""

    train: list[Row]
    held_out: list[Row]
    changed: list[dict[str, object]]
    counts: Counts


def clean(row: object) -> Row | None:
    """A row with its three texts stripped and the answer's last semicolon gone; None for a row that has not all three."""
    if not isinstance(row, dict) or not all(isinstance(row.get(f), str) and row[f].strip() for f in FIELDS):
        return None
    cleaned = {f: row[f].strip() for f in FIELDS}
    cleaned["answer"] = cleaned["answer"].rstrip("; \n")
    return cleaned if cleaned["answer"] else None


def database(context: str) -> str:
    """Names the database a context describes: its tables and columns, whatever their order, case, spacing and quotes."""
    unquoted = context.replace('"', "")
    statements = sorted(re.sub(r"\s+", " ", s).strip().lower() for s in unquoted.split(";") if s.strip())
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()[:16]


def held_out(db: str, percent: int) -> bool:
    """Whether a database is kept out of training: by its own hash, so that it stays where it is when the data set grows."""
    return int(db, 16) % 100 < percent


def split(rows: Iterable[object], percent: int) -> Split:
    """Check, deduplicate and split; `DatasetError` when nothing is left to train on or to judge by, or when the split leaks."""
    total = invalid = 0
    unique: dict[tuple[str, ...], Row] = {}
    kept = 0
    for raw in rows:
        total += 1
        row = clean(raw)
        if row is None:
            invalid += 1
            continue
        kept += 1
        unique.setdefault(tuple(row[f] for f in FIELDS), row)
    train: list[Row] = []
    out: list[Row] = []
    changed: list[dict[str, object]] = []
    for row in unique.values():
        row = row | {"context": quote_context(row["context"])}
        found = normalise(row["answer"], row["context"])
        if found.rules or found.problem:
            changed.append(
                row
                | {
                    "original": row["answer"],
                    "answer": None if found.problem else found.sql,
                    "rules": found.rules,
                    "problem": found.problem,
                }
            )
        if found.problem:
            # Taught from, it would teach what does not run; judged by, it could not be.
            continue
        row = row | {"answer": found.sql}
        (out if held_out(database(row["context"]), percent) else train).append(row)
    unusable = sum(c["answer"] is None for c in changed)
    train_dbs, out_dbs = ({database(r["context"]) for r in part} for part in (train, out))
    if not train or not out:
        raise DatasetError(
            f"of {total} rows {len(train)} are left to train on and {len(out)} to judge by ({invalid} lack one of {', '.join(FIELDS)}, {unusable} don't run in SQLite): check the dataset, or held_out_percent in the recipe"
        )
    if train_dbs & out_dbs:
        raise DatasetError(
            f"{len(train_dbs & out_dbs)} databases are in the training rows and in the held-out ones"
        )
    return Split(
        train,
        out,
        changed,
        Counts(
            total,
            invalid,
            kept - len(unique),
            len(changed) - unusable,
            unusable,
            len(train),
            len(out),
            len(train_dbs),
            len(out_dbs),
        ),
    )


def sample(rows: list[Row], size: int) -> list[Row]:
    """At most `size` rows, by a fixed hash: the same questions in every run over the same rows."""
    return sorted(rows, key=lambda r: hashlib.sha256(json.dumps(r, sort_keys=True).encode()).hexdigest())[
        :size
    ]


def write(parts: Split, folder: Path) -> dict[str, object]:
    """Write train.jsonl (in xtuner's shape), held_out.jsonl and changed.jsonl; paths and counts, as they are in `dataset.json` too."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (
        ("train", [training_row(**r) for r in parts.train]),
        ("held_out", parts.held_out),
        ("changed", parts.changed),
    ):
        partial = folder / f"{name}.jsonl.partial"
        partial.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
        partial.rename(folder / f"{name}.jsonl")
    summary = {
        "train_path": str(folder / "train.jsonl"),
        "held_out_path": str(folder / "held_out.jsonl"),
        "train_hash": hashlib.sha256((folder / "train.jsonl").read_bytes()).hexdigest()[:16],
        "counts": asdict(parts.counts),
    }
    (folder / "dataset.json").write_text(json.dumps(summary), encoding="utf-8")
    return summary
