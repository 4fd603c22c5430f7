"""The status is what is observed: the same record and sight give the same word, whoever looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from multiaz.cloud.rds.model import Instance, Networking, Operation, OperationKind, Storage
from multiaz.cloud.rds.status import (
    GRACE_S,
    Seen,
    hangs,
    incompatible_parameters,
    is_finished,
    parameter_apply_status,
    replication_of,
    status_of,
)
from multiaz.cloud.rds.wanted import desired_of
from multiaz.home import Home
from multiaz.instance.records import (
    Answer,
    ObservedInstance,
    ObservedMember,
    Phase,
    Request,
    RequestKind,
    Restore,
    RunState,
)

VALUES = {"work_mem": "4096", "rds.force_ssl": "1"}


def instance(kind: OperationKind | None = None, *, number: int | None = None, **changes: Any) -> Instance:
    record = Instance(
        region="us-east-1",
        identifier="db",
        resource_id="db-ABC",
        created_at=0,
        instance_class="db.t3.micro",
        major=17,
        version="17.10",
        master_username="shop",
        master_verifier="SCRAM-SHA-256$4096:c2FsdA==$a:b",
        master_number=1,
        network=Networking(
            subnet_group="nets",
            vpc_id="vpc-1",
            security_groups=(),
            zones={"a": "us-east-1a", "b": "us-east-1b"},
            address="127.1.2.3",
            port=5432,
            asked_port=5432,
        ),
        storage=Storage(kind="gp2", allocated_gib=20),
        parameter_group="default.postgres17",
        parameters=VALUES,
        backup_window="03:00-03:30",
        maintenance_window="sun:05:00-sun:05:30",
        certificate_authority="rds-ca-rsa2048-g1",
        operation=Operation(kind=kind, started_at=0, request=number) if kind else None,
        created=kind is not OperationKind.CREATE,
    )
    return record.but(**changes)


def modifies(*names: str, multi_az: bool = False) -> Instance:
    """An instance of which these values, by the API's names, are being modified."""
    applying = dict.fromkeys(names, "x")
    return instance(operation=Operation(kind=OperationKind.MODIFY, started_at=0, applying=applying), multi_az=multi_az)


def observed(phase: Phase = Phase.RUNNING, **changes: Any) -> ObservedInstance:
    running = phase is Phase.RUNNING
    sight = ObservedInstance(
        resource_id="db-ABC",
        written_at=0,
        pid=1,
        phase=phase,
        reason="",
        epoch=1,
        primary="a",
        in_sync=False,
        writable=running,
        redundant=True,
        members=(ObservedMember(name="a", zone="us-east-1a", state="primary"),),
        master_number=1,
        applied=VALUES,
        relay_ready=running,
    )
    return ObservedInstance.model_validate({**dict(sight), **changes})


def seen(phase: Phase = Phase.RUNNING, **changes: Any) -> Seen:
    return Seen(observed(phase, **changes), supervised=True)


RESTORE = Restore(resource_id="db-SOURCE", base="one", until=1.0)
ANSWERED = (Answer(number=3, outcome="done", reason=""),)


