"""The roles and databases a new DB instance has, as RDS presents them: SQL as data.

The master user is no superuser but a member of rds_superuser; the superuser is rdsadmin.
Source: RDS user guide, "Understanding PostgreSQL roles and permissions".
"""

from __future__ import annotations

from psycopg import sql

from multiaz.instance.records import MasterUser
from multiaz.postgres.config import REPLICATION_USER, SUPERUSER

_SILENT = {
    "log_statement": "none", "log_duration": "off", "log_min_duration_statement": "-1", "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0", "log_min_error_statement": "panic", "debug_print_parse": "off",
    "debug_print_rewritten": "off", "debug_print_plan": "off", "log_parser_stats": "off", "log_planner_stats": "off",
    "log_executor_stats": "off", "log_statement_stats": "off", "pg_stat_statements.track": "none",
}  # fmt: skip
QUIET = sql.SQL("; ").join(
    sql.SQL("SET {} = {}").format(sql.Identifier(*name.split(".")), sql.Literal(value))
    for name, value in _SILENT.items()
)
"""No verifier in a server log or in pg_stat_statements, whatever the parameter group says."""
QUIET_OPTIONS = " ".join(f"-c {name}={value}" for name, value in {**_SILENT, "log_disconnections": "off"}.items())
"""The same from the first moment of a connection (`options`): what a probe asks five times a second fills no log.

With log_connections its connections are still listed: they are logged before options are read.
"""

PREDEFINED = (
    "pg_monitor", "pg_signal_backend", "pg_read_all_stats", "pg_read_all_settings", "pg_stat_scan_tables",
    "pg_checkpoint", "pg_read_all_data", "pg_write_all_data", "pg_create_subscription", "pg_use_reserved_connections",
)  # fmt: skip


def roles() -> list[sql.SQL | sql.Composed]:
    """Statements that make RDS's own roles (in database postgres)."""
    made: list[sql.SQL | sql.Composed] = [
        sql.SQL("CREATE ROLE {} WITH LOGIN REPLICATION").format(sql.Identifier(REPLICATION_USER)),
        *(
            sql.SQL("CREATE ROLE {} WITH NOLOGIN").format(sql.Identifier(name))
            for name in ("rds_superuser", "rds_iam", "rds_replication", "rds_password")
        ),
    ]
    grants = ("rds_iam", "rds_replication", "rds_password", *PREDEFINED)
    made += [sql.SQL("GRANT {} TO rds_superuser WITH ADMIN OPTION").format(sql.Identifier(name)) for name in grants]
    return made


def master_role(master: MasterUser) -> list[sql.SQL | sql.Composed]:
    """Statements that make the master user."""
    name = sql.Identifier(master.name)
    return [
        sql.SQL("CREATE ROLE {} WITH LOGIN CREATEDB CREATEROLE INHERIT IN ROLE rds_superuser PASSWORD {}").format(
            name, sql.Literal(master.verifier)
        ),
        sql.SQL("ALTER DATABASE postgres OWNER TO {}").format(name),
        sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(name),
    ]


def databases(database: str | None, master: MasterUser) -> list[sql.SQL | sql.Composed]:
    """Statements that make rdsadmin's own database and the one asked for (outside a transaction)."""
    made: list[sql.SQL | sql.Composed] = [
        sql.SQL("CREATE DATABASE rdsadmin OWNER {}").format(sql.Identifier(SUPERUSER)),
        sql.SQL("REVOKE ALL ON DATABASE rdsadmin FROM PUBLIC"),
    ]
    if database and database != "postgres":
        made.append(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(master.name))
        )
    return made


def new_password(master: MasterUser) -> sql.SQL | sql.Composed:
    """The statement that sets the master user's verifier."""
    return password_of(master.name, master.verifier)


def password_of(role: str, verifier: str) -> sql.Composed:
    """The statement that sets a role's verifier; only for a session that is QUIET."""
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier))
