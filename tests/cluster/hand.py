"""A supervisor that is led by hand, one action at a time, so that a step can be left out and the harm be seen."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from harness import PASSWORD, Instance, eventually

from multiaz.errors import MultiazError
from multiaz.instance.actions import Action, Begin, JobKind, Step
from multiaz.instance.records import MemberName, RoleRecord
from multiaz.instance.servers import other_member
from multiaz.instance.supervisor import Supervisor
from multiaz.instance.view import Seen
from multiaz.postgres.config import ServerSettings
from multiaz.postgres.processes import fence
from multiaz.postgres.server import Server


class ByHand(Supervisor):
    """The real supervisor in this process: its own rounds, with a seam before and after each action."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance.top, instance.resource_id)
        self.instance = instance
        self.left_out: Callable[[Action], bool] = lambda _: False
        self.after: Callable[[Action], None] = lambda _: None
        self._load()

    def _tell(self, step: Step) -> None:
        """Publish nothing and start no relay: it would start a supervisor of its own."""

    def _perform(self, step: Step) -> None:
        for action in step.actions:
            if self.left_out(action):
                continue
            super()._perform(replace(step, actions=(action,)))
            self.after(action)

    def round(self) -> Step:
        """One round of the loop."""
        return self._round()

    def until(self, what: str, holds: Callable[[RoleRecord, Seen], object], within_s: float = 30.0) -> None:
        """Take rounds until something is seen."""

        def check() -> bool:
            self._round()
            return bool(holds(self.memory, self.observer.observe(self.memory)))

        eventually(what, check, within_s)

    def die(self) -> None:
        """Leave everything as it is: what a SIGKILL leaves."""
        self.observer.wait_for_jobs()
        self.observer.stop()

    def reborn(self) -> ByHand:
        """The next supervisor, which knows only what is on disk."""
        self.die()
        return ByHand(self.instance)

    # -- the pair ---------------------------------------------------------------------------------

    def make_pair(self) -> None:
        """A primary "a" and a standby "b" that streams and is not joined."""
        self.left_out = lambda action: action == Begin(JobKind.JOIN, "b")
        self.until("b streams", lambda _, seen: seen.members["b"].streaming, within_s=120)
        self.left_out = lambda _: False

    def join(self) -> None:
        """The join as the supervisor's job does it."""
        self.servers.join("b", "a", self.memory)

    def record_in_sync(self) -> None:
        """What the loop does after a join."""
        self._remember(self.memory.model_copy(update={"in_sync": True}))

    def lose_primary(self) -> None:
        """The primary's zone is gone at this instant; what the standby has not received it never will.

        The standby is killed too and started again, because its socket may hold WAL it has not read.
        """
        primary = self.memory.primary
        assert primary is not None
        standby = other_member(primary)
        for member in (standby, primary):
            fence(self.servers[member].data)
            self.servers[member].remove_stale_pid()
        control = self.servers[primary].data / "global" / "pg_control"
        control.rename(control.with_name("pg_control.gone"))
        self._start(standby, standby=True)
        self.sees_answering(standby)

    def fail_over_after_loss(self) -> None:
        """Lose the primary and let the supervisor do what its record says; then "b" serves."""
        epoch = self.memory.epoch
        self.lose_primary()
        self.until("b has taken over", lambda memory, seen: memory.epoch > epoch and seen.members["b"].answering)

    # -- clients ----------------------------------------------------------------------------------

    def client(self, member: MemberName) -> psycopg.Connection[tuple[object, ...]]:
        """A client's connection to one server, whatever the links say."""
        return psycopg.connect(
            host=str(self.home.socket_folder(member)), port=5432, user="dbadmin", password=PASSWORD, dbname="shop",
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def rows(self, member: MemberName) -> set[int]:
        """What a client reads there."""
        with self.client(member) as connection:
            return {int(str(row[0])) for row in connection.execute("SELECT x FROM t")}

    def process(self, member: MemberName, kind: str) -> int:
        """Pid of one of a server's own processes: checkpointer, walreceiver, startup."""

        def find() -> int | None:
            with self.servers[member].connect() as connection:
                row = connection.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = %s", (kind,)).fetchone()
            return None if row is None else int(str(row[0]))

        return int(eventually(f"{member} has a {kind}", find))

    @contextlib.contextmanager
    def stopped(self, member: MemberName, kind: str) -> Iterator[int]:
        """That process stands still meanwhile."""
        pid = self.process(member, kind)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def sees_answering(self, member: MemberName) -> None:
        """Wait, without a round, until the server answers its probe."""
        eventually(f"{member} answers", lambda: self.observer.observe(self.memory).members[member].answering)

    def seen_link(self) -> str | None:
        """The member the link `primary` names."""
        return self.observer.observe(self.memory).primary_link

    def waits_for_standby(self, member: MemberName = "a") -> bool:
        """Some commit waits for the standby now."""
        with self.servers[member].connect() as connection:
            found = connection.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchone()
        return found is not None

    def end(self) -> None:
        """End every server."""
        self.die()
        for member in ("a", "b"):
            fence(self.servers[member].data)  # type: ignore[index]


class Insert(threading.Thread):
    """One INSERT by a client of its own; `acknowledged` once the server has said so."""

    def __init__(self, hand: ByHand, number: int, member: MemberName = "a") -> None:
        super().__init__(daemon=True)
        self._connection = hand.client(member)
        self._number = number
        self.acknowledged = False
        self.start()

    def run(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._connection.execute("INSERT INTO t VALUES (%s)", (self._number,))
            self.acknowledged = True
        self._connection.close()


class Joining(threading.Thread):
    """A join that goes on beside the test."""

    def __init__(self, hand: ByHand) -> None:
        super().__init__(daemon=True)
        self._hand = hand
        self.error: MultiazError | psycopg.Error | None = None
        self.start()

    def run(self) -> None:
        try:
            self._hand.join()
        except (MultiazError, psycopg.Error) as error:
            self.error = error

    def finish(self) -> None:
        """Wait for its end, which must be a success."""
        self.join(60)
        assert not self.is_alive()
        assert self.error is None, self.error


@contextlib.contextmanager
def children_are_reaped() -> Iterator[None]:
    """Servers started in this process are waited for at the end, as the real supervisor's parent would."""
    start, children = Server.start, []

    def started(server: Server) -> subprocess.Popen[bytes]:
        children.append(start(server))
        return children[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "start", started)
        try:
            yield
        finally:
            for child in children:
                child.wait()


class Replica:
    """A read replica's server that streams from the instance's `upstream` link, without a supervisor."""

    def __init__(self, hand: ByHand) -> None:
        folder = hand.home.folder / "replica"
        like = hand.servers["a"]
        self.server = Server("replica", like.bin_folder, folder, hand.home.run / "r", like.user)
        self.server.make_folders()
        self.server.copy_from(hand.home.upstream_link)
        self.server.adopt_copy()
        self.server.configure(
            ServerSettings(
                "replica", self.server.socket_folder, self.server.log_folder, hand.servers.desired.parameters,
                upstream=hand.home.upstream_link, feedback_name="replica_x",
            )
        )  # fmt: skip
        self.server.wait_until_ready(self.server.start())

    def rows(self) -> set[int]:
        """What a reader sees there."""
        with self.server.connect("shop") as connection:
            return {int(str(row[0])) for row in connection.execute("SELECT x FROM t")}

    def end(self) -> None:
        """End it."""
        fence(self.server.data)


def followers(hand: ByHand, member: MemberName) -> set[str]:
    """Who streams from a server."""
    with hand.servers[member].connect() as connection:
        found = connection.execute("SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'")
        return {str(row[0]) for row in found}
