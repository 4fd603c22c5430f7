"""A new class of a Multi-AZ instance: which step follows which answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from test_rds_status import VALUES, instance, observed

from multiaz.cloud.rds import resizing
from multiaz.cloud.rds.model import Instance, Operation, OperationKind
from multiaz.cloud.rds.status import Seen
from multiaz.instance.records import Answer, Phase, RequestKind

OLD = {**VALUES, "max_connections": "100"}
LARGER, SMALLER = {**OLD, "max_connections": "200"}, {**OLD, "max_connections": "50"}
DONE = (
    "0017 Finished applying modification to allocated storage\n0014 Finished applying modification to DB instance class"
)


@dataclass
class Shelf:
    record: Instance

    def get(self, _region: str, _name: str) -> Instance:
        return self.record


@dataclass
class FakeCore:
    """One instance's record, and what was told of it."""

    record: Instance
    told: list[str] = field(default_factory=list)

    @property
    def repository(self) -> FakeCore:
        return self

    @property
    def instances(self) -> Shelf:
        return Shelf(self.record)

    def transaction(self) -> FakeCore:
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def save(self, record: Instance) -> Instance:
        self.record = record
        return record

    def tell(self, _instance: Instance, code: str, _message: str) -> None:
        self.told.append(code)


def under_way(stage: str, parameters: dict[str, str] = LARGER, request: int | None = 7) -> Instance:
    operation = Operation(
        kind=OperationKind.MODIFY, started_at=0, request=request, stage=stage,  # type: ignore[arg-type]
        detail=DONE, before={"DBInstanceClass": "db.t3.micro", "AllocatedStorage": 20},
        applying={"DBInstanceClass": "db.t3.small", "AllocatedStorage": 30},
        undo={"instance_class": "db.t3.micro", "parameters": OLD},
    )  # fmt: skip
    return instance().but(
        instance_class="db.t3.small", multi_az=True, parameters=parameters, requests=7, operation=operation
    )


def after(record: Instance, outcome: str | None, **sight: Any) -> FakeCore:
    """The core once the supervisor's answer, if any, was seen."""
    core = FakeCore(record)
    answers = (Answer(number=7, outcome=outcome, reason="because"),) if outcome else ()  # type: ignore[arg-type]
    seen = Seen(observed(**{"in_sync": True, "answers": answers, **sight}), supervised=True)
    assert record.operation is not None
    answer = answers[0] if answers else None
    resizing.proceed(core, record, record.operation, seen, answer)  # type: ignore[arg-type]
    return core


@pytest.mark.parametrize(
    ("record", "outcome", "stage", "asks"),
    [
        (under_way("standby"), "done", "failover", RequestKind.FAILOVER),
        (under_way("standby"), "stale", "standby", RequestKind.RESTART_STANDBY),
        (under_way("failover"), "done", "", None),
        # a failover that happened by itself served as well
        (under_way("failover"), "stale", "", None),
        (under_way("failover", SMALLER), "done", "restart", RequestKind.REBOOT),
        (under_way("failover", SMALLER), "stale", "restart", RequestKind.REBOOT),
        (under_way("restart", SMALLER), "stale", "restart", RequestKind.REBOOT),
        (under_way("restart", SMALLER), "done", "", None),
        (under_way("failover", request=None), None, "failover", RequestKind.FAILOVER),
    ],
)
def test_each_answer_leads_to_the_next_step(
    record: Instance, outcome: str | None, stage: str, asks: RequestKind | None
) -> None:
    core = after(record, outcome)
    operation = core.record.operation
    assert operation is not None
    assert operation.stage == stage
    if asks is None:
        assert (operation.request, core.record.requests) == (None, 7)
    else:
        assert core.record.request is not None
        assert (core.record.request.kind, core.record.request.number, operation.request) == (asks, 8, 8)
    assert core.told == []


@pytest.mark.parametrize(
    ("record", "outcome", "sight"),
    [
        (under_way("standby"), None, {}),
        (under_way("standby"), "done", {"phase": Phase.FAILING_OVER}),
        (under_way("failover"), "done", {"relay_ready": False}),
        (under_way("failover", request=None), None, {"in_sync": False}),
    ],
)
def test_without_an_answer_or_service_nothing_moves(
    record: Instance, outcome: str | None, sight: dict[str, Any]
) -> None:
    assert after(record, outcome, **sight).record == record


def test_a_refused_failover_is_asked_for_again_once_the_standby_is_in_sync() -> None:
    refused = after(under_way("failover"), "refused").record
    assert refused.operation is not None
    assert (refused.operation.stage, refused.operation.request) == ("failover", None)
    assert after(refused, None).record == refused, "a standby whose storage is full was asked 30 times a second"
    later = refused.but(operation=refused.operation.but(ask_again_at=time.time() - 1))
    assert after(later, None).record.operation.request == 8  # type: ignore[union-attr]


def test_a_standby_that_does_not_start_takes_back_the_class_and_nothing_else() -> None:
    core = after(under_way("standby"), "refused")
    operation = core.record.operation
    assert core.told == ["0044"]
    assert (core.record.instance_class, core.record.parameters) == ("db.t3.micro", OLD)
    assert operation is not None
    assert (operation.stage, operation.applying) == ("", {"AllocatedStorage": 30})
    assert operation.detail == DONE.splitlines()[0]
