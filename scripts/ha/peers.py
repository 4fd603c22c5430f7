"""The peers: what they need, whether it is there, how it is got. Nothing of theirs is in our lock."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ha.results import ROOT, program_version
from multiaz.postgres.os_user import server_user

VENV = ROOT / ".venv-peers"
PYTHON_PACKAGES = ("patroni[etcd3]", "psycopg[binary]")
DEBIAN_PACKAGES = ("etcd-server", "etcd-client", "haproxy", "pgbouncer")
SYSTEM_PYTHON = Path("/usr/bin/python3")
OPTIONS = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}


def install() -> None:
    """Get the peers. Raises CalledProcessError if a package manager fails."""
    if program("etcd") is None or program("haproxy") is None or program("pgbouncer") is None:
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            raise SystemExit(f"--install needs apt-get and root to get {', '.join(DEBIAN_PACKAGES)}")
        environment = {**os.environ, **OPTIONS}
        subprocess.run(["apt-get", "update", "-q"], env=environment, check=True)
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *DEBIAN_PACKAGES]
        subprocess.run(command, env=environment, check=True)
    if not (VENV / "bin" / "patroni").exists():
        # PostgreSQL refuses root, so Patroni runs as another user, who must reach the interpreter too: one below
        # root's home he cannot.
        python = SYSTEM_PYTHON if os.geteuid() == 0 and SYSTEM_PYTHON.exists() else Path(sys.executable)
        subprocess.run([str(python), "-m", "venv", "--without-pip", "--clear", str(VENV)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(VENV / "bin" / "python")]
        subprocess.run([*pip, "install", "-q", *PYTHON_PACKAGES], check=True)


def program(name: str) -> Path | None:
    """Where a program is; Debian keeps some where a person's PATH does not lead."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return None if found is None else Path(found)


def missing() -> str | None:
    """Why Patroni cannot be measured here; None if it can."""
    absent = [name for name in ("etcd", "haproxy") if program(name) is None]
    if not (VENV / "bin" / "patroni").exists():
        absent.append("patroni (in .venv-peers)")
    if absent:
        return f"{', '.join(absent)} not found; --install gets them"
    in_the_way = server_user().can_traverse((VENV / "bin" / "python").resolve())
    if in_the_way is not None:
        return f"{server_user().name} cannot enter {in_the_way}, and Patroni refuses to run PostgreSQL as root"
    return None


def versions() -> dict[str, str]:
    """Of the peers that are there."""
    commands = {
        "Patroni": [str(VENV / "bin" / "patroni"), "--version"], "etcd": [str(program("etcd")), "--version"],
        "HAProxy": [str(program("haproxy")), "-v"],
    }  # fmt: skip
    said = {name: program_version(*command) for name, command in commands.items()}
    return {
        name: found[0] for name, text in said.items() if text and (found := re.findall(r"[0-9]+(?:\.[0-9]+)+", text))
    }
