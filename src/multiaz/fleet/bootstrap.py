"""The application's database roles: made, checked, and made again without harm.

The statements are in `sql/`, for people to read; here they get their names, run in one transaction and are
checked before it ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from multiaz.errors import BadInput, Conflict, MultiazError, NotFound
from multiaz.fleet.databases import Databases
from multiaz.fleet.privileges import Fact, Problem, read_facts, read_problems, sentences
from multiaz.fleet.secrets import Credentials

WRITER_PARAMETER, READER_PARAMETER = "WriterUsername", "ReaderUsername"
DEFAULT_WRITER, DEFAULT_READER = "app_writer", "app_reader"
"""For stacks made before these parameters were."""
ROLE_PATTERN = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""Narrower than PostgreSQL's: such a name is the same quoted and unquoted, in SQL, ARNs and tokens."""
NAME_BYTES = 63
"""Longest name. Source: PostgreSQL manual, "Identifiers and Key Words", NAMEDATALEN."""
APPLICATION = "multiaz bootstrap"
PROBLEMS_TOLD = 5
REVOKE = sql.SQL("REVOKE rds_iam FROM {}")


class NotBootstrapped(MultiazError):
    """The roles were not made as they must be; nothing was changed."""


@dataclass(frozen=True)
class RoleNames:
    """The two roles and where they may work."""

    writer: str
    reader: str
    schemas: tuple[str, ...] = ("public",)


@dataclass(frozen=True)
class BootstrapReport:
    """What a bootstrap found and changed, in words."""

    stack: str
    database: str
    names: RoleNames
    added: tuple[str, ...]
    removed: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "stack": self.stack,
            "database": self.database,
            "writer": self.names.writer,
            "reader": self.names.reader,
            "schemas": list(self.names.schemas),
            "changed": bool(self.added or self.removed),
            "added": list(self.added),
            "removed": list(self.removed),
        }


def check_schemas(schemas: Sequence[str]) -> None:
    """Raise BadInput for a name that is no schema of an application: PostgreSQL's own, or none at all.

    Source: PostgreSQL manual, "Schemas": names that begin with pg_ are the system's.
    """
    for name in schemas:
        if not name or "\0" in name or len(name.encode()) > NAME_BYTES:
            why = f"a name has 1 to {NAME_BYTES} bytes"
        elif name.startswith("pg_") or name == "information_schema":
            why = "it is PostgreSQL's own; no application works there"
        else:
            continue
        raise BadInput(f"Cannot use --schema {name[:NAME_BYTES]!r}", why, "name a schema of the application")


def role_names(parameters: Mapping[str, str], schemas: Sequence[str] = ()) -> RoleNames:
    """The names in the parameters of a stack. Raises BadInput for one that cannot be used."""
    check_schemas(schemas)
    names = RoleNames(
        parameters.get(WRITER_PARAMETER, DEFAULT_WRITER),
        parameters.get(READER_PARAMETER, DEFAULT_READER),
        tuple(dict.fromkeys(schemas)) or ("public",),
    )
    for name in (names.writer, names.reader):
        if not ROLE_PATTERN.fullmatch(name):
            raise BadInput(
                f"Cannot make the role {name!r}",
                f"its name does not match {ROLE_PATTERN.pattern}",
                f"deploy the stack with other values of {WRITER_PARAMETER} and {READER_PARAMETER}",
            )
    if names.writer == names.reader:
        raise BadInput(
            f"Cannot make the roles {names.writer}",
            f"{WRITER_PARAMETER} and {READER_PARAMETER} are the same",
            "deploy the stack with two names",
        )
    return names


def statements(names: RoleNames, database: str) -> sql.Composed:
    """All of `sql/`, names filled in and quoted; to be run in one transaction."""
    filled: dict[str, sql.Composable] = {
        "writer": sql.Identifier(names.writer),
        "reader": sql.Identifier(names.reader),
        "writer_name": sql.Literal(names.writer),
        "reader_name": sql.Literal(names.reader),
        "database": sql.Identifier(database),
        "extension_schema": sql.Identifier(names.schemas[0]),
    }
    roles, schema = _file("roles.sql"), _file("schema.sql")
    return sql.SQL("\n").join(
        [roles.format(**filled), *(schema.format(schema=sql.Identifier(name), **filled) for name in names.schemas)]
    )


