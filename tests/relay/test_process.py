"""The endpoint as a process: its lock, its files, its address, and the supervisor it brings back."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay_harness import Authority, Database, RunningRelay, free_address, wait_for

from multiaz.relay import locks
from multiaz.relay.config import BadConfig, parse_config
from multiaz.relay.listener import holders_of
from multiaz.relay.logs import LINES_A_SECOND, Brake
from multiaz.relay.server import Relay


def test_a_second_process_leaves_the_first_alone(relay: RunningRelay) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "multiaz.relay", str(relay.folder)], capture_output=True, text=True, timeout=20
    )
    assert second.returncode == 0
    assert "another process serves" in second.stdout
    assert (relay.folder / "relay.lock").read_text().strip() == str(relay.process.pid)  # type: ignore[union-attr]
    relay.connect().close()


def test_it_works_below_its_folder_so_that_it_is_found(relay: RunningRelay) -> None:
    assert relay.process is not None
    assert Path(f"/proc/{relay.process.pid}/cwd").resolve() == relay.folder.resolve()


def test_it_ends_when_its_configuration_is_gone(new_relay: Callable[..., RunningRelay], database: Database) -> None:
    relay = new_relay(database.socket_folder)
    relay.start()
    assert relay.process is not None
    with relay.connect() as connection:
        (relay.folder / "relay.json").unlink()
        assert relay.process.wait(5) == 0
        assert not (relay.folder / "relay.ready").exists()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_without_configuration_there_is_nothing_to_serve(base: Path) -> None:
    folder = base / "empty"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-m", "multiaz.relay", str(folder)], capture_output=True, timeout=20)
    assert done.returncode == 0
    assert not (folder / "relay.lock").exists()


def test_a_kill_frees_the_lock_and_a_new_process_serves(relay: RunningRelay) -> None:
    assert relay.process is not None
    relay.process.kill()
    relay.process.wait()
    relay.start()
    relay.connect().close()


def test_a_new_address_is_taken_over(relay: RunningRelay, authority: Authority) -> None:
    with relay.connect() as before:
        address = free_address()
        authority.issue(relay.folder, address)
        old = relay.config["address"]
        relay.write_config(address=address)
        wait_for("it listens on the new address", relay.is_ready)
        relay.connect().close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((old, relay.port), timeout=2)
        assert before.execute("SELECT 1").fetchone() == (1,), "open sessions stay"


def test_sighup_reads_the_configuration_at_once(relay: RunningRelay) -> None:
    assert relay.process is not None
    relay.write_config(reserved_users=["app"])
    relay.process.send_signal(signal.SIGHUP)

    def refused() -> bool:
        try:
            relay.connect().close()
        except psycopg.OperationalError as error:
            return "rejects connection" in str(error)
        return False

    wait_for("it is taken over", refused)


@pytest.mark.parametrize("broken", ["{", '{"address": 5}', "[]"])
def test_a_broken_configuration_keeps_the_old_one(relay: RunningRelay, broken: str) -> None:
    (relay.folder / "relay.json").write_text(broken)
    reason = wait_for("it is said", lambda: _failure(relay))
    assert "relay.json" in reason or "'address'" in reason
    relay.connect().close()
    relay.write_config()
    wait_for("it is mended", lambda: _failure(relay) is None)
    relay.connect().close()


def _failure(relay: RunningRelay) -> str | None:
    try:
        return str(json.loads((relay.folder / "relay.failed").read_text())["reason"])
    except FileNotFoundError:
        return None


def test_what_is_wrong_is_written_once_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full, or there was no descriptor: whoever waits for the endpoint looks in the file."""
    relay, replace = Relay(tmp_path), locks.replace_file

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(locks, "replace_file", full)
    relay._fail("the port is taken")
    monkeypatch.setattr(locks, "replace_file", replace)
    relay._fail("the port is taken")
    assert json.loads((tmp_path / "relay.failed").read_text()) == {"reason": "the port is taken"}


@pytest.mark.parametrize("anywhere", [False, True])
def test_a_taken_port_names_its_holder_and_is_tried_again(
    new_relay: Callable[..., RunningRelay], database: Database, anywhere: bool
) -> None:
    """A listener on 0.0.0.0 blocks every loopback address."""
    port = 21433 + anywhere
    relay = new_relay(database.socket_folder, port=port)
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address = "0.0.0.0" if anywhere else relay.address
        holder.bind((address, port))
        holder.listen()
        relay.start(wait=False)
        reason = wait_for("it says why", lambda: _failure(relay))
        assert f"{relay.address}:{port} is taken by {address}:{port} (pid {os.getpid()}, " in reason
    wait_for("it listens", relay.is_ready)
    assert _failure(relay) is None
    relay.connect().close()