@pytest.mark.parametrize(
    ("record", "sight", "done"),
    [
        (instance(OperationKind.CREATE), seen(Phase.CREATING), False),
        (instance(OperationKind.CREATE), seen(relay_ready=False), False),
        (instance(OperationKind.CREATE), seen(writable=False), False),
        (instance(OperationKind.CREATE), seen(master_number=0), False),
        (instance(OperationKind.CREATE), seen(), True),
        (instance(OperationKind.CREATE, multi_az=True), seen(redundant=False), False),
        (instance(OperationKind.CREATE, multi_az=True), seen(in_sync=True), True),
        (instance(OperationKind.CREATE, source="db-SOURCE"), seen(master_number=0), True),
        (instance(OperationKind.REBOOT, number=3), seen(), False),
        (instance(OperationKind.REBOOT, number=3), seen(answers=ANSWERED), True),
        (instance(OperationKind.FAILOVER, number=3), seen(Phase.FAILING_OVER, answers=ANSWERED), False),
        (instance(OperationKind.PASSWORD, master_number=2), seen(), False),
        (instance(OperationKind.PASSWORD), seen(), True),
        (modifies("MultiAZ", multi_az=True), seen(), False),
        (modifies("MultiAZ", multi_az=True), seen(in_sync=True), True),
        (modifies("MultiAZ"), seen(in_sync=True), False),
        (modifies("DBInstanceClass", multi_az=True), seen(), False),
        (modifies("AllocatedStorage", "MultiAZ", multi_az=True), seen(), False),
        # A standby that is away holds up nothing that does not concern it.
        (modifies("AllocatedStorage", multi_az=True), seen(), True),
        (modifies("AllocatedStorage", multi_az=True), seen(writable=False), False),
        (instance(OperationKind.MODIFY, multi_az=True), seen(), True),
        (instance(OperationKind.MODIFY, master_number=2), seen(), False),
        (instance(OperationKind.MODIFY), seen(applied={}), False),
        (instance(OperationKind.MODIFY, number=3), seen(), False),
        (instance(OperationKind.MODIFY, number=3), seen(answers=ANSWERED), True),
        (instance(OperationKind.RENAME, number=3), seen(), False),
        (instance(OperationKind.RENAME, number=3), seen(relay_ready=False, answers=ANSWERED), False),
        (instance(OperationKind.RENAME, number=3), seen(answers=ANSWERED), True),
        (instance(OperationKind.BACKUP), seen(backing_up=True), False),
        (instance(OperationKind.BACKUP), seen(restorable_until=1.0), True),
        (instance(OperationKind.BACKUP), seen(restorable_until=1.0, writable=False), False),
        (instance(OperationKind.BACKUP), seen(restorable_until=1.0, backing_up=True), False),
        # What keeps the first backup from being made does not keep the instance from its users.
        (instance(OperationKind.BACKUP), seen(backup_problem="no room"), True),
        (instance(OperationKind.BACKUP, backup_retention_days=0), seen(), True),
        # Nothing else waits for a backup.
        (instance(OperationKind.MODIFY), seen(backing_up=True), True),
        (instance(OperationKind.OPTIMIZE), seen(Phase.RECOVERING), False),
        (instance(OperationKind.OPTIMIZE), seen(), True),
        (instance(OperationKind.STOP, run=RunState.STOPPED), seen(), False),
        (instance(OperationKind.STOP, run=RunState.STOPPED), seen(Phase.STOPPED), True),
        (instance(OperationKind.START), seen(Phase.STOPPED), False),
        (instance(OperationKind.DELETE), seen(Phase.DELETED), False),
    ],
)
def test_an_operation_ends_when_its_effect_is_seen(record: Instance, sight: Seen, done: bool) -> None:
    assert record.operation is not None
    assert is_finished(record, record.operation, sight.valid) is done


def test_an_unseen_instance_ends_no_operation() -> None:
    for kind in OperationKind:
        record = instance(kind)
        assert record.operation is not None
        assert not is_finished(record, record.operation, None)


