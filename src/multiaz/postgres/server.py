"""One real PostgreSQL server: make it, start it, stop it, clone it, promote it, rewind it.

Each function does one thing and returns when it is done or raises; none decides anything.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psycopg
from psycopg import pq

from multiaz.files import fsync_folder, write_atomically
from multiaz.postgres.config import (
    OWN_DATABASE,
    REPLICATION_USER,
    SOCKET_PORT,
    SUPERUSER,
    ServerSettings,
    conninfo_value,
    pg_hba,
    pg_ident,
    postgresql_conf,
    session_options,
)
from multiaz.postgres.os_user import ServerUser
from multiaz.postgres.processes import (
    BROKEN_STORAGE,
    end_programs,
    fence,
    is_doomed,
    postmaster_pid,
    processes_in,
)
from multiaz.postgres.programs import ServerFailed as ServerFailed
from multiaz.postgres.programs import environment, run
from multiaz.postgres.rewinding import (
    PORT,
    WalFilter,
    missing_wal,
    needed_segments,
    segment_number,
    source_with_little_wal,
)
from multiaz.postgres.timelines import History, parse_history

TIMELINES = ("Latest checkpoint's TimeLineID", "Min recovery ending loc's timeline")
"""In pg_controldata; the second is the later one of a server that was promoted and has made no checkpoint since."""
NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
CONNECT_PATIENCE_S = 30
"""How long a copy waits for its source to answer at all; then it fails and is tried anew."""


@dataclass(frozen=True)
class Server:
    """Where one server lives. `folder` holds `data/`, `log/` and `server.log`."""

    name: str
    bin_folder: Path
    folder: Path
    socket_folder: Path
    user: ServerUser

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def log_folder(self) -> Path:
        """Folder of the server's log files."""
        return self.folder / "log"

    @property
    def output(self) -> Path:
        """What the postmaster says before its log collector runs."""
        return self.folder / "server.log"

    # -- folders and files ---------------------------------------------------------------------

    def make_folders(self) -> None:
        """Create the folders the server needs, owned by its user."""
        for folder, mode in ((self.folder, 0o711), (self.log_folder, 0o700), (self.socket_folder, 0o700)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)
        for folder in (self.folder, self.log_folder, self.socket_folder):
            self.user.own(folder)

    def exists(self) -> bool:
        """A whole data directory is there (an unfinished one is built under another name).

        Storage that gives errors is no proof that it is gone.
        """
        try:
            return (self.data / "PG_VERSION").exists()
        except OSError as error:
            if error.errno in BROKEN_STORAGE:
                return True
            raise

    def configure(self, settings: ServerSettings) -> bool:
        """Write the configuration files; True if any changed."""
        texts = {
            "postgresql.conf": postgresql_conf(settings),
            "pg_hba.conf": pg_hba(),
            "pg_ident.conf": pg_ident(self.user.name, _our_name()),
        }
        changed = False
        for name, text in texts.items():
            path = self.data / name
            if not path.exists() or path.read_text() != text:
                write_atomically(path, text)
                self.user.own(path)
                changed = True
        return changed

    def mark_standby(self, standby: bool) -> None:
        """Create or remove standby.signal, durably: with it the server never starts as a primary."""
        path = self.data / "standby.signal"
        if standby and not path.exists():
            write_atomically(path, "")
            self.user.own(path)
        elif not standby and path.exists():
            path.unlink()
            fsync_folder(self.data)

    def is_marked_standby(self) -> bool:
        """standby.signal is there."""
        return (self.data / "standby.signal").exists()

    # -- making data directories ---------------------------------------------------------------

    def initialise(self) -> None:
        """initdb with data checksums, superuser rdsadmin; the data directory appears whole or not at all."""
        self.end_programs()
        building = self._building()
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self._major() >= 17 else []
        self._run(
            "initdb", "-D", str(building), "-U", SUPERUSER, "--data-checksums", "--encoding=UTF8", "--locale=C",
            *locale, *self.sync_method(), "--auth-local=peer", "--auth-host=reject", "--no-instructions",
        )  # fmt: skip
        building.rename(self.data)
        fsync_folder(self.folder)

    def copy_from(self, upstream: Path) -> None:
        """Take a base backup of the server whose socket is in `upstream`, beside the data directory.

        This server may run meanwhile; `adopt_copy` puts the copy in its place.
        """
        self.end_programs()
        building = self._building()
        conninfo = (
            f"host={conninfo_value(str(upstream))} port={SOCKET_PORT} user={REPLICATION_USER} "
            f"connect_timeout={CONNECT_PATIENCE_S}"
        )
        self._run(
            "pg_basebackup", "-D", str(building), "-d", conninfo, "--wal-method=stream", "--checkpoint=fast",
            "--no-password", *self.sync_method(),
        )  # fmt: skip
        (building / "standby.signal").touch()
        self.user.own(building / "standby.signal")

    def adopt_copy(self) -> None:
        """Replace the data directory of this stopped server by the finished copy."""
        gone = self._put_aside()
        (self.folder / "building").rename(self.data)
        fsync_folder(self.folder)
        shutil.rmtree(gone, ignore_errors=True)

    def rewind(self, upstream: Path) -> None:
        """pg_rewind this stopped server to the history of the primary in `upstream`.

        Raises ServerFailed if that cannot be done: clone instead. The configuration is the
        source's afterwards and must be written again before a start.
        """
        place = conninfo_value(str(self.socket_folder))
        source = f"host={place} port={PORT} user={SUPERUSER} dbname={OWN_DATABASE} connect_timeout={CONNECT_PATIENCE_S}"
        self.end_programs()
        self.remove_stale_pid()
        self.mark_standby(False)  # single-user recovery refuses to run as a standby
        control = self.control()
        needed = self._needed_segments(upstream, control)
        socket = upstream / f".s.PGSQL.{SOCKET_PORT}"
        with source_with_little_wal(socket, self.socket_folder, self.user, WalFilter(*needed)):
            self._run("pg_rewind", "-D", str(self.data), f"--source-server={source}", *self.sync_method())
        lacking = missing_wal(self.data, needed[-1][-1], int(control["Bytes per WAL segment"]))
        if lacking:
            raise ServerFailed(f"{self.name} was rewound and could not recover", lacking, "it is cloned")

    def _needed_segments(self, upstream: Path, control: Mapping[str, str]) -> tuple[range, ...]:
        """Numbers of the WAL segments this server must be brought from the primary in `upstream`."""
        try:
            with psycopg.connect(
                host=str(upstream), port=SOCKET_PORT, user=SUPERUSER, dbname=OWN_DATABASE,
                connect_timeout=CONNECT_PATIENCE_S, options=session_options(self._data_major()),
            ) as connection:  # fmt: skip
                row = connection.execute(
                    "SELECT redo_wal_file, pg_walfile_name(pg_current_wal_flush_lsn() - 1) FROM pg_control_checkpoint()"
                ).fetchone()
        except psycopg.Error as error:
            raise ServerFailed(f"{self.name} cannot be rewound", str(error), "it is cloned") from error
        assert row is not None
        its = self.history_of(upstream)
        try:
            own = self.history(max(int(control[label]) for label in TIMELINES))
            major = int((self.data / "PG_VERSION").read_text())
            return needed_segments(str(row[0]), segment_number(str(row[1])), its, own, control, major)
        except (OSError, ValueError, KeyError) as error:
            why = f"its files do not say what it is: {error!r}"
            raise ServerFailed(f"{self.name} cannot be rewound", why, "it is cloned") from error

    def remove_data(self) -> None:
        """Delete the data directory of this stopped server."""
        self.end_programs()
        gone = self._put_aside()
        if gone.exists():
            shutil.rmtree(gone)

    def _put_aside(self) -> Path:
        gone = self.folder / "gone"
        shutil.rmtree(gone, ignore_errors=True)
        if self.data.exists():
            self.data.rename(gone)
        return gone

    def end_programs(self, *, patience_s: float = 30.0) -> None:
        """End what a job runs on this member's folder, or an earlier supervisor's job has left running there."""
        end_programs(self.folder, self.bin_folder, patience_s=patience_s)

    # -- running ---------------------------------------------------------------------------------

    def pid(self) -> int | None:
        """Pid of the live postmaster."""
        return postmaster_pid(self.data)

    def remove_stale_pid(self) -> None:
        """Remove the lock files of a dead postmaster; does nothing while any process of this server lives.

        PostgreSQL takes a zombie for alive, and there are zombies where PID 1 does not reap.
        """
        if not processes_in(self.data):
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (self.socket_folder / f".s.PGSQL.{SOCKET_PORT}.lock").unlink(missing_ok=True)

    def start(self, options: Mapping[str, str] = NO_OPTIONS) -> subprocess.Popen[bytes]:
        """Start the postmaster in its own session and return it at once; it logs to files only.

        `options` hold for this run, whatever the configuration says.
        """
        given = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self.remove_stale_pid()
        with self.output.open("ab") as output:
            self.user.own(self.output)
            return subprocess.Popen(
                [self.bin_folder / "postgres", "-D", str(self.data), *given],
                cwd=self.data, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env=environment(), umask=0o077, **self.user.switch,
            )  # fmt: skip

    def status_word(self) -> str | None:
        """What the postmaster says of itself: starting, stopping, standby (recovering, accepts nobody
        yet) or ready; None without one."""
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in BROKEN_STORAGE:
                return None
            raise
        return lines[7].strip() if len(lines) > 7 else "starting"

    def wait_until_ready(
        self, process: subprocess.Popen[bytes] | None = None, *, go_on: Callable[[], None] = lambda: None
    ) -> None:
        """Wait until connections are accepted.

        Waits as long as the postmaster lives: recovery may take any time. Raises ServerFailed
        with the server's last words when it ends, and what `go_on`, asked again and again, raises.
        """
        while True:
            go_on()
            if self.status_word() == "ready" and self.pid() is not None:
                return
            ended = process is None or process.poll() is not None or is_doomed(process.pid)
            if ended and self.pid() is None:
                raise ServerFailed(
                    f"PostgreSQL did not start ({self.name})", self.last_words(), f"read the log in {self.log_folder}"
                )
            time.sleep(0.005)

    def stop(self, *, immediate: bool = False, patience_s: float = 60.0, doomed_will_do: bool = False) -> None:
        """Stop the server: fast shutdown, then the fence if it does not end within `patience_s`.

        Raises NoProgress as `fence` does.
        """
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT if immediate else signal.SIGINT)
            deadline = time.monotonic() + patience_s
            while self.pid() is not None and time.monotonic() < deadline:
                time.sleep(0.01)
        fence(self.data, doomed_will_do=doomed_will_do)
        self.remove_stale_pid()

    def reload(self) -> None:
        """SIGHUP: the server reads its configuration again."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)

    def promote(self) -> None:
        """Ask a standby to become primary, without a connection; returns at once."""
        pid = self.pid()
        if pid is None:
            raise ServerFailed(f"Cannot promote {self.name}", "it is not running", "the supervisor starts it again")
        trigger = self.data / "promote"
        trigger.touch(mode=0o600)
        self.user.own(trigger)
        os.kill(pid, signal.SIGUSR1)

    def connect(
        self, dbname: str = OWN_DATABASE, *, timeout_s: int = 5, options: str = ""
    ) -> psycopg.Connection[tuple[object, ...]]:
        """A connection as the superuser, in autocommit. Raises psycopg.OperationalError.

        By default to a database no customer can close or lay settings on: `postgres` is the master user's. `options`
        come after `session_options`.
        """
        return psycopg.connect(
            host=str(self.socket_folder), port=SOCKET_PORT, user=SUPERUSER, dbname=dbname,
            connect_timeout=timeout_s, autocommit=True, application_name="rdsadmin",
            options=f"{session_options(self._data_major())} {options}",
        )  # fmt: skip

    def last_words(self) -> str:
        """The last FATAL, PANIC or ERROR line the server wrote (with its cause), else its last line."""
        files = [*sorted(self.log_folder.glob("postgresql.log.*")), self.output]
        lines: list[str] = []
        for path in files:
            with contextlib.suppress(OSError), path.open("rb") as stream:
                stream.seek(max(0, path.stat().st_size - 16_384))
                lines += stream.read().decode(errors="replace").splitlines()
        grave = [number for number, line in enumerate(lines) if re.search(r"\b(FATAL|PANIC|ERROR):", line)]
        if not lines:
            return "it said nothing"
        last = grave[-1] if grave else len(lines) - 1
        # "configuration file contains errors" is explained by the lines before (message and hint)
        first = max(0, last - 2) if "contains errors" in lines[last] else last
        return " / ".join(line.strip() for line in lines[first : last + 1])

    def control(self) -> dict[str, str]:
        """pg_controldata of this server, as label to value."""
        said = self._run("pg_controldata", "-D", str(self.data))
        pairs = (line.partition(":") for line in said.splitlines())
        return {label.strip(): value.strip() for label, _, value in pairs}

    def identity(self) -> int | None:
        """The system identifier, the same for a cluster and all its copies; None if there is none (yet).

        Source: PostgreSQL's src/include/catalog/pg_control.h: the first eight bytes of pg_control.
        """
        try:
            with (self.data / "global" / "pg_control").open("rb") as control:
                first = control.read(8)
        except OSError:
            return None
        return int.from_bytes(first, sys.byteorder) if len(first) == 8 else None

    # -- history ---------------------------------------------------------------------------------

    def history(self, timeline: int) -> History | None:
        """This server's own history of a timeline; None if it has no file that tells it."""
        if timeline == 1:
            return History(1)
        try:
            return parse_history(timeline, (self.data / "pg_wal" / f"{timeline:08X}.history").read_text())
        except FileNotFoundError:
            return None

    def was_primary(self) -> bool:
        """This stopped server ran as a primary last: what it wrote then is nobody else's.

        A fresh base backup says so too, of its source, and is told by its backup_label.
        """
        if (self.data / "backup_label").exists():
            return False
        return "recovery" not in self.control().get("Database cluster state", "").replace("in crash recovery", "")

    @staticmethod
    def history_of(upstream: Path, *, timeout_s: int = 5) -> History:
        """The history of the server whose socket is in `upstream`, as it tells any of its followers.

        Raises ServerFailed if it does not.
        """
        conninfo = (
            f"host={conninfo_value(str(upstream))} port={SOCKET_PORT} user={REPLICATION_USER} replication=true "
            f"connect_timeout={timeout_s} application_name=rdsadmin"
        )
        connection = pq.PGconn.connect(conninfo.encode())  # the walsender knows the simple protocol only
        try:
            timeline = int(_told(connection, "IDENTIFY_SYSTEM", 1, upstream))
            text = _told(connection, f"TIMELINE_HISTORY {timeline}", 1, upstream) if timeline > 1 else b""
        finally:
            connection.finish()
        return parse_history(timeline, text.decode(errors="replace"))

    # -- programs ----------------------------------------------------------------------------------

    def _data_major(self) -> int:
        """Version of the data; 0 where it cannot be read."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except (OSError, ValueError):
            return 0

    def _major(self) -> int:
        said = self._run("postgres", "--version")
        found = re.search(r"\) (\d+)", said)
        if not found:
            raise ServerFailed("Cannot tell PostgreSQL's version", said, "reinstall PostgreSQL")
        return int(found.group(1))

    def sync_method(self) -> list[str]:
        """Have the kernel write the file system instead of each file in turn, where the program can: since 17."""
        return ["--sync-method=syncfs"] if self._major() >= 17 else []

    def _building(self) -> Path:
        building = self.folder / "building"
        shutil.rmtree(building, ignore_errors=True)
        return building

    def _run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as the server's user and return what it printed."""
        return run(self.bin_folder / program, *arguments, folder=self.folder, user=self.user, name=self.name)


def _told(connection: pq.abc.PGconn, command: str, column: int, upstream: Path) -> bytes:
    """One value of a walsender's answer."""
    if connection.status == pq.ConnStatus.OK:
        result = connection.exec_(command.encode())
        value = result.get_value(0, column) if result.status == pq.ExecStatus.TUPLES_OK and result.ntuples else None
        if value is not None:
            return value
    said = connection.error_message.decode(errors="replace").strip()
    raise ServerFailed(f"{command} is not answered in {upstream}", said, "it is asked again")


def _our_name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name
