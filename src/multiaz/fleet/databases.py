"""SQL that `fleet` asks the databases themselves: replication as seen from inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any, LiteralString

import psycopg

from multiaz.fleet.replication import ReplicaSeen, SqlUnavailable, StandbySeen, replica_seen
from multiaz.fleet.secrets import Credentials

STANDBY_QUERY: LiteralString = """
select sync_state, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn)::bigint
  from pg_stat_replication
 where state = 'streaming' and (sync_state <> 'async' or application_name like 'multiaz\\_%')
 order by case sync_state when 'sync' then 0 when 'quorum' then 1 when 'potential' then 2 else 3 end
 limit 1
"""
"""Read replicas stream from the primary as well while it has no standby. The local cloud's standby is called multiaz_a
or multiaz_b; on RDS the standby is a copy of the storage and is not listed."""
REPLICA_QUERY: LiteralString = """
select (select status from pg_stat_wal_receiver) as receiver,
       pg_last_wal_replay_lsn() >= greatest(pg_last_wal_receive_lsn(),
                                            (select latest_end_lsn from pg_stat_wal_receiver)) as caught_up,
       extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8 as behind_s,
       pg_is_in_recovery() as follows
"""


def connection_arguments(
    credentials: Credentials, root_certificate: Path | None, application: str, connect_timeout_s: int = 10
) -> dict[str, Any]:
    """libpq parameters of a verified TLS connection."""
    arguments: dict[str, Any] = {
        "host": credentials.host,
        "port": credentials.port,
        "dbname": credentials.database,
        "user": credentials.user,
        "password": credentials.password,
        "sslmode": "verify-full",
        "connect_timeout": connect_timeout_s,
        "application_name": application,
        "gssencmode": "disable",
    }
    if root_certificate is not None:
        arguments["sslrootcert"] = str(root_certificate)
    return arguments


class Databases:
    """Opens connections to databases of one `Access`."""

    def __init__(self, root_certificate: Path | None) -> None:
        self.root_certificate = root_certificate

    def connect(
        self, credentials: Credentials, *, application: str = "multiaz", connect_timeout_s: int = 10
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection in autocommit mode, certificate and host name verified."""
        return psycopg.connect(
            **connection_arguments(credentials, self.root_certificate, application, connect_timeout_s),
            autocommit=True,
        )

    def standby_seen(self, primary: Credentials) -> StandbySeen:
        """The standby as `primary` sees it; raises SqlUnavailable."""
        row = self._row(primary, STANDBY_QUERY)
        if row is None:
            return StandbySeen("none", None)
        return StandbySeen(str(row[0]), None if row[1] is None else max(int(row[1]), 0))

    def replica_seen(self, replica: Credentials) -> ReplicaSeen:
        """How far `replica` follows; raises SqlUnavailable."""
        row = self._row(replica, REPLICA_QUERY)
        if row is None or not row[3]:
            return ReplicaSeen(streaming=False, lag_s=None)
        return replica_seen(row[0], row[1], row[2])

    def _row(self, target: Credentials, query: LiteralString) -> tuple[Any, ...] | None:
        try:
            with self.connect(target, application="multiaz status", connect_timeout_s=5) as connection:
                return connection.execute(query).fetchone()
        except psycopg.Error as error:
            raise SqlUnavailable(
                f"Cannot ask {target.host}:{target.port}",
                (str(error).strip() or type(error).__name__).splitlines()[0],
                "look at the instance's status and log",
            ) from error
