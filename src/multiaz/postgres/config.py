"""The configuration files of a server, as text: pure, so that each line can be tested.

`postgresql.conf` is wholly ours: first the values of the DB parameter group, then what a server of
a DB instance must have whatever the group says (the last line of a name wins).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SUPERUSER = "rdsadmin"
"""RDS's own superuser; nobody logs in as it from outside."""
OWN_DATABASE = "rdsadmin"
"""RDS's own database; no customer's lock or ALTER DATABASE is in the way there."""
REPLICATION_USER = "rdsrepladmin"
"""The role standbys and read replicas stream as."""
SOCKET_PORT = 5432
"""Names the Unix socket file; clients never see it."""


@dataclass(frozen=True)
class ServerSettings:
    """What one server's configuration depends on."""

    name: str
    """cluster_name and application_name of its WAL receiver, for example "multiaz_a"."""
    socket_folder: Path
    log_folder: Path
    parameters: Mapping[str, str] = field(default_factory=dict)
    upstream: Path | None = None
    """Folder (or link to a folder) of the socket it streams from; None: no primary_conninfo."""
    synchronous_standby: str | None = None
    """application_name whose flush commits wait for; None: commits wait for nobody."""
    feedback_name: str | None = None
    """application_name while streaming, if not `name`."""
    archive: Path | None = None
    """Folder its WAL is archived to; None: it is not archived."""
    multi_az: bool = False
    """A commit that was acknowledged must survive the loss of this server, as on RDS."""
    replica: bool = False
    """It, or what it is a standby of, is a read replica of another DB instance."""


OURS = frozenset({
    "archive_command", "archive_library", "archive_mode", "archive_timeout", "basic_archive.archive_directory",
    "cluster_name", "data_directory", "external_pid_file", "hba_file", "ident_file", "listen_addresses",
    "log_destination", "log_directory", "log_file_mode", "log_filename", "log_rotation_age", "logging_collector",
    "port", "primary_conninfo", "primary_slot_name", "recovery_init_sync_method", "recovery_target_timeline",
    "restart_after_crash", "restore_command", "ssl", "synchronous_standby_names", "unix_socket_directories",
    "unix_socket_group", "unix_socket_permissions", "wal_retrieve_retry_interval",
})  # fmt: skip
"""Settings no parameter group may change, because an instance's servers depend on them."""


def session_options(major: int) -> str:
    """Options of our own sessions: what a parameter group may set for everybody's would end them, or let them write
    nothing.

    Source: PostgreSQL manual, "Client Connection Defaults".
    """
    timeouts = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"]
    if major >= 17:
        timeouts.append("transaction_timeout")
    return " ".join(["-c default_transaction_read_only=off", *(f"-c {name}=0" for name in timeouts)])


def quote(value: str) -> str:
    """A value as postgresql.conf takes it; a newline cannot break out of the line."""
    cleaned = value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{cleaned}'"


def postgresql_conf(settings: ServerSettings) -> str:
    """The text of postgresql.conf."""
    lines = ["# Written by multiaz; every change to this file is overwritten.", "", "# DB parameter group"]
    given = {name: value for name, value in settings.parameters.items() if name not in OURS}
    lines += [f"{name} = {quote(value)}" for name, value in sorted(given.items())]
    conninfo = ""
    if settings.upstream is not None:
        application = settings.feedback_name or settings.name
        conninfo = (
            f"host={conninfo_value(str(settings.upstream))} port={SOCKET_PORT} user={REPLICATION_USER} "
            f"application_name={application} connect_timeout=5"
        )
    logical = given.get("rds.logical_replication", "0") in ("1", "on", "true")
    ours = {
        "listen_addresses": "",
        "port": str(SOCKET_PORT),
        "unix_socket_directories": f'"{settings.socket_folder}"',
        "unix_socket_permissions": "0700",
        "cluster_name": settings.name,
        "ssl": "off",  # the relay ends TLS; what lies between is a Unix socket
        "logging_collector": "on",
        "log_destination": "stderr",
        "log_directory": str(settings.log_folder),
        "log_filename": "postgresql.log.%Y-%m-%d-%H",
        "log_file_mode": "0600",
        "log_rotation_age": "60",
        "wal_level": "logical" if logical else "replica",
        "hot_standby": "on",
        "restart_after_crash": "off",  # a killed backend is a failure the supervisor must see
        "recovery_init_sync_method": "syncfs",  # after a crash, file by file takes seconds that clients wait
        "wal_retrieve_retry_interval": "100ms",  # at 5 s a promotion waits that long after the primary dies
        "recovery_target_timeline": "latest",
        "primary_conninfo": conninfo,
        "primary_slot_name": "",
        "synchronous_standby_names": f'"{settings.synchronous_standby}"' if settings.synchronous_standby else "",
        # Of the standby too: what its primary had not archived when it died is archived by whoever is promoted. On and
        # off without a restart: what is not to be kept is handed to a command that says it is.
        "archive_mode": "always",
        "archive_command": "" if settings.archive else "true",
        "archive_library": "basic_archive" if settings.archive else "",
        "basic_archive.archive_directory": str(settings.archive or ""),
        "archive_timeout": "0",  # the supervisor has segments switched (`backups`)
        "restore_command": "",
    }
    if not settings.replica:
        # A standby of ours replays at once, whatever a group wants of read replicas: a join waits for it.
        ours["recovery_min_apply_delay"] = "0"
    if settings.multi_az and given.get("synchronous_commit", "").lower() in ("local", "remote_write"):
        # RDS's standby is a copy of the storage, so that there what the primary has flushed survives its loss. Not only
        # while a standby is in sync: a statement that began before would be acknowledged without it. Without one
        # "on" waits for nobody.
        ours["synchronous_commit"] = "on"
    at_least = {"max_wal_senders": 20, "wal_keep_size": 512}
    lines += ["", "# What every server of a DB instance has"]
    lines += [f"{name} = {quote(value)}" for name, value in ours.items()]
    for name, least in at_least.items():
        if not given.get(name, "").isdigit() or int(given[name]) < least:
            lines.append(f"{name} = '{least}'")
    lines += [
        f"{name} = {quote(value)}"
        for name, value in {
            "log_line_prefix": "%t:%r:%u@%d:[%p]:",  # RDS's own
            "log_timezone": "UTC",
            "timezone": "UTC",
        }.items()
        if name not in given
    ]
    return "\n".join(lines) + "\n"


def conninfo_value(value: str) -> str:
    """A value inside a libpq connection string."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def pg_hba() -> str:
    """Who may log in, and how; clients reach the socket only through the relay.

    A member of rds_superuser always uses the password, because ADMIN OPTION on rds_iam makes it a
    member of rds_iam as pg_hba.conf counts. A login the server does not challenge (peer) is passed
    on by the relay only after the client has shown a valid IAM token.
    """
    return "\n".join((
        f"local all {SUPERUSER} peer map=rds",
        f"local replication {REPLICATION_USER} peer map=rds",
        f"local all {REPLICATION_USER} reject",
        "local all +rds_superuser scram-sha-256",
        "local all +rds_iam peer map=iam",
        "local replication +rds_replication scram-sha-256",
        "local all all scram-sha-256",
        "",
    ))  # fmt: skip


def pg_ident(server_user: str, our_user: str) -> str:
    """Which operating-system users may be whom: ours only."""
    users = dict.fromkeys((server_user, our_user))
    lines = [f'rds "{name}" {role}' for name in users for role in (SUPERUSER, REPLICATION_USER)]
    lines.append(f'iam "{our_user}" all')
    return "\n".join([*lines, ""])
