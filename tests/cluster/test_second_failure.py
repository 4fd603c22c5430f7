"""A second failure right after the first: as soon as there are two copies again, and before there are."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

import pytest
from harness import Instance, MakeInstance
from ledger import Ledger
from test_hangs import stop_processes

from multiaz.files import lock_holder
from multiaz.instance.records import MemberName, ObservedInstance, RequestKind, RoleRecord

CLIENTS = 8


def in_sync(instance: Instance) -> bool:
    return RoleRecord.model_validate_json(instance.home.role.read_bytes()).in_sync


def kill(instance: Instance, member: MemberName) -> None:
    pid = instance.server(member).pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def stop_all(instance: Instance, member: MemberName) -> None:
    stop_processes(instance, member, "all")


def stop_postmaster(instance: Instance, member: MemberName) -> None:
    stop_processes(instance, member, "postmaster")


def kill_with_supervisor(instance: Instance, member: MemberName) -> None:
    supervisor = lock_holder(instance.home.lock)
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    kill(instance, member)


def ask(instance: Instance, _: MemberName) -> None:
    instance.request(RequestKind.FAILOVER)


Failure = Callable[[Instance, MemberName], None]
FAILURES: tuple[Failure, ...] = (kill, stop_all, stop_postmaster, kill_with_supervisor)


def fail_over(instance: Instance, failure: Failure) -> ObservedInstance:
    """The primary fails as soon as there are two copies; what is seen as soon as the other one takes writes."""
    before = instance.wait_well()
    assert before.primary is not None
    failure(instance, before.primary)
    after = instance.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.writable)
    assert (after.epoch, after.primary) == (before.epoch + 1, "b" if before.primary == "a" else "a")
    return after


def fail_again_before_there_is_a_standby(instance: Instance, failure: Failure) -> None:
    """The new primary fails while the former one is brought back: it has the only copy, and must serve again."""
    first = fail_over(instance, kill)
    assert first.primary is not None
    assert not in_sync(instance)
    old = instance.server(first.primary).pid()
    failure(instance, first.primary)
    instance.wait(
        "another postmaster", lambda seen: seen.writable and instance.server(first.primary).pid() not in (None, old)
    )
    after = instance.wait_well()
    assert (after.epoch, after.primary) == (first.epoch, first.primary), instance.log()


@pytest.mark.long
def test_second_failure_as_soon_as_redundant_loses_nothing(make_instance: MakeInstance) -> None:
    instance = make_instance("one")
    instance.wait("well, with its relay", lambda seen: seen.redundant and seen.relay_ready)
    with Ledger(instance, instance.connect_by_endpoint) as ledger:
        for failure in FAILURES:
            ledger.wait_for(10)
            fail_over(instance, failure)
            instance.wait_well()
            fail_over(instance, failure)
        ledger.wait_for(10)
    instance.wait_well()
    ledger.check()


@pytest.mark.long
def test_second_failure_before_there_is_a_standby_loses_nothing_and_redundancy_returns(
    make_instance: MakeInstance,
) -> None:
    """Nobody is promoted: the one that is brought back lacks what was acknowledged since."""
    instance = make_instance("one")
    instance.wait("well, with its relay", lambda seen: seen.redundant and seen.relay_ready)
    with Ledger(instance, instance.connect_by_endpoint) as ledger:
        for failure in FAILURES:
            ledger.wait_for(10)
            fail_again_before_there_is_a_standby(instance, failure)
        ledger.wait_for(10)
    instance.wait_well()
    ledger.check()


@pytest.mark.long
def test_many_clients_of_the_endpoint_lose_no_acknowledged_row_over_many_failovers(make_instance: MakeInstance) -> None:
    """Each row of each client is acknowledged, unknown or failed: all of the first are there, and none of the last."""
    instance = make_instance("one")
    before = instance.wait("well, with its relay", lambda seen: seen.redundant and seen.relay_ready)
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(Ledger(instance, instance.connect_by_endpoint, client=number))
            for number in range(CLIENTS)
        ]
        for failure in 2 * (kill, stop_all, stop_postmaster, ask):
            fail_over(instance, failure)
            for client in clients:
                client.wait_for(10)
        for failure in (kill, stop_all):
            fail_over(instance, kill)
            fail_over(instance, failure)
            fail_again_before_there_is_a_standby(instance, failure)
            for client in clients:
                client.wait_for(10)
    after = instance.wait_well()
    for client in clients:
        client.check()
    assert after.epoch - before.epoch >= 14
    assert any(client.unknown for client in clients), "no fault came while a commit was under way"
