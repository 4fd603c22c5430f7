"""The rules of a supervisor, one by one: `decide` is pure, so every case is a value."""

from __future__ import annotations

from typing import Any

import pytest

from multiaz.instance.actions import (
    Announce,
    Begin,
    Configure,
    Fence,
    JobKind,
    PointPrimary,
    PointUpstream,
    Promote,
    Record,
    Start,
    StopAll,
    TakeSnapshot,
)
from multiaz.instance.decide import TRANSITIONS, decide, view_of
from multiaz.instance.records import (
    DesiredInstance,
    Endpoint,
    MasterUser,
    Phase,
    Request,
    RequestKind,
    RoleRecord,
    RunState,
    Source,
)
from multiaz.instance.rules.standby import clone
from multiaz.instance.view import IDLE_AFTER_S, LEAVE_AFTER_S, STRAY_AFTER_S, Seen, SeenMember

DESIRED = DesiredInstance(
    resource_id="db-X",
    identifier="x",
    bin_folder="/bin",
    major=17,
    multi_az=True,
    zones={"a": "us-east-1a", "b": "us-east-1b"},
    master=MasterUser(name="dbadmin", verifier="SCRAM", number=1),
    endpoint=Endpoint(address="127.0.0.1", port=5432, region="us-west-2", force_ssl=True, iam_authentication=True),
)
PRIMARY = SeenMember(exists=True, alive=True, answering=True, in_recovery=False)
STANDBY = SeenMember(exists=True, alive=True, answering=True, in_recovery=True, streaming=True)
DEAD = SeenMember(exists=True)
WELL = RoleRecord(epoch=3, primary="a", in_sync=True, initialised=True, master_number=1)


def member(base: SeenMember, **changes: Any) -> SeenMember:
    return SeenMember(**{**base.__dict__, **changes})


def seen(a: SeenMember = PRIMARY, b: SeenMember = STANDBY, **others: Any) -> Seen:
    return Seen(members={"a": a, "b": b}, **{"primary_link": "a", "upstream_link": "b", **others})


def desired(**changes: Any) -> DesiredInstance:
    return DESIRED.model_copy(update=changes)


def memory(**changes: Any) -> RoleRecord:
    return WELL.model_copy(update=changes)


def request(kind: RequestKind, *, number: int = 1, epoch: int = 3) -> Request:
    return Request(number=number, kind=kind, epoch=epoch)


REPLICA = desired(multi_az=False, source=Source(resource_id="db-S", upstream="/run/s/upstream"), master=None)
FOLLOWING = memory(in_sync=False, following=True)


def test_a_well_instance_rests() -> None:
    step = decide(DESIRED, seen(), WELL)
    assert (step.rule, step.phase, step.actions) == ("rest", Phase.RUNNING, ())


def test_failover_fences_then_records_then_promotes_then_leads_clients() -> None:
    step = decide(DESIRED, seen(a=DEAD), WELL)
    assert isinstance(step.actions[0], Fence)
    kinds = [type(action) for action in step.actions if not isinstance(action, Announce)]
    assert kinds == [Fence, Record, Promote, PointPrimary, PointUpstream]
    record = next(action.memory for action in step.actions if isinstance(action, Record))
    assert (record.epoch, record.primary, record.in_sync, record.fenced) == (4, "b", False, "a")


@pytest.mark.parametrize(
    ("b", "remembered"),
    [
        (STANDBY, memory(in_sync=False)),
        (DEAD, WELL),
        (member(STANDBY, job=JobKind.RESTART), WELL),
    ],
    ids=["not in sync", "standby dead", "standby being restarted"],
)
def test_without_a_standby_that_has_everything_the_primary_is_restarted_not_replaced(
    b: SeenMember, remembered: RoleRecord
) -> None:
    step = decide(DESIRED, seen(a=DEAD, b=b), remembered)
    assert step.actions == (Start("a", standby=False),)


def test_standby_that_has_everything_is_started_when_the_primary_does_not_start() -> None:
    """After a crash of the machine both are down, and the primary's disk may be the broken one."""
    broken = member(DEAD, failed="could not read control file", wait_s=1.0)
    assert decide(DESIRED, seen(a=broken, b=DEAD), WELL).actions == (Start("b", standby=True),)
    assert decide(DESIRED, seen(a=broken, b=STANDBY), WELL).rule == "take_over"
    assert decide(DESIRED, seen(a=broken, b=DEAD), memory(in_sync=False)).phase is Phase.FAILED


