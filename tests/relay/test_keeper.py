"""The supervisor's side of the endpoint: what it writes, and when it is in force."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from relay_harness import PORT, Authority, Database, RunningRelay, free_address, wait_for

from multiaz.home import SOCKET_PATH_LIMIT, Home
from multiaz.instance.records import DesiredInstance, Endpoint
from multiaz.instance.relaying import RelayKeeper, Shaping, Wire, relay_config
from multiaz.postgres.config import SUPERUSER
from multiaz.postgres.os_user import server_user
from multiaz.relay.config import parse_config
from multiaz.relay.shape import Block, Shape


def desired(address: str, **endpoint: Any) -> DesiredInstance:
    return DesiredInstance(
        resource_id="db-KEPT", identifier="kept", bin_folder="/nowhere", major=17, multi_az=True,
        zones={"a": "us-east-1a", "b": "us-east-1b"},
        endpoint=Endpoint(
            address=address, port=PORT, region="us-west-2", force_ssl=False, iam_authentication=False, **endpoint
        ),
    )  # fmt: skip


def test_what_the_supervisor_writes_the_relay_understands(tmp_path: Path) -> None:
    home = Home(tmp_path)
    wires = [Wire("a", Path("/run/x/a"), Shaping(delay_ms=5, blocked="cut")), Wire("b", Path("/b"), Shaping())]
    written = relay_config(home, home.instance("db-KEPT"), desired("127.0.0.1"), Shaping(10, 1000.0, True), wires)
    config = parse_config(written)
    assert config.network == Shape(0.01, 1000.0, Block.SILENT)
    assert [wire.name for wire in config.wires] == ["a", "b"]
    assert config.wires[0].shape == Shape(0.005, None, Block.CUT)
    assert config.wires[0].listen == home.instance("db-KEPT").wire_folder("a") / ".s.PGSQL.5432"
    assert config.wires[0].target == Path("/run/x/a/.s.PGSQL.5432")


def test_the_longest_name_of_a_wire_leaves_its_socket_path_short_enough() -> None:
    """Homes as long as may be: the run folder was chosen for the link `primary`."""
    for length in range(1, SOCKET_PATH_LIMIT):
        instance = Home(Path("/" + "h" * length)).instance("db-KEPT")
        assert len(os.fsencode(instance.wire_folder("12345") / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT


def test_shaping_is_in_force_when_the_keeper_says_so(base: Path, database: Database, authority: Authority) -> None:
    home = Home(base / "kept")
    instance = home.instance("db-KEPT")
    address = free_address()
    for folder in (instance.folder, instance.logs, instance.tls, instance.run):
        folder.mkdir(parents=True)
    authority.issue(instance.tls, address)
    instance.primary_link.symlink_to(database.socket_folder)
    keeper = RelayKeeper(home, instance)
    wanted = desired(address)
    wires = [Wire("a", database.socket_folder, Shaping())]
    running = RunningRelay(instance.folder, address, PORT, authority.pem, {"address": address, "port": PORT})

    def ready() -> bool:
        keeper.keep()
        return keeper.ready() and keeper.in_force()

    # a supervisor's lock that is held: the relay must not start one
    with (instance.lock).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            keeper.write(wanted)
            assert not keeper.in_force(), "nobody runs"
            wait_for("the relay runs", ready)
            running.connect().close()
            keeper.write(wanted, Shaping(blocked="cut"), wires)
            wait_for("the cut is in force", keeper.in_force)
            with pytest.raises(psycopg.OperationalError):
                running.connect()
            folder = instance.wire_folder("a")
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert folder.stat().st_uid == server_user().uid
            with psycopg.connect(host=str(folder), port=5432, user=SUPERUSER, dbname="postgres") as connection:
                assert connection.execute("SHOW cluster_name").fetchone() == ("a",)
            keeper.write(wanted)
            wait_for("it is healed", keeper.in_force)
            running.connect().close()
        finally:
            keeper.end()
    assert not keeper.in_force()


def test_a_poke_before_the_relay_listens_does_not_end_it(
    new_relay: Callable[..., RunningRelay], database: Database
) -> None:
    """SIGHUP kills a process that does not handle it; the supervisor pokes whoever holds the lock."""
    relay = new_relay(database.socket_folder)
    relay.start(wait=False)
    assert relay.process is not None
    lock = relay.folder / "relay.lock"
    wait_for("the lock is taken", lambda: lock.exists() and lock.read_text().strip())
    for _ in range(50):
        relay.process.send_signal(signal.SIGHUP)
    wait_for("it listens", relay.is_ready)
