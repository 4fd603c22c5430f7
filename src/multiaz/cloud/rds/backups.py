"""Automated backups on disk as the cloud looks at them: what there is to restore, and its end.

A supervisor makes them, and expires them while its instance lives; they may outlive it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import logging
import os
import shutil

from pydantic import ValidationError

from multiaz.files import fsync_folder
from multiaz.home import Home
from multiaz.instance.records import BackupRecord, BaseBackup

DAY_S = 86400
_log = logging.getLogger("multiaz.cloud.rds")


def backup_id(resource_id: str) -> str:
    """The last part of an automated backup's ARN: "ab-" and 26 letters and digits, always the same for an instance."""
    digest = hashlib.sha256(f"automated backup of {resource_id}".encode()).digest()
    return "ab-" + base64.b32encode(digest).decode().lower()[:26]


def read(home: Home, resource_id: str) -> BackupRecord:
    """What there is to restore of an instance; a record without a base backup if there is nothing, or it cannot be read
    (which is logged)."""
    path = home.backup(resource_id).record
    try:
        return BackupRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValidationError) as error:
        _log.error("%s cannot be read, so nothing can be restored from it: %s", path, error)
    return BackupRecord(resource_id=resource_id)


def is_unreadable(home: Home, resource_id: str) -> bool:
    """There is a record of backups, and nobody can say what is in them: they are not removed for that."""
    try:
        BackupRecord.model_validate_json(home.backup(resource_id).record.read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValidationError):
        return True
    return False


def base_for(record: BackupRecord, moment: float) -> BaseBackup | None:
    """The newest base backup that was complete at a moment (Unix time): the one with the least WAL to replay to it.

    None if that moment cannot be restored: it lies before all of them, or after all that is archived.
    """
    if record.restorable_until is None or moment > record.restorable_until:
        return None
    return max((one for one in record.bases if one.ended_at <= moment), key=lambda one: one.ended_at, default=None)


def is_over(record: BackupRecord, retention_days: int, now: float) -> bool:
    """True if the newest moment that could be restored is older than the retention period: nothing is left to keep."""
    return record.restorable_until is None or record.restorable_until < now - retention_days * DAY_S


def remove(home: Home, resource_id: str) -> bool:
    """Remove an instance's automated backups, durably; False, and nothing is done, while somebody restores from them.

    The record goes first: what is left behind by a crash in between is not taken for something whole.
    """
    place = home.backup(resource_id)
    if place.gone.exists():  # its supervisor ended while it removed them
        shutil.rmtree(place.gone)
    if not place.folder.exists():
        return True
    lock = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        place.record.unlink(missing_ok=True)
        fsync_folder(place.folder)
        shutil.rmtree(place.folder)
        fsync_folder(home.backups)
    finally:
        os.close(lock)
    return True