def test_lost_disk_of_the_primary_is_no_loss_while_the_standby_has_everything() -> None:
    assert decide(DESIRED, seen(a=SeenMember(), b=DEAD), WELL).actions == (Start("b", standby=True),)
    silent = member(STANDBY, answering=False, silent=True)
    assert decide(DESIRED, seen(a=SeenMember(), b=silent), WELL).rule == "take_over"
    assert decide(DESIRED, seen(a=SeenMember(), b=DEAD), memory(in_sync=False)).phase is Phase.FAILED


HUNG = member(PRIMARY, hung=True, hung_why="the postmaster (7): it is stopped")


@pytest.mark.parametrize("answering", [True, False], ids=["a kept connection is answered", "nobody is"])
def test_primary_that_hangs_is_fenced_and_replaced_like_a_dead_one(answering: bool) -> None:
    step = decide(DESIRED, seen(a=member(HUNG, answering=answering)), WELL)
    kinds = [type(action) for action in step.actions if not isinstance(action, Announce)]
    assert (step.rule, kinds) == ("hung_primary", [Fence, Record, Promote, PointPrimary, PointUpstream])
    assert "the postmaster (7)" in step.reason


@pytest.mark.parametrize(
    ("wanted", "a", "b", "remembered"),
    [
        (DESIRED, HUNG, STANDBY, memory(in_sync=False)),
        (DESIRED, HUNG, DEAD, WELL),
        (DESIRED, HUNG, member(STANDBY, hung=True), WELL),
        (DESIRED, HUNG, member(STANDBY, answering=False, silent=True), WELL),
        (desired(multi_az=False), HUNG, SeenMember(), memory(in_sync=False)),
        (desired(multi_az=False), member(HUNG, job=JobKind.MASTER), SeenMember(), memory(in_sync=False)),
        (REPLICA, member(HUNG, in_recovery=True), SeenMember(), FOLLOWING),
    ],
    ids=[
        "not in sync", "standby dead", "standby hangs too", "standby silent", "Single-AZ", "a job hangs on it",
        "read replica",
    ],
)  # fmt: skip
def test_server_that_hangs_and_that_nobody_replaces_is_ended_to_be_started_again(
    wanted: DesiredInstance, a: SeenMember, b: SeenMember, remembered: RoleRecord
) -> None:
    step = decide(wanted, seen(a=a, b=b, upstream_link="a"), remembered)
    assert (step.rule, step.actions) == ("hung_primary", (Fence("a"),))


def test_primary_that_is_being_restarted_does_not_count_as_hung() -> None:
    assert decide(DESIRED, seen(a=member(HUNG, job=JobKind.RESTART)), WELL).rule == "restarting"


def test_standby_that_hangs_is_not_promoted_but_a_dead_primary_started() -> None:
    assert decide(DESIRED, seen(a=DEAD, b=member(STANDBY, hung=True)), WELL).actions == (Start("a", standby=False),)


def test_second_primary_is_fenced_before_anything_else() -> None:
    step = decide(desired(run=RunState.STOPPED), seen(b=PRIMARY), memory(in_sync=False))
    assert step.actions[0] == Fence("b")
    assert isinstance(step.actions[1], Record)
    assert step.actions[1].memory.fenced == "b"


def test_fenced_member_that_runs_is_fenced_again() -> None:
    step = decide(DESIRED, seen(), memory(in_sync=False, fenced="b"))
    assert step.actions == (Fence("b"),)


def test_begun_promotion_is_carried_on_after_a_crash() -> None:
    step = decide(DESIRED, seen(a=DEAD, b=STANDBY), memory(epoch=4, primary="b", in_sync=False, fenced="a"))
    assert step.actions == (Promote("b"), PointPrimary("b"), PointUpstream("b"))


def test_replica_is_never_promoted_by_itself() -> None:
    step = decide(REPLICA, seen(a=STANDBY, b=SeenMember(), upstream_link="a"), FOLLOWING)
    assert step.rule == "rest"


def test_standby_is_struck_off_the_record_before_commits_stop_waiting() -> None:
    step = decide(DESIRED, seen(b=DEAD), WELL)
    assert [type(action) for action in step.actions] == [Record, Configure, PointUpstream]
    assert step.actions[1] == Configure("a", synchronous=False)


