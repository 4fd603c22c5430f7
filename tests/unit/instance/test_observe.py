"""What is made of what is seen: the observer with probes that say what a test says, and a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_decide import DESIRED, WELL

from multiaz.home import InstanceHome
from multiaz.instance import observe, recovering
from multiaz.instance.actions import Begin, Configure, Fence, JobKind
from multiaz.instance.decide import decide
from multiaz.instance.following import NOTHING
from multiaz.instance.probe import Sender, Sight
from multiaz.instance.progress import ANSWERS, LONGEST_GAP_S, RecoveryLook, Verdict
from multiaz.instance.records import MemberName, Request, RequestKind, RoleRecord
from multiaz.instance.view import IDLE_AFTER_S, LEAVE_AFTER_S, STRAY_AFTER_S, Seen
from multiaz.postgres.pulse import Pulse

APART = WELL.model_copy(update={"in_sync": False})


@dataclass
class Stage:
    """Two servers as they would be seen; each look passes `LONGEST_GAP_S`."""

    observer: observe.Observer
    servers: Any
    clock: list[float]
    memory: RoleRecord = WELL
    pids: dict[str, int | None] = field(default_factory=lambda: {"a": 7, "b": 8})
    senders: tuple[Sender, ...] = (Sender("multiaz_b", 70, 100),)
    flushed: int = 100
    mute: frozenset[str] = frozenset()
    receiving: bool = True
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    def sight(self, name: str) -> Sight | None:
        pid = self.pids[name]
        if pid is None or name in self.mute:
            return None
        primary = name == self.memory.primary
        return Sight(
            at=self.clock[0], postmaster=pid, in_recovery=not primary, flushed=self.flushed, replayed=100,
            receiving=not primary and self.receiving, timeline=1, lag_s=None, senders=self.senders if primary else (),
        )  # fmt: skip

    def look(self) -> Seen:
        self.clock[0] += LONGEST_GAP_S
        return self.observer.observe(self.memory)

    def remember(self, memory: RoleRecord) -> None:
        self.memory = memory
        self.observer.remembered(memory)

    def looks(self, seconds: float) -> list[Seen]:
        return [self.look() for _ in range(int(seconds / LONGEST_GAP_S) + 2)]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    clock = [1000.0]
    made: list[Stage] = []

    def probe(server: Any, _: object) -> Any:
        return SimpleNamespace(
            latest=lambda within_s, postmaster: made[0].sight(server.member), poke=lambda: None, forget=lambda: None
        )

    def hangs(server: Any, _: object) -> Any:
        return SimpleNamespace(look=lambda *_, **given: watched(server.member, given), suspicious=False)

    def watched(name: str, given: dict[str, Any]) -> Verdict:
        told_to_stop = Verdict(True, "it was told to stop") if given["stopping_unasked"] else ANSWERS
        return made[0].verdicts.get(name, told_to_stop) if made[0].pids[name] is not None else ANSWERS

    monkeypatch.setattr(observe, "time", SimpleNamespace(monotonic=lambda: clock[0], time=lambda: clock[0]))
    monkeypatch.setattr(observe, "Probe", probe)
    monkeypatch.setattr(observe, "HangWatch", hangs)
    follows = SimpleNamespace(look=lambda *_: NOTHING, look_down=lambda *_: NOTHING)
    monkeypatch.setattr(observe, "Following", lambda *_: follows)

    class Servers(dict[str, Any]):
        desired = DESIRED
        faults = SimpleNamespace(held=lambda _: None)
        raised: frozenset[str] = frozenset()

        def __init__(self) -> None:
            self.waits = {"a": True, "b": False}
            for name in ("a", "b"):
                self[name] = SimpleNamespace(
                    member=name, data=tmp_path, exists=lambda: True, pid=lambda name=name: made[0].pids[name],
                    status_word=lambda name=name: made[0].words.get(name, "ready"),
                )  # fmt: skip

        def is_stale(self, *_: object) -> bool:
            return False

        def misplaced(self, _: str) -> None:
            return None

        def foreign(self, _: str) -> None:
            return None

        def stuck(self, _: str) -> str:
            return ""

        def upstream_of(self, *_: object) -> None:
            return None

    servers = Servers()
    home = InstanceHome(tmp_path, tmp_path)
    home.primary_link.symlink_to("a")
    home.upstream_link.symlink_to("b")
    observer = observe.Observer(home, servers, lambda: None)  # type: ignore[arg-type]
    made.append(Stage(observer, servers, clock))
    made[0].remember(WELL)
    made[0].looks(1)
    return made[0]


def after_a_join(stage: Stage) -> None:
    """The join is done and commits wait; the record does not say so yet."""
    stage.remember(APART)
    stage.observer._finished(JobKind.JOIN, "b", APART.epoch)


def test_join_that_is_done_holds_while_the_standby_takes_commits(stage: Stage) -> None:
    after_a_join(stage)
    seen = stage.look()
    assert seen.joined_epoch == APART.epoch
    assert seen.outdated == ()
    assert decide(DESIRED, seen, APART).rule == "record_join"


@pytest.mark.parametrize("lost", ["dead", "not streaming", "stuck", "hung"])
def test_join_that_was_not_recorded_is_void_once_the_standby_takes_no_commits(stage: Stage, lost: str) -> None:
    """Else commits wait for it for ever: what the record does not say no leave takes back."""
    after_a_join(stage)
    match lost:
        case "dead":
            stage.pids["b"] = None
        case "not streaming":
            stage.receiving = False
        case "stuck":
            stage.flushed = 200
        case "hung":
            stage.verdicts["b"] = Verdict(True, "it is stopped")
    seen = stage.looks(2 * LEAVE_AFTER_S)[-1]
    assert seen.joined_epoch is None
    step = decide(DESIRED, seen, APART)
    assert step.actions[0] == Configure("a", synchronous=False)
    stage.pids["b"], stage.receiving, stage.flushed, stage.verdicts = 8, True, 100, {}
    assert stage.looks(2 * LEAVE_AFTER_S)[-1].joined_epoch is None, "it has to join again"


def test_join_that_has_just_ended_is_not_void_because_its_job_is_still_listed(stage: Stage) -> None:
    after_a_join(stage)
    stage.observer._members["b"].job = JobKind.JOIN
    assert stage.look().joined_epoch == APART.epoch


def test_standby_is_not_blamed_for_what_the_walsender_of_its_former_postmaster_says(stage: Stage) -> None:
    """After a partition the primary lists that one until wal_sender_timeout, and it confirms nothing."""
    stage.remember(APART)
    stage.servers.waits["a"] = False
    stage.pids["b"] = None
    stage.flushed = 200
    stage.look()
    stage.pids["b"], stage.receiving = 9, False
    seen = stage.looks(2 * STRAY_AFTER_S)
    assert not any(isinstance(action, Fence) for one in seen for action in decide(DESIRED, one, APART).actions)
    assert seen[-1].members["b"].stuck_s == 0.0
    stage.senders, stage.receiving = (*stage.senders, Sender("multiaz_b", 71, 150)), True
    assert stage.looks(2 * LEAVE_AFTER_S)[-1].members["b"].stuck_s >= LEAVE_AFTER_S, "its own walsender counts"


def test_time_in_which_the_primary_does_not_answer_does_not_count_against_its_standby(stage: Stage) -> None:
    """After a crash of both nobody can be streamed from: the standby is not struck off in the first moment."""
    stage.mute, stage.receiving = frozenset({"a"}), False
    stage.looks(3 * LEAVE_AFTER_S)
    stage.mute = frozenset()
    assert decide(DESIRED, stage.look(), WELL).rule == "rest"
    assert decide(DESIRED, stage.looks(2 * LEAVE_AFTER_S)[-1], WELL).rule == "leave"


def test_standby_that_answers_nobody_is_idle_from_when_the_primary_answers_and_does_not_stream_to_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = RecoveryLook(Pulse("S", 1000, 0, 1.0), "0" * 15 + "5")
    monkeypatch.setattr(recovering, "look_at", lambda *_: waits)
    stage.servers.upstream_of = lambda name, memory: None if name == memory.primary else Path("upstream")
    stage.remember(APART)
    stage.servers.waits["a"] = False
    stage.mute, senders = frozenset({"b"}), stage.senders
    stage.senders = ()
    assert stage.looks(IDLE_AFTER_S)[-1].members["b"].idle_s == 0.0, "it says that it takes clients"
    stage.words, stage.senders = {"b": "standby"}, senders
    stage.looks(IDLE_AFTER_S)
    assert stage.look().members["b"].idle_s <= 2 * recovering.LOOK_EVERY_S, "it is listed as streaming"
    stage.senders, stage.mute = (), frozenset({"a", "b"})
    stage.looks(IDLE_AFTER_S)
    assert stage.look().members["b"].idle_s <= 2 * recovering.LOOK_EVERY_S, "nobody is there to be streamed from"
    stage.mute = frozenset({"b"})
    assert decide(DESIRED, stage.looks(IDLE_AFTER_S + 2)[-1], APART).actions == (Begin(JobKind.CLONE, "b"),)
    stage.mute, stage.senders = frozenset(), senders
    assert stage.look().members["b"].idle_s == 0.0


def begins_join(seen: Seen) -> bool:
    return Begin(JobKind.JOIN, "b") in decide(DESIRED, seen, APART).actions


def test_standby_that_falls_out_again_and_again_joins_after_ever_longer_pauses(stage: Stage) -> None:
    """On a disk that is too slow each join is one more CHECKPOINT."""
    pauses = []
    for _ in range(4):
        stage.remember(WELL)
        stage.servers.waits["a"] = True
        stage.flushed = 200
        seen = stage.looks(2 * LEAVE_AFTER_S)[-1]
        assert decide(DESIRED, seen, WELL).rule == "leave"
        stage.remember(APART)
        stage.servers.waits["a"] = False
        stage.flushed = 100
        left = stage.clock[0]
        while not begins_join(stage.look()):
            assert stage.clock[0] - left < 60
        pauses.append(stage.clock[0] - left)
    assert [round(pause) for pause in pauses] == [1, 2, 4, 8]


def test_standby_that_died_or_was_asked_to_leave_joins_without_a_pause(stage: Stage) -> None:
    stage.pids["b"] = None
    stage.look()
    stage.remember(APART)
    stage.servers.waits["a"] = False
    stage.pids["b"] = 9
    assert begins_join(stage.look())
    stage.remember(WELL)
    stage.look()
    stage.remember(APART)
    assert begins_join(stage.look())


def test_standby_that_hangs_each_time_it_is_started_is_started_ever_less_often(stage: Stage) -> None:
    stage.remember(APART)
    stage.servers.waits["a"] = False
    waits = []
    for pid in range(20, 25):
        stage.pids["b"], stage.verdicts = pid, {"b": Verdict(True, "it is stopped")}
        assert decide(DESIRED, stage.look(), APART).rule == "hung_standby"
        stage.pids["b"], stage.verdicts = None, {}
        waits.append(stage.look().members["b"].wait_s)
        while stage.look().members["b"].wait_s:
            pass
        stage.looks(STRAY_AFTER_S)
    assert waits[0] == 0.0
    assert waits[1] > 0.0
    assert waits == sorted(waits)


@pytest.mark.parametrize(("job", "hung"), [(None, True), (JobKind.MASTER, True), (JobKind.RESTART, False)])
def test_server_that_stops_and_was_not_told_to_by_us_is_taken_for_hung(
    stage: Stage, job: JobKind | None, hung: bool
) -> None:
    stage.words["a"] = "stopping"
    stage.observer._members["a"].job = job
    assert stage.look().members["a"].hung is hung


def test_primary_that_does_not_answer_us_may_still_accept_clients(stage: Stage) -> None:
    stage.mute = frozenset({"a"})
    assert replace(stage.look().members["a"], alive=True).accepting
    stage.words["a"] = "starting"
    assert not stage.look().members["a"].accepting


def restart(stage: Stage, member: MemberName) -> None:
    stage.observer.begin(JobKind.RESTART, member, stage.memory.epoch, lambda: None)
    stage.observer.wait_for_jobs()


def test_restart_of_one_member_does_not_take_the_place_of_the_other_ones(stage: Stage) -> None:
    """Else a reboot beside which the standby was restarted would be done again."""
    asked = WELL.model_copy(update={"request": Request(number=1, kind=RequestKind.REBOOT, epoch=WELL.epoch)})
    stage.remember(asked)
    restart(stage, "a")
    restart(stage, "b")
    seen = stage.look()
    assert (seen.restarted, seen.standby_restarted) == (True, True)


def test_restart_counts_for_the_request_it_was_done_for_only(stage: Stage) -> None:
    """Also for a supervisor that finds a request in progress: what else it records meanwhile does not void it."""
    first = Request(number=1, kind=RequestKind.REBOOT, epoch=WELL.epoch)
    stage.memory = WELL.model_copy(update={"request": first})
    stage.look()
    restart(stage, "a")
    stage.remember(stage.memory.model_copy(update={"in_sync": False}))
    assert stage.look().restarted
    second = first.model_copy(update={"number": 2})
    stage.remember(WELL.model_copy(update={"request": second}))
    assert not stage.look().restarted
