"""What is written to a member's configuration, and what is remembered of it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from test_decide import DESIRED, WELL

from multiaz.errors import NoProgress
from multiaz.home import Home
from multiaz.instance import servers as module
from multiaz.instance.servers import Servers
from multiaz.postgres.config import ServerSettings
from multiaz.postgres.server import Server


def test_configuration_written_by_two_at_once_is_the_one_that_is_remembered(tmp_path: Path, monkeypatch: Any) -> None:
    """A join (commits wait) and a restart (they do not): else the file said one thing and `waits` the other."""
    servers = Servers(Home(tmp_path).instance("db-X"), DESIRED)
    in_the_middle, go_on = threading.Event(), threading.Event()
    files: list[str | None] = []

    def write(_: Server, settings: ServerSettings) -> bool:
        files.append(settings.synchronous_standby)
        if len(files) == 1:
            in_the_middle.set()
            assert go_on.wait(10)
        return True

    monkeypatch.setattr(Server, "configure", write)
    first, second = (
        threading.Thread(target=servers.configure, args=("a", WELL), kwargs={"synchronous": waits})
        for waits in (True, False)
    )
    first.start()
    assert in_the_middle.wait(10)
    second.start()
    second.join(0.1)
    assert files == ["multiaz_b"]  # the other one waits its turn
    go_on.set()
    first.join(10)
    second.join(10)
    assert files == ["multiaz_b", None]
    assert servers.waits["a"] is False


@pytest.mark.parametrize("survives", [True, False], ids=["it lives on", "it died"])
def test_leading_replicas_away_waits_no_longer_than_the_server_they_leave(
    survives: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    """A primary that dies at that moment was noticed half a second later: the loop waited for its answer."""
    servers = Servers(Home(tmp_path).instance("db-X"), DESIRED)
    servers.home.run.mkdir(parents=True)
    lives = [True]

    def breaks_off(_: Server) -> Any:
        lives[0] = survives
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(module, "CUT_PATIENCE_S", 3600.0)
    monkeypatch.setattr(Server, "pid", lambda _: 1 if lives[0] else None)
    monkeypatch.setattr(Server, "status_word", lambda _: "ready")
    monkeypatch.setattr(Server, "connect", breaks_off)
    if survives:
        with pytest.raises(NoProgress, match="it does not let them go"):
            servers.point_upstream("b")
    else:
        servers.point_upstream("b")
    assert servers.home.upstream_link.readlink().name == "b"


@pytest.mark.parametrize(("postmaster", "stuck"), [(7, False), (None, True)], ids=["its postmaster lives", "it died"])
def test_backends_that_end_beside_a_live_postmaster_are_not_taken_for_stuck_ones(
    postmaster: int | None, stuck: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    """Each backend is on its way out for an instant when its client leaves; the server would be fenced for it."""
    servers = Servers(Home(tmp_path).instance("db-X"), DESIRED)
    monkeypatch.setattr(Server, "pid", lambda _: postmaster)
    monkeypatch.setattr(module, "doomed_in", lambda _: [70])
    monkeypatch.setattr(module, "still_in", lambda _, noted: noted)
    servers.note_stuck("a")
    assert bool(servers.stuck("a")) is stuck