@pytest.mark.parametrize(("stalled_s", "leaves"), [(LEAVE_AFTER_S / 2, False), (LEAVE_AFTER_S * 2, True)])
def test_standby_that_runs_is_given_a_moment_to_stream_again(stalled_s: float, leaves: bool) -> None:
    step = decide(DESIRED, seen(b=member(STANDBY, streaming=False, not_streaming_s=stalled_s)), WELL)
    assert (step.rule == "leave") is leaves


def test_standby_that_hangs_or_confirms_nothing_is_struck_off_though_it_streams() -> None:
    assert decide(DESIRED, seen(b=member(STANDBY, stuck_s=LEAVE_AFTER_S / 2)), WELL).rule == "rest"
    for lost in (member(STANDBY, stuck_s=LEAVE_AFTER_S), member(STANDBY, hung=True, hung_why="x")):
        step = decide(DESIRED, seen(b=lost), WELL)
        assert [type(action) for action in step.actions] == [Record, Configure, PointUpstream]


WAITING = desired(standby_loss="wait")


@pytest.mark.parametrize(
    ("b", "actions"),
    [
        (DEAD, (Start("b", standby=True),)),
        (member(DEAD, failures=3), (Begin(JobKind.CLONE, "b"),)),
        (SeenMember(), (Begin(JobKind.CLONE, "b"),)),
        (member(STANDBY, hung=True), (Fence("b"),)),
        (member(STANDBY, stuck_s=STRAY_AFTER_S + 1), (Fence("b"),)),
        (member(STANDBY, pending_restart=True), (Begin(JobKind.RESTART, "b"),)),
        (member(DEAD, job=JobKind.CLONE), ()),
        (member(STANDBY, stuck_s=LEAVE_AFTER_S), ()),
        (member(DEAD, held="a fault"), ()),
    ],
    ids=["dead", "does not start", "no data", "hangs", "stuck for long", "parameters", "cloned", "stuck", "held"],
)
def test_standby_that_commits_are_to_wait_for_is_brought_back_and_never_struck_off(
    b: SeenMember, actions: tuple[object, ...]
) -> None:
    step = decide(WAITING, seen(b=b), WELL)
    assert step.actions == actions
    if not actions:
        assert step.reason.startswith("commits wait for the standby: ")


def test_failover_to_a_standby_that_commits_wait_for_is_refused() -> None:
    asked = WAITING.model_copy(update={"request": request(RequestKind.FAILOVER)})
    for lost in (DEAD, member(STANDBY, stuck_s=LEAVE_AFTER_S), member(STANDBY, hung=True)):
        step = decide(asked, seen(b=lost), WELL)
        assert isinstance(step.actions[0], Record)
        assert (step.actions[0].memory.answers[-1].outcome, step.actions[0].memory.in_sync) == ("refused", True)


def test_replicas_are_not_led_to_a_primary_whose_commits_wait() -> None:
    """There they would see rows that nobody was told are committed, and that a failover loses."""
    waiting = member(DEAD, wait_s=1.0)
    assert decide(WAITING, seen(b=waiting), WELL).rule == "rest"


def test_turning_multi_az_off_ends_the_wait() -> None:
    single = WAITING.model_copy(update={"multi_az": False})
    assert decide(single, seen(b=DEAD), WELL).rule == "leave"


def test_standby_that_does_not_move_is_not_joined_and_is_ended_once_that_lasts() -> None:
    """A join would have commits wait for it; a fresh start gives it a new receiver."""
    apart = memory(in_sync=False)
    stuck = member(STANDBY, stuck_s=LEAVE_AFTER_S)
    assert decide(DESIRED, seen(b=stuck, upstream_link="a"), apart).rule == "rest"
    for lasting in (member(STANDBY, stuck_s=STRAY_AFTER_S + 1), member(STANDBY, hung=True)):
        assert decide(DESIRED, seen(b=lasting, upstream_link="a"), apart).actions == (Fence("b"),)
    busy = member(STANDBY, hung=True, job=JobKind.JOIN)
    assert decide(DESIRED, seen(b=busy, upstream_link="a"), apart).rule == "rest"


