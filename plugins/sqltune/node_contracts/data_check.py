"""What a revision of the dataset changes against the one trained before, and what is wrong with its rows."""

from __future__ import annotations

from pydantic import Field

from sqltune.node_contracts.script import NodeModel


class DatabaseChange(NodeModel):
    """The rows of one database, before and after."""

    database: str = Field(description="Hash of the database's schema.")
    tables: str = Field(description="Names of its tables.")
    before: int = Field(ge=0, description="Rows of the earlier revision.")
    after: int = Field(ge=0, description="Rows of this revision.")
    added: int = Field(ge=0, description="Questions that the earlier revision does not ask of it.")
    removed: int = Field(ge=0, description="Questions that only the earlier revision asks of it.")
    changed: int = Field(ge=0, description="Questions with other answers than before.")
    held_out: bool = Field(description="Whether it is held out of training.")


class ChangedAnswer(NodeModel):
    """A question whose answer is another one than before."""

    question: str
    tables: str = Field(description="Names of the tables that it is about.")
    before: list[str] = Field(description="Its answers in the earlier revision.")
    after: list[str] = Field(description="Its answers in this revision.")


class Contradiction(NodeModel):
    """A question with several answers over the same schema."""

    question: str
    tables: str = Field(description="Names of the tables that it is about.")
    answers: list[str]


class UnusableRow(NodeModel):
    """A row whose answer does not run in SQLite; it is left out."""

    question: str
    answer: str
    problem: str = Field(description="Why it does not run.")


class NearQuestion(NodeModel):
    """A held-out question that is nearly a training question."""

    held_out: str = Field(description="The held-out question.")
    train: str = Field(description="The training question nearest to it.")
    similarity: float = Field(ge=0, le=1, description="Jaccard similarity of their character trigrams.")


class Overlap(NodeModel):
    """What held-out questions have in common with training questions, though no database is in both."""

    held_out: int = Field(ge=0, description="Held-out rows.")
    same_skeleton: int = Field(
        ge=0, description="Those whose SQL without names and values is that of a training row."
    )
    same_question: int = Field(
        ge=0, description="Those whose question equals a training question, but for case and punctuation."
    )
    near_question: int = Field(ge=0, description="Those whose question nearly equals a training question.")
    examples: list[NearQuestion] = Field(description="The nearest of these; not all of them.")


class RevisionChanges(NodeModel):
    """This revision against an earlier one."""

    since: str = Field(description="Commit of the earlier revision.")
    questions_before: int = Field(ge=0, description="Questions of the earlier revision.")
    added: int = Field(ge=0, description="Questions that the earlier revision does not ask of their schema.")
    removed: int = Field(ge=0, description="Questions that only the earlier revision asks.")
    changed: int = Field(ge=0, description="Questions with other answers than before.")
    new_databases: int = Field(ge=0, description="Databases that the earlier revision does not have.")
    lost_databases: int = Field(ge=0, description="Databases that only the earlier revision has.")
    databases: list[DatabaseChange] = Field(
        description="Databases with a difference, the largest first; not all of a very long list."
    )
    answers: list[ChangedAnswer] = Field(description="Some of the questions with other answers.")
    fields_before: list[str] = Field(description="Fields of the earlier revision's rows.")


class DataCheck(NodeModel):
    """What was found in a revision's rows before anything was trained on them."""

    rows: int = Field(ge=0, description="Rows of the files.")
    questions: int = Field(ge=0, description="Different questions, each over one schema.")
    invalid: int = Field(ge=0, description="Rows that lack the question, the context or the answer.")
    unusable: int = Field(ge=0, description="Rows whose answer does not run in SQLite.")
    contradictory: int = Field(ge=0, description="Questions with several answers over the same schema.")
    fields: list[str] = Field(description="Fields that the rows have.")
    unusable_rows: list[UnusableRow] = Field(description="Some of the rows that do not run.")
    contradictions: list[Contradiction] = Field(description="Some of the contradictory questions.")
    overlap: Overlap
    changes: RevisionChanges | None = Field(
        None, description="Against the revision trained before; None where there is none."
    )
