"""The probes of a server outlive whatever happens to them, and tell the kernel's refusals from the server's."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import psycopg
import pytest

from multiaz.instance import path_probe, probe
from multiaz.instance.path_probe import PathProbe, unheard
from multiaz.instance.probe import Probe

KERNEL = 'connection to server on socket "/run/a/.s.PGSQL.5432" failed: '


class FakeServer:
    """A postmaster that says it is ready; what it does with a connection is the test's."""

    name = "multiaz_a"

    def __init__(self, word: Callable[[], str], connect: Callable[[], Any]) -> None:
        self._word, self._connect = word, connect
        self.words = self.connects = 0
        self.asked = threading.Semaphore(0)

    def pid(self) -> int:
        return 7

    def status_word(self) -> str:
        self.words += 1
        self.asked.release()
        return self._word()

    def connect(self, *_: object, **__: object) -> Any:
        self.connects += 1
        return self._connect()

    def wait_for(self, looks: int) -> None:
        """So many more looks, each of which begins from now on."""
        while self.asked.acquire(blocking=False):
            pass
        for _ in range(looks):
            assert self.asked.acquire(timeout=20), "nobody looks any more"


@pytest.fixture
def ends() -> Iterator[list[Any]]:
    running: list[Any] = []
    yield running
    for one in running:
        one.stop()
        one._thread.join(20)
        assert not one._thread.is_alive()


def out_of_files() -> NoReturn:
    raise OSError(errno.EMFILE, "Too many open files")


def refuse() -> NoReturn:
    raise psycopg.OperationalError(f'{KERNEL}FATAL:  database "rdsadmin" is not currently accepting connections')


def make(kind: str, server: FakeServer) -> Any:
    if kind == "kept":
        return Probe(server, lambda: None)  # type: ignore[arg-type]
    return PathProbe(server)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["kept", "path"])
def test_probe_survives_an_error_nobody_thought_of(
    kind: str, ends: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No file descriptor is left, say: once there is one, the server is looked at again."""
    monkeypatch.setattr(path_probe, "PACE_S", 0.01)
    server = FakeServer(out_of_files, refuse)
    ends.append(make(kind, server))
    server.wait_for(8)
    assert server.connects == 0
    server._word = lambda: "ready"
    server.wait_for(3)
    assert server.connects
    assert sum("Too many open files" in record.getMessage() for record in caplog.records) == 1, "told once"


def test_server_that_refuses_the_probe_is_asked_ever_less_often(
    ends: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    server = FakeServer(lambda: "ready", refuse)

    class Poke(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if not timeout:  # the thread's own, of its beginning
                return super().wait()
            pauses.append(timeout)
            return super().wait(0.001)

    monkeypatch.setattr(probe.threading, "Event", Poke)
    ends.append(Probe(server, lambda: None))  # type: ignore[arg-type]
    server.wait_for(12)
    assert pauses[:3] == [probe.RETRY_S, 2 * probe.RETRY_S, 4 * probe.RETRY_S]
    assert max(pauses) == probe.LONGEST_RETRY_S


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("Resource temporarily unavailable", False),
        ("No such file or directory\n\tIs the server running locally and accepting connections on that socket?", False),
        ("Connection refused\n\tIs the server running locally and accepting connections on that socket?", False),
        ("could not fork new process for connection: Resource temporarily unavailable", True),
        ("could not fork new process for connection: Cannot allocate memory", True),
        ("FATAL:  sorry, too many clients already", True),
        ("FATAL:  could not open file: No such file or directory", True),
    ],
)
def test_refusal_is_an_answer_and_the_kernels_word_for_nobody_is_none(said: str, heard: bool) -> None:
    assert (unheard(psycopg.OperationalError(KERNEL + said)) == "") is heard


def test_connection_that_is_not_made_in_time_is_unheard() -> None:
    assert unheard(psycopg.errors.ConnectionTimeout("connection timeout expired"))


def test_server_that_cannot_fork_does_not_hang_and_is_told_by_name(
    ends: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The standby runs on the same machine as the same user, so a failover would end sessions and mend nothing."""
    monkeypatch.setattr(path_probe, "PACE_S", 0.01)

    def cannot_fork() -> NoReturn:
        why = "could not fork new process for connection: Resource temporarily unavailable"
        raise psycopg.OperationalError(KERNEL + why)

    server = FakeServer(lambda: "ready", cannot_fork)
    asking = PathProbe(server)  # type: ignore[arg-type]
    ends.append(asking)
    server.wait_for(5)
    assert sum("could not fork" in record.getMessage() for record in caplog.records) == 1
    asking.stop()
    asking._thread.join(20)
    assert asking.pending is None


def test_question_stays_open_while_the_sockets_file_is_gone(ends: list[Any]) -> None:
    def gone() -> NoReturn:
        raise psycopg.OperationalError(f"{KERNEL}No such file or directory")

    server = FakeServer(lambda: "ready", gone)
    asking = PathProbe(server)  # type: ignore[arg-type]
    ends.append(asking)
    server.wait_for(3)
    assert asking.pending is not None
    assert asking.unheard == "No such file or directory"


@pytest.mark.parametrize("word", ["stopping", "starting"])
def test_kept_connection_is_let_go_when_the_server_takes_nobody(word: str, ends: list[Any]) -> None:
    """A smart shutdown waits for the last session, and that must not be ours."""
    server = FakeServer(lambda: word, refuse)
    looking = Probe(server, lambda: None)  # type: ignore[arg-type]
    ends.append(looking)

    class Kept:
        closed = False

        def close(self) -> None:
            self.closed = True

    kept = Kept()
    looking._connection, looking._connected_to = kept, 7  # type: ignore[assignment]
    server.wait_for(2)
    assert kept.closed
    assert server.connects == 0
