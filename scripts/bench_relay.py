"""Measures the endpoint beside a direct connection, HAProxy and PgBouncer, all before one PostgreSQL server.

    .venv/bin/python scripts/bench_relay.py        pgbench -S, 1, 8 and 32 clients, plain and TLS; COPY out of 1 GB
    .venv/bin/python scripts/bench_relay.py --clients 8 --seconds 3 --rounds 5 --copy-mb 0

HAProxy and PgBouncer are left out where they are not installed; nothing is installed. Every round runs all
targets one after the other, so that a noisy machine is noisy for all: compare ratios of the same round.
HAProxy reaches the server by loopback TCP, as it is deployed (with TLS it passes bytes that the server
encrypts), and once more by the server's Unix socket; PgBouncer and the relay end TLS and use the Unix socket.

`before_one_server` and `Target` are for other scripts.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from multiaz.postgres.config import ServerSettings
from multiaz.postgres.installations import find_installation
from multiaz.postgres.os_user import server_user
from multiaz.postgres.scram import verifier
from multiaz.postgres.server import Server

PASSWORD = "bench-only-secret"  # of a server that lives as long as the script
USER, DATABASE = "bench", "bench"
SCALE = 10
ROW_BYTES = 8000
SOCKET_NAME = ".s.PGSQL.5432"


@dataclass(frozen=True)
class Target:
    """One way to the server."""

    name: str
    host: str
    port: int
    ca: Path
    programs: Path
    pids: tuple[int, ...] = ()
    """Processes between the client and the server."""
    tls: bool = True
    """Whether TLS can be asked for."""

    def environment(self, *, tls: bool) -> dict[str, str]:
        """What libpq needs to connect."""
        return {
            "PATH": os.environ["PATH"], "PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": USER,
            "PGDATABASE": DATABASE, "PGPASSWORD": PASSWORD, "PGGSSENCMODE": "disable",
            "PGSSLMODE": "verify-full" if tls else "disable", "PGSSLROOTCERT": str(self.ca),
        }  # fmt: skip

    def tps(self, *, clients: int, seconds: int, tls: bool) -> float:
        """Transactions a second of `pgbench -S`, without the time the connections took."""
        done = subprocess.run(
            [self.programs / "pgbench", "-S", "-n", "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(seconds)],
            env=self.environment(tls=tls), capture_output=True, text=True,
        )  # fmt: skip
        found = re.search(r"tps = ([0-9.]+) \(without", done.stdout)
        if done.returncode != 0 or found is None:
            raise SystemExit(f"pgbench through {self.name} failed: {done.stderr}{done.stdout}")
        return float(found.group(1))

    def copy_out(self, *, megabytes: int, tls: bool) -> float:
        """MB a second of a COPY TO STDOUT of that many 10^6 bytes, read by psql and thrown away."""
        rows = megabytes * 1_000_000 // ROW_BYTES
        query = f"COPY (SELECT repeat('x', {ROW_BYTES - 1}) FROM generate_series(1, {rows})) TO STDOUT"
        with open(os.devnull, "wb") as nowhere:
            began = time.monotonic()
            subprocess.run(
                [self.programs / "psql", "-XAtq", "-c", query],
                env=self.environment(tls=tls),
                stdout=nowhere,
                check=True,
            )
            return megabytes / (time.monotonic() - began)

    def cpu_s(self) -> float:
        """CPU seconds the processes between client and server have used."""
        spent_ns = 0
        for pid in self.pids:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                spent_ns += int((thread / "schedstat").read_text().split()[0])
        return spent_ns / 1e9


@dataclass
class Bench:
    """A running server and what stands before it."""

    targets: dict[str, Target] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def before_one_server(
    names: tuple[str, ...] = ("direct", "relay", "haproxy", "haproxy-unix", "pgbouncer"),
) -> Iterator[Bench]:
    """Start a server and, before it, those of `names` that are installed; all end with the context."""
    base = Path(tempfile.mkdtemp(prefix="mz-bench-", dir="/tmp"))
    base.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        installation = find_installation(base / "postgres", 17)
        address = f"127.{os.getpid() % 200 + 20}.{time.monotonic_ns() % 250 + 1}.7"
        pki = _certificate(base / "pki", address)
        server = _start_server(base, installation.bin_folder, address, pki)
        stack.callback(server.stop, immediate=True)
        bench = Bench()
        bench.versions["postgresql"] = _version(str(installation.bin_folder / "postgres"))

        def add(name: str, port: int, process: subprocess.Popen[bytes] | None, *, tls: bool = True) -> None:
            pids = () if process is None else (process.pid,)
            if process is not None:
                stack.callback(_end, process)
                _wait_until_listening(address, port, process, base / f"{name}.log")
            bench.targets[name] = Target(name, address, port, pki / "ca.pem", installation.bin_folder, pids, tls)

        if "direct" in names:
            add("direct", 5432, None)
        if "relay" in names:
            add("relay", 5433, _start_relay(base, address, 5433, server, pki))
        for name, port, where in (
            ("haproxy", 5434, f"{address}:5432"), ("haproxy-unix", 5435, f"unix@{server.socket_folder / SOCKET_NAME}")
        ):  # fmt: skip
            if name in names and (program := _program("haproxy")):
                bench.versions["haproxy"] = _version(program, "-v")
                process = _start_haproxy(base, name, program, f"{address}:{port}", where)
                add(name, port, process, tls=name == "haproxy")  # a server does not speak TLS on its Unix socket
        if "pgbouncer" in names and (program := _program("pgbouncer")):
            bench.versions["pgbouncer"] = _version(program)
            add("pgbouncer", 5436, _start_pgbouncer(base, program, address, 5436, server, pki))
        _fill(bench, installation.bin_folder)
        yield bench


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _version(program: str, option: str = "--version") -> str:
    said = subprocess.run([program, option], capture_output=True, text=True).stdout
    return said.splitlines()[0] if said else "unknown"


def _certificate(folder: Path, address: str) -> Path:
    """ca.pem, and server.pem and server.key for `address`, in `folder`."""
    folder.mkdir()
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench CA")])

    def sign(subject: x509.Name, public: Any, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        signed = builder.not_valid_after(now + datetime.timedelta(days=1)).sign(ca_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    (folder / "ca.pem").write_bytes(sign(issuer, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=0)))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    hosts = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    (folder / "server.pem").write_bytes(sign(name, key.public_key(), hosts))
    plain = serialization.NoEncryption()
    (folder / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    (folder / "server.key").chmod(0o600)
    server_user().own(folder / "server.key")
    return folder


def _start_server(base: Path, programs: Path, address: str, pki: Path) -> Server:
    """A server on its Unix socket and, for the direct connection and HAProxy, on `address`, also with TLS."""
    (base / "run").mkdir()
    server = Server("bench", programs, base / "server", base / "run" / "s", server_user())
    server.make_folders()
    server.initialise()
    server.configure(
        ServerSettings("bench", server.socket_folder, server.log_folder, {"fsync": "off", "shared_buffers": "256MB"})
    )
    with (server.data / "postgresql.conf").open("a") as conf:
        conf.write(f"listen_addresses = '{address}'\nssl = on\n")
        conf.write(f"ssl_cert_file = '{pki / 'server.pem'}'\nssl_key_file = '{pki / 'server.key'}'\n")
    with (server.data / "pg_hba.conf").open("a") as hba:
        hba.write(f"host all {USER} 127.0.0.0/8 scram-sha-256\n")
    server.wait_until_ready(server.start())
    with server.connect("postgres") as admin:
        for role in ("rds_superuser", "rds_iam", "rds_replication"):
            admin.execute(f"CREATE ROLE {role}")
        admin.execute(f"CREATE ROLE {USER} LOGIN PASSWORD '{verifier(PASSWORD)}'")
        admin.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}")
    return server


def _start_relay(base: Path, address: str, port: int, server: Server, pki: Path) -> subprocess.Popen[bytes]:
    folder = base / "relay"
    folder.mkdir()
    (folder / "primary").symlink_to(server.socket_folder)
    config = {
        "address": address, "port": port, "certificate": str(pki / "server.pem"), "key": str(pki / "server.key"),
        "primary": str(folder / "primary"), "force_ssl": False, "iam": None, "connect_wait_s": 30,
        "supervisor": [], "supervisor_lock": None, "reserved_users": [],
    }  # fmt: skip
    (folder / "relay.json").write_text(json.dumps(config))
    return _run(base, "relay", [sys.executable, "-m", "multiaz.relay", str(folder)])


def _start_haproxy(base: Path, name: str, program: str, listen: str, where: str) -> subprocess.Popen[bytes]:
    conf = base / f"{name}.cfg"
    conf.write_text(
        "global\n  maxconn 1000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
        f"listen pg\n  bind {listen}\n  server one {where}\n"
    )
    return _run(base, name, [program, "-db", "-f", str(conf)])


def _start_pgbouncer(
    base: Path, program: str, address: str, port: int, server: Server, pki: Path
) -> subprocess.Popen[bytes]:
    folder = base / "pgbouncer"
    folder.mkdir()
    (folder / "users.txt").write_text(f'"{USER}" "{PASSWORD}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{DATABASE} = host={server.socket_folder} port=5432\n[pgbouncer]\n"
        f"listen_addr = {address}\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
        f"auth_file = {folder / 'users.txt'}\npool_mode = session\nmax_client_conn = 500\ndefault_pool_size = 200\n"
        f"client_tls_sslmode = allow\nclient_tls_cert_file = {pki / 'server.pem'}\n"
        f"client_tls_key_file = {pki / 'server.key'}\nignore_startup_parameters = extra_float_digits\n"
    )
    for path in (folder, folder / "users.txt", folder / "pgbouncer.ini"):
        server_user().own(path)
    return _run(base, "pgbouncer", [program, "-q", str(folder / "pgbouncer.ini")], **server_user().switch)


def _run(base: Path, name: str, command: list[str], **switch: Any) -> subprocess.Popen[bytes]:
    with (base / f"{name}.log").open("wb") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, **switch
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_listening(address: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((address, port), timeout=5).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{log.stem} does not listen: {log.read_text()}") from error
            time.sleep(0.01)


def _fill(bench: Bench, programs: Path) -> None:
    any_target = next(iter(bench.targets.values()))
    subprocess.run(
        [programs / "pgbench", "-i", "-q", "-s", str(SCALE)],
        env=any_target.environment(tls=False), check=True, capture_output=True,
    )  # fmt: skip


def main() -> None:
    """Print a table of medians, of ratios to the relay within a round, and of CPU per transaction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--copy-mb", type=int, default=1000)
    parser.add_argument("--only", nargs="+", default=["direct", "relay", "haproxy", "haproxy-unix", "pgbouncer"])
    parser.add_argument("--tls", choices=["both", "plain", "tls"], default="both")
    parser.add_argument("--json", type=Path, help="write every single figure here")
    options = parser.parse_args()
    modes = {"both": (False, True), "plain": (False,), "tls": (True,)}[options.tls]
    figures: dict[str, dict[str, list[float]]] = {}
    with before_one_server(tuple(options.only)) as bench:
        print(*(f"{name}: {version}" for name, version in bench.versions.items()), sep="\n")
        for tls in modes:
            ways = [target for target in bench.targets.values() if target.tls or not tls]
            how = "TLS" if tls else "plain"
            for clients in options.clients:
                work = partial(Target.tps, clients=clients, seconds=options.seconds, tls=tls)
                figures[f"pgbench -S, {clients} clients, {how}, tps"] = _rounds(ways, options.rounds, work)
            if options.copy_mb:
                work = partial(Target.copy_out, megabytes=options.copy_mb, tls=tls)
                figures[f"COPY out, {how}, MB/s"] = _rounds(ways, options.rounds, work)
    for title, found in figures.items():
        print(f"\n{title}\n" + _table(found))
    if options.json:
        options.json.write_text(json.dumps({"versions": bench.versions, "figures": figures}, indent=1))