@pytest.mark.parametrize(
    ("record", "sight", "word"),
    [
        (instance(OperationKind.CREATE), Seen(), "creating"),
        (instance(OperationKind.CREATE), seen(Phase.FAILED), "failed"),
        (instance(OperationKind.REBOOT, number=3), seen(), "rebooting"),
        (instance(OperationKind.FAILOVER, number=3), seen(), "rebooting"),
        (instance(OperationKind.PASSWORD), seen(), "resetting-master-credentials"),
        (instance(OperationKind.MODIFY), seen(), "modifying"),
        (instance(OperationKind.STOP, run=RunState.STOPPED), seen(), "stopping"),
        (instance(run=RunState.STOPPED), seen(Phase.STOPPED), "stopped"),
        (instance(OperationKind.START), seen(Phase.STOPPED), "starting"),
        (instance(OperationKind.DELETE), seen(), "deleting"),
        (instance(OperationKind.DELETE), seen(Phase.FAILED), "deleting"),
        (instance(), seen(), "available"),
        (instance(), seen(backing_up=True), "backing-up"),
        (instance(), seen(Phase.RECOVERING, backing_up=True), "rebooting"),
        (instance(OperationKind.BACKUP), seen(), "backing-up"),
        (instance(OperationKind.BACKUP), seen(Phase.FAILING_OVER), "rebooting"),
        (instance(OperationKind.BACKUP), seen(Phase.FAILED), "failed"),
        (instance(OperationKind.BACKUP), seen(storage_full=True), "storage-full"),
        (instance(OperationKind.CREATE, restore=RESTORE), seen(Phase.CREATING), "creating"),
        (instance(OperationKind.CREATE, restore=RESTORE), seen(Phase.FAILED), "restore-error"),
        (instance(OperationKind.CREATE, restore=RESTORE), seen(Phase.FAILED, applied={}), "restore-error"),
        (instance(OperationKind.CREATE), seen(Phase.FAILED, applied={}), "failed"),
        (instance(OperationKind.REBOOT, number=3), seen(Phase.FAILED, applied={}), "rebooting"),
        (instance(restore=RESTORE), seen(Phase.FAILED), "failed"),
        (instance(), seen(Phase.FAILING_OVER), "rebooting"),
        (instance(), seen(Phase.RECOVERING), "rebooting"),
        (instance(), seen(Phase.FAILED), "failed"),
        (instance(), Seen(observed(), supervised=False, unsupervised_s=GRACE_S / 2), "available"),
        (instance(), Seen(observed(), supervised=False, unsupervised_s=GRACE_S), "rebooting"),
        (instance(), Seen(observed(), supervised=True, given_up="ended 5 times"), "failed"),
    ],
)
def test_status_follows_what_is_seen(record: Instance, sight: Seen, word: str) -> None:
    assert status_of(record, sight) == word


NO_MEMORY = "PostgreSQL did not start (a): FATAL:  could not map anonymous shared memory: Cannot allocate memory"


@pytest.mark.parametrize(
    ("sight", "named"),
    [
        (observed(Phase.FAILED, reason=NO_MEMORY), True),
        (observed(Phase.FAILED, reason='FATAL:  invalid value for parameter "timezone": "Mars"'), True),
        (observed(Phase.FAILED, reason="FATAL:  too many replication slots active before shutdown"), True),
        (observed(Phase.FAILED, reason="PANIC:  could not locate a valid checkpoint record"), False),
        (observed(Phase.FAILED, reason="the primary's data directory is gone; restore a snapshot"), False),
        # it speaks of values that are no longer wanted
        (observed(Phase.FAILED, reason=NO_MEMORY, applied={**VALUES, "work_mem": "1"}), False),
        (observed(Phase.FAILED, reason=NO_MEMORY, storage_full=True), False),
        (observed(Phase.RECOVERING, reason=NO_MEMORY), False),
        (observed(reason=NO_MEMORY), False),
    ],
)
def test_a_failed_start_is_blamed_on_parameters_only_if_the_server_says_so_of_these(
    sight: ObservedInstance, named: bool
) -> None:
    assert bool(incompatible_parameters(instance(), sight)) is named


@pytest.mark.parametrize(
    ("record", "sight", "word"),
    [
        (instance(incompatible=NO_MEMORY), seen(Phase.FAILED), "incompatible-parameters"),
        # between two attempts the word does not flap
        (instance(incompatible=NO_MEMORY), seen(Phase.RECOVERING), "incompatible-parameters"),
        (instance(OperationKind.REBOOT, incompatible=NO_MEMORY), seen(Phase.FAILED), "incompatible-parameters"),
        (instance(OperationKind.DELETE, incompatible=NO_MEMORY), seen(Phase.FAILED), "deleting"),
        # other values are on their way
        (instance(OperationKind.REBOOT), seen(Phase.FAILED, applied={}), "rebooting"),
        (instance(OperationKind.REBOOT), seen(Phase.FAILED), "failed"),
        (instance(OperationKind.IAM), seen(), "configuring-iam-database-auth"),
        (instance(OperationKind.MONITORING), seen(), "configuring-enhanced-monitoring"),
        (instance(OperationKind.LOGS), seen(), "configuring-log-exports"),
        (instance(OperationKind.OPTIMIZE), seen(), "storage-optimization"),
        (instance(OperationKind.RENAME, number=3), seen(), "renaming"),
    ],
)
def test_modifications_have_the_words_of_rds(record: Instance, sight: Seen, word: str) -> None:
    assert status_of(record, sight) == word


