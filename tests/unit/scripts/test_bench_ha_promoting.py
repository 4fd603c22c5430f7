"""What a promotion's trial takes for a written row."""

from __future__ import annotations

from typing import Any, cast

import psycopg
import pytest
from ha.promoting import Try
from psycopg import errors


class Server:
    """Answers rows one after the other."""

    def __init__(self, *answers: psycopg.Error | None) -> None:
        self.answers = list(answers)
        self.told: list[object] = []

    def execute(self, _: str, values: object) -> None:
        self.told.append(values)
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer


def write(server: Server) -> Try:
    client = Try({}, 7)
    client._write(cast("psycopg.Connection[Any]", server))
    return client


def test_a_refusal_of_a_replica_is_no_row_and_the_same_connection_tries_on() -> None:
    server = Server(errors.ReadOnlySqlTransaction(), errors.ReadOnlySqlTransaction(), None)
    client = write(server)
    assert client.refused == 2
    assert client.acknowledged_at is not None
    assert server.told == [(7, 0)] * 3


def test_another_failure_is_told_to_who_connects_anew() -> None:
    with pytest.raises(errors.AdminShutdown):
        write(Server(errors.AdminShutdown()))
