"""`psql`: the master user's session, certificate verified, password in no argument and no log."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from multiaz.cli.configuration import stack_named
from multiaz.cli.localcloud import fleet_of, home
from multiaz.cli.output import Output
from multiaz.errors import ExitCode, Missing
from multiaz.fleet.secrets import Credentials

OVERRIDING = ("PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGPASSWORD", "PGREQUIRESSL", "PGSSLCERT", "PGSSLKEY")
"""Variables of libpq that would send psql elsewhere, or to log in as somebody else."""


def psql(
    output: Output,
    *,
    instance: str,
    stack: str | None,
    suffix: str | None,
    config: str | None,
    region: str | None,
    arguments: Sequence[str],
) -> int:
    """Run psql and return its exit code; with --json say how to connect instead."""
    fleet = fleet_of(stack_named(stack, suffix, config), region=region)
    credentials = fleet.credentials(instance)
    root = fleet.root_certificate
    if output.as_json:
        output.result(connection_document(credentials, root), lambda: None)
        return int(ExitCode.OK)
    program = find_psql(os.environ.get("PATH"), home().postgres)
    with tempfile.TemporaryDirectory(prefix="multiaz-") as folder:
        passwords = Path(folder) / "pgpass"
        passwords.touch(mode=0o600)
        passwords.write_text(pgpass_line(credentials))
        environment = child_environment(os.environ, credentials, root, passwords)
        return _run([program, *arguments], environment)


def find_psql(search_path: str | None, copies: Path) -> str:
    """psql on the search path, else that of the local cloud's newest PostgreSQL. Raises Missing."""
    found = shutil.which("psql", path=search_path)
    if found:
        return found
    for candidate in sorted(copies.glob("*/bin/psql"), reverse=True):
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise Missing(
        "Cannot open psql",
        f"there is none on the search path, nor below {copies}",
        "install PostgreSQL's client (Debian: postgresql-client), or use `multiaz psql --json` with another",
    )


def pgpass_line(credentials: Credentials) -> str:
    """A line of a password file for these credentials. Source: PostgreSQL manual, "The Password File"."""
    fields = (credentials.host, str(credentials.port), "*", credentials.user, credentials.password)
    escaped = [f if f == "*" and i == 2 else f.replace("\\", "\\\\").replace(":", "\\:") for i, f in enumerate(fields)]
    return ":".join(escaped) + "\n"


def child_environment(
    base: Mapping[str, str], credentials: Credentials, root: Path | None, passwords: Path
) -> dict[str, str]:
    """The environment psql gets: where and as whom; the password only as the name of a file."""
    kept = {name: value for name, value in base.items() if name not in OVERRIDING}
    kept |= {
        "PGHOST": credentials.host,
        "PGPORT": str(credentials.port),
        "PGUSER": credentials.user,
        "PGDATABASE": credentials.database,
        "PGSSLMODE": "verify-full",
        "PGPASSFILE": str(passwords),
    }
    if root is not None:
        kept["PGSSLROOTCERT"] = str(root)
    return kept


def connection_document(credentials: Credentials, root: Path | None) -> dict[str, object]:
    """Where and how to connect, for scripts. The password stays in its secret."""
    return {
        "host": credentials.host,
        "port": credentials.port,
        "dbname": credentials.database,
        "user": credentials.user,
        "sslmode": "verify-full",
        "sslrootcert": None if root is None else str(root),
        "secret_arn": credentials.secret_arn,
    }


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run in the foreground; a signal to us goes to the child, whose end is then ours."""
    with subprocess.Popen(command, env=dict(environment)) as child:

        def forward(number: int, _: FrameType | None) -> None:
            child.send_signal(number)

        # Ctrl-C reaches psql by itself (same terminal) and means "cancel the query", not "go away".
        before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
        for number in (signal.SIGTERM, signal.SIGHUP):
            before[number] = signal.signal(number, forward)
        try:
            code = child.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code
