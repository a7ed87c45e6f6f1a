"""Errors that the project raises on purpose.

SqltuneError
├── ConfigError            the form, a recipe or a cluster file is wrong: all mistakes at once, before a start
├── HubError               the dataset hub does not have what the plan names
│   ├── HubUnreachable     the hub does not answer: worth another try
│   ├── CommitGone         the hub no longer has a commit, or the commit has none of the files
│   └── CommitChanged      the hub has other files under a commit's id than before
├── DiskError              a file of this machine cannot be read or written
├── DatasetError           rows that cannot be trained on
├── ServingError           the model server does not start or does not answer
├── OtherCode              this machine has other scripts than the machine that planned the run
├── ScoringError           answers that cannot be judged
└── RegistryError          the record of versions and of the champion

Errors of hosts and gangs are in `ssh_gang.errors`, those of the database and the log store in
`sqltune.records.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence


class SqltuneError(Exception):
    """Base of all errors raised on purpose.

    The message says what was found, what was expected, and what to do.
    """


class ConfigError(SqltuneError):
    """All mistakes in a form or a configuration file, one line each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = list(mistakes)
        count = len(self.mistakes)
        heading = "1 value is wrong" if count == 1 else f"{count} values are wrong"
        super().__init__("\n  - ".join([f"{heading}; nothing was started:", *self.mistakes]))


class HubError(SqltuneError):
    """The dataset hub does not have what the plan names."""


class HubUnreachable(HubError):
    """The dataset hub does not answer, or answers with an error of its own: worth another try."""


class CommitGone(HubError):
    """The dataset hub no longer has a commit, or the commit has none of the files that are named."""


class CommitChanged(HubError):
    """The dataset hub has other files under a commit's id than it had before."""


class DiskError(SqltuneError):
    """A file of this machine cannot be read or written."""


class DatasetError(SqltuneError):
    """Rows that cannot be trained on, or a split that leaks."""


class ServingError(SqltuneError):
    """The model server does not start or does not answer."""


class OtherCode(SqltuneError):
    """This machine has another version of sqltune than the one that planned the run."""


class ScoringError(SqltuneError):
    """Answers that cannot be judged."""


class RegistryError(SqltuneError):
    """The record of versions and of the champion cannot be read or written."""