def test_holders_are_found_on_ipv6_too() -> None:
    with socket.socket(socket.AF_INET6) as holder:
        try:
            holder.bind(("::", 0))
        except OSError:
            pytest.skip("no IPv6")
        holder.listen()
        port = holder.getsockname()[1]
        assert any(f"pid {os.getpid()}" in found for found in holders_of("127.0.0.1", port))


@pytest.fixture
def fake_supervisor(base: Path) -> Path:
    """A program that takes the lock named by its argument, notes its pid, and lives."""
    program = base / "supervisor.py"
    program.write_text(
        "import fcntl, os, sys, time\n"
        "lock = open(sys.argv[1], 'a')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "open(sys.argv[1] + '.pids', 'a').write(f'{os.getpid()} {os.getpgid(0)} {os.getcwd()}\\n')\n"
        "time.sleep(60)\n"
    )
    return program


def test_the_supervisor_is_started_again_when_its_lock_is_free(
    new_relay: Callable[..., RunningRelay], database: Database, fake_supervisor: Path
) -> None:
    relay = new_relay(database.socket_folder)
    lock = relay.folder / "instance.lock"
    noted = relay.folder / "instance.lock.pids"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        relay.write_config(supervisor=[sys.executable, str(fake_supervisor), str(lock)])
        relay.start()
        time.sleep(0.6)  # two looks: while the lock is held nobody is started
        assert not noted.exists()
    started = time.monotonic()
    wait_for("the supervisor runs", noted.exists)
    assert time.monotonic() - started < 1.5
    try:
        first = wait_for("it is noted", noted.read_text).split()
        assert first == [first[0], first[0], str(relay.folder)], "its own session, in the instance's folder"
        os.kill(int(first[0]), signal.SIGKILL)
        wait_for("it runs again", lambda: len(noted.read_text().splitlines()) == 2)
    finally:
        for line in noted.read_text().splitlines():
            try:
                os.kill(int(line.split()[0]), signal.SIGKILL)
            except ProcessLookupError:
                continue


def test_the_process_listens_soon(new_relay: Callable[..., RunningRelay], database: Database) -> None:
    """Restarting an endpoint must not be what a failover waits for; generous, since tests share two cores."""
    relay = new_relay(database.socket_folder)
    started = time.monotonic()
    relay.start()
    assert time.monotonic() - started < 2


GOOD = {
    "address": "127.0.0.1", "port": 5432, "certificate": "c", "key": "k", "primary": "p", "force_ssl": True,
    "iam": {"authorize_url": "http://127.0.0.1:4566/x", "resource_id": "db-1", "region": "us-east-1"},
    "connect_wait_s": 30, "supervisor": ["a"], "supervisor_lock": "l", "reserved_users": ["rdsadmin"],
}  # fmt: skip


def test_the_contract_is_read() -> None:
    config = parse_config(GOOD)
    assert config.iam is not None
    assert (config.primary_socket, config.supervisor_lock) == ("p/.s.PGSQL.5432", Path("l"))
    assert config.reserved_users == {"rdsadmin"}


@given(st.sampled_from(sorted(GOOD)), st.sampled_from([None, True, -1, 70000, "", [1], {"x": 1}]))
def test_wrong_values_are_refused_by_name(name: str, value: object) -> None:
    try:
        parse_config({**GOOD, name: value})
    except BadConfig as error:
        assert repr(name) in str(error) or name == "iam"


def test_unknown_fields_are_refused_by_name() -> None:
    with pytest.raises(BadConfig, match="'colour'"):
        parse_config({**GOOD, "colour": 1})


def test_no_client_fills_the_disk_with_log_lines() -> None:
    now = [100.0]
    brake = Brake(lambda: now[0])

    def line(level: int = logging.INFO) -> tuple[bool, str]:
        record = logging.LogRecord("multiaz.relay", level, "", 0, "refused %s", ("x",), None)
        return brake.filter(record), record.getMessage()

    assert [line()[0] for _ in range(LINES_A_SECOND + 5)] == [True] * LINES_A_SECOND + [False] * 5
    assert line(logging.ERROR) == (True, "refused x [5 lines before this one were not written]")
    now[0] += 1
    assert line() == (True, "refused x")
