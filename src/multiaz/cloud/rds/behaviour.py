"""`behaviour.json` of the home, written by `local` and handed to every DB instance with what is wanted of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from multiaz.instance.records import ARCHIVE_EVERY_S, MOST_DOWN_S, MOST_OFTEN_S, Record

_log = logging.getLogger("multiaz.cloud.rds")


class Behaviour(Record):
    """What is a matter of choice on the local cloud; the defaults hold without the file."""

    endpoint_down_s: float = Field(default=0, ge=0, le=MOST_DOWN_S, allow_inf_nan=False, strict=True)
    """As `DesiredInstance.endpoint_down_s`."""
    standby_loss: Literal["continue", "wait"] = "continue"
    """As `DesiredInstance.standby_loss`."""
    archive_every_s: float = Field(
        default=ARCHIVE_EVERY_S, ge=MOST_OFTEN_S, le=ARCHIVE_EVERY_S, allow_inf_nan=False, strict=True
    )
    """As `BackupPlan.archive_every_s`."""


class BehaviourFile:
    """Reads the file, and again only when it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: tuple[int, int] | None = None
        self._behaviour = Behaviour()

    def read(self) -> Behaviour:
        """What holds now; the last one read while the file cannot be read, which is told once."""
        try:
            info = self._path.stat()
            key = (info.st_ino, info.st_mtime_ns)
            if key != self._key:
                self._key = key
                self._behaviour = Behaviour.model_validate_json(self._path.read_bytes())
                _log.info("behaviour of the DB instances: %s", self._behaviour)
        except FileNotFoundError:
            self._key, self._behaviour = None, Behaviour()
        except (OSError, ValidationError) as error:
            _log.error("%s cannot be read, the last one stays in force: %s", self._path.name, error)
        return self._behaviour
