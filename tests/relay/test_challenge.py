"""How a client must prove who it is, as it meets that on the wire: SCRAM-SHA-256, or a token over TLS; nothing else."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import psycopg
import pytest
from relay_harness import PASSWORD, Database, RunningRelay, dial, tls

from multiaz.postgres.scram import verifier
from multiaz.relay import startup

SSL_REQUEST = struct.pack("!II", 8, startup.SSL_CODE)
CHALLENGES = {0: "none", 3: "cleartext password", 5: "MD5 password", 7: "GSSAPI", 9: "SSPI", 10: "SASL"}
"""Source: PostgreSQL manual, "Message Formats", the messages that begin with R."""
WAYS = pytest.mark.parametrize("way", ["plain", "TLS", "direct TLS"])
SCRAM = "SASL: SCRAM-SHA-256"
IAM = {"authorize_url": "http://127.0.0.1:9/x", "resource_id": "db-ABC", "region": "eu-central-1"}


@pytest.fixture(scope="module")
def people(database: Database) -> Database:
    """Roles whose passwords are kept in ways other than app's."""
    with database.server.connect("postgres") as admin:
        admin.execute(f"CREATE ROLE kept_as_md5 LOGIN PASSWORD 'md5{'0' * 32}'")
        admin.execute("CREATE ROLE without_password LOGIN")
        admin.execute(f"CREATE ROLE master_user LOGIN PASSWORD '{verifier(PASSWORD)}' IN ROLE rds_superuser, rds_iam")
        stored = admin.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'kept_as_md5'").fetchone()
    assert str(stored and stored[0]).startswith("md5"), "the server keeps what could be asked for by MD5"
    return database


def challenge(relay: RunningRelay, user: str, way: str) -> str:
    """What the endpoint asks of a client that says it is `user`, or the SQLSTATE with which it is refused."""
    with dial(relay) as bare:
        if way == "TLS":
            bare.sendall(SSL_REQUEST)
            assert bare.recv(1) == b"S"
        with bare if way == "plain" else tls(relay, bare) as client:
            client.sendall(startup.startup_packet({"user": user, "database": "shop"}))
            return told(client)


def told(client: socket.socket) -> str:
    """The first message of the server in words; each mechanism SASL may be done by."""
    got = b""
    while (message := startup.read_message(got)) is None:
        part = client.recv(65536)
        assert part, f"closed after {got!r}"
        got += part
    if message.kind == "E":
        return startup.read_error(message.payload)["C"]
    assert message.kind == "R", message
    assert len(got) == message.end, "nothing follows: the client has to speak"
    (code,) = struct.unpack_from("!I", message.payload)
    if CHALLENGES[code] != "SASL":
        return CHALLENGES[code]
    return "SASL: " + ", ".join(name.decode() for name in message.payload[4:].rstrip(b"\0").split(b"\0"))


@WAYS
def test_a_password_is_proved_by_scram_and_never_sent(
    new_relay: Callable[..., RunningRelay], people: Database, way: str
) -> None:
    """Whoever it is and however the password is kept, so that nobody learns which roles there are.

    SCRAM-SHA-256-PLUS is never offered: TLS ends in the endpoint, and the server has no channel to bind to.
    """
    relay = new_relay(people.socket_folder, iam=IAM)
    relay.start()
    users = ("app", "master_user", "without_password", "kept_as_md5", "nobody_of_this_name")
    assert {user: challenge(relay, user, way) for user in users} == dict.fromkeys(users, SCRAM)


@WAYS
@pytest.mark.parametrize("iam", [True, False], ids=["enabled", "disabled"])
def test_only_a_user_of_rds_iam_is_asked_for_plain_text_and_only_over_tls(
    new_relay: Callable[..., RunningRelay], people: Database, way: str, iam: bool
) -> None:
    """The plain text is a token. Without IAM authentication nothing is asked for."""
    relay = new_relay(people.socket_folder, iam=IAM if iam else None)
    relay.start()
    expected = "cleartext password" if iam and way != "plain" else "28000"
    assert challenge(relay, "token_user", way) == expected
    assert challenge(relay, "app", way) == SCRAM


def test_channel_binding_cannot_be_had_and_a_client_that_requires_it_gives_up(relay: RunningRelay) -> None:
    with pytest.raises(psycopg.OperationalError, match="channel binding is required, but"):
        relay.connect(channel_binding="require")
    with relay.connect(channel_binding="prefer") as connection:
        assert connection.pgconn.ssl_in_use
        assert connection.execute("SELECT current_user").fetchone() == ("app",)
