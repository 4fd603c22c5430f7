"""The peer: two Patroni nodes, one etcd, HAProxy before them; same PostgreSQL binaries, same clients, same machine."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ha.peers import VENV, missing, program
from ha.processes import postmaster, server_processes, signal_all, working_in
from ha.trials import Mark, NotWell, wait_until
from multiaz.postgres.installations import find_installation
from multiaz.postgres.os_user import server_user

PATRONI, PATRONICTL = VENV / "bin" / "patroni", VENV / "bin" / "patronictl"
SCOPE = "bench"
PORTS = range(24000, 32000)
"""Below Linux's ephemeral range, so that no client socket takes one by chance."""
LOOK_S = 0.1
"""Pause between two looks at a node."""
FRESH_S = 3.0
START_S = 120.0

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "fast": {"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "synchronous_mode": True, "primary_start_timeout": 0},
}
"""Dynamic configuration. Source: Patroni's documentation, "Dynamic Configuration Settings": the least it takes."""
PARAMETERS: dict[str, dict[str, Any]] = {
    "default": {},
    # A standby whose primary died waits so long before it opens: 5 s by default.
    "fast": {"wal_retrieve_retry_interval": "100ms"},
}

HAPROXY = """\
global
    maxconn 500
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 2s
listen primary
    bind 127.0.0.1:{port}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 100ms fastinter 100ms downinter 100ms fall 1 rise 1 on-marked-down shutdown-sessions
{servers}
"""


@dataclass
class Node:
    """One node, and what was last seen of it."""

    name: str
    folder: Path
    port: int
    rest_port: int
    process: subprocess.Popen[bytes] | None = None
    seen: dict[str, Any] | None = None
    seen_at: float = 0.0

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def is_primary(self) -> bool:
        """It said so lately."""
        seen = self.seen
        fresh = time.monotonic() - self.seen_at < FRESH_S
        return bool(seen and fresh and seen.get("role") in ("primary", "master") and seen.get("state") == "running")


