"""What can go wrong, in one tree.

SqltuneError
├── ConfigError            the form, a recipe or a cluster file is wrong: every mistake at once, before anything starts
├── HubError               the dataset hub has not what was asked for
│   └── HubUnreachable     it does not answer: worth another try
├── DatasetError           rows that can't be trained on
├── ServingError           the model server does not come up or does not answer
├── ScoringError           answers that could not be judged
└── RegistryError          the record of versions and of the champion

What goes wrong on the hosts, or with a gang, is in `ssh_gang.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence


class SqltuneError(Exception):
    """Base of all errors raised on purpose; the message says what was found, what was wanted and what to do."""


class ConfigError(SqltuneError):
    """Every mistake in a form or a configuration file, one line each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = list(mistakes)
        count = len(self.mistakes)
        heading = "1 value is wrong" if count == 1 else f"{count} values are wrong"
        super().__init__("\n  - ".join([f"{heading}; nothing was started:", *self.mistakes]))


class HubError(SqltuneError):
    """The dataset hub has not what was asked for."""


class HubUnreachable(HubError):
    """The dataset hub does not answer, or answers with an error of its own: worth another try."""


class DatasetError(SqltuneError):
    """Rows that can't be trained on, or a split that leaks."""


class ServingError(SqltuneError):
    """The model server does not come up or does not answer."""


class ScoringError(SqltuneError):
    """Answers that could not be judged."""


class RegistryError(SqltuneError):
    """The record of versions and of the champion can't be read or written."""