def test_standby_is_in_sync_only_once_its_join_finished_in_this_epoch() -> None:
    apart = memory(in_sync=False)
    assert decide(DESIRED, seen(upstream_link="a"), apart).actions == (Begin(JobKind.JOIN, "b"),)
    assert decide(DESIRED, seen(joined_epoch=2), apart).actions == (Begin(JobKind.JOIN, "b"),)
    step = decide(DESIRED, seen(joined_epoch=3), apart)
    assert step.actions == (Record(WELL),)


def test_fenced_member_rejoins_and_is_started_only_then() -> None:
    fenced = memory(epoch=4, in_sync=False, fenced="b")
    assert decide(DESIRED, seen(b=DEAD), fenced).actions == (Begin(JobKind.REJOIN, "b"),)
    step = decide(DESIRED, seen(b=DEAD, rejoined=frozenset({"b"})), fenced)
    assert step.actions == (Record(memory(epoch=4, in_sync=False)),)
    assert decide(DESIRED, seen(b=DEAD), memory(in_sync=False)).actions == (Start("b", standby=True),)


def test_standby_that_cannot_stream_is_rebuilt() -> None:
    stray = member(STANDBY, streaming=False, stalled_s=STRAY_AFTER_S + 1)
    step = decide(DESIRED, seen(b=stray, upstream_link="a"), memory(in_sync=False))
    assert step.actions == (Begin(JobKind.CLONE, "b"),)


def test_standby_that_answers_nobody_and_recovers_nothing_is_rebuilt_in_the_end() -> None:
    mute = member(DEAD, alive=True, silent=True, not_streaming_s=IDLE_AFTER_S, idle_s=IDLE_AFTER_S - 1)
    assert decide(DESIRED, seen(b=mute, upstream_link="a"), memory(in_sync=False)).rule == "rest"
    idle = member(mute, idle_s=IDLE_AFTER_S + 1)
    step = decide(DESIRED, seen(b=idle, upstream_link="a"), memory(in_sync=False))
    assert step.actions == (Begin(JobKind.CLONE, "b"),)
    waiting = DESIRED.model_copy(update={"standby_loss": "wait"})
    assert decide(waiting, seen(b=idle, upstream_link="a"), WELL).actions == (Fence("b"), Begin(JobKind.CLONE, "b"))


def test_standby_that_never_starts_is_cloned_again() -> None:
    broken = member(DEAD, failures=3)
    step = decide(DESIRED, seen(b=broken, upstream_link="a"), memory(in_sync=False))
    assert step.actions == (Begin(JobKind.CLONE, "b"),)


def test_configuration_between_a_join_and_its_record_keeps_commits_waiting() -> None:
    """Else the record would say in sync while commits wait for nobody."""
    step = decide(DESIRED, seen(joined_epoch=3, outdated=("a",)), memory(in_sync=False))
    assert step.actions == (Configure("a", synchronous=True),)


def test_failed_reboot_does_not_hold_a_takeover_back() -> None:
    reboot = request(RequestKind.REBOOT)
    broken = member(DEAD, failed="invalid value", wait_s=1.0)
    step = decide(desired(request=reboot), seen(a=broken), memory(request=reboot))
    assert Fence("a") in step.actions
    record = next(action.memory for action in step.actions if isinstance(action, Record))
    assert (record.request, record.answers[-1].outcome) == (None, "refused")


def test_standby_that_hangs_is_not_promoted_while_the_primary_may_come_back() -> None:
    silent = member(STANDBY, answering=False, silent=True)
    assert decide(DESIRED, seen(a=DEAD, b=silent), WELL).actions == (Start("a", standby=False),)
    broken = member(DEAD, failed="no disk", wait_s=1.0)
    assert Fence("a") in decide(DESIRED, seen(a=broken, b=silent), WELL).actions


def test_data_without_a_role_record_is_never_removed() -> None:
    step = decide(DESIRED, seen(data_exists=True), RoleRecord())
    assert (step.phase, step.actions) == (Phase.FAILED, ())
    step = decide(DESIRED, seen(data_exists=True, creating=True), RoleRecord())
    assert step.actions == (Begin(JobKind.CREATE, "a"),)


def test_events_are_told_once_clients_reach_the_primary_and_then_forgotten() -> None:
    pending = memory(to_announce=("RDS-EVENT-0006",))
    step = decide(DESIRED, seen(), pending)
    assert [type(action) for action in step.actions] == [Announce, Record]
    assert decide(DESIRED, seen(primary_link="b"), pending).rule == "point"


