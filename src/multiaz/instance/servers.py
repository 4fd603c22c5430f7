"""The servers of one DB instance: which folders and settings each has, and the jobs done on them."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from multiaz.errors import MultiazError, NoProgress
from multiaz.files import switch_link, write_atomically
from multiaz.home import InstanceHome
from multiaz.instance import bootstrap
from multiaz.instance.evidence import note_revision
from multiaz.instance.faults import Faults, wire_name
from multiaz.instance.following import FOLLOWED, diverged
from multiaz.instance.records import DesiredInstance, MemberName, RoleRecord
from multiaz.instance.restoring import restore
from multiaz.instance.storage import is_on, settle
from multiaz.postgres.archive import bring
from multiaz.postgres.config import ServerSettings
from multiaz.postgres.os_user import server_user
from multiaz.postgres.processes import doomed_in, still_in
from multiaz.postgres.server import Server, ServerFailed

log = logging.getLogger("multiaz.instance")

MEMBERS: tuple[MemberName, ...] = ("a", "b")
CATCH_UP_PATIENCE_S = 10.0
"""How long a joining standby may stand still before the join is given up."""
CUT_PATIENCE_S = 0.5
"""How long is waited for a server to end the streams of its replicas."""
END_PATIENCE_S = 0.5
"""How long the loop waits for a job's programs to be gone; they are killed again in the next round."""


def application_name(member: MemberName) -> str:
    """What a member calls itself when it streams from the other."""
    return f"multiaz_{member}"


def _member_called(name: str) -> MemberName:
    return "a" if name == application_name("a") else "b"


def other_member(member: MemberName) -> MemberName:
    """The other of the two."""
    return "b" if member == "a" else "a"


class JobEnded(MultiazError):
    """A job was ended because something else is wanted now; it did not fail."""


