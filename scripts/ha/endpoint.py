"""The section "endpoint": the relay beside a direct connection, HAProxy and PgBouncer, in rounds that take turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ha.results import Section

CLIENTS = (1, 8, 32)
COPY_MB = 1000


def missing() -> str | None:
    """Why the section cannot be measured; None if it can."""
    try:
        import bench_relay  # noqa: F401
    except ImportError as error:
        return f"scripts/bench_relay.py cannot be imported: {error}"
    return None


def measure_rounds(section: Section, rounds: int, seconds: int, copy_mb: int = COPY_MB) -> None:
    """Do the rounds that are missing; each is saved when it is complete."""
    from bench_relay import before_one_server

    if len(section.values["trials"]) >= rounds:
        return
    with before_one_server() as bench:
        section.values["beside"] = bench.versions
        while (number := len(section.values["trials"])) < rounds:
            figures: dict[str, dict[str, float]] = {}
            cores: dict[str, dict[str, float]] = {}
            ways = list(bench.targets.values())
            ways = ways[number % len(ways) :] + ways[: number % len(ways)]  # nobody is always first
            for tls in (False, True):
                for clients in CLIENTS:
                    name = key("pgbench -S", clients, tls=tls)

                    def transactions(way: Any, clients: int = clients, tls: bool = tls) -> float:
                        return float(way.tps(clients=clients, seconds=seconds, tls=tls))

                    figures[name], cores[name] = _turn(ways, tls, transactions)
                name = key("COPY out", 1, tls=tls)

                def copied(way: Any, tls: bool = tls) -> float:
                    return float(way.copy_out(megabytes=copy_mb, tls=tls))

                figures[name], cores[name] = _turn(ways, tls, copied)
            section.add("trials", {"round": number, "figures": figures, "cores": cores})
            print(f"  round {number + 1} of {rounds}", flush=True)


def key(what: str, clients: int, *, tls: bool) -> str:
    """What one figure is called in the results."""
    return f"{what}|{clients}|{'TLS' if tls else 'plain'}"


def _turn(ways: list[Any], tls: bool, work: Callable[[Any], float]) -> tuple[dict[str, float], dict[str, float]]:
    """The figure of each way, and the cores used between client and server meanwhile."""
    figures, cores = {}, {}
    for way in ways:
        if tls and not way.tls:
            continue
        before, began = way.cpu_s(), time.monotonic()
        figures[way.name] = round(work(way), 1)
        cores[way.name] = round((way.cpu_s() - before) / (time.monotonic() - began), 3)
    return figures, cores