def test_replica_that_slipped_through_to_the_primary_is_led_back() -> None:
    assert decide(DESIRED, seen(replicas_on_primary=True), WELL).actions == (PointUpstream("b"),)


def test_standby_that_is_in_sync_confirms_nothing_while_it_is_copied() -> None:
    """Else a commit is acknowledged by its word and is missing in the copy, which the record calls in sync."""
    stray = seen(b=member(STANDBY, streaming=False, stalled_s=STRAY_AFTER_S + 1))
    step = clone(view_of(DESIRED, stray, WELL))
    assert step is not None
    assert step.actions == (Fence("b"), Begin(JobKind.CLONE, "b"))


def test_lost_primary_does_not_start_a_standby_that_is_being_copied() -> None:
    copied = seen(a=member(DEAD, failed="no disk", wait_s=1.0), b=member(DEAD, job=JobKind.CLONE))
    assert decide(DESIRED, copied, WELL).actions == ()


def test_missing_standby_is_cloned() -> None:
    step = decide(DESIRED, seen(b=SeenMember(), upstream_link="a"), memory(in_sync=False))
    assert step.actions == (Begin(JobKind.CLONE, "b"),)


def test_failed_attempt_is_not_repeated_before_its_pause_is_over() -> None:
    waiting = SeenMember(failed="no space", wait_s=1.0)
    step = decide(DESIRED, seen(b=waiting, upstream_link="a"), memory(in_sync=False))
    assert (step.rule, step.reason) == ("rest", "no space")


def test_requested_failover_is_recorded_as_answered_in_the_same_write() -> None:
    wanted = desired(request=request(RequestKind.FAILOVER))
    step = decide(wanted, seen(), WELL)
    record = next(action.memory for action in step.actions if isinstance(action, Record))
    assert (record.primary, record.answered, record.answers[-1].outcome) == ("b", 1, "done")
    again = decide(wanted, Seen({"a": STANDBY, "b": PRIMARY}, primary_link="b", upstream_link="a"),
                   record.model_copy(update={"in_sync": True, "fenced": None, "to_announce": ()}))  # fmt: skip
    assert again.rule == "rest"


def test_request_made_for_an_older_epoch_is_stale() -> None:
    step = decide(desired(request=request(RequestKind.FAILOVER, epoch=2)), seen(), WELL)
    assert isinstance(step.actions[0], Record)
    assert step.actions[0].memory.answers[-1].outcome == "stale"
    assert len(step.actions) == 1


def test_failover_is_refused_without_a_standby() -> None:
    step = decide(desired(request=request(RequestKind.FAILOVER)), seen(b=DEAD), memory(in_sync=False))
    assert isinstance(step.actions[0], Record)
    assert step.actions[0].memory.answers[-1].outcome == "refused"


def test_standby_with_full_storage_takes_over_from_a_primary_that_is_dead() -> None:
    """It may be freed; nobody else has every commit."""
    assert decide(DESIRED, seen(a=DEAD, b=member(STANDBY, full=True)), WELL).rule == "take_over"


@pytest.mark.parametrize("a", [PRIMARY, member(PRIMARY, answering=False, in_recovery=None)])
def test_failover_waits_for_an_in_sync_standby_that_does_not_answer_at_this_moment(a: SeenMember) -> None:
    """Whoever was stopped for a while has heard nobody, and knows nothing against the standby."""
    asked, mute = desired(request=request(RequestKind.FAILOVER)), member(STANDBY, answering=False, in_recovery=None)
    waiting = decide(asked, seen(a=a, b=mute), WELL)
    assert (waiting.rule, waiting.actions) == ("rest" if a.answering else "awaken", ())
    assert decide(asked, seen(a=a), WELL).rule == "answer_failover"