def _rounds(ways: list[Target], rounds: int, measure: Callable[[Target], float]) -> dict[str, list[float]]:
    """Every figure by target, and under "cpu " the cores used in between; the order turns with each round."""
    figures: dict[str, list[float]] = {way.name: [] for way in ways}
    cpu: dict[str, list[float]] = {way.name: [] for way in ways}
    for number in range(rounds):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            before, began = way.cpu_s(), time.monotonic()
            figures[way.name].append(measure(way))
            cpu[way.name].append((way.cpu_s() - before) / (time.monotonic() - began))
    return figures | {f"cpu {name}": values for name, values in cpu.items()}


def _table(found: dict[str, list[float]]) -> str:
    """One line per target: median, median of the ratios to the relay round by round, CPU in between per unit."""
    lines = []
    for name in (name for name in found if not name.startswith("cpu ")):
        mine, relay = found[name], found.get("relay", found[name])
        ratio = statistics.median(one / other for one, other in zip(mine, relay, strict=True))
        cost = statistics.median(cores / one * 1e6 for one, cores in zip(mine, found[f"cpu {name}"], strict=True))
        figure = statistics.median(mine)
        lines.append(f"  {name:14} {figure:10.0f}   {ratio:5.2f} of the relay   {cost:7.1f} us of CPU in between")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
