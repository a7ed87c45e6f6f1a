"""Records the gangs of a run."""

from __future__ import annotations

from sqltune.records.files import Record
from ssh_gang.folder_recorder import FolderRecorder
from ssh_gang.recorder import RecorderRef


class RunRecorder(FolderRecorder):
    """A `GangRecorder` for one gang of a run; it writes to the run's folder.

    Args:
        run_key: Folder name of the run.
        gang: Name of the gang.
    """

    def __init__(self, run_key: str, gang: str) -> None:
        super().__init__(Record.of(run_key).folder, gang)

    @classmethod
    def ref(cls, run_key: str, gang: str) -> RecorderRef:
        """Return a reference that a trigger can carry."""
        return RecorderRef(path=f"{cls.__module__}.{cls.__name__}", kwargs={"run_key": run_key, "gang": gang})