@pytest.mark.parametrize(
    ("b", "why"),
    [
        (member(STANDBY, answering=False, in_recovery=None, silent=True), "the standby does not answer"),
        (member(STANDBY, answering=False, hung=True, hung_why="it is stopped"), "the standby hangs: it is stopped"),
        (member(STANDBY, answering=False, stuck_s=LEAVE_AFTER_S), "the standby confirms nothing more"),
        (member(STANDBY, answering=False, job=JobKind.RESTART), "the standby is gone"),
        (DEAD, "the standby is gone"),
        (member(STANDBY, full=True), "the standby's storage is full: it could not take writes"),
    ],
)
def test_failover_to_a_standby_that_cannot_take_over_is_refused_at_once_with_why(b: SeenMember, why: str) -> None:
    step = decide(desired(request=request(RequestKind.FAILOVER)), seen(b=b), WELL)
    assert isinstance(step.actions[0], Record)
    answer = step.actions[0].memory.answers[-1]
    assert (answer.outcome, answer.reason) == ("refused", why)


def test_failover_is_possible_from_a_primary_that_does_not_answer() -> None:
    step = decide(desired(request=request(RequestKind.FAILOVER)), seen(a=member(PRIMARY, answering=False)), WELL)
    assert Fence("a") in step.actions


def test_primary_that_is_down_for_a_requested_reboot_is_not_taken_over() -> None:
    reboot = request(RequestKind.REBOOT)
    step = decide(desired(request=reboot), seen(a=member(DEAD, job=JobKind.RESTART)), memory(request=reboot))
    assert (step.rule, step.actions) == ("restarting", ())
    step = decide(desired(request=reboot), seen(a=DEAD), memory(request=reboot))
    assert step.actions == (Start("a", standby=False),)


def test_reboot_waits_for_a_job_on_the_primary_and_holds_nothing_else_back() -> None:
    """A new password is a commit; if it waits for a standby that is lost, the standby must be struck off first."""
    setting = member(PRIMARY, job=JobKind.MASTER)
    reboot = request(RequestKind.REBOOT)
    assert decide(desired(request=reboot), seen(a=setting, b=DEAD), WELL).rule == "leave"
    assert decide(desired(request=reboot), seen(a=setting, b=DEAD), memory(request=reboot)).rule == "leave"


def test_promoted_replica_forgets_its_source_before_it_takes_writes() -> None:
    wanted = REPLICA.model_copy(update={"request": request(RequestKind.PROMOTE)})
    step = decide(wanted, seen(a=STANDBY, b=SeenMember(), upstream_link="a"), FOLLOWING)
    assert [type(action) for action in step.actions] == [Record, Promote, PointPrimary]
    assert isinstance(step.actions[0], Record)
    assert not step.actions[0].memory.following


def test_replicas_are_led_to_the_standby_only_while_it_is_in_sync() -> None:
    assert decide(DESIRED, seen(upstream_link="a"), WELL).actions == (PointUpstream("b"),)
    waiting = member(STANDBY, failed="x", wait_s=1.0)
    assert decide(DESIRED, seen(b=waiting), memory(in_sync=False)).actions == (PointUpstream("a"),)


def test_new_password_is_set_once() -> None:
    master = MasterUser(name="dbadmin", verifier="SCRAM2", number=2)
    step = decide(desired(master=master), seen(), WELL)
    assert step.actions == (Begin(JobKind.MASTER, "a"),)
    assert decide(desired(master=master), seen(master_wait=True), WELL).rule == "rest"
    step = decide(desired(master=master), seen(master_set=2), WELL)
    assert step.actions == (Record(memory(master_number=2)),)


def test_outdated_configuration_keeps_commits_waiting() -> None:
    step = decide(DESIRED, seen(outdated=("a", "b")), WELL)
    assert step.actions == (Configure("a", synchronous=True), Configure("b", synchronous=False))


def test_deletion_stops_then_keeps_the_snapshot_then_ends() -> None:
    going = desired(run=RunState.DELETED, final_snapshot="/snapshots/x")
    assert decide(going, seen(), WELL).actions == (StopAll(),)
    assert decide(going, seen(a=DEAD, b=DEAD), WELL).actions == (TakeSnapshot(),)
    assert decide(going, seen(a=DEAD, b=DEAD, snapshot_taken=True), WELL).phase is Phase.DELETED


def test_standby_that_is_not_wanted_any_more_is_not_removed_while_its_processes_are_stuck() -> None:
    for stuck in (SeenMember(exists=True, stuck="stuck", held="stuck"), SeenMember(stuck="stuck", held="stuck")):
        waiting = decide(desired(multi_az=False), seen(b=stuck, upstream_link="a"), memory(in_sync=False, fenced="b"))
        assert (waiting.rule, waiting.actions) == ("single", ())
        assert "waits: stuck" in waiting.reason


