"""What the disks say against `role.json`: an older version of it that was put back must not be believed.

Each record has a revision. Before a member is made primary, or its configuration is written (which says whether commits
wait), the revision that this is done by is noted beside its data directory. The record was fsynced before
that, so no note is ever ahead of the newest record; a record that is behind a note is not the newest.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from multiaz.files import write_atomically
from multiaz.instance.records import MemberName, RoleRecord
from multiaz.postgres.processes import BROKEN_STORAGE

log = logging.getLogger("multiaz.instance")


def doubt_of(record: RoleRecord, noted: Mapping[MemberName, int]) -> str | None:
    """Why nothing may be done by this record; None if nothing speaks against it. `noted` is a revision per member."""
    for member, revision in noted.items():
        if revision > record.revision:
            return f"it is revision {record.revision}, and {member} has acted on revision {revision}"
    return None


def next_revision(record: RoleRecord) -> int:
    """The revision of what is written after `record`: the time in milliseconds, so that two lines of records differ."""
    return max(record.revision + 1, time.time_ns() // 1_000_000)


def read_record(path: Path) -> tuple[RoleRecord, str | None]:
    """The record, an empty one if there is none, and why it cannot be read."""
    try:
        return RoleRecord.model_validate_json(path.read_bytes()), None
    except FileNotFoundError:
        return RoleRecord(), None
    except (OSError, ValidationError) as error:
        return RoleRecord(), f"it cannot be read: {str(error).splitlines()[0]}"


def noted_revision(folder: Path) -> int:
    """The revision the member in `folder` last acted on; 0 before the first."""
    try:
        return int((folder / "revision").read_text())
    except (FileNotFoundError, ValueError):
        return 0
    except OSError as error:
        if error.errno not in BROKEN_STORAGE:
            raise
        log.error("the revision %s acted on cannot be read: %s", folder, error)
        return 0


def note_revision(folder: Path, revision: int) -> None:
    """Note, durably, that the member in `folder` is about to act on this revision.

    A disk that is full must not hold a failover back: then an old record is not known for one.
    """
    if noted_revision(folder) >= revision:
        return
    try:
        write_atomically(folder / "revision", f"{revision}\n")
    except OSError as error:
        log.error("the revision of role.json cannot be noted in %s: %s", folder, error)
