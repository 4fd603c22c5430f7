"""What the catalogs say two roles may do, what changed between two looks, and what must not be. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString, NamedTuple

import psycopg

COUNTED = ("table", "sequence")
NAMED_AT_MOST = 5
"""So many objects of a counted kind are named one by one; more are counted."""

FACTS: LiteralString = """
with named as (
    select oid, rolname from pg_roles where rolname = any(%(roles)s::name[])
    union all select 0, 'PUBLIC'
), spaces as (
    select * from pg_namespace where nspname = any(%(schemas)s::name[])
)
select rolname, 'role', 'there' from named where oid <> 0
union all
select rolname, 'login', 'allowed' from pg_roles where rolname = any(%(roles)s::name[]) and rolcanlogin
union all
select rolname, 'setting', setting
  from pg_db_role_setting join named on named.oid = setrole, unnest(setconfig) as setting
 where named.oid <> 0
   and setdatabase in (0, (select oid from pg_database where datname = current_database()))
union all
select rolname, 'member', roleid::regrole::text from pg_auth_members join named on named.oid = member
union all
select rolname, privilege_type, 'database ' || quote_ident(datname)
  from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) as acl join named on named.oid = acl.grantee
 where datname = current_database()
union all
select rolname, privilege_type, 'schema ' || quote_ident(nspname)
  from spaces, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) as acl join named on named.oid = acl.grantee
union all
select rolname, privilege_type,
       case relkind when 'S' then 'sequence ' else 'table ' end || quote_ident(nspname) || '.' || quote_ident(relname)
  from pg_class join spaces on spaces.oid = relnamespace,
       aclexplode(relacl) as acl join named on named.oid = acl.grantee
 where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
union all
select rolname, privilege_type,
       format('later %%s of %%I in schema %%I', case defaclobjtype when 'S' then 'sequences' else 'tables' end,
              pg_get_userbyid(defaclrole), nspname)
  from pg_default_acl join spaces on spaces.oid = defaclnamespace,
       aclexplode(defaclacl) as acl join named on named.oid = acl.grantee
 where defaclobjtype in ('r', 'S')
union all
select extname, 'extension', extversion from pg_extension where extname = 'pg_stat_statements'
"""

PROBLEMS: LiteralString = """
with relations as (
    select c.oid, format('%%I.%%I', nspname, relname) as name
      from pg_class c join pg_namespace n on n.oid = relnamespace
     where relkind in ('r', 'p', 'v', 'f') and nspname <> 'information_schema' and nspname not like 'pg\\_%%'
), spaces as (
    select oid, quote_ident(nspname) as name from pg_namespace
     where nspname <> 'information_schema' and nspname not like 'pg\\_%%'
)
select format('%%I may do more than an application: it has %%s', rolname, concat_ws(', ',
              case when rolsuper then 'SUPERUSER' end, case when rolcreaterole then 'CREATEROLE' end,
              case when rolcreatedb then 'CREATEDB' end, case when rolreplication then 'REPLICATION' end,
              case when rolbypassrls then 'BYPASSRLS' end)),
       format('ALTER ROLE %%I %%s', rolname, concat_ws(' ',
              case when rolsuper then 'NOSUPERUSER' end, case when rolcreaterole then 'NOCREATEROLE' end,
              case when rolcreatedb then 'NOCREATEDB' end, case when rolreplication then 'NOREPLICATION' end,
              case when rolbypassrls then 'NOBYPASSRLS' end))
  from pg_roles
 where rolname = any(%(roles)s::name[]) and (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)
union all
select format('%%I may write to %%s', %(reader)s::name, name),
       format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %%s FROM PUBLIC, %%I (or the role it is a member of)',
              name, %(reader)s::name)
  from relations
 where has_table_privilege(%(reader)s::name, oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
    or has_any_column_privilege(%(reader)s::name, oid, 'INSERT, UPDATE')
union all
select format('%%I may create in the schema %%s', %(reader)s::name, name),
       format('REVOKE CREATE ON SCHEMA %%s FROM PUBLIC, %%I (or the role it is a member of)', name, %(reader)s::name)
  from spaces where has_schema_privilege(%(reader)s::name, oid, 'CREATE')
union all
select format('%%I may create schemas', %(reader)s::name),
       format('REVOKE CREATE ON DATABASE %%I FROM %%I', current_database(), %(reader)s::name)
 where has_database_privilege(%(reader)s::name, current_database(), 'CREATE')
union all
select format('%%I has the rights of %%I, and with them would log in by IAM token only', current_user, rolname),
       format('REVOKE %%I FROM %%I', rolname, current_user)
  from pg_roles where rolname = any(%(roles)s::name[]) and pg_has_role(current_user, oid, 'USAGE')
"""


class Fact(NamedTuple):
    """One thing the catalogs say. `what` is a privilege, or role, login, setting, member, extension."""

    role: str
    what: str
    about: str


class Problem(NamedTuple):
    """Something that must not be, and how it is mended."""

    what: str
    remedy: str


def read_facts(connection: psycopg.Connection[Any], roles: Sequence[str], schemas: Sequence[str]) -> frozenset[Fact]:
    """What the roles, and PUBLIC, are and may do in the schemas."""
    rows = connection.execute(FACTS, {"roles": list(roles), "schemas": list(schemas)})
    return frozenset(Fact(*map(str, row)) for row in rows)


def read_problems(connection: psycopg.Connection[Any], writer: str, reader: str) -> list[Problem]:
    """What the roles may do and must not, in every schema that is not PostgreSQL's own."""
    rows = connection.execute(PROBLEMS, {"roles": [writer, reader], "reader": reader})
    return sorted(Problem(*map(str, row)) for row in rows)


def sentences(facts: Iterable[Fact]) -> list[str]:
    """The facts in words: what a role is first, then its privileges, gathered by kind of object."""
    plain: list[str] = []
    privileges: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for role, what, about in sorted(facts):
        match what:
            case "role":
                plain.append(f"the role {role}")
            case "login":
                plain.append(f"{role} may log in")
            case "setting":
                plain.append(f"{role} has {about}")
            case "member":
                plain.append(f"{role} is a member of {about}")
            case "extension":
                plain.append(f"the extension {role} {about}")
            case privilege:
                privileges[role, about].add(privilege)
    gathered: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (role, about), held in privileges.items():
        kind, _, name = about.partition(" ")
        if kind not in COUNTED:
            kind, name = about, ""
        gathered[role, ", ".join(sorted(held)), kind].append(name)
    return plain + [
        f"{role}: {held} on {objects}"
        for (role, held, kind), names in sorted(gathered.items())
        for objects in _named(kind, sorted(names))
    ]


def _named(kind: str, names: Sequence[str]) -> list[str]:
    if len(names) > NAMED_AT_MOST:
        return [f"{len(names)} {kind}s"]
    return [f"{kind} {name}".rstrip() for name in names]
