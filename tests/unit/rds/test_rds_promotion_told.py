"""What is told at the end of a promotion, and of which category: the table of the RDS user guide."""

from __future__ import annotations

import pytest
from test_rds_resizing import FakeCore
from test_rds_status import instance, observed

from multiaz.cloud.rds import progress
from multiaz.cloud.rds.events import category_of
from multiaz.cloud.rds.model import Instance, OperationKind
from multiaz.cloud.rds.status import Seen
from multiaz.instance.records import Answer


class Listening(FakeCore):
    """A core that keeps the texts as well."""

    def tell(self, _instance: Instance, code: str, message: str) -> None:
        self.told.append(f"{code} {message}")


@pytest.mark.parametrize(
    ("outcome", "source", "told", "category"),
    [
        ("done", None, "0057 Replication streaming has been terminated", "read replica"),
        ("refused", "db-SOURCE", "0044 The read replica was not promoted: because", "notification"),
    ],
)
def test_a_refused_promotion_is_a_notification_and_only_a_done_one_ends_replication(
    outcome: str, source: str | None, told: str, category: str
) -> None:
    record = instance(OperationKind.PROMOTE, number=7).but(source="db-SOURCE")
    core = Listening(record)
    answer = Answer(number=7, outcome=outcome, reason="because")  # type: ignore[arg-type]
    seen = Seen(observed(answers=(answer,), restorable_until=1.0), supervised=True)
    assert record.operation is not None
    assert progress._finish(core, record, record.operation, seen, answer)  # type: ignore[arg-type]
    assert (core.told, core.record.source, core.record.operation) == ([told], source, None)
    assert category_of(f"RDS-EVENT-{told[:4]}") == category


@pytest.mark.parametrize("code", ["0045", "0046", "0057", "0062", "0063", "0202"])
def test_what_happens_to_a_replica_is_of_the_category_read_replica(code: str) -> None:
    assert category_of(f"RDS-EVENT-{code}") == "read replica"