def test_deletion_waits_for_processes_that_are_stuck() -> None:
    """The folder would be removed under them."""
    stuck = SeenMember(exists=True, stuck="stuck", held="stuck")
    waiting = decide(desired(run=RunState.DELETED), seen(a=stuck, b=DEAD), WELL)
    assert (waiting.phase, waiting.actions) == (Phase.STOPPING, ())
    assert "waits: stuck" in waiting.reason


def test_replica_without_its_source_waits_and_is_not_copied_again() -> None:
    stray = member(STANDBY, streaming=False, stalled_s=STRAY_AFTER_S * 10)
    told = FOLLOWING.model_copy(update={"replication_broken": True})
    step = decide(REPLICA, seen(a=stray, b=SeenMember(), upstream_link="a", source_alive=False), told)
    assert step.rule == "rest"
    step = decide(REPLICA, seen(a=stray, b=SeenMember(), upstream_link="a", source_alive=True), told)
    assert step.actions == (Begin(JobKind.REJOIN, "a"),)


def test_every_rule_says_what_it_is_for() -> None:
    assert all(row.rule.__doc__ for row in TRANSITIONS)


RESTART_STANDBY = request(RequestKind.RESTART_STANDBY)


@pytest.mark.parametrize(
    ("b", "remembered", "restarted", "begins"),
    [
        (STANDBY, WELL, False, True),
        (STANDBY, memory(in_sync=False), False, True),
        # the supervisor died in the middle: whether the restart happened is unknown, so it is done again
        (STANDBY, memory(request=RESTART_STANDBY), False, True),
        (member(STANDBY, job=JobKind.RESTART), memory(request=RESTART_STANDBY, in_sync=False), False, False),
        (STANDBY, memory(request=RESTART_STANDBY, in_sync=False), True, False),
        (DEAD, memory(in_sync=False), False, False),
        (member(STANDBY, held="kill"), memory(in_sync=False), False, False),
    ],
)
def test_a_standby_is_struck_off_before_it_is_restarted_on_request(
    b: SeenMember, remembered: RoleRecord, restarted: bool, begins: bool
) -> None:
    step = decide(desired(request=RESTART_STANDBY), seen(b=b, standby_restarted=restarted), remembered)
    restart = Begin(JobKind.RESTART, "b")
    assert (restart in step.actions) is begins
    assert Begin(JobKind.RESTART, "a") not in step.actions
    if begins:
        assert [type(action) for action in step.actions] == [Record, Configure, PointUpstream, Begin]
        assert isinstance(step.actions[0], Record)
        assert not step.actions[0].memory.in_sync
        assert step.actions[1] == Configure("a", synchronous=False)


@pytest.mark.parametrize(
    ("wanted", "b", "remembered", "restarted", "outcome"),
    [
        (DESIRED, STANDBY, memory(request=RESTART_STANDBY), True, "done"),
        (DESIRED, STANDBY, memory(request=RESTART_STANDBY, in_sync=False), True, None),
        (
            DESIRED,
            member(DEAD, failed="out of memory", wait_s=1),
            memory(request=RESTART_STANDBY, in_sync=False),
            False,
            "refused",
        ),
        (DESIRED, member(DEAD, failed="before"), memory(in_sync=False), False, None),
        (desired(multi_az=False), SeenMember(), memory(in_sync=False), False, "refused"),
    ],
)
def test_a_restart_of_the_standby_is_answered_when_it_is_in_sync_again_or_does_not_start(
    wanted: DesiredInstance, b: SeenMember, remembered: RoleRecord, restarted: bool, outcome: str | None
) -> None:
    asked = wanted.model_copy(update={"request": RESTART_STANDBY})
    step = decide(asked, seen(b=b, standby_restarted=restarted), remembered)
    answers = [action.memory.answers for action in step.actions if isinstance(action, Record)]
    told = [answer.outcome for kept in answers for answer in kept if answer.number == RESTART_STANDBY.number]
    assert told == ([outcome] if outcome else [])


MUTE = member(PRIMARY, answering=False, in_recovery=None)


