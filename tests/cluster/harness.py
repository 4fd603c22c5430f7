"""Runs real supervisors without the cloud: writes desired.json and reads what they publish."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from multiaz.files import lock_holder, write_atomically
from multiaz.home import Home, InstanceHome
from multiaz.instance.records import (
    DesiredInstance,
    Endpoint,
    InstanceEvent,
    MasterUser,
    MemberName,
    ObservedInstance,
    Request,
    RequestKind,
    RunState,
    Source,
)
from multiaz.postgres.installations import find_installation
from multiaz.postgres.os_user import server_user
from multiaz.postgres.scram import verifier
from multiaz.postgres.server import Server

PATIENCE = float(os.environ.get("MULTIAZ_TEST_PATIENCE", "1"))
MakeInstance = Callable[..., "Instance"]
PASSWORD = "correct-horse-9"


def eventually(what: str, holds: Callable[[], Any], within_s: float = 30.0) -> Any:
    """The first true value of `holds`; fails naming `what` after the deadline."""
    deadline = time.monotonic() + within_s * PATIENCE
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s * PATIENCE} s: {what}")
        time.sleep(0.02)


def halt(pids: Iterable[int]) -> None:
    """SIGSTOP to those that are still there: what archives a segment lives for an instant."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)


class Instance:
    """One DB instance under a real supervisor."""

    def __init__(
        self,
        home: Home,
        name: str,
        port: int,
        *,
        multi_az: bool = True,
        source: Instance | None = None,
        parameters: dict[str, str] | None = None,
        **wanted: object,
    ) -> None:
        self.top = home
        self.resource_id = f"db-{name.upper()}"
        self.home: InstanceHome = home.instance(self.resource_id)
        self.home.folder.mkdir(parents=True, mode=0o711)
        for folder in (home.root, home.instances, self.home.folder):
            folder.chmod(0o755)
        self.home.logs.mkdir(mode=0o700)
        self.processes: list[subprocess.Popen[bytes]] = []
        installation = find_installation(home.postgres, 17)
        self.desired = DesiredInstance(
            resource_id=self.resource_id,
            identifier=name,
            bin_folder=str(installation.bin_folder),
            major=17,
            multi_az=multi_az,
            zones={"a": "us-east-1a", "b": "us-east-1b"},
            source=None
            if source is None
            else Source(resource_id=source.resource_id, upstream=str(source.home.upstream_link)),
            database="shop",
            master=None if source else MasterUser(name="dbadmin", verifier=verifier(PASSWORD), number=1),
            parameters={"shared_buffers": "16MB", "max_connections": "60", **(parameters or {})},
            endpoint=Endpoint(
                address="127.0.0.1", port=port, region="us-west-2", force_ssl=False, iam_authentication=False
            ),
        )
        self._make_certificate()
        self.write(**wanted)

    def _make_certificate(self) -> None:
        """A self-signed certificate for the relay; the cloud's own authority has tests of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        self.home.tls.mkdir(mode=0o700)
        pem = serialization.Encoding.PEM
        write_atomically(self.home.tls / "server.pem", certificate.public_bytes(pem))
        write_atomically(
            self.home.tls / "server.key",
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        )

    def write(self, **changes: object) -> None:
        """Change what is wanted."""
        self.desired = DesiredInstance.model_validate({**self.desired.model_dump(), **changes})
        write_atomically(self.home.desired, self.desired.model_dump_json())
        pid = lock_holder(self.home.lock)
        if pid:
            os.kill(pid, signal.SIGHUP)

    def start(self) -> None:
        """Start a supervisor."""
        with (self.home.logs / "instance.log").open("ab") as output:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "multiaz.instance", str(self.home.folder), "--home", str(self.top.root)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    cwd=self.home.folder,
                )
            )

    def seen(self) -> ObservedInstance | None:
        """What the supervisor publishes; None while nobody does."""
        holder = lock_holder(self.home.lock)
        if holder is None or not self.home.observed.exists():
            return None
        seen = ObservedInstance.model_validate_json(self.home.observed.read_bytes())
        return seen if seen.pid == holder else None  # a new supervisor has not yet removed what the dead one saw

    def wait(self, what: str, holds: Callable[[ObservedInstance], object], within_s: float = 30.0) -> ObservedInstance:
        """Wait for something to be published."""

        def check() -> ObservedInstance | None:
            seen = self.seen()
            return seen if seen is not None and holds(seen) else None

        try:
            return eventually(f"{self.desired.identifier}: {what}", check, within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def wait_well(self) -> ObservedInstance:
        """Wait until it takes clients and is redundant."""
        return self.wait("well", lambda seen: seen.writable and seen.redundant and seen.phase == "running")

    def request(self, kind: RequestKind) -> int:
        """Make a one-shot request and return its number."""
        seen = self.seen()
        assert seen is not None
        number = (self.desired.request.number if self.desired.request else 0) + 1
        self.write(request=Request(number=number, kind=kind, epoch=seen.epoch).model_dump())
        return number

    def fail_over(self) -> ObservedInstance:
        """Ask for a failover and wait until the instance is well again."""
        number = self.request(RequestKind.FAILOVER)
        self.wait("request answered", lambda seen: any(answer.number == number for answer in seen.answers))
        return self.wait_well()

    def standby(self) -> MemberName:
        """The member that is not the primary, once the instance is well."""
        return "b" if self.wait_well().primary == "a" else "a"

    def kill_postmaster(self) -> ObservedInstance:
        """kill -9 the primary's postmaster and wait until the instance is well again."""
        before = self.wait_well()
        assert before.primary is not None
        pid = self.server(before.primary).pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.wait("taken over", lambda seen: seen.epoch > before.epoch)
        return self.wait_well()

    def kill_everything(self) -> None:
        """kill -9 of every process of the instance, as a reboot does: until none is left that starts another."""
        folder = os.path.realpath(self.home.folder)

        def living() -> list[int]:
            found = []
            for entry in Path("/proc").glob("[0-9]*"):
                try:
                    where = str((entry / "cwd").readlink())
                except OSError:
                    continue
                if where == folder or where.startswith(folder + "/"):
                    found.append(int(entry.name))
            return found

        def none_left() -> bool:
            for pid in living():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self.processes:
                process.poll()
            return not living() and lock_holder(self.home.lock) is None and lock_holder(self.home.relay_lock) is None

        eventually("every process is dead", none_left)

    def server(self, member: MemberName) -> Server:
        """One of its servers."""
        return Server(
            f"multiaz_{member}",
            Path(self.desired.bin_folder),
            self.home.member(member),
            self.home.socket_folder(member),
            server_user(),
        )

    def connect(self, user: str = "dbadmin", dbname: str = "shop") -> psycopg.Connection[Any]:
        """A client's connection, by way of the primary link."""
        return psycopg.connect(
            host=str(self.home.primary_link),
            port=5432,
            user=user,
            password=PASSWORD,
            dbname=dbname,
            autocommit=True,
            connect_timeout=5,
        )

    def connect_by_endpoint(self) -> psycopg.Connection[Any]:
        """A client's connection through the endpoint process."""
        endpoint = self.desired.endpoint
        return psycopg.connect(
            host=endpoint.address, port=endpoint.port, user="dbadmin", password=PASSWORD, dbname="shop",
            autocommit=True, connect_timeout=5, sslmode="require",
        )  # fmt: skip

    def client_of(self, member: MemberName) -> psycopg.Connection[Any]:
        """A client's connection to one server, whatever the links say: also to the standby nobody is led to."""
        return psycopg.connect(
            host=str(self.home.socket_folder(member)), port=5432, user="dbadmin", password=PASSWORD, dbname="shop",
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def admin(self, member: MemberName | None = None) -> psycopg.Connection[Any]:
        """The superuser's connection to a member (default: the primary)."""
        host = self.home.primary_link if member is None else self.home.socket_folder(member)
        return psycopg.connect(host=str(host), port=5432, user="rdsadmin", dbname="postgres", autocommit=True)

    def admin_of_shop(self) -> psycopg.Connection[Any]:
        """The superuser's connection to the primary's database shop."""
        return psycopg.connect(
            host=str(self.home.primary_link), port=5432, user="rdsadmin", dbname="shop", autocommit=True
        )

    def events(self) -> list[InstanceEvent]:
        """What it told."""
        return [InstanceEvent.model_validate_json(line) for line in self.home.events.read_text().splitlines()]

    def log(self) -> str:
        """The end of the supervisor's log, for a failing test."""
        return self.whole_log()[-6000:]

    def whole_log(self) -> str:
        """The supervisor's log from the beginning, for what must not be in it."""
        path = self.home.logs / "instance.log"
        return path.read_text(errors="replace") if path.exists() else "(no log)"

    def end(self) -> None:
        """Delete the instance and wait for everything of it to be gone."""
        self.write(run=RunState.DELETED)
        if lock_holder(self.home.lock) is None:
            self.start()
        eventually("supervisor gone", lambda: lock_holder(self.home.lock) is None)
        for process in self.processes:
            process.wait(10)