class Cluster:
    """A Patroni cluster of its own. Use as a context manager; whoever made `base` ends what works in it."""

    name = "Patroni"

    def __init__(self, base: Path, settings: str) -> None:
        self._base = base / "patroni"
        self._settings = settings
        self._user = server_user()
        self._password = secrets.token_hex(12)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._frozen: list[int] = []
        self._stopped: Node | None = None
        self._stop = threading.Event()
        ports = iter(free_ports(7))
        self._etcd_ports = (next(ports), next(ports))
        self._nodes = [Node(name, self._base / name, next(ports), next(ports)) for name in ("a", "b")]
        self._port = next(ports)
        self.target = {
            "host": "127.0.0.1", "port": self._port, "dbname": "postgres", "user": "postgres",
            "password": self._password, "gssencmode": "disable", "connect_timeout": 5, "application_name": "bench-ha",
        }  # fmt: skip

    def __enter__(self) -> Cluster:
        why = missing()
        if why:
            raise NotWell(f"Patroni cannot be measured: {why}")
        installation = find_installation(self._base.parent / "postgres", 17)
        for folder in (self._base, self._base / "etcd", *(node.folder for node in self._nodes)):
            folder.mkdir(mode=0o755)
            self._user.own(folder)
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd_ports)
        self._start("etcd", self._base / "etcd", [
            str(program("etcd")), "--data-dir", "data",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        ])  # fmt: skip
        for node in self._nodes:
            self._write(node.folder / "patroni.yml", yaml.safe_dump(self._configuration(node, installation.bin_folder)))
            threading.Thread(target=self._look, args=(node,), daemon=True).start()
        self._start_node(self._nodes[0])
        if not wait_until(lambda: self._nodes[0].is_primary, START_S):
            raise NotWell(f"the first node did not become primary: {self._log(self._nodes[0])}")
        self._start_node(self._nodes[1])
        servers = "\n".join(
            f"    server {node.name} 127.0.0.1:{node.port} check port {node.rest_port}" for node in self._nodes
        )
        self._write(self._base / "haproxy.cfg", HAPROXY.format(port=self._port, servers=servers))
        self._start("haproxy", self._base, [str(program("haproxy")), "-db", "-f", "haproxy.cfg"])
        self.wait_well(START_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # Its data goes with it, so nothing is shut down in order. The nodes end first: they would start their servers.
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        while pids := working_in([self._base]):
            signal_all(pids, signal.SIGKILL)
            time.sleep(0.02)

    def _configuration(self, node: Node, bin_folder: Path) -> dict[str, Any]:
        return {
            "scope": SCOPE,
            "name": node.name,
            "restapi": {"listen": f"127.0.0.1:{node.rest_port}", "connect_address": f"127.0.0.1:{node.rest_port}"},
            "etcd3": {"hosts": f"127.0.0.1:{self._etcd_ports[0]}"},
            "bootstrap": {
                "dcs": {
                    **SETTINGS[self._settings],
                    "postgresql": {"use_pg_rewind": True, "parameters": PARAMETERS[self._settings]},
                },
                "initdb": [{"encoding": "UTF8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{node.port}",
                "connect_address": f"127.0.0.1:{node.port}",
                "data_dir": str(node.data),
                "bin_dir": str(bin_folder),
                "pgpass": str(node.folder / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": self._password},
                    "replication": {"username": "replicator", "password": self._password},
                },
                "parameters": {"unix_socket_directories": str(node.folder)},
                "pg_hba": [
                    "local all all scram-sha-256",
                    "host all all 127.0.0.1/32 scram-sha-256",
                    "host replication all 127.0.0.1/32 scram-sha-256",
                ],
            },
        }

    def _write(self, path: Path, text: str) -> None:
        """For the user's eyes only: it may hold the password."""
        path.touch(mode=0o600)
        path.write_text(text)
        self._user.own(path)

    def _start(self, name: str, folder: Path, command: list[str]) -> subprocess.Popen[bytes]:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(folder), "ETCDCTL_API": "3"}
        with (self._base / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, **self._user.switch,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def _start_node(self, node: Node) -> None:
        node.process = self._start(f"patroni-{node.name}", node.folder, [str(PATRONI), "patroni.yml"])

    def _log(self, node: Node) -> str:
        path = self._base / f"patroni-{node.name}.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else "(no log)"

    # -- seeing ------------------------------------------------------------------------------------

    def _look(self, node: Node) -> None:
        """Ask a node's REST API now and then, in a thread: a node that hangs holds up nobody else."""
        while not self._stop.wait(LOOK_S):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{node.rest_port}/patroni", timeout=2) as answer:
                    node.seen = json.load(answer)
                    node.seen_at = time.monotonic()
            except urllib.error.HTTPError as error:
                error.close()
            except (OSError, ValueError):
                continue

    def _primary(self) -> Node | None:
        found = [node for node in self._nodes if node.is_primary]
        return max(found, key=lambda node: int((node.seen or {}).get("timeline") or 0), default=None)

    def mark(self) -> Mark:
        """Timeline and server of the primary."""
        node = self._primary()
        if node is None:
            return Mark(-1, "nobody")
        return Mark(int((node.seen or {}).get("timeline") or 0), f"{node.name} {postmaster(node.data)}")

    def writable(self) -> bool:
        """A node says it is primary and its postmaster lives."""
        node = self._primary()
        return node is not None and postmaster(node.data) is not None

    def redundant(self) -> bool:
        """Both nodes say that the other one streams, synchronously where that was asked for.

        The primary's word alone is not enough: a base backup under way streams too.
        """
        node = self._primary()
        if node is None or node.seen is None:
            return False
        other = next(candidate for candidate in self._nodes if candidate is not node)
        follower = other.seen or {}
        follows = follower.get("role") == "replica" and follower.get("replication_state") == "streaming"
        wanted = {"sync", "quorum"}
        if SETTINGS[self._settings].get("synchronous_mode"):
            # Patroni's own record comes after PostgreSQL's word, and without it nobody takes over.
            follows = follows and bool(follower.get("sync_standby"))
        else:
            wanted.add("async")
        return (
            follows
            and time.monotonic() - other.seen_at < FRESH_S
            and follower.get("timeline") == node.seen.get("timeline")
            and any(
                found.get("application_name") == other.name
                and found.get("state") == "streaming"
                and found.get("sync_state") in wanted
                for found in node.seen.get("replication") or ()
            )
        )

    def wait_well(self, within_s: float) -> None:
        """Wait until there is a primary and a standby that streams. Raises NotWell."""
        if not wait_until(lambda: self.writable() and self.redundant(), within_s):
            seen = {node.name: node.seen for node in self._nodes}
            logs = "\n".join(self._log(node) for node in self._nodes)
            raise NotWell(f"Patroni is not well within {within_s:.0f} s: {seen}\n{logs}")

    def told(self) -> None:
        """It keeps no record of what a failover took."""

    # -- breaking ----------------------------------------------------------------------------------

    def strike(self, fault: str) -> None:
        """Do it; returns at once."""
        node = self._primary()
        if node is None:
            raise NotWell("there is no primary to strike")
        faults: dict[str, Callable[[Node], None]] = {
            "requested": self._request, "kill": self._kill, "hang": self._hang, "node": self._lose_node,
        }  # fmt: skip
        faults[fault](node)

    def _request(self, node: Node) -> None:
        other = next(candidate for candidate in self._nodes if candidate is not node)
        self._start("patronictl", node.folder, [
            str(PATRONICTL), "-c", "patroni.yml", "switchover", SCOPE, "--leader", node.name, "--candidate", other.name,
            "--force",
        ])  # fmt: skip

    def _kill(self, node: Node) -> None:
        pid = postmaster(node.data)
        if pid is None:
            raise NotWell("there is no postmaster to kill")
        os.kill(pid, signal.SIGKILL)

    def _hang(self, node: Node) -> None:
        self._frozen = server_processes(node.data)
        signal_all(self._frozen, signal.SIGSTOP)

    def _lose_node(self, node: Node) -> None:
        assert node.process is not None
        pids = [node.process.pid, *server_processes(node.data)]
        signal_all(pids, signal.SIGSTOP)  # all at once: none sees another die
        signal_all(pids, signal.SIGKILL)
        node.process.wait()
        node.seen = None
        self._stopped = node

    def heal(self) -> None:
        """Start a node that was lost; end what hangs, as whoever resets a machine does."""
        signal_all(self._frozen, signal.SIGKILL)
        self._frozen = []
        if self._stopped is not None:
            self._start_node(self._stopped)
            self._stopped = None


def free_ports(count: int) -> list[int]:
    """So many ports of 127.0.0.1 that nobody listens on now."""
    found: list[int] = []
    start = os.getpid() * 37 % 4000
    for port in range(PORTS.start + start, PORTS.stop):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"no {count} free ports from {PORTS.start + start}")
