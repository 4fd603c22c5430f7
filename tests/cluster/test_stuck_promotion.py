"""A failover ends also where a server stands still in the middle of it, on real servers led by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from hand import ByHand, children_are_reaped
from harness import Instance, eventually

from multiaz.home import Home
from multiaz.instance.records import RequestKind
from multiaz.postgres.server import Server


@pytest.fixture
def hand(home_folder, free_port) -> Iterator[ByHand]:  # type: ignore[no-untyped-def]
    """A pair that is in sync."""
    with children_are_reaped():
        made = ByHand(Instance(Home(home_folder), "one", free_port()))
        try:
            made.until("in sync", lambda memory, _: memory.in_sync, within_s=120)
            yield made
        finally:
            made.end()


def serves(hand: ByHand, member: str) -> None:
    hand.until(
        f"{member} takes writes",
        lambda memory, seen: memory.primary == member and seen.members[memory.primary].in_recovery is False,
    )


@pytest.mark.long
def test_standby_paused_for_its_parameters_is_restarted_when_it_is_to_take_over(hand: ByHand) -> None:
    """PostgreSQL: "promotion is not possible because of insufficient parameter settings", whatever one waits for."""
    more = {**hand.desired.parameters, "max_connections": "100"}
    hand.servers.desired = hand.desired = hand.desired.model_copy(update={"parameters": more})
    hand.servers.restart("a", hand.memory, synchronous=True)

    def paused() -> bool:
        with hand.servers["b"].connect() as connection:
            return connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() == ("paused",)

    eventually("b pauses", paused)
    before = hand.servers["b"].pid()
    os.kill(hand.servers["a"].pid() or 0, signal.SIGKILL)
    eventually("a is gone", lambda: hand.servers["a"].pid() is None)
    serves(hand, "b")
    assert hand.servers["b"].pid() != before
    with hand.client("b") as connection:
        assert connection.execute("SHOW max_connections").fetchone() == ("100",)


@pytest.mark.long
def test_primary_that_hangs_while_it_is_rebooted_is_failed_over(hand: ByHand) -> None:
    real = Server.start

    def stopped_at_once(server: Server) -> subprocess.Popen[bytes]:
        child = real(server)
        if server.name.endswith("_a"):
            while server.pid() is None:
                time.sleep(0.001)
            os.kill(child.pid, signal.SIGSTOP)
        return child

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "start", stopped_at_once)
        hand.instance.write(request={"number": 1, "kind": RequestKind.REBOOT, "epoch": hand.memory.epoch})
        hand.until("the reboot is under way", lambda memory, _: memory.request is not None)
        serves(hand, "b")
    assert hand.memory.answers[-1].outcome == "refused"


@pytest.mark.long
def test_standby_whose_startup_process_is_stopped_takes_over_all_the_same(hand: ByHand) -> None:
    """It streams and confirms, so it is in sync; only its replay stands still, whose end a promotion is."""
    with hand.stopped("b", "startup"):
        with hand.client("a") as connection:
            connection.execute("CREATE TABLE t (x int)")
        os.kill(hand.servers["a"].pid() or 0, signal.SIGKILL)
        serves(hand, "b")
        with hand.client("b") as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


@pytest.mark.long
def test_promotion_that_is_stopped_in_its_middle_is_begun_anew(hand: ByHand) -> None:
    promote = Server.promote

    def then_stopped(server: Server) -> None:
        with pytest.MonkeyPatch.context() as once:
            once.setattr(Server, "promote", promote)
            os.kill(startup, signal.SIGSTOP)
            promote(server)

    startup, before = hand.process("b", "startup"), hand.servers["b"].pid()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "promote", then_stopped)
        os.kill(hand.servers["a"].pid() or 0, signal.SIGKILL)
        hand.until("b is ended", lambda *_: hand.servers["b"].pid() != before)
    serves(hand, "b")