def test_parameters_wait_for_a_reboot_until_the_server_has_them() -> None:
    assert parameter_apply_status(instance(), VALUES, seen()) == "in-sync"
    assert parameter_apply_status(instance(), {**VALUES, "work_mem": "1"}, seen()) == "pending-reboot"
    assert parameter_apply_status(instance(), VALUES, seen(pending_restart=("work_mem",))) == "pending-reboot"
    assert parameter_apply_status(instance(), VALUES, seen(applied={})) == "applying"


def test_replication_is_told_of_replicas_only() -> None:
    streaming = (ObservedMember(name="a", zone="us-east-1a", state="standby", streaming=True),)
    replica = instance(source="db-SOURCE")
    assert replication_of(instance(), seen(members=streaming)) is None
    told = replication_of(replica, seen(members=streaming))
    assert told is not None
    assert told.status == "replicating"
    broken = replication_of(replica, seen(members=streaming, replication_error="no WAL"))
    assert broken is not None
    assert (broken.normal, broken.status, broken.message) == (False, "error", "no WAL")


HOME = Home(Path("/home"))


def test_desired_holds_a_verifier_for_a_primary_and_no_user_for_a_replica() -> None:
    primary = desired_of(instance(), HOME, "/bin", "http://127.0.0.1:4566/")
    assert primary.master is not None
    assert primary.endpoint.force_ssl
    replica = desired_of(instance(source="db-SOURCE"), HOME, "/bin", "http://127.0.0.1:4566")
    assert replica.master is None
    assert replica.source is not None
    assert replica.source.upstream == str(HOME.instance("db-SOURCE").upstream_link)


def test_a_deleted_instance_with_replicas_goes_on_until_they_are_promoted() -> None:
    deleted = instance(OperationKind.DELETE, final_snapshot="last")
    waiting = desired_of(deleted, HOME, "/bin", "http://x", ready_to_go=False)
    assert waiting.run is RunState.RUNNING
    going = desired_of(deleted, HOME, "/bin", "http://x")
    assert going.run is RunState.DELETED
    assert going.final_snapshot == "/home/snapshots/final-db-ABC"


def test_tokens_are_judged_only_where_iam_authentication_is_on() -> None:
    off = desired_of(instance(), HOME, "/bin", "http://x")
    assert (off.endpoint.iam_authentication, off.endpoint.authorize_url) == (False, None)
    on = desired_of(instance(iam_authentication=True), HOME, "/bin", "http+unix://%2Fj/a")
    assert on.endpoint.authorize_url == "http+unix://%2Fj/a"


def test_a_request_is_handed_on_as_it_was_recorded() -> None:
    request = Request(number=3, kind=RequestKind.REBOOT, epoch=2)
    assert desired_of(instance(request=request), HOME, "/bin", "http://x").request == request


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.FAILED, Phase.RECOVERING])
def test_full_storage_is_a_status_of_its_own_unless_something_is_being_done_or_the_instance_rests(phase: Phase) -> None:
    full = Seen(observed(phase, storage_full=True), supervised=True)
    assert status_of(instance(), full) == "storage-full"
    assert status_of(instance(OperationKind.DELETE), full) == "deleting"
    assert status_of(instance(run=RunState.STOPPED), full) != "storage-full"
    assert status_of(instance(), Seen(observed(storage_full=False), supervised=True)) == "available"


@pytest.mark.parametrize(
    ("kind", "seen", "expected"),
    [
        (None, observed(Phase.RECOVERING, writable=False, in_sync=True), True),
        (None, observed(Phase.RECOVERING, writable=False, in_sync=False), False),
        (None, observed(Phase.RUNNING, in_sync=True), False),
        (None, observed(Phase.FAILING_OVER, in_sync=True), False),
        (OperationKind.MODIFY, observed(Phase.RECOVERING, writable=False, in_sync=True), False),
    ],
    ids=["hangs", "nobody may take over", "serves", "fails over already", "something was asked of it"],
)
def test_failover_may_be_forced_on_a_primary_that_hangs(
    kind: OperationKind | None, seen: ObservedInstance, expected: bool
) -> None:
    """Its status is "rebooting" then, which refuses every other call."""
    assert hangs(instance(kind), Seen(observed=seen, supervised=True)) is expected
    assert not hangs(instance(kind), Seen(observed=seen, supervised=False, unsupervised_s=GRACE_S + 1))
