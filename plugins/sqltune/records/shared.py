"""What the machines that carry a run share: its plan's database and log store."""

from __future__ import annotations

import logging
import socket

from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from sqltune.config.plan import RunPlan
from sqltune.records import installation
from sqltune.records.errors import LogStoreError, NotMigrated, OtherDatabase
from sqltune.records.logstore import require_log_store_of
from sqltune.records.settings import database_url

log = logging.getLogger(__name__)


def require_database_of(plan: RunPlan) -> None:
    """Check that this machine's database is the one that the run was planned with.

    A database that does not answer passes: what needs it says so, and the rest goes on without it.

    Raises:
        OtherDatabase: It is another one.
        SchemaError: It has an older or a newer schema than this machine's code.
    """
    try:
        name = installation.name()
    except OperationalError:
        return
    except NotMigrated:
        raise _other_database("it has no tables of sqltune") from None
    if name != plan.installation:
        raise _other_database(f"its installation is {name[:8]}, the plan's {plan.installation[:8]}")


def _other_database(found: str) -> OtherDatabase:
    address = make_url(database_url()).render_as_string(hide_password=True)
    return OtherDatabase(
        f"SQLTUNE_DATABASE_URL: {address} on {socket.gethostname()} is not the database that this run was "
        f"planned with ({found}): all machines must share one"
    )


def require_records_of(plan: RunPlan) -> None:
    """Check that this machine's database and log store are those that the run was planned with.

    A log store that does not answer passes, as the database does: logs wait on the hosts.

    Raises:
        OtherDatabase: The database is another one.
        SchemaError: The database has an older or a newer schema than this machine's code.
        LogStoreError: The log store is another one.
    """
    require_database_of(plan)
    try:
        require_log_store_of(plan.key)
    except LogStoreError:
        raise
    except Exception as e:  # each kind of object storage has exceptions of its own
        log.warning("the log store does not answer (%s: %s); logs wait on the hosts", type(e).__name__, e)
