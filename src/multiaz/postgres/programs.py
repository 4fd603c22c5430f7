"""PostgreSQL's own programs, run as the servers' user."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from multiaz.errors import MultiazError
from multiaz.postgres.os_user import ServerUser


class ServerFailed(MultiazError):
    """A PostgreSQL program ended with an error; `why` carries its last words."""


def run(program: Path | str, *arguments: str, folder: Path, user: ServerUser, name: str) -> str:
    """Run a program in `folder` and return what it printed; `name` says for whom, should it fail.

    Raises ServerFailed with its last words.
    """
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [program, *arguments],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        env=environment(), umask=0o077, **user.switch,
    )  # fmt: skip
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        what = program.name if isinstance(program, Path) else program
        raise ServerFailed(f"{what} failed ({name})", " / ".join(words[-3:]), f"read the log in {folder}")
    return done.stdout


def environment() -> dict[str, str]:
    """A minimal environment: no PG* variable of the caller reaches a server."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
