"""A real server, a local authority, and the relay as the process it is in life."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from multiaz.postgres.config import REPLICATION_USER, ServerSettings
from multiaz.postgres.scram import verifier
from multiaz.postgres.server import Server

PASSWORD = "correct horse battery staple"
PORT = 21432
"""Below the ephemeral range; each relay has a loopback address of its own."""


def wait_for(what: str, condition: Callable[[], Any], *, within_s: float = 15.0) -> Any:
    """The first true value of `condition`; polls to a deadline."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.01)
    return value


class Authority:
    """A certificate authority that issues certificates for addresses."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self.certificate = self._sign(self.name, self.key, [x509.BasicConstraints(ca=True, path_length=0)])
        self.pem = folder / "ca.pem"
        self.pem.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extensions: list[x509.ExtensionType]
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, folder: Path, address: str, common_name: str = "endpoint") -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = self._sign(subject, key, [names])
        pem, key_pem = folder / "server.pem", folder / "server.key"
        pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        key_pem.chmod(0o600)
        return pem, key_pem


@dataclass
class Database:
    """A running server with the roles of a DB instance."""

    server: Server
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket_folder(self) -> Path:
        return self.server.socket_folder

    def make(self) -> None:
        self.server.make_folders()
        self.server.initialise()
        self.configure()
        self.start()
        with self.server.connect("postgres") as admin:
            for role in ("rds_superuser", "rds_iam", "rds_replication"):
                admin.execute(f"CREATE ROLE {role}")
            admin.execute(f"CREATE ROLE app LOGIN CREATEDB PASSWORD '{verifier(PASSWORD)}'")
            admin.execute(f"CREATE ROLE token_user LOGIN PASSWORD '{verifier(PASSWORD)}' IN ROLE rds_iam")
            admin.execute(f"CREATE ROLE {REPLICATION_USER} LOGIN REPLICATION")
            admin.execute("CREATE DATABASE shop OWNER app")

    def configure(self, **parameters: str) -> None:
        settings = ServerSettings(
            self.server.name,
            self.server.socket_folder,
            self.server.log_folder,
            {"fsync": "off", "max_connections": "300", "shared_buffers": "32MB", **parameters},
        )
        self.server.configure(settings)

    def start(self) -> None:
        self.process = self.server.start()
        self.server.wait_until_ready(self.process)

    def stop(self, *, immediate: bool = False) -> None:
        self.server.stop(immediate=immediate)
        if self.process is not None:
            self.process.wait()


@dataclass
class RunningRelay:
    """The relay process and how to reach it."""

    folder: Path
    address: str
    port: int
    ca: Path
    config: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    children: list[int] = field(default_factory=list)

    @property
    def primary(self) -> Path:
        return Path(self.config["primary"])

    @property
    def log(self) -> str:
        return (self.folder / "relay.log").read_text()

    def point_at(self, target: Path) -> None:
        temporary = self.folder / "primary.new"
        temporary.symlink_to(target)
        temporary.replace(self.primary)

    def write_config(self, **changes: Any) -> None:
        self.config.update(changes)
        temporary = self.folder / "relay.json.new"
        temporary.write_text(json.dumps(self.config))
        temporary.replace(self.folder / "relay.json")

    def start(self, *, wait: bool = True, open_files: int | None = None) -> None:
        command = [sys.executable, "-m", "multiaz.relay", str(self.folder)]
        if open_files is not None:
            command = ["sh", "-c", f'ulimit -n {open_files} && exec "$@"', "sh", *command]
        with (self.folder / "relay.log").open("ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        if wait:
            wait_for("the relay listens", self.is_ready)

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            ready = json.loads((self.folder / "relay.ready").read_text())
        except FileNotFoundError:
            return False
        said = {name: ready[name] for name in ("pid", "address", "port")}
        return said == {"pid": self.process.pid, "address": self.config["address"], "port": self.config["port"]}

    def follow(self, **changes: Any) -> None:
        """Change the configuration and wait until the relay says that it is in force."""
        assert self.process is not None
        self.write_config(**changes)
        self.process.send_signal(signal.SIGHUP)
        wanted = hashlib.sha256((self.folder / "relay.json").read_bytes()).hexdigest()
        wait_for("the relay follows", lambda: json.loads((self.folder / "relay.ready").read_text())["config"] == wanted)

    def client_sockets(self) -> int:
        """How many clients the relay's kernel side has connected, by its own descriptors."""
        assert self.process is not None
        found = 0
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                name = str(fd.readlink())
            except FileNotFoundError:
                continue
            if name.startswith("socket:[") and name[8:-1] in _established():
                found += 1
        return found

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def dsn(self, **options: Any) -> dict[str, Any]:
        return {
            "host": self.config["address"],
            "port": self.config["port"],
            "user": "app",
            "password": PASSWORD,
            "dbname": "shop",
            "sslmode": "verify-full",
            "sslrootcert": str(self.ca),
            "gssencmode": "disable",
            "connect_timeout": 20,
            **options,
        }

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(autocommit=True, **self.dsn(**options))

    def environment(self, **options: Any) -> dict[str, str]:
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
                 "dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT",
                 "gssencmode": "PGGSSENCMODE", "connect_timeout": "PGCONNECT_TIMEOUT",
                 "sslnegotiation": "PGSSLNEGOTIATION"}  # fmt: skip
        chosen = {names[name]: str(value) for name, value in self.dsn(**options).items()}
        return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **chosen}


def dial(relay: RunningRelay) -> socket.socket:
    """A bare connection to the endpoint."""
    return socket.create_connection((relay.config["address"], relay.config["port"]), timeout=10)


def tls(relay: RunningRelay, client: socket.socket, *, alpn: bool = True) -> ssl.SSLSocket:
    """The client's side of a handshake that verifies the endpoint."""
    context = ssl.create_default_context(cafile=str(relay.ca))
    if alpn:
        context.set_alpn_protocols(["postgresql"])
    return context.wrap_socket(client, server_hostname=relay.address)


def resident_kb(pid: int) -> int:
    """Resident memory of a process in kB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError(pid)


def _established() -> set[str]:
    """Inodes of TCP sockets with a peer, or whose peer left."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return {fields[9] for fields in map(str.split, lines) if fields[3] in ("01", "08")}


def free_address() -> str:
    """A loopback address of this test alone."""
    return f"127.{random.randint(2, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
