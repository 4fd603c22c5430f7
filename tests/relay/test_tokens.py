"""IAM tokens: a login the server does not challenge passes only with a token the cloud accepts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay_harness import PASSWORD, Database, RunningRelay, dial, tls, wait_for

from multiaz.relay import iam, startup
from multiaz.relay.config import IamConfig

TOKEN = "endpoint:5432/?Action=connect&DBUser=token_user&X-Amz-Signature=abc"


@dataclass
class Judge:
    """An HTTP server on a Unix socket that judges as the cloud does; `answer` replaces its answer."""

    url: str = ""
    questions: list[dict[str, Any]] = field(default_factory=list)
    answer: tuple[int, bytes] | None = None

    def judge(self, question: dict[str, Any]) -> tuple[int, bytes]:
        self.questions.append(question)
        if self.answer is not None:
            return self.answer
        allowed = question["token"] == TOKEN and question["user"] == "token_user"
        return 200, json.dumps({"allowed": allowed, "reason": "" if allowed else "the signature is wrong"}).encode()


@pytest.fixture
def judge(base: Path) -> Iterator[Judge]:
    made = Judge()
    path = Path(tempfile.mkdtemp(prefix="j-", dir=base)) / "judge"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            status, body = made.judge(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingUnixStreamServer(str(path), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.url = address_of(path)
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def gated(new_relay: Callable[..., RunningRelay], database: Database, judge: Judge) -> RunningRelay:
    relay = new_relay(
        database.socket_folder,
        iam={"authorize_url": judge.url, "resource_id": "db-ABC", "region": "eu-central-1"},
    )
    relay.start()
    return relay


def test_a_good_token_lets_its_user_in(gated: RunningRelay, judge: Judge) -> None:
    with gated.connect(user="token_user", password=TOKEN) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("token_user",)
    assert judge.questions == [
        {
            "token": TOKEN,
            "user": "token_user",
            "resource_id": "db-ABC",
            "region": "eu-central-1",
            "host": gated.address,
            "port": gated.port,
        }
    ]
    assert TOKEN not in gated.log


def test_psql_sends_a_token_as_its_password(gated: RunningRelay, psql: str) -> None:
    done = subprocess.run(
        [psql, "-XAt", "-c", "SELECT current_user"],
        env=gated.environment(user="token_user", password=TOKEN),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout == "token_user\n", done.stderr


@pytest.mark.parametrize("secret", ["not-a-token", PASSWORD])
def test_a_bad_token_and_the_real_password_are_refused(gated: RunningRelay, secret: str) -> None:
    """Membership in rds_iam overrides the password, as on RDS."""
    with pytest.raises(psycopg.OperationalError, match='PAM authentication failed for user "token_user"') as caught:
        gated.connect(user="token_user", password=secret)
    assert "the signature is wrong" in str(caught.value)
    assert secret not in gated.log
    told = [line for line in gated.log.splitlines() if "refused" in line]
    assert len(told) == 1, "the server knows of no refusal, so this log is where it stands"
    why = 'PAM authentication failed for user "token_user" (the signature is wrong)'
    assert told[0].endswith(f"refused 127.0.0.1: {why}")


def test_others_keep_their_password_and_are_not_judged(gated: RunningRelay, judge: Judge) -> None:
    with gated.connect() as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("app",)
    assert judge.questions == []


def test_a_token_is_never_asked_for_in_plain_text(gated: RunningRelay, judge: Judge) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba.conf entry .* no encryption"):
        gated.connect(user="token_user", password=TOKEN, sslmode="disable")
    assert judge.questions == []


def test_without_iam_an_unchallenged_login_is_refused(relay: RunningRelay) -> None:
    with pytest.raises(psycopg.OperationalError, match='PAM authentication failed for user "token_user"'):
        relay.connect(user="token_user", password=TOKEN)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((500, b"{}"), "HTTP status 500"),
        ((200, b"yes"), "not JSON"),
        ((200, b'{"allowed": "true"}'), "neither yes nor no"),
        ((200, b'{"allowed": 1}'), "neither yes nor no"),
        ((200, b"[true]"), "neither yes nor no"),
    ],
)
def test_only_an_explicit_yes_is_a_yes(gated: RunningRelay, judge: Judge, answer: tuple[int, bytes], why: str) -> None:
    judge.answer = answer
    with pytest.raises(psycopg.OperationalError, match="PAM authentication failed") as caught:
        gated.connect(user="token_user", password=TOKEN)
    assert why in str(caught.value)


def address_of(path: Path) -> str:
    """The URL of a judge on the Unix socket at `path`."""
    return f"http+unix://{quote(str(path), safe='')}/_multiaz/rds-db/authorize"


def test_a_cloud_that_is_down_lets_nobody_in(new_relay: Callable[..., RunningRelay], database: Database) -> None:
    url = address_of(database.socket_folder / "nobody")
    relay = new_relay(
        database.socket_folder, iam={"authorize_url": url, "resource_id": "db-ABC", "region": "eu-central-1"}
    )
    relay.start()
    with pytest.raises(psycopg.OperationalError, match="PAM authentication failed") as caught:
        relay.connect(user="token_user", password=TOKEN)
    assert "cannot be reached" in str(caught.value)
    with relay.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_whoever_has_the_clouds_port_is_asked_nothing(
    new_relay: Callable[..., RunningRelay], database: Database
) -> None:
    """While the cloud is down the port is anybody's: he would let everyone in, and collect tokens that are good."""
    with socket.create_server(("127.0.0.1", 0)) as impostor:
        impostor.setblocking(False)
        url = f"http://127.0.0.1:{impostor.getsockname()[1]}/_multiaz/rds-db/authorize"
        relay = new_relay(
            database.socket_folder, iam={"authorize_url": url, "resource_id": "db-ABC", "region": "eu-central-1"}
        )
        relay.start()
        with pytest.raises(psycopg.OperationalError, match="PAM authentication failed") as caught:
            relay.connect(user="token_user", password=TOKEN)
        assert "the token was shown to nobody" in str(caught.value)
        with pytest.raises(BlockingIOError):
            impostor.accept()


