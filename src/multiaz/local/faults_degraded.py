"""Faults that kill nobody: what replays late, writes slowly, or passes slowly or not at all through the network.

Each is an entry of `faults.json`: the supervisor lays parameters over the servers' configuration, has the relay shape
the network of clients, and leads the standby (or a read replica) through a wire of the relay.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from multiaz.errors import BadInput, NoProgress
from multiaz.home import Home
from multiaz.local.faults_entries import Injected, enter, replace_fault, withdraw
from multiaz.local.faults_processes import require_linux
from multiaz.local.faults_record import Argument, Fault, Network
from multiaz.local.faults_targets import Target, find, find_replica
from multiaz.local.processes import processes

LONGEST_LAG_S = 86_400.0
LONGEST_FLUSH_DELAY_MS = 100.0
"""Source: PostgreSQL manual, "commit_delay": at most 100,000 microseconds."""
LEAST_BANDWIDTH_KIB = 1.0
LONGEST_DELAY_MS = 10_000.0
WIRED_WITHIN_S = 15.0
"""How long is waited for a server to stream through the wire that is to be parted; it is parted anyhow."""
SHAPED_WITHIN_S = 15.0
"""How long is waited for supervisor and endpoint process to follow."""
CLIENTS, SERVERS = "clients", "servers"


def replica_lag(home: Home, seconds: float, instance: str | None = None) -> Injected:
    """A read replica replays each commit `seconds` after it was made (recovery_min_apply_delay); it receives at once.

    Raises BadInput for an instance that is no read replica.
    """
    _bounded(seconds, 0.1, LONGEST_LAG_S, "seconds of lag")
    target = find_replica(home, instance)
    why = f"the replica {target.identifier} replays {seconds:g} s late"
    parameters = {"recovery_min_apply_delay": f"{round(seconds * 1000)}ms"}
    lag = Fault("replica-lag", why, arguments={"seconds": seconds}, parameters=parameters, follower=True)
    return enter(home, target, lag)


def slow_disk(home: Home, milliseconds: float, instance: str | None = None) -> Injected:
    """Each flush of the WAL by a commit takes `milliseconds` longer.

    It is PostgreSQL's own delay before the flush (commit_delay, with commit_siblings = 0 so that it always applies):
    commits that come meanwhile share it, as they share a slow fsync. Reads and data files are as fast as before.
    """
    _bounded(milliseconds, 0.1, LONGEST_FLUSH_DELAY_MS, "milliseconds for each flush")
    target = find(home, instance)
    why = f"each WAL flush of {target.identifier} takes {milliseconds:g} ms longer"
    parameters = {"commit_delay": str(round(milliseconds * 1000)), "commit_siblings": "0"}
    return enter(home, target, Fault("slow-disk", why, arguments={"milliseconds": milliseconds}, parameters=parameters))


def slow_network(
    home: Home,
    instance: str | None = None,
    *,
    delay_ms: float | None = None,
    bandwidth_kib: float | None = None,
    between: str = CLIENTS,
) -> Injected:
    """Delay each direction and bound its bandwidth (KiB a second, shared by all connections).

    `between` is "clients" (and the endpoint) or "servers": primary and standby, or a read replica and its source.
    Raises BadInput if neither figure is given, and for an instance without that other server.
    """
    if delay_ms is None and bandwidth_kib is None:
        raise BadInput(
            "Cannot slow the network down", "neither a delay nor a bandwidth is given", "give one of the two"
        )
    figures: list[str] = []
    if delay_ms is not None:
        _bounded(delay_ms, 0.1, LONGEST_DELAY_MS, "milliseconds of delay")
        figures.append(f"{delay_ms:g} ms late")
    if bandwidth_kib is not None:
        _bounded(bandwidth_kib, LEAST_BANDWIDTH_KIB, 1024.0**3, "KiB a second")
        figures.append(f"at most {bandwidth_kib:g} KiB/s")
    target = find(home, instance)
    network = Network(delay_ms or 0.0, None if bandwidth_kib is None else bandwidth_kib * 1024)
    whose = _between(target, between)
    arguments: dict[str, Argument] = {"between": between, "delay_ms": delay_ms, "bandwidth_kib": bandwidth_kib}
    why = f"the network between {whose} is slow: {', '.join(figures)}"
    done = enter(home, target, _fault(target, "slow-network", why, arguments, between, network))
    _wait_until_shaped(target, between, network)
    return done


def partition(home: Home, instance: str | None = None, *, cut: bool = False) -> Injected:
    """Nothing passes between primary and standby, or between a read replica and its source.

    Silent: bytes vanish and nobody is told, as when packets are dropped. With `cut` connections are broken, and new
    ones end at once. Before a silent partition the stream is led through the wire, so that it is parted while it flows.
    """
    require_linux()
    target = find(home, instance)
    whose = _between(target, SERVERS)
    how = "cut: connections break" if cut else "silent: bytes vanish"
    why = f"the network between {whose} is parted ({how})"
    arguments: dict[str, Argument] = {"between": SERVERS, "cut": cut}
    before = _receivers(home, target)
    parted = Network(blocked="cut" if cut else True)
    begun = _fault(target, "partition", why, arguments, SERVERS, Network())
    try:
        done = enter(home, target, begun)
        if not cut and before:
            _wait_until_wired(home, target, before)
        replace_fault(home, target, replace(begun, servers=parted))
    except BaseException:  # interrupted, perhaps: it would be listed as in force, and part nobody
        withdraw(home, target, begun)
        raise
    _wait_until_shaped(target, SERVERS, parted)
    return done


def _wait_until_wired(home: Home, target: Target, before: Sequence[int]) -> None:
    """Wait until another WAL receiver than before streams: it was started for the new way."""
    deadline = time.monotonic() + WIRED_WITHIN_S
    while time.monotonic() < deadline:
        if set(_receivers(home, target)) - set(before):
            return
        time.sleep(0.02)


def _wait_until_shaped(target: Target, between: str, network: Network) -> None:
    """Wait until the endpoint process follows it. Returns at once where none runs: the next one will.

    Raises NoProgress if it does not, being frozen perhaps; the fault stays recorded.
    """
    deadline = time.monotonic() + SHAPED_WITHIN_S
    while target.relay is not None and target.supervisor is not None:
        if _is_shaped(target, between, network):
            return
        if time.monotonic() > deadline:
            raise NoProgress(
                f"The network of {target.identifier} is not shaped yet",
                f"its supervisor and endpoint process have not followed within {SHAPED_WITHIN_S:g} s",
                "the fault is recorded: see `multiaz fault list` for others that hold them up, or heal it",
            )
        time.sleep(0.01)


def _is_shaped(target: Target, between: str, network: Network) -> bool:
    """`relay.json` says so, and `relay.ready` names that very file as the one in force."""
    try:
        wanted = target.place.relay.read_bytes()
        ready = json.loads((target.place.folder / "relay.ready").read_text())
        told = json.loads(wanted)
    except (OSError, ValueError):
        return False
    if ready.get("config") != hashlib.sha256(wanted).hexdigest():
        return False
    shapes = told.get("wires", []) if between == SERVERS else [told.get("network") or {}]
    values = asdict(network)
    return bool(shapes) and all({name: shape.get(name) for name in values} == values for shape in shapes)


def _receivers(home: Home, target: Target) -> list[int]:
    """Pids of the instance's WAL receivers that stream, as their titles say."""
    folder = target.place.folder.resolve()
    return [
        process.pid
        for process in processes(home).ours
        if process.role == "postgres"
        and "walreceiver streaming" in process.command
        and process.working_directory.startswith(f"{folder}/")
    ]


def _fault(
    target: Target, kind: str, why: str, arguments: dict[str, Argument], between: str, network: Network
) -> Fault:
    """Of a read replica it is the way to its source that is shaped: with its promotion that is over."""
    if between == CLIENTS:
        return Fault(kind, why, arguments=arguments, clients=network)
    return Fault(kind, why, arguments=arguments, servers=network, follower=target.following)


def _between(target: Target, between: str) -> str:
    """In words who is on both sides. Raises BadInput if there is nobody on the other."""
    if between == CLIENTS:
        return f"clients and the endpoint of {target.identifier}"
    if target.following:
        return f"{target.identifier} and its source"
    target.member("standby", "part the standby")
    return f"primary and standby of {target.identifier}"


def _bounded(value: float, least: float, most: float, what: str) -> None:
    if not least <= value <= most:
        raise BadInput(
            f"Cannot have {value:g} {what}", f"it must be from {least:g} to {most:g}", "choose another figure"
        )
