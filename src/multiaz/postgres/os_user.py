"""Which operating-system user PostgreSQL runs as, and what that user can reach.

PostgreSQL refuses to run as root, so as root the servers are started as `postgres`, else `nobody`
(initdb fails for a uid that is not listed). Otherwise everything runs as the person who started us.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiaz.errors import Missing


@dataclass(frozen=True)
class ServerUser:
    """A listed user; `switch` is what `subprocess.Popen` needs to become it (empty if we are it)."""

    name: str
    uid: int
    gid: int

    @property
    def switch(self) -> dict[str, Any]:
        """Keyword arguments for Popen."""
        if os.geteuid() == self.uid:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give `path` to this user (needs root if we are not it)."""
        if os.geteuid() != self.uid:
            os.chown(path, self.uid, self.gid)

    def can_traverse(self, path: Path) -> Path | None:
        """None if this user can reach everything up to `path`; else the folder in the way."""
        if os.geteuid() == self.uid:
            return None
        for folder in [*reversed(path.parents), path]:
            if not folder.exists():
                return None
            info = folder.stat()
            bits = (info.st_mode >> 6) if info.st_uid == self.uid else info.st_mode
            if not bits & 0o1:
                return folder
        return None


def server_user() -> ServerUser:
    """The user PostgreSQL servers run as on this machine.

    Raises Missing if we are root and neither `postgres` nor `nobody` is listed.
    """
    if os.geteuid() != 0:
        own = pwd.getpwuid(os.geteuid())
        return ServerUser(own.pw_name, own.pw_uid, own.pw_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise Missing(
        "Cannot run PostgreSQL",
        "PostgreSQL refuses to run as root, and this machine lists neither a user postgres nor nobody",
        "create the user postgres, or run multiaz as an ordinary user",
    )