def test_another_user_on_the_judges_socket_is_told_nothing(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the folder lets happen: the kernel says who listens."""

    async def ask() -> iam.Verdict:
        config = IamConfig(judge.url, "db-ABC", "eu-central-1")
        return await iam.judge(config, token=TOKEN, user="token_user", host="127.0.0.2", port=5432)

    assert asyncio.run(ask()).allowed
    listens = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: listens + 1)
    verdict = asyncio.run(ask())
    assert not verdict.allowed
    assert f"user {listens} listens" in verdict.reason
    assert len(judge.questions) == 1


def no_backend(database: Database) -> None:
    """Wait until the server has no session of token_user."""
    with database.server.connect("postgres") as admin:

        def backends() -> int:
            row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'token_user'").fetchone()
            assert row is not None
            return int(str(row[0]))

        wait_for("no backend is left", lambda: backends() == 0)


def test_a_refused_login_leaves_no_backend(gated: RunningRelay, database: Database) -> None:
    with pytest.raises(psycopg.OperationalError):
        gated.connect(user="token_user", password="wrong")
    no_backend(database)


@contextlib.contextmanager
def named(relay: RunningRelay, *, minor: int = 0) -> Iterator[ssl.SSLSocket]:
    """A client that has said it is token_user, and nothing else."""
    with dial(relay) as bare:
        bare.sendall(struct.pack("!II", 8, startup.SSL_CODE))
        assert bare.recv(1) == b"S"
        with tls(relay, bare) as client:
            client.sendall(startup.startup_packet({"user": "token_user", "database": "shop"}, minor=minor))
            yield client


def heard(client: socket.socket, until: str) -> list[startup.Message]:
    """The server's messages up to the first one of kind `until`."""
    got, found, at = b"", [], 0
    while not found or found[-1].kind != until:
        while (message := startup.read_message(got, at)) is None:
            part = client.recv(65536)
            assert part, f"closed after {got!r}"
            got += part
        found.append(message)
        at = message.end
    assert at == len(got), "nothing follows"
    return found


def test_a_client_that_only_names_its_user_has_no_backend(gated: RunningRelay, database: Database) -> None:
    """It had one that was logged in, for as long as a client may take to show its token."""
    with named(gated) as client:
        assert [message.kind for message in heard(client, "R")] == ["R"]
        no_backend(database)
        client.sendall(b"p" + struct.pack("!I", len(TOKEN) + 5) + TOKEN.encode() + b"\0")
        heard(client, "Z")


def test_a_protocol_version_is_negotiated_once(gated: RunningRelay) -> None:
    """The server is asked twice, before and after the token; libpq 18 takes a second answer for an error."""
    with named(gated, minor=9999) as client:
        assert [message.kind for message in heard(client, "R")] == ["v", "R"]
        client.sendall(b"p" + struct.pack("!I", len(TOKEN) + 5) + TOKEN.encode() + b"\0")
        kinds = [message.kind for message in heard(client, "Z")]
        assert kinds[0] == "R"
        assert "v" not in kinds


@given(st.binary(max_size=300))
def test_no_http_answer_crashes_the_relay(answer: bytes) -> None:
    with contextlib.suppress(iam.BadAnswer):
        iam.read_http(answer)


@given(st.binary(max_size=100))
def test_no_json_answer_is_a_yes_by_chance(body: bytes) -> None:
    assert not iam.read_answer(body).allowed