class Servers:
    """Both servers of an instance. Holds no decision: each method does what it is told."""

    def __init__(self, home: InstanceHome, desired: DesiredInstance) -> None:
        self.home = home
        self.desired = desired
        self.applied: dict[MemberName, dict[str, str]] = {}
        """Parameters each member's configuration was last written with."""
        self.waits: dict[MemberName, bool] = {}
        """Whether that configuration has commits wait for the other member."""
        self.faults = Faults()
        """What `faults.json` says: parameters are laid over the wanted ones."""
        self._laid_over: dict[MemberName, tuple[dict[str, str], bool, bool, bool]] = {}
        """With what else each member's configuration was written: parameters of faults, whether it streams by a wire,
        whether there is to be a standby, and whether its WAL is archived."""
        self.raised: set[MemberName] = set()
        """Members whose configuration has higher values than wanted, because they have still to replay the lowering."""
        self._configuring = {name: threading.Lock() for name in MEMBERS}
        """Held while that member's configuration is written: a join and a restart may want to at once."""
        self._ended = {name: threading.Event() for name in MEMBERS}
        """Members whose job is to end."""
        self._stuck: dict[MemberName, list[int]] = {name: [] for name in MEMBERS}
        """Processes of each member that were killed and could not leave."""
        user = server_user()
        self._servers = {
            name: Server(
                application_name(name), Path(desired.bin_folder), home.member(name), home.socket_folder(name), user
            )
            for name in MEMBERS
        }

    def __getitem__(self, member: MemberName) -> Server:
        return self._servers[member]

    def configure(self, member: MemberName, memory: RoleRecord, *, synchronous: bool) -> None:
        """Write a member's configuration and have it read again.

        With `synchronous` its commits wait for the other member. One at a time: `waits` says what the file says.
        """
        with self._configuring[member]:
            self._configure(member, memory, synchronous=synchronous)

    def _configure(self, member: MemberName, memory: RoleRecord, *, synchronous: bool) -> None:
        desired = self.desired  # once: it may be replaced while a job runs
        note_revision(self[member].folder, memory.revision)
        laid_over = dict(self.faults.parameters())
        wanted = {**desired.parameters, **laid_over}
        settings = self._settings(desired, member, memory, synchronous, wanted)
        if settings.archive is not None:
            self.make_backup_folders()
        self[member].configure(settings)
        self.applied[member] = dict(desired.parameters)
        self._laid_over[member] = self._besides(desired, memory)
        self.waits[member] = synchronous
        if dict(settings.parameters) != wanted:
            self.raised.add(member)
        else:
            self.raised.discard(member)
        self[member].reload()

    def is_stale(self, member: MemberName, memory: RoleRecord) -> bool:
        """Its configuration was not written with what is wanted now."""
        now = self._besides(self.desired, memory)
        return self.applied.get(member) != self.desired.parameters or self._laid_over.get(member) != now

    def _besides(self, desired: DesiredInstance, memory: RoleRecord) -> tuple[dict[str, str], bool, bool, bool]:
        faults = self.faults
        archives = _archives(desired, memory)
        return dict(faults.parameters()), faults.servers() is not None, desired.multi_az, archives

    def settle(self, member: MemberName, *, home: bool = False) -> None:
        """Have the WAL of a stopped member on the storage it belongs on; with `home` on that of its data."""
        server = self[member]
        if server.exists():
            settle(server, self.home.small_wal(member), None if home else self._room())

    def misplaced(self, member: MemberName) -> str | None:
        """Why the member has to be down for an instant: its WAL lies on other storage than it belongs on."""
        if is_on(self.home.small_wal(member), self[member].data) is (self._room() is not None):
            return None
        return "its WAL is moved to other storage"

    def _room(self) -> int | None:
        return self.faults.small_wal_room(self.desired.allocated_gib)

    def _way_to(self, member: MemberName | None) -> Path:
        """Folder of the socket that leads to a member, or to the source: a wire while a fault lies between."""
        if self.faults.servers() is not None:
            return self.home.wire_folder(wire_name(member))
        if member is not None:
            return self.home.socket_folder(member)
        assert self.desired.source is not None
        return Path(self.desired.source.upstream)

    def _parameters(self, wanted: dict[str, str], member: MemberName, *, standby: bool) -> dict[str, str]:
        """The wanted parameters; of a standby never below what its primary had when the WAL it replays was written.

        Else it ends: "recovery aborted because of insufficient parameter settings".
        Source: PostgreSQL manual, "Hot Standby", Administrator's Overview.
        """
        parameters = dict(wanted)
        if standby and self[member].exists():
            control = self[member].control()
            for name, label in FOLLOWED.items():
                least, asked = control.get(label, ""), parameters.get(name, "")
                if least.isdigit() and asked.isdigit() and int(asked) < int(least):
                    parameters[name] = least
        return parameters

    def note_stuck(self, member: MemberName) -> None:
        """Keep which processes of the member are doomed: they were killed, and wait for its storage.

        While its postmaster lives those are backends about to end, as any does when its client leaves.
        """
        self._stuck[member] = [] if self[member].pid() is not None else doomed_in(self[member].data)

    def stuck(self, member: MemberName) -> str:
        """Why nothing may be done to the member's files: what was noted is still there; empty: it is not."""
        left = self._stuck[member] = still_in(self[member].data, self._stuck[member])
        return f"its processes {left} were killed and are stuck: its storage does not answer" if left else ""

    def foreign(self, member: MemberName) -> str | None:
        """Why the member is no copy of the other one; None if it is, or if that cannot be told."""
        own, its = self[member].identity(), self[other_member(member)].identity()
        return f"it is another cluster ({own}, not {its})" if None not in (own, its) and own != its else None

    def upstream_of(self, member: MemberName, memory: RoleRecord) -> Path | None:
        """Folder of the socket of whom a member follows: the primary, or the source's link; None: it follows nobody.

        This is the server itself, also while a fault has the stream go by a slow wire.
        """
        desired = self.desired
        if memory.primary is not None and member != memory.primary:
            return self.home.socket_folder(memory.primary)
        if desired.source is not None and (memory.following or memory.primary is None):
            return Path(desired.source.upstream)
        return None

    def _settings(
        self,
        desired: DesiredInstance,
        member: MemberName,
        memory: RoleRecord,
        synchronous: bool,
        wanted: dict[str, str],
    ) -> ServerSettings:
        upstream: Path | None = None
        feedback: str | None = None
        replica = desired.source is not None and (memory.following or memory.primary is None)
        if memory.primary is not None and member != memory.primary:
            upstream = self._way_to(memory.primary)
        elif replica:
            upstream = self._way_to(None)
            feedback = f"replica_{desired.resource_id}"
        return ServerSettings(
            name=application_name(member),
            socket_folder=self.home.socket_folder(member),
            log_folder=self.home.server_logs(member),
            parameters=self._parameters(
                wanted, member, standby=upstream is not None or self[member].is_marked_standby()
            ),
            upstream=upstream,
            synchronous_standby=application_name(other_member(member)) if synchronous else None,
            feedback_name=feedback,
            archive=self.home.backups.wal if _archives(desired, memory) else None,
            multi_az=desired.multi_az,
            replica=replica,
        )

    def make_backup_folders(self) -> None:
        """The archive must be there before a server is told of it; one that was told before reads it again."""
        place, made = self.home.backups, False
        for folder in (place.folder.parent, place.folder):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        for folder in (place.wal, place.bases):
            if not folder.is_dir():
                folder.mkdir(mode=0o700)
                self["a"].user.own(folder)
                made = True
        for member in MEMBERS if made else ():
            self[member].reload()

    def point_upstream(self, member: MemberName) -> None:
        """Lead read replicas to `member`, and end the streams they still have from the other one.

        Raises NoProgress if a server that runs on does not end them: one that hangs is given up after
        `CUT_PATIENCE_S` and must not hold the caller up, and neither must one that dies meanwhile, with its streams.
        """
        switch_link(self.home.upstream_link, member)
        left = self[other_member(member)]
        if left.pid() is None or left.status_word() != "ready":
            return
        tried, cut = threading.Event(), threading.Event()
        threading.Thread(target=_cut_replicas, args=(left, tried, cut), daemon=True).start()
        tried.wait(CUT_PATIENCE_S)
        if not cut.is_set() and left.pid() is not None:
            raise NoProgress(f"Replicas still stream from {left.name}", "it does not let them go", "read its log")

    # -- jobs ------------------------------------------------------------------------------------

    def job_begins(self, member: MemberName) -> None:
        """A job on the member begins now: nothing that was said to an earlier one concerns it."""
        self._ended[member].clear()

    def end_job(self, member: MemberName) -> None:
        """Have the job on the member end, soon: its programs are killed and it begins no further step."""
        self._ended[member].set()
        try:
            self[member].end_programs(patience_s=END_PATIENCE_S)
        except NoProgress as error:
            log.warning("%s", error)

    def go_on(self, member: MemberName) -> None:
        """Before the next step of a job. Raises JobEnded if it is to end."""
        if self._ended[member].is_set():
            raise JobEnded(f"The job on {member} was ended", "something else is wanted of it", "nothing needs doing")

    def create(self, member: MemberName) -> None:
        """Make the instance's first server: a new cluster with RDS's roles, a copy of the source, or from backups."""
        server = self[member]
        write_atomically(self.home.creating, "")
        server.stop(immediate=True)
        server.remove_data()
        server.make_folders()
        memory = RoleRecord()
        if self.desired.source is not None:
            server.copy_from(self._way_to(None))
            self.go_on(member)
            server.adopt_copy()
            self.configure(member, memory, synchronous=False)
            self._start(member)
            return
        if self.desired.restore is not None:
            source, configure = self.desired.restore, partial(self.configure, member, memory, synchronous=False)
            restore(server, self.home.backups_of(source.resource_id), source, configure, lambda: self.go_on(member))
            self._start(member)
            return
        server.initialise()
        self.configure(member, memory, synchronous=False)
        self._start(member)
        master = self.desired.master
        if master is None:
            raise ServerFailed("Cannot create the instance", "it has neither a master user nor a source", "recreate it")
        with server.connect("postgres") as connection:
            connection.execute(bootstrap.QUIET)
            with connection.transaction():
                for statement in (*bootstrap.roles(), *bootstrap.master_role(master)):
                    connection.execute(statement)
            for statement in bootstrap.databases(self.desired.database, master):
                connection.execute(statement)

    def clone(self, member: MemberName, primary: MemberName) -> None:
        """Make `member` a copy of the primary, ready to be started as its standby."""
        server = self[member]
        server.make_folders()
        server.copy_from(self._way_to(primary))
        self.go_on(member)
        server.stop(immediate=True)
        server.adopt_copy()

    def rejoin(self, member: MemberName, primary: MemberName) -> str:
        """Bring a fenced member to the primary's history; how: "rewound" or "cloned".

        No checkpoint of the promoted server is waited for: since PostgreSQL 16 pg_rewind takes the timeline from
        the end of recovery, which is in the control file before the first commit.
        """
        server = self[member]
        server.stop(immediate=True)
        server.make_folders()
        self._save_wal(member, primary)
        try:
            state = server.control().get("Database cluster state", "")
        except ServerFailed as unreadable:
            self.clone(member, primary)
            return f"cloned, because {unreadable.why}"
        if "recovery" in state:
            # A standby, or one that was rewound already: pg_rewind would first run it alone, and so write WAL of
            # its own on the primary's timeline.
            self.clone(member, primary)
            return "cloned, because it was in recovery"
        try:
            server.rewind(self._way_to(primary))
            server.mark_standby(True)
        except ServerFailed as why_not:
            self.go_on(member)
            self.clone(member, primary)
            return f"cloned, because {why_not.why}"
        return "rewound"

    def _save_wal(self, member: MemberName, primary: MemberName) -> None:
        """What the fenced member had not archived is archived now: pg_rewind, and a clone, remove it."""
        if self.desired.backups is None:
            return
        try:
            history = Server.history_of(self.home.socket_folder(primary))
            saved = bring(self[member].data / "pg_wal", self.home.backups.wal, history)
        except (ServerFailed, OSError) as error:
            log.warning("what %s had not archived is not archived: %s", member, error)
        else:
            if saved:
                log.info("archived for %s: %s", member, ", ".join(saved))

    def recopy(self, member: MemberName) -> None:
        """Copy a read replica's source again; it is started from the copy in a later round.

        From the last look on whether to go on until the end of the job the replica is not promoted (`answer_promote`).
        """
        assert self.desired.source is not None
        server = self[member]
        server.make_folders()
        server.copy_from(self._way_to(None))
        self.go_on(member)
        server.stop(immediate=True)
        server.adopt_copy()

    def see_it_move(self, standby: MemberName, primary: MemberName) -> None:
        """Return once the standby has flushed and replayed a record that no client waits for.

        Before a join: a standby that does not move (its receiver is stopped, the wire is cut) must not hold up
        a single commit. Raises NoProgress if it stands still.
        """
        with self[primary].connect(options="-c synchronous_commit=local") as connection:
            connection.execute("SELECT pg_logical_emit_message(true, 'multiaz', 'join')")
            self._wait_for_flush(connection, application_name(standby))

    def join(self, standby: MemberName, primary: MemberName, memory: RoleRecord) -> None:
        """Make commits wait for the standby and return once it has flushed everything before that.

        A standby with a history of its own is refused first.
        Order (design, "Standby joins"): change the setting; see it from a new connection; complete a
        CHECKPOINT, because commits wait only once the checkpointer has read the setting; take the
        primary's flush position and wait for the standby to pass it. Then lead replicas to the standby
        and do the last part again, so that none of them has seen what the standby has not.
        Raises, with commits waiting for nobody again, if that cannot be had.
        """
        self._check_history(standby, primary)
        self.configure(primary, memory, synchronous=True)
        try:
            with self[primary].connect() as connection:
                self._wait_for_setting(primary, application_name(standby))
                self._checkpoint(connection)
                self._wait_for_flush(connection, application_name(standby))
                self.point_upstream(standby)
                self._wait_for_flush(connection, application_name(standby))
        except BaseException:
            self.configure(primary, memory, synchronous=False)
            raise
        threading.Thread(target=_make_restartpoint, args=(self[standby],), daemon=True).start()

    def _check_history(self, standby: MemberName, primary: MemberName) -> None:
        with self[standby].connect() as connection:
            row = connection.execute(
                "SELECT (SELECT received_tli FROM pg_stat_wal_receiver), pg_last_wal_replay_lsn() - '0/0'::pg_lsn"
            ).fetchone()
        assert row is not None
        timeline, replayed = (None if value is None else int(str(value)) for value in row)
        why = diverged(self[standby], self[primary].socket_folder, timeline, replayed)
        if why is not None:
            raise ServerFailed(f"{standby} cannot join", why, "it is cloned")

    def _checkpoint(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("CHECKPOINT")

    def _wait_for_setting(self, primary: MemberName, name: str) -> None:
        deadline = time.monotonic() + CATCH_UP_PATIENCE_S
        while time.monotonic() < deadline:
            self.go_on(other_member(primary))
            with self[primary].connect() as fresh:
                row = fresh.execute("SHOW synchronous_standby_names").fetchone()
                if row is not None and name in str(row[0]):
                    return
            time.sleep(0.01)
        raise NoProgress("The standby cannot join", "the primary does not read its configuration", "read its log")

    def _wait_for_flush(self, connection: psycopg.Connection[Any], name: str) -> None:
        """Wait until the standby has flushed *and replayed* what the primary has flushed by now.

        Flushed is what commits wait for; replayed proves that it can follow at all. Progress is its position.
        """
        row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        target, position, deadline = row[0], None, time.monotonic() + CATCH_UP_PATIENCE_S
        while True:
            seen = connection.execute(
                "SELECT replay_lsn::text, least(flush_lsn, replay_lsn) >= %s::pg_lsn FROM pg_stat_replication"
                " WHERE application_name = %s AND state = 'streaming'",
                (target, name),
            ).fetchone()
            if seen is not None and seen[1]:
                return
            self.go_on(_member_called(name))
            if seen is not None and seen[0] != position:
                position, deadline = seen[0], time.monotonic() + CATCH_UP_PATIENCE_S
            if time.monotonic() > deadline:
                raise NoProgress(
                    "The standby cannot join", f"it stands at {position} and must reach {target}", "read its log"
                )
            time.sleep(0.005)

    def restart(self, member: MemberName, memory: RoleRecord, *, synchronous: bool) -> None:
        """Stop a server cleanly and start it with its present configuration."""
        self[member].stop()
        self.go_on(member)
        self.settle(member)
        self.configure(member, memory, synchronous=synchronous)
        self._start(member)

    def _start(self, member: MemberName) -> None:
        self.go_on(member)
        server = self[member]
        server.wait_until_ready(server.start(), go_on=lambda: self.go_on(member))

    def set_master(self, primary: MemberName) -> int:
        """Set the master user's verifier; its number."""
        master = self.desired.master
        assert master is not None
        with self[primary].connect() as connection:
            connection.execute(bootstrap.QUIET)
            connection.execute(bootstrap.new_password(master))
        return master.number


def _archives(desired: DesiredInstance, memory: RoleRecord) -> bool:
    """The instance's WAL is archived: of a read replica it is not, as on RDS, until it is promoted."""
    following = memory.following or (memory.primary is None and desired.source is not None)
    return desired.backups is not None and not following


def _cut_replicas(server: Server, tried: threading.Event, cut: threading.Event) -> None:
    try:
        with server.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name LIKE 'replica\\_%'"
            )
            cut.set()
    except psycopg.Error as error:
        log.warning("%s does not end the streams of its replicas: %s", server.name, error)
    finally:
        tried.set()


def _make_restartpoint(standby: Server) -> None:
    """Once it is promoted, whoever is rewound to it replays from its latest one: that should not be an old one."""
    try:
        with standby.connect() as connection:
            connection.execute("CHECKPOINT")
    except psycopg.Error as error:
        log.info("%s makes no restartpoint now: %s", standby.name, error)
