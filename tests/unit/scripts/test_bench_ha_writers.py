"""Which class a row of the ledger falls into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import psycopg
import pytest
from ha.writers import Client, Load
from psycopg import errors


class Connection:
    """Answers a row in one way."""

    def __init__(self, error: psycopg.Error | None = None, *, broken: bool = False) -> None:
        self.broken = broken
        self._error = error
        self.meanwhile: Callable[[], None] = lambda: None

    def execute(self, *_: object) -> None:
        self.meanwhile()
        if self._error is not None:
            raise self._error


class Said:
    """What a server says beside an answer."""

    message_primary = "canceling wait for synchronous replication due to user request"


def commit(connection: Connection) -> tuple[Client, bool]:
    client = Client(0, 0, Load({}), fresh=False)
    return client, client._commit(cast("psycopg.Connection[Any]", connection), 7)


def classes(client: Client) -> tuple[list[int], list[int], list[int]]:
    ledger = client.ledger
    return list(ledger.acknowledged), list(ledger.unknown), list(ledger.failed)


def test_an_answered_row_is_acknowledged_at_a_time() -> None:
    client, usable = commit(Connection())
    assert (classes(client), usable) == (([7], [], []), True)
    assert len(client.ledger.acknowledged_at) == 1


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), True),
        (errors.AdminShutdown("terminating connection due to administrator command"), True),
        (errors.AdminShutdown("terminating connection due to administrator command"), False),
    ],
)
def test_a_row_without_a_certain_answer_is_unknown(error: psycopg.Error, broken: bool) -> None:
    client, usable = commit(Connection(error, broken=broken))
    assert (classes(client), usable) == (([], [7], []), False)


def test_a_refused_row_failed_and_the_connection_is_kept() -> None:
    client, usable = commit(Connection(errors.UniqueViolation("duplicate key")))
    assert (classes(client), usable) == (([], [], [7]), True)


def test_a_read_only_server_is_left() -> None:
    client, usable = commit(Connection(errors.ReadOnlySqlTransaction("cannot execute INSERT")))
    assert (classes(client), usable) == (([], [], [7]), False)


def test_a_commit_whose_wait_for_the_standby_was_cancelled_is_not_acknowledged() -> None:
    connection = Connection()
    client = Client(0, 0, Load({}), fresh=False)
    connection.meanwhile = lambda: client._heard(cast("psycopg.errors.Diagnostic", Said()))
    assert client._commit(cast("psycopg.Connection[Any]", connection), 7)
    assert classes(client) == ([], [7], [])


def test_rows_of_two_clients_never_have_the_same_number() -> None:
    assert Client(1, 0, Load({}), fresh=False)._first - Client(0, 0, Load({}), fresh=False)._first > 10**9
