"""What turns backups on is over once the first one is there, or once it is told why there is none."""

from __future__ import annotations

from typing import Any

import pytest
from test_rds_promotion_told import Listening
from test_rds_status import RESTORE, instance, observed

from multiaz.cloud.rds import progress
from multiaz.cloud.rds.model import Instance, OperationKind
from multiaz.cloud.rds.status import Seen

TOLD = "0044 Automated backups are on, and none could be made so far: no room"


class Named(Listening):
    """A core that knows no other instance."""

    def name_of(self, resource_id: str) -> str:
        return resource_id


def finish(record: Instance, **sight: Any) -> Named:
    """What the watcher makes of a record whose operation is seen to be done."""
    core = Named(record)
    assert record.operation is not None
    assert progress._finish(core, record, record.operation, Seen(observed(**sight), supervised=True), None)  # type: ignore[arg-type]
    return core


@pytest.mark.parametrize("kind", [OperationKind.CREATE, OperationKind.MODIFY, OperationKind.OPTIMIZE])
def test_the_first_backup_follows_and_what_keeps_it_away_is_told_instead_of_awaited(kind: OperationKind) -> None:
    for sight in ({}, {"backing_up": True, "restorable_until": 1.0}, {"backing_up": True, "backup_problem": "no room"}):
        core = finish(instance(kind), **sight)
        assert core.record.operation is not None
        assert (core.record.operation.kind, TOLD in core.told) == (OperationKind.BACKUP, False)
    stuck = finish(instance(kind), backup_problem="no room")
    assert (stuck.record.operation, stuck.told[-1]) == (None, TOLD)
    for there in ({"restorable_until": 1.0}, {"restorable_until": 1.0, "backup_problem": "no room"}):
        core = finish(instance(kind), **there)
        assert (core.record.operation, TOLD in core.told) == (None, False)
    assert finish(instance(kind, backup_retention_days=0)).record.operation is None
    assert finish(instance(kind, source="db-SOURCE")).record.operation is None


def test_a_backup_that_cannot_be_made_ends_the_wait_with_its_reason() -> None:
    core = finish(instance(OperationKind.BACKUP), backup_problem="no room")
    assert (core.record.operation, core.told) == (None, [TOLD])
    core = finish(instance(OperationKind.BACKUP), restorable_until=1.0)
    assert (core.record.operation, core.told) == (None, [])


def test_a_password_waits_for_no_backup() -> None:
    assert finish(instance(OperationKind.PASSWORD)).record.operation is None


def test_a_restored_instance_says_what_it_was_restored_from() -> None:
    core = finish(instance(OperationKind.CREATE, restore=RESTORE), restorable_until=1.0)
    assert core.told[-1] == "0019 Restored from DB instance db-SOURCE to db"