def _file(name: str) -> sql.SQL:
    text = resources.files("multiaz.fleet").joinpath("sql", name).read_text(encoding="utf-8")
    return sql.SQL(text)


def bootstrap(databases: Databases, master: Credentials, stack: str, names: RoleNames) -> BootstrapReport:
    """Make the roles in `master`'s database; change nothing that is right already.

    One transaction, checked before it is committed: raises NotBootstrapped, with nothing changed, if
    the reader could write, a role has an attribute an application must not have, or the master user
    would be caught by rds_iam; Conflict, NotFound or NotBootstrapped for what PostgreSQL refuses.
    """
    what = f"Cannot bootstrap the database of {stack}"
    try:
        connection = databases.connect(master, application=APPLICATION)
    except psycopg.Error as error:
        raise NotBootstrapped(what, _first_line(error), "look at the primary with `multiaz status`") from error
    with connection:
        roles = (names.writer, names.reader)
        try:
            with connection.transaction():
                connection.execute("SET LOCAL search_path = ''")  # as the script does; the first look comes before it
                before = read_facts(connection, roles, names.schemas)
                connection.execute(statements(names, master.database))
                after = read_facts(connection, roles, names.schemas)
                problems = read_problems(connection, *roles)
                if problems:
                    raise _unsafe(what, problems)
        except psycopg.Error as error:
            raise _refused(what, error, names, master) from error
        caught = [role for role in roles if Fact(role, "member", "rds_iam") in after - before]
        if caught:
            _check_master(databases, connection, master, caught)
    return BootstrapReport(
        stack, master.database, names, tuple(sentences(after - before)), tuple(sentences(before - after))
    )


def _check_master(
    databases: Databases, connection: psycopg.Connection[Any], master: Credentials, granted: Sequence[str]
) -> None:
    """The master user can still log in with its password; else rds_iam is taken back while that is possible.

    Who is a member of a member of rds_iam logs in by token only, and since PostgreSQL 16 the creator of a
    role is a member of it, if without its rights. PostgreSQL's pg_hba.conf counts that as membership.
    Only what this run has `granted` is revoked: roles that log in already are left alone.
    """
    try:
        databases.connect(master, application=APPLICATION).close()
    except psycopg.Error as error:
        connection.execute(REVOKE.format(sql.SQL(", ").join(map(sql.Identifier, granted))))
        raise NotBootstrapped(
            f"{' and '.join(granted)} cannot log in by IAM token",
            f"once rds_iam was granted {master.user} could not log in any more, so it was revoked again: "
            f"{_first_line(error)}",
            "repeat the command; if it ends like this again, let another role with CREATEROLE make these roles",
        ) from error


def _unsafe(what: str, problems: Sequence[Problem]) -> NotBootstrapped:
    named = problems[:PROBLEMS_TOLD]
    more = f"; and {len(problems) - len(named)} more like this" if len(problems) > len(named) else ""
    return NotBootstrapped(
        what,
        "; ".join(problem.what for problem in named) + more + "; nothing was changed",
        "; ".join(problem.remedy for problem in named) + "; then repeat the command",
    )


def _refused(what: str, error: psycopg.Error, names: RoleNames, master: Credentials) -> MultiazError:
    """What PostgreSQL's refusal means to a person."""
    why = f"{_first_line(error)}; nothing was changed"
    roles = f"{names.writer}, {names.reader}"
    if isinstance(error, psycopg.errors.UndefinedObject) and "rds_iam" in str(error):
        return NotFound(what, why, "turn IAM database authentication of the primary on")
    if isinstance(error, psycopg.errors.InvalidSchemaName):
        return NotFound(what, why, "create the schema first, or name another with --schema")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return NotBootstrapped(
            what,
            why,
            f"let the owner of what is named grant it; roles somebody else has made: "
            f"GRANT {roles} TO {master.user} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE",
        )
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return Conflict(what, why, "repeat the command when the migration or vacuum that holds the lock is over")
    return NotBootstrapped(what, why, "change what the message names, then repeat the command")


def _first_line(error: psycopg.Error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