@pytest.mark.parametrize("lost", [DEAD, member(STANDBY, hung=True), member(STANDBY, job=JobKind.CLONE)])
def test_standby_that_is_lost_leaves_also_while_the_primary_answers_clients_and_not_us(lost: SeenMember) -> None:
    """Else a commit waits as long as the probe's own connection is mute."""
    step = decide(DESIRED, seen(a=member(MUTE, accepting=True), b=lost), WELL)
    assert (step.rule, [type(action) for action in step.actions]) == ("leave", [Record, Configure, PointUpstream])
    waiting = decide(desired(standby_loss="wait"), seen(a=member(MUTE, accepting=True), b=lost), WELL)
    assert not any(isinstance(action, Record) for action in waiting.actions)


def test_standby_does_not_leave_a_primary_that_takes_no_clients_yet_but_is_started_beside_it() -> None:
    """It has every commit, and may be the only one of the two that starts."""
    assert decide(DESIRED, seen(a=MUTE, b=DEAD), WELL).actions == (Start("b", standby=True),)


@pytest.mark.parametrize(
    ("b", "remembered"),
    [
        (DEAD, memory(in_sync=False)),
        (SeenMember(), WELL),
        (member(DEAD, diverged="it was a primary"), WELL),
        (member(DEAD, held="a fault"), WELL),
        (member(DEAD, wait_s=1.0), WELL),
        (member(DEAD, job=JobKind.CLONE), WELL),
    ],
    ids=["not in sync", "no data", "diverged", "held", "failed a moment ago", "busy"],
)
def test_standby_that_could_not_take_over_is_not_started_beside_a_primary_that_starts(
    b: SeenMember, remembered: RoleRecord
) -> None:
    assert decide(DESIRED, seen(a=MUTE, b=b), remembered).actions == ()


@pytest.mark.parametrize(
    "b", [member(STANDBY, streaming=False, not_streaming_s=9.0), member(STANDBY, pending_restart=True)]
)
def test_what_only_the_primary_can_tell_of_the_standby_is_no_reason_to_leave_while_it_is_mute(b: SeenMember) -> None:
    assert decide(DESIRED, seen(a=member(MUTE, accepting=True), b=b), WELL).rule == "awaken"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "is starting"),
        ({"accepting": True}, "is slow to answer"),
        ({"accepting": True, "silent": True}, "does not answer"),
    ],
)
def test_primary_that_has_taken_clients_and_is_late_is_not_said_to_start(changes: dict[str, bool], why: str) -> None:
    assert decide(DESIRED, seen(a=member(MUTE, **changes)), WELL).reason == f"the primary {why}"


@pytest.mark.parametrize(("now", "told"), [(108.0, False), (112.0, True), (90.0, False)])
def test_one_copy_only_is_told_once_it_is_no_passing_matter(now: float, told: bool) -> None:
    away = member(DEAD, wait_s=1.0)
    left = decide(DESIRED, seen(b=DEAD, now=100.0), WELL).actions[0]
    assert isinstance(left, Record)
    step = decide(DESIRED, seen(b=away, now=now, upstream_link="a"), left.memory)
    assert (step.rule == "tell_alone") is told
    if told:
        announce, record = step.actions
        assert isinstance(announce, Announce) and isinstance(record, Record)
        assert (announce.code, "us-east-1b" in announce.message) == ("RDS-EVENT-0044", True)
        assert decide(DESIRED, seen(b=away, now=now + 1, upstream_link="a"), record.memory).rule == "rest"
        back = decide(DESIRED, seen(now=now + 2), record.memory.model_copy(update={"in_sync": True}))
        assert (back.rule, [type(action) for action in back.actions]) == ("tell_redundant", [Announce, Record])


def test_the_time_without_a_standby_begins_anew_with_each_leave() -> None:
    joined = decide(DESIRED, seen(joined_epoch=3, now=50.0), memory(in_sync=False, alone_since=20.0))
    assert (joined.rule, joined.actions) == ("record_join", (Record(memory(alone_since=None)),))


def test_standby_that_fell_out_although_it_runs_waits_before_it_joins_and_says_so() -> None:
    shaky = member(STANDBY, unsteady_s=3.0)
    step = decide(DESIRED, seen(b=shaky, upstream_link="a"), memory(in_sync=False))
    assert (step.rule, step.actions) == ("rest", ())
    assert "after a pause" in step.reason
    assert decide(DESIRED, seen(upstream_link="a"), memory(in_sync=False)).rule == "join"
