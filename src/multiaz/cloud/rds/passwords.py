"""The database side of a rotation: logging in through the endpoint as any client, and setting a password.

The password is set by the superuser, over the primary's own socket: a client that may not turn the server's
logging off would leave the verifier in a log anybody with the RDS API can download.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from multiaz.cloud.rds.core import Core
from multiaz.home import InstanceHome
from multiaz.instance import bootstrap
from multiaz.postgres.config import OWN_DATABASE, SOCKET_PORT, SUPERUSER, session_options
from multiaz.postgres.scram import verifier

CONNECT_S = 10
PASSWORD_LENGTH = 32
EXCLUDED_CHARACTERS = " \"#$%&'()*+,/:;<=>?@[\\]^`{|}~"
"""What a PostgreSQL URL, a shell or RDS itself dislikes; the hosted function leaves out a part of these."""


class RotationFailed(Exception):
    """A step could not be done now; it is tried again. The message holds no password."""


class NotOurs(Exception):
    """The secret does not name a login on a DB instance of this cloud: trying again is of no use."""


@dataclass(frozen=True)
class Login:
    """One way to log in."""

    host: str
    port: int
    user: str
    database: str
    place: InstanceHome
    """Of the DB instance whose endpoint it is."""
    major: int
    """Version of its servers."""
    authority: Path
    password: str = field(repr=False)


def login_of(core: Core, text: str) -> Login:
    """The login a secret's value names, on an endpoint of this cloud. Raises NotOurs."""
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise NotOurs("its value is not JSON") from error
    if not isinstance(entries, dict):
        raise NotOurs("its value is not a JSON object")
    missing = [name for name in ("engine", "host", "username", "password") if not entries.get(name)]
    if missing:
        raise NotOurs(f"its value lacks {', '.join(missing)}: attach it to a DB instance first")
    if entries["engine"] != "postgres":
        raise NotOurs(f"its engine is {entries['engine']}, not postgres")
    host, port_text = str(entries["host"]), str(entries.get("port") or 5432)
    if not re.fullmatch("[0-9]{1,5}", port_text):
        raise NotOurs(f"its port is {port_text}, not a number")
    port = int(port_text)
    endpoints = {(one.network.address, one.network.port): one for one in core.repository.instances.all()}
    if (host, port) not in endpoints or not ipaddress.ip_address(host).is_loopback:
        raise NotOurs(f"{host}:{port} is no DB instance of this cloud")
    instance = endpoints[host, port]
    return Login(
        host,
        port,
        str(entries["username"]),
        str(entries.get("dbname") or "postgres"),
        core.home.instance(instance.resource_id),
        instance.major,
        core.home.pki / "ca.pem",
        str(entries["password"]),
    )


def new_secret(client: Any, text: str) -> str:
    """The secret's value with a new random password."""
    entries = json.loads(text)
    entries["password"] = client.get_random_password(
        PasswordLength=PASSWORD_LENGTH, ExcludeCharacters=EXCLUDED_CHARACTERS, RequireEachIncludedType=True
    )["RandomPassword"]
    return json.dumps(entries)


def try_login(login: Login) -> bool:
    """True if the server takes the login, False if it refuses the password.

    Raises RotationFailed if it cannot be asked.
    """
    try:
        with _connect(login):
            return True
    except psycopg.OperationalError as error:
        if error.sqlstate == "28P01" or "password authentication failed" in str(error):
            return False
        raise RotationFailed(f"cannot log in as {login.user} at {login.host}:{login.port}: {_first(error)}") from None


def set_password(working: Login, wanted: Login) -> None:
    """Give the user of a login that was found to work its new password, without a trace in any log.

    Raises NotOurs if it is not the same user on the same instance: whoever writes the secret would get more than
    they have.
    """
    if (wanted.place, wanted.user) != (working.place, working.user):
        raise NotOurs(f"its new value names another login than {working.user} at {working.host}:{working.port}")
    try:
        with psycopg.connect(
            host=str(working.place.primary_link),
            port=SOCKET_PORT,
            user=SUPERUSER,
            dbname=OWN_DATABASE,
            autocommit=True,
            connect_timeout=CONNECT_S,
            application_name="rdsadmin",
            options=session_options(working.major),
        ) as connection:
            connection.execute(bootstrap.QUIET)
            connection.execute(bootstrap.password_of(wanted.user, verifier(wanted.password)))
    except psycopg.Error as error:
        raise RotationFailed(f"cannot set the password of {wanted.user}: {_first(error)}") from None


def _connect(login: Login) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=login.host,
        port=login.port,
        user=login.user,
        password=login.password,
        dbname=login.database,
        sslmode="verify-full",
        sslrootcert=str(login.authority),
        connect_timeout=CONNECT_S,
        application_name="multiaz secret rotation",
    )


def _first(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
