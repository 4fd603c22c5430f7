"""The key words PostgreSQL reserves: no name of a database, unless it is quoted wherever it is written.

Source: PostgreSQL 18 manual, appendix C, "SQL Key Words": those its column PostgreSQL calls reserved, also where they
"can be function or type", which no database can be. A test asks a server (pg_get_keywords). RDS refuses "a word
reserved by the database engine" as DBName and MasterUsername (RDS API reference, CreateDBInstance).
"""

from __future__ import annotations

_RESERVED = """
    all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create
    current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc
    distinct do else end except false fetch for foreign from grant group having in initially intersect into lateral
    leading limit localtime localtimestamp not null offset on only or order placing primary references returning
    select session_user some symmetric system_user table then to trailing true union unique user using variadic
    when where window with
"""
_FUNCTION_OR_TYPE = """
    authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull join left
    like natural notnull outer overlaps right similar tablesample verbose
"""
RESERVED = frozenset(_RESERVED.split()) | frozenset(_FUNCTION_OR_TYPE.split())
"""All of them, in lower case."""


def is_reserved(name: str) -> bool:
    """PostgreSQL reads the name, in any case, as a key word of its own."""
    return name.lower() in RESERVED
